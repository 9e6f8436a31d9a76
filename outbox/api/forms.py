"""A request's body as an HTML form (application/x-www-form-urlencoded), within its size."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from outbox.api.problems import ProblemError

FORM_BYTES = 64 * 1024
FIELDS = 200


async def read_form(request: Request) -> dict[str, str]:
    """Its fields; of one that stands twice, the last. Raises ProblemError, 413 or 400."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            detail = f"A body of at most {FORM_BYTES} bytes is taken."
            raise ProblemError(413, "too-large", detail, headers={"Connection": "close"})
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS, errors="strict"))
    except ValueError:
        raise ProblemError(400, "malformed", "The body is not the form that is asked for.") from None
