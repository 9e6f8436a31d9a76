"""The page of the doubles and its JSON: what all of them took, and the faults that a person can order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from heapq import merge
from itertools import islice
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outbox.local import pages
from outbox.local.doubles.faults import Fault, Kind
from outbox.local.doubles.received import Received
from outbox.local.doubles.serving import Double

# Each until it is healed.
FAULTS: Mapping[str, Fault] = {
    "slow": Fault(Kind.SLOW, times=None, seconds=3),
    "503": Fault(Kind.ANSWER, times=None, status=503),
    "429": Fault(Kind.ANSWER, times=None, status=429, headers={"Retry-After": "5"}),
    "hang": Fault(Kind.HANG, times=None),
    "reset": Fault(Kind.RESET, times=None),
}
OTHER = "other"  # ordered by somebody else, in the double's own words
Numbered = tuple[int, Received]


def make_app(doubles: Sequence[Double]) -> Starlette:
    app = pages.app(
        "providers",
        [
            Route("/api/providers", list_providers),
            Route("/api/providers/{name}/fault", order, methods=["PUT"]),
            Route("/api/providers/{name}/fault", heal, methods=["DELETE"]),
            Route("/api/messages", list_messages),
            Route("/api/messages", clear, methods=["DELETE"]),
            Route("/api/messages/{name}/{number:int}", show),
        ],
    )
    app.state.doubles = {double.name: double for double in doubles}
    return app


async def list_providers(request: Request) -> Response:
    """Each with where it is, how much it took, which fault is on, and how many requests have met one."""
    return JSONResponse({"providers": [described(double) for double in all_of(request)]})


def described(double: Double) -> dict[str, Any]:
    return {
        "name": double.name,
        "url": double.url,
        "kept": len(double.box.messages),
        "total": double.box.total,
        "fault": fault_of(double),
        "served": double.menu.served,
    }


def fault_of(double: Double) -> str | None:
    if not double.menu.orders:
        return None
    return next((name for name, fault in FAULTS.items() if double.menu.orders[0] == fault), OTHER)


async def order(request: Request) -> Response:
    """`{"fault": "slow"}`: in place of what was ordered before."""
    double = double_of(request)
    try:
        fault = FAULTS[(await request.json())["fault"]]
    except (ValueError, KeyError, TypeError):
        raise HTTPException(422, f'say {{"fault": …}}, one of {", ".join(FAULTS)}') from None
    double.menu.orders[:] = [fault]
    return JSONResponse(described(double))


async def heal(request: Request) -> Response:
    """Whoever still waits for an answer hears at once that there will be none."""
    double = double_of(request)
    hanging = fault_of(double) == "hang"
    double.menu.clear()
    if hanging:
        double.front.reset_all()
    return JSONResponse(described(double))


async def list_messages(request: Request) -> Response:
    """`?limit=&query=&provider=`: the newest of all doubles, newest first."""
    wanted = request.query_params.get("provider")
    query = request.query_params.get("query", "").lower()
    queues = (numbered(double) for double in all_of(request) if wanted in {None, "", double.name})
    newest = merge(*queues, key=lambda each: each[1].at, reverse=True)
    found = (each for each in newest if matches(each[1], query))
    limit = pages.number(request, "limit", 100)
    return JSONResponse({"messages": [shown(each) for each in islice(found, limit)]})


async def show(request: Request) -> Response:
    """One of them, with all that the request said."""
    number = request.path_params["number"]
    for each in numbered(double_of(request)):
        if each[0] == number:
            return JSONResponse(shown(each) | {"details": each[1].details})
    raise HTTPException(404, "there is no such message")


async def clear(request: Request) -> Response:
    for double in all_of(request):
        double.box.messages.clear()
    return Response(status_code=204)


def all_of(request: Request) -> Sequence[Double]:
    return list(request.app.state.doubles.values())


def double_of(request: Request) -> Double:
    found: Double | None = request.app.state.doubles.get(request.path_params["name"])
    if found is None:
        raise HTTPException(404, "there is no such provider")
    return found


def numbered(double: Double) -> Iterator[Numbered]:
    """The newest first, each with its place among all that ever came."""
    return zip(range(double.box.total, 0, -1), reversed(double.box.messages), strict=False)


def shown(each: Numbered) -> dict[str, Any]:
    number, message = each
    return {"number": number} | {name: value for name, value in asdict(message).items() if name != "details"}


def matches(message: Received, query: str) -> bool:
    return not query or any(
        query in text.lower() for text in (message.provider, message.to, message.title, message.text)
    )
