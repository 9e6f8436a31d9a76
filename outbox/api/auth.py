"""What a caller shows (RFC 6750), and how one is refused."""

from starlette.requests import Request

from outbox.api.problems import ProblemError


def bearer(request: Request) -> str:
    """The token or key. Raises ProblemError, 401, without one."""
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not shown:
        raise refusal(401, "unauthenticated", "Send a token or a key: Authorization: Bearer <token>.")
    return shown.strip()


def refusal(status: int, kind: str, detail: str, *parameters: str) -> ProblemError:
    challenge = ", ".join(('Bearer realm="outbox"', *parameters))
    return ProblemError(status, kind, detail, headers={"WWW-Authenticate": challenge})
