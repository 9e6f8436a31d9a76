"""What every problem document must look like, checked in one place."""

import httpx


def problem(answer: httpx.Response, status: int, kind: str) -> list[tuple[str, str]]:
    """The (field, detail) pairs of a problem document of this status and kind."""
    body = answer.json()
    assert (answer.status_code, body["status"]) == (status, status), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"] == f"urn:outbox:problem:{kind}"
    assert body["title"]
    assert body["detail"]
    return [(error["field"], error["detail"]) for error in body.get("errors", [])]


def fields(answer: httpx.Response) -> list[str]:
    """The fields that a 422 names."""
    return [field for field, _ in problem(answer, 422, "invalid-notification")]
