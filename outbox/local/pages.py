"""What the pages of `outbox up` share: how their files are sent, and under which names they may be reached."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from outbox.probes import Health

HERE = Path(__file__).parent
MOST = 1000
POLICY = (
    "default-src 'self'; img-src 'self' data:; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
NAMES = ("127.0.0.1", "localhost")


def app(name: str, routes: Sequence[Route]) -> Starlette:
    """`name`: of the page's files, and of its container. No foreign site may reach it under a name of its own."""
    files = ("page.css", "page.js", *(path.name for path in HERE.glob(f"{name}.[cj]s*")))
    return Starlette(
        routes=[
            Route("/", page(f"{name}.html")),
            *(Route(f"/{file}", page(file)) for file in files),
            *routes,
            *Health().routes(),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[*NAMES, name])],
    )


def page(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def send(_: Request) -> Response:
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
        return FileResponse(HERE / name, headers=headers)

    return send


def number(request: Request, name: str, usual: int) -> int:
    value = request.query_params.get(name, str(usual))
    if not value.isdigit():
        raise HTTPException(400, f"{name} must be a whole number")
    return min(int(value), MOST)
