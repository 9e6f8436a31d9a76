"""The gateway's doors: `/v1/ws`, the element for pages, the probes, and in development a page to look at."""

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway import door
from gateway.metrics import REFUSED
from gateway.page import Page
from gateway.script import Script
from gateway.socket import Socket, say_goodbye
from gateway.switchboard import Switchboard
from outbox.probes import Health


def create_app(board: Switchboard, health: Health) -> Starlette:
    async def socket(ws: WebSocket) -> None:
        await answer(board, ws)

    routes: list[BaseRoute] = [WebSocketRoute("/v1/ws", socket), *Script().routes(), *health.routes()]
    if board.settings.env == "development":
        routes += Page(board.settings.public_api_url).routes()
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
