"""The gateway's doors: `/v1/ws`, `/v1/events`, the element for pages, the probes, and a page for development."""

from collections.abc import Awaitable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway import door
from gateway.events import Events
from gateway.line import Line, say_goodbye
from gateway.metrics import REFUSED
from gateway.page import Page
from gateway.script import Script
from gateway.socket import Socket, SocketWire
from gateway.switchboard import Switchboard
from gateway.transport import protocol_of
from outbox.probes import Health


def create_app(board: Switchboard, health: Health) -> ASGIApp:
    """Sockets go past the routes and the middleware of HTTP, of which each would cost every socket some memory."""
    http = over_http(board, health)

    def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "websocket" and scope["path"] == "/v1/ws":
            return answer(board, WebSocket(scope, receive, send))
        return http(scope, receive, send)

    return app


def over_http(board: Switchboard, health: Health) -> Starlette:
    routes: list[BaseRoute] = [*Events(board).routes(), *Script().routes(), *health.routes()]
    if board.settings.env == "development":
        routes += Page(board.settings.public_api_url).routes()
    shared = Middleware(
        CORSMiddleware,
        allow_origins=board.settings.gateway_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "last-event-id"],
    )
    return Starlette(routes=routes, middleware=[shared])


async def answer(board: Switchboard, ws: WebSocket) -> None:
    """One socket, from its handshake to its end."""
    try:
        with door.passed(board, ws) as place:
            await converse(board, ws, place)
    except door.RefusedError as error:
        REFUSED.labels(error.metric).inc()
        await ws.send_denial_response(error.response())


async def converse(board: Switchboard, ws: WebSocket, place: str) -> None:
    wire = SocketWire(protocol_of(ws.scope), ws.send)
    try:
        visitor = await door.admit(board, ws, place)
    except door.RefusedError as error:
        REFUSED.labels(error.metric).inc()
        await say_goodbye(wire, error.closing)
    except WebSocketDisconnect:
        REFUSED.labels("left").inc()
    else:
        await Socket(board, ws.receive, Line(board, visitor, wire)).run()
