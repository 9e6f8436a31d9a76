"""Who calls, by a bearer token (RFC 6750)."""

from starlette.requests import Request

from outbox.api.problems import ProblemError
from outbox.errors import UnauthenticatedError
from outbox.settings import Settings
from outbox.tokens import Identity, verify


def identify(request: Request, settings: Settings) -> Identity:
    """Raises ProblemError, 401, without a token that holds."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise refusal(401, "unauthenticated", "Send a token: Authorization: Bearer <token>.")
    try:
        return verify(settings, token.strip())
    except UnauthenticatedError as error:
        raise refusal(401, "unauthenticated", str(error), 'error="invalid_token"') from None


def refusal(status: int, kind: str, detail: str, *parameters: str) -> ProblemError:
    challenge = ", ".join(('Bearer realm="outbox"', *parameters))
    return ProblemError(status, kind, detail, headers={"WWW-Authenticate": challenge})
