"""Serving a double: its HTTP server on a port of its own, the front before it, and the paths that control it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from outbox.local.doubles.faults import CONTROL, Fault, Faulty, Menu
from outbox.local.doubles.front import Front
from outbox.local.doubles.received import Box
from outbox.local.ports import LOOPBACK, any_free
from outbox.probes import serve
from outbox.service import Stop

IDLE_SECONDS = 60  # uvicorn's own 5 s are less than what providers leave
ORDERS = TypeAdapter(list[Fault])
# Serves an application on a host and a port until asked to stop. The usual one speaks HTTP/1.1.
Http = Callable[[ASGIApp, str, int, Stop], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Double:
    """One provider: what it took, what shall go wrong, and its routes as the provider documents them."""

    name: str
    routes: list[Route]
    box: Box = field(default_factory=Box)
    menu: Menu = field(default_factory=Menu)
    front: Front = field(init=False)
    scheme: str = "http"

    def __post_init__(self) -> None:
        self.front = Front(self.menu)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{LOOPBACK}:{self.front.port}"

    def app(self) -> ASGIApp:
        control = [
            Route(f"{CONTROL}/received", self.show, methods=["GET"]),
            Route(f"{CONTROL}/faults", self.order, methods=["PUT"]),
        ]
        return Faulty(Starlette(routes=[*control, *self.routes]), self.menu, self.front.reset)

    async def show(self, _: Request) -> Response:
        """What was taken, the newest last."""
        return JSONResponse(
            {"total": self.box.total, "messages": [asdict(message) for message in self.box.messages]}
        )

    async def order(self, request: Request) -> Response:
        """A list of faults in place of those that were ordered before; an empty one heals the double."""
        try:
            orders = ORDERS.validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, 422)
        self.menu.orders[:] = orders
        return JSONResponse({"faults": len(orders)})


async def over_http1(app: ASGIApp, host: str, port: int, stop: Stop) -> None:
    await serve(app, host, port, stop, timeout_keep_alive=IDLE_SECONDS)


async def serve_double(
    double: Double, port: int, stop: Stop, http: Http = over_http1, host: str = LOOPBACK
) -> None:
    """Until asked to stop. Port 0: any that is free."""
    inner = any_free()
    double.front.target = (LOOPBACK, inner)
    await double.front.start(host, port)
    try:
        await http(double.app(), LOOPBACK, inner, stop)
    finally:
        await double.front.stop()


@asynccontextmanager
async def running(double: Double, http: Http = over_http1) -> AsyncIterator[Double]:
    """For tests: up and answering within, gone afterwards."""
    stop = Stop()
    task = asyncio.create_task(serve_double(double, 0, stop, http))
    try:
        await answering(double)
        yield double
    finally:
        stop.ask()
        double.front.reset_all()
        await task


async def answering(double: Double, seconds: float = 10) -> None:
    """Returns when it takes connections. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await listening(double):  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)


async def listening(double: Double) -> bool:
    try:
        _, writer = await asyncio.open_connection(*double.front.target)
    except OSError:
        return False
    writer.close()
    return True
