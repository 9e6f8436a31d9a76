"""/healthz, /readyz and /metrics, the same in every process; and uvicorn as one task among others."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outbox import supervised
from outbox.errors import OutboxError
from outbox.service import Stop

# None when all is well, otherwise what is wrong, in a sentence for the operator.
Check = Callable[[], str | None]


class Health:
    """What makes this process ready. `/healthz` only says that the event loop turns."""

    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        self.checks[name] = check

    def remove(self, name: str) -> None:
        self.checks.pop(name, None)

    def failing(self) -> dict[str, str]:
        return {name: why for name, check in self.checks.items() if (why := check()) is not None}

    def routes(self) -> list[Route]:
        return [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", metrics),
        ]

    async def healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        failing = self.failing()
        body = {
            "status": "unready" if failing else "ready",
            "checks": {name: failing.get(name, "ok") for name in self.checks},
        }
        return JSONResponse(body, status_code=503 if failing else 200)


async def metrics(_: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class ListenError(OutboxError):
    """The address cannot be listened on."""


class Server(uvicorn.Server):
    """uvicorn without its own signal handling: the process has one (outbox.service.run)."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises ListenError; uvicorn has logged why, and would leave by SystemExit, through a running loop."""
        try:
            await super().startup(sockets)
        except SystemExit:
            raise ListenError(
                f"cannot listen on {self.config.host}:{self.config.port}; the line before says why"
            ) from None
        supervised.tell(supervised.READY)


def parting(app: ASGIApp, stop: Stop) -> ASGIApp:
    """The application; once a stop is announced, each answer says that its connection ends with it, so that no client
    sends its next request down one that is just being closed."""

    def answer(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or not stop.announced.is_set():
            return app(scope, receive, send)

        async def last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        return app(scope, receive, last)

    return answer


async def serve(app: ASGIApp, host: str, port: int, stop: Stop, **options: object) -> None:
    """Serve until asked to stop; connections then have the process's grace time to end."""
    config = uvicorn.Config(
        app,
        interface="asgi3",
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        **options,  # type: ignore[arg-type]  # uvicorn takes them by name
    )
    server = Server(config)

    async def end() -> None:
        await stop.asked.wait()
        server.should_exit = True

    async with asyncio.TaskGroup() as tasks:
        ender = tasks.create_task(end())
        await server.serve()
        ender.cancel()


async def serve_probes(health: Health, host: str, port: int, stop: Stop) -> None:
    """The probes alone, for processes that serve nothing else. Port 0 turns them off."""
    if not port:
        supervised.tell(supervised.READY)
    else:
        await serve(Starlette(routes=health.routes()), host, port, stop)
