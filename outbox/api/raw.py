"""A request's body as bytes, at most so many of them."""

from starlette.requests import Request

from outbox.api.problems import ProblemError


async def read_bytes(request: Request, limit: int) -> bytes:
    """The body. Raises ProblemError, 413, for too much."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise ProblemError(
                413,
                "too-large",
                f"A body of at most {limit} bytes is taken.",
                headers={"Connection": "close"},
            )
    return bytes(body)


async def read_beginning(request: Request, limit: int) -> bytes:
    """The first `limit` bytes of the body; what follows is read and forgotten."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk[: limit - len(body)]
    return bytes(body)
