"""Who may come in: a bearer token (RFC 6750) with one of the scopes that the route's contract names."""

from starlette.requests import Request

from outbox.api.auth import identify, refusal
from outbox.api.contract import Contract
from outbox.settings import Settings
from outbox.tokens import Identity, Scope


class Guard:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def admit(self, request: Request, contract: Contract) -> Identity | None:
        """The caller; None where the door is open. Raises ProblemError: 401 without a token that holds, 403 where it
        lacks the scope or is another user's."""
        if not contract.scopes:
            return None
        identity = identify(request, self.settings)
        useful = identity.scopes.intersection(contract.scopes)
        if not useful:
            listed = " ".join(sorted(contract.scopes))
            named = f'error="insufficient_scope", scope="{listed}"'
            raise refusal(403, "forbidden", f'The token lacks the scope "{listed}".', named)
        stranger = identity.subject != request.path_params.get("user_id")
        if contract.own and useful == {Scope.USER} and stranger:
            raise refusal(403, "forbidden", "A user's token is good for what is the user's own.")
        return identity
