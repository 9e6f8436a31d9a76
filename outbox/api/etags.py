"""Edits that could be lost: ETag and If-Match (RFC 9110 §13.1.1) over the version of a row."""

import re

from starlette.requests import Request

from outbox.api.problems import ProblemError

IF_MATCH = {"If-Match": "The ETag that GET gave, or * to change whatever is there (RFC 9110 §13.1.1)."}


def wanted_version(request: Request) -> int | None:
    """Of If-Match; None for `*`. Raises ProblemError: 428 without one (RFC 6585 §3), so that nobody overwrites what
    they have not seen; 412 for a tag that was never given out."""
    tag = request.headers.get("if-match")
    if tag is None:
        raise ProblemError(
            428,
            "precondition-required",
            "Send If-Match with the ETag that GET gave, or * to change whatever is there.",
        )
    if tag.strip() == "*":
        return None
    if not (match := re.fullmatch(r'"([1-9][0-9]{0,8})"', tag.strip())):
        raise ProblemError(412, "precondition-failed", "If-Match holds no ETag of this kind.")
    return int(match[1])


def changed_meanwhile(what: str) -> ProblemError:
    return ProblemError(
        412, "precondition-failed", f"{what} has changed meanwhile: GET it, and decide again."
    )
