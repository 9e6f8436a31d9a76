"""Who may come in: a bearer token or a key with one of the scopes that the route's contract names, within its limits
and its rate. What was looked up or verified is remembered, so that most requests wait for nothing here."""

from starlette.requests import Request
from starlette.responses import Response

from db.pool import Pool
from outbox.api.auth import bearer, refusal
from outbox.api.contract import Contract, caller
from outbox.api.keyring import Keyring
from outbox.api.problems import ProblemError
from outbox.api.quotas import Quotas, never
from outbox.api_keys import PREFIX
from outbox.audit import Entry, UnwrittenError
from outbox.errors import UnauthenticatedError
from outbox.jwks import FLOOR_SECONDS, IssuerAwayError
from outbox.log import get
from outbox.settings import Settings
from outbox.tokens import Identity, Scope
from outbox.verifier import Verifier

log = get("api")


class Guard:
    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings = settings
        self.verifier, self.keyring = Verifier(settings), Keyring(pool)
        # A key may have a rate of its own, so they are counted even where there is no rate for all.
        self.quotas = Quotas(settings)

    async def admit(self, request: Request, contract: Contract) -> Identity | None:
        """The caller; None where the door is open. Raises ProblemError: 401 without a token or key that holds, 403
        where it lacks the scope or is another user's, 429 for too many."""
        if not contract.scopes:
            return None
        identity = await self.identify(bearer(request))
        allow(identity, contract, request)
        if (rate := self.quotas.of(identity)) is not None:
            request.state.rate_limit = await self.quotas.take(rate, identity)
        return identity

    async def charge(self, request: Request, cost: int) -> None:
        """For what was admitted as one request, and turns out to be so many. Raises ProblemError: 429, and 422 for more
        than the rate has at all."""
        identity = caller(request)
        if cost == 1 or (rate := self.quotas.of(identity)) is None:
            return
        if cost > rate.item.amount:
            raise never(rate)
        request.state.rate_limit = []  # a refusal brings its own
        request.state.rate_limit = await self.quotas.take(rate, identity, cost - 1)

    async def identify(self, shown: str) -> Identity:
        try:
            if shown.startswith(PREFIX):
                return await self.keyring.identify(shown)
            return await self.verifier.verify(shown)
        except UnauthenticatedError as error:
            raise refusal(401, "unauthenticated", str(error), 'error="invalid_token"') from None
        except IssuerAwayError as error:
            headers = {"Retry-After": f"{FLOOR_SECONDS:.0f}"}
            raise ProblemError(503, "unavailable", f"{error}; try again.", headers=headers) from None

    def audited(self, entry: Entry, answer: Response) -> Response:
        """The answer of a route that acts. One that left no entry is a bug: where it can be seen in time, in
        development and in tests, it ends the request; elsewhere it is logged."""
        if answer.status_code < 400 and not entry.written:
            log.error("api.unaudited", request=entry.request_id)
            if self.settings.env == "development":
                raise UnwrittenError("a route that acts as an administrator must call audit.record")
        answer.headers["X-Request-Id"] = entry.request_id
        return answer

    async def aclose(self) -> None:
        await self.quotas.aclose()


def allow(identity: Identity, contract: Contract, request: Request) -> None:
    """Raises ProblemError, 403."""
    useful = identity.scopes.intersection(contract.scopes)
    if not useful:
        listed = " ".join(sorted(contract.scopes))
        named = f'error="insufficient_scope", scope="{listed}"'
        raise refusal(403, "forbidden", f'The token lacks the scope "{listed}".', named)
    stranger = identity.subject != request.path_params.get("user_id")
    if contract.own and useful == {Scope.USER} and stranger:
        raise refusal(403, "forbidden", "A user's token is good for what is the user's own.")
    if identity.limits and not contract.limited:
        raise refusal(403, "beyond-key", "The key is limited to event types or channels, and this is not.")
