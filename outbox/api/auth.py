"""Who may come in: a bearer token (RFC 6750) with the scope that the route asks for."""

from starlette.requests import Request

from outbox.api.problems import ProblemError
from outbox.errors import UnauthenticatedError
from outbox.settings import Settings
from outbox.tokens import Identity, Scope, verify


def require(request: Request, settings: Settings, *scopes: Scope) -> Identity:
    """The caller, with one of these scopes. Raises ProblemError: 401 without a token that holds, 403 where it lacks
    the scope."""
    identity = identify(request, settings)
    if identity.scopes.isdisjoint(scopes):
        listed = " ".join(sorted(scopes))
        named = f'error="insufficient_scope", scope="{listed}"'
        raise refusal(403, "forbidden", f'The token lacks the scope "{listed}".', named)
    return identity


def require_for(request: Request, settings: Settings, user_id: str) -> Identity:
    """The user itself, or a producer, who acts for every user. Raises ProblemError as `require` does."""
    identity = identify(request, settings)
    own = Scope.USER in identity.scopes and identity.subject == user_id
    if not own and Scope.PRODUCER not in identity.scopes:
        detail = "The token is not this user's, nor a producer's."
        raise refusal(403, "forbidden", detail, f'error="insufficient_scope", scope="{Scope.PRODUCER}"')
    return identity


def identify(request: Request, settings: Settings) -> Identity:
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
