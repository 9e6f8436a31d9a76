"""Who may come in: a bearer token (RFC 6750) with one of the scopes that the route's contract names."""

from starlette.requests import Request
from starlette.responses import Response

from outbox.api.auth import identify, refusal
from outbox.api.contract import Contract
from outbox.audit import Entry, UnwrittenError
from outbox.log import get
from outbox.settings import Settings
from outbox.tokens import Identity, Scope

log = get("api")


class Guard:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def audited(self, entry: Entry, answer: Response) -> Response:
        """The answer of a route that acts. One that left no entry is a bug: where it can be seen in time, in
        development and in tests, it ends the request; elsewhere it is logged."""
        if answer.status_code < 400 and not entry.written:
            log.error("api.unaudited", request=entry.request_id)
            if self.settings.env == "development":
                raise UnwrittenError("a route that acts as an administrator must call audit.record")
        answer.headers["X-Request-Id"] = entry.request_id
        return answer

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
