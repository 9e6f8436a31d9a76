"""The gateway's doors: `/v1/ws`, the probes, and in development a page to look at."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway import door
from gateway.metrics import REFUSED
from gateway.socket import Socket, say_goodbye
from gateway.switchboard import Switchboard
from outbox.probes import Health

PAGE = Path(__file__).parent / "page"
PAGE_FILES = {"": "index.html", "inbox.css": "inbox.css", "inbox.js": "inbox.js", "icon.svg": "icon.svg"}
# Nothing but what the page itself brings; no inline script, no foreign host, in nobody's frame.
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def create_app(board: Switchboard, health: Health) -> Starlette:
    async def socket(ws: WebSocket) -> None:
        await answer(board, ws)

    routes: list[BaseRoute] = [WebSocketRoute("/v1/ws", socket), *health.routes()]
    if board.settings.env == "development":
        routes += [Route("/", page), Route("/page/{file}", page)]
    return Starlette(routes=routes)


async def answer(board: Switchboard, ws: WebSocket) -> None:
    """One socket, from its handshake to its end."""
    if board.draining:
        REFUSED.labels("draining").inc()
        await ws.send_denial_response(PlainTextResponse("restarting", 503, {"retry-after": "2"}))
        return
    if not door.origin_allowed(board.settings, ws.headers.get("origin"), ws.headers.get("host", "")):
        REFUSED.labels("origin").inc()
        await ws.send_denial_response(PlainTextResponse("this origin is not allowed", 403))
        return
    try:
        visitor = await door.admit(ws, board.verifier)
    except door.RefusedError as error:
        REFUSED.labels(error.closing.code.name.lower()).inc()
        await say_goodbye(ws, error.closing)
    except WebSocketDisconnect:
        REFUSED.labels("left").inc()
    else:
        await Socket(board, ws, visitor).run()


async def page(request: Request) -> Response:
    file = PAGE_FILES.get(request.path_params.get("file", ""))
    if file is None:
        return PlainTextResponse("not found", 404)
    return FileResponse(PAGE / file, headers=PAGE_HEADERS)
