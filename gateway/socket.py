"""One WebSocket: its frames are carried out in the order in which they come; what goes out is the line's."""

import asyncio

from starlette.types import Receive, Send
from starlette.websockets import WebSocketDisconnect

from db.pool import OUTAGES
from gateway import door
from gateway.limits import Pace
from gateway.line import Line
from gateway.metrics import BAD_FRAMES
from gateway.protocol import (
    Auth,
    BadFrameError,
    Changed,
    ChangeFrame,
    Close,
    Closing,
    Error,
    Outgoing,
    Ping,
    Pong,
    Renewed,
    encode,
    parse,
)
from gateway.switchboard import Switchboard
from gateway.transport import BoundedProtocol, text_frame
from outbox.log import get
from outbox.service import describe

log = get("gateway")

BAD_FRAMES_ALLOWED = 5


class SocketWire:
    """A WebSocket as a line sees it."""

    __slots__ = ("_protocol", "_send")

    def __init__(self, protocol: BoundedProtocol, send: Send) -> None:
        self._protocol = protocol
        self._send = send

    def encode(self, frame: Outgoing) -> bytes:
        return text_frame(encode(frame))

    def push(self, data: bytes) -> bool:
        return self._protocol.push(data)

    async def send(self, data: bytes) -> None:
        await self._protocol.push_when_writable(data)

    async def end(self, closing: Closing) -> None:
        close = {"type": "websocket.close", "code": closing.code, "reason": closing.short_reason()}
        await self._send(close)

    def cut(self) -> None:
        self._protocol.abort()


class Socket:
    __slots__ = ("_bad_frames", "_board", "_line", "_pace", "_receive")

    def __init__(self, board: Switchboard, receive: Receive, line: Line) -> None:
        self._board = board
        self._receive = receive
        self._line = line
        self._pace = Pace(board.settings.gateway_frames_per_second)
        self._bad_frames = 0

    async def run(self) -> None:
        """Until either side closes."""
        self._line.open()
        try:
            while True:
                await self._take(await door.receive_frame(self._receive))
        except WebSocketDisconnect:
            pass
        finally:
            await self._line.finish()

    async def _take(self, text: str | None) -> None:
        if pause := self._pace.wait():
            await asyncio.sleep(pause)
        try:
            frame = parse(text)
        except BadFrameError as error:
            self._refuse(str(error))
            return
        match frame:
            case Ping():
                self._line.put(Pong())
            case Auth():
                await self._renew(frame.token)
            case _:
                await self._change(frame)

    def _refuse(self, why: str) -> None:
        BAD_FRAMES.inc()
        self._bad_frames += 1
        if self._bad_frames > BAD_FRAMES_ALLOWED:
            self._line.close(Closing(Close.BAD_FRAMES, "too many frames that are none"))
        else:
            self._line.put(Error(code="bad_frame", detail=why))

    async def _renew(self, token: str) -> None:
        try:
            identity = await door.identify(self._board.verifier, token)
        except door.RefusedError as error:
            away = error.closing.code == Close.TRY_LATER
            self._line.put(Error(code="unavailable" if away else "unauthenticated", detail=str(error)))
            return
        if identity.subject != self._line.user_id:
            self._line.close(Closing(Close.FORBIDDEN, "the new token is another user's"))
            return
        self._line.expire_at(identity.expires_at)
        self._line.put(Renewed(expires_at=identity.expires_at))

    async def _change(self, frame: ChangeFrame) -> None:
        try:
            applied = await self._board.change(self._line.user_id, frame)
        except OUTAGES as error:
            log.warning("gateway.change_failed", error=describe(error))
            self._line.put(Error(code="unavailable", detail=f"{frame.type}: not done; try again later"))
            return
        if applied.hint:
            return  # the answer is the frame that all of the user's sockets get
        now = applied.counters
        self._line.suspect(now.version)
        if not self._line.behind:
            self._line.put(Changed(unread=now.unread, version=now.version))
