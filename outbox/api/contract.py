"""What a route promises: who may call it, what it takes and what it answers. The guard keeps it, OpenAPI tells it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as ASGIScope

from outbox import audit
from outbox.api.reading import check_query
from outbox.tokens import Identity, Scope


class Bare(StringConvertor):
    """`{name:bare}` ends before the colon of an action: email/welcome:preview is no template's name."""

    regex = "[^/:]+"


register_url_convertor("bare", Bare())
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Contract:
    """One operation. Models give the schemas of the OpenAPI document; the handler's docstring is its description."""

    id: str  # operationId, as clients generated from the document will name their methods: "list_channels"
    summary: str
    answers: Mapping[int, type[BaseModel] | None]  # by status; None: no body
    scopes: tuple[
        Scope, ...
    ] = ()  # one of them is enough; none: open to everybody (it checks a signature itself)
    # A token of scope `user` reaches only what stands under its own id: the path has {user_id}.
    own: bool = False
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    # Whether the handler holds a limited key to its limits (outbox.api.limited). Elsewhere such a key is refused.
    limited: bool = False
    # Whether an administrator's call leaves an entry in the audit log. By itself: what changes something (`acts`).
    audited: bool | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # request headers it reads, with what they mean
    problems: tuple[
        int, ...
    ] = ()  # beside 400, 401, 403, 413, 415, 422, 429, 500 and 503, which follow from the rest
    sends: Mapping[str, str] = field(default_factory=dict)  # headers of a good answer, with what they mean
    path: type[BaseModel] | None = None  # parameters of the path whose names do not say what they are
    takes: str = "application/json"  # the media type of a body; without a model it is taken as it is
    gives: str = "application/json"  # the media type of a good answer
    # Where one may go from a good answer: operation, and its parameters as OpenAPI's runtime expressions.
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def acts(self, method: str) -> bool:
        """Whether an administrator's call is to be written down."""
        changes = method != "GET" and Scope.ADMIN in self.scopes
        return changes if self.audited is None else self.audited


class Endpoint(Route):
    """A route with its contract. The caller is known, and allowed to be here, before the handler runs; what an
    administrator did is in the audit log before the answer leaves."""

    def __init__(self, method: str, path: str, handler: Handler, contract: Contract) -> None:
        async def guarded(request: Request) -> Response:
            guard = request.app.state.guard
            request.state.caller = await guard.admit(request, contract)
            # What others call, or click, may carry more than we know of.
            if contract.scopes and request.scope["query_string"]:
                check_query(request.query_params, contract.query)
            if not (contract.acts(method) and administers(caller(request))):
                return await handler(request)
            entry = audit.begin(request.headers.get("x-request-id"))
            return guard.audited(entry, await handler(request))  # type: ignore[no-any-return]  # state has no types

        super().__init__(path, guarded, methods=[method], name=contract.id)
        self.method = method
        self.app = served(guarded)
        self.contract = contract
        self.handler = handler


def served(handler: Handler) -> ASGIApp:
    """As Starlette makes it of a function, but without catching errors once more: the application does, around all
    routes, by the same handlers."""

    async def app(scope: ASGIScope, receive: Receive, send: Send) -> None:
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)

    return app


def caller(request: Request) -> Identity:
    """Who calls, where the contract names scopes."""
    identity: Identity = request.state.caller
    return identity


def administers(identity: Identity) -> bool:
    """Whether what this caller does is an administrator's act, on a route that others may call, too."""
    return Scope.ADMIN in identity.scopes
