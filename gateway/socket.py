"""One socket: the ASGI task reads, one task more writes; between them a bounded queue.

The writer alone sends, and it alone reads Postgres for its session, so frames leave in the session's order and
a client that reads slowly slows only its own catch-up. Live frames queue; a queue that is full means that the
client does not keep up, and the socket is closed with a code that says "come back with your cursor".
"""

import asyncio
from collections import deque
from datetime import UTC, datetime

from starlette.websockets import WebSocket, WebSocketDisconnect

from db.pool import OUTAGES
from gateway import door
from gateway.catchup import catch_up
from gateway.metrics import BAD_FRAMES, CLOSED, FRAMES
from gateway.protocol import (
    Auth,
    BadFrameError,
    Changed,
    ChangeFrame,
    Close,
    Closing,
    Error,
    Ping,
    Pong,
    Renewed,
    ServerFrame,
    parse,
)
from gateway.session import Session
from gateway.switchboard import Switchboard
from gateway.transport import ABORT
from outbox.inbox import InboxChange
from outbox.log import get
from outbox.service import describe, wait

log = get("gateway")

QUEUE_BYTES = 1_048_576
BAD_FRAMES_ALLOWED = 5
CONFIRM_SECONDS = 2.0
CLOSE_SECONDS = 5.0


class Socket:
    def __init__(self, board: Switchboard, ws: WebSocket, visitor: door.Visitor) -> None:
        self.user_id = visitor.identity.subject
        self.closing: Closing | None = None
        self._board = board
        self._ws = ws
        self._session = Session(self.user_id, visitor.cursor)
        self._queue: deque[str] = deque()
        self._queued = 0  # characters
        self._wake = asyncio.Event()
        self._pumping = False
        self._bad_frames = 0
        self._expiry = self._expire_at(visitor.identity.expires_at)

    async def run(self) -> None:
        """Until either side closes."""
        subscribed = self._board.enter(self)
        writer = self._writer = asyncio.create_task(self._write(subscribed))
        writer.add_done_callback(self._cut_if_broken)
        try:
            while True:
                await self._take(await door.receive_frame(self._ws))
        except WebSocketDisconnect:
            pass
        finally:
            self._expiry.cancel()
            self._board.leave(self)
            if not self.closing:
                writer.cancel()
            await asyncio.wait([writer])
        if not writer.cancelled():
            writer.result()

    def _cut_if_broken(self, writer: asyncio.Task[None]) -> None:
        """A mistake in here must not leave a socket that looks alive and says nothing; run() raises it."""
        if not writer.cancelled() and writer.exception():
            cut(self._ws)

    # What others call; none of it waits.

    def hint(self, change: InboxChange | None) -> None:
        """The user's inbox changed."""
        for frame in self._session.hint(change):
            self._enqueue(frame)
        self._wake.set()

    def suspect(self, version: int) -> bool:
        """The user's inbox has this version. Whether that was news."""
        news = self._session.suspect(version)
        if news:
            self._wake.set()
        return news

    def close(self, closing: Closing) -> None:
        """End the socket: what is queued is dropped, the writer says goodbye."""
        if self.closing is None:
            self.closing = closing
            self._queue.clear()
            self._wake.set()
            if self._pumping:
                self._writer.cancel()

    # The reading side.

    async def _take(self, text: str | None) -> None:
        try:
            frame = parse(text)
        except BadFrameError as error:
            self._refuse(str(error))
            return
        match frame:
            case Ping():
                self._enqueue(Pong())
            case Auth():
                await self._renew(frame.token)
            case _:
                await self._change(frame)

    def _refuse(self, why: str) -> None:
        BAD_FRAMES.inc()
        self._bad_frames += 1
        if self._bad_frames > BAD_FRAMES_ALLOWED:
            self.close(Closing(Close.BAD_FRAMES, "too many frames that are none"))
        else:
            self._enqueue(Error(code="bad_frame", detail=why))

    async def _renew(self, token: str) -> None:
        try:
            identity = await door.identify(self._board.verifier, token)
        except door.RefusedError as error:
            away = error.closing.code == Close.TRY_LATER
            self._enqueue(Error(code="unavailable" if away else "unauthenticated", detail=str(error)))
            return
        if identity.subject != self.user_id:
            self.close(Closing(Close.FORBIDDEN, "the new token is another user's"))
            return
        self._expiry.cancel()
        self._expiry = self._expire_at(identity.expires_at)
        self._enqueue(Renewed(expires_at=identity.expires_at))

    def _expire_at(self, moment: datetime) -> asyncio.TimerHandle:
        seconds = (moment - datetime.now(UTC)).total_seconds()
        closing = Closing(Close.TOKEN_EXPIRED, "the token has expired")
        return asyncio.get_running_loop().call_later(max(0.0, seconds), self.close, closing)

    async def _change(self, frame: ChangeFrame) -> None:
        try:
            applied = await self._board.change(self.user_id, frame)
        except OUTAGES as error:
            log.warning("gateway.change_failed", error=describe(error))
            self._enqueue(Error(code="unavailable", detail=f"{frame.type}: not done; try again later"))
            return
        if applied.hint:
            return  # the answer is the frame that all of the user's sockets get
        now = applied.counters
        self.suspect(now.version)
        if not self._session.behind:
            self._enqueue(Changed(unread=now.unread, version=now.version))

    def _enqueue(self, frame: ServerFrame) -> None:
        if self.closing:
            return
        text = frame.model_dump_json()
        self._queue.append(text)
        self._queued += len(text)
        FRAMES.labels(frame.type).inc()
        self._wake.set()
        if len(self._queue) > self._board.settings.gateway_queue or self._queued > QUEUE_BYTES:
            self.close(
                Closing(Close.TOO_SLOW, "frames were not read fast enough; come back with your cursor")
            )

    # The writing side.

    async def _write(self, subscribed: asyncio.Event) -> None:
        self._pumping = True
        try:
            # Without Redis the reconciliation still keeps the socket up to date, only later.
            await wait(subscribed, CONFIRM_SECONDS)
            while not self.closing:
                await self._pump()
        except WebSocketDisconnect:
            return
        except asyncio.CancelledError:
            if not self.closing:
                raise
        except OUTAGES as error:
            log.warning("gateway.catch_up_failed", error=describe(error))
            self.closing = Closing(Close.TRY_LATER, "the database does not answer")
        finally:
            self._pumping = False
        if self.closing is not None:
            await say_goodbye(self._ws, self.closing)

    async def _pump(self) -> None:
        """The queue before the next catch-up: the session has counted on it being sent."""
        self._wake.clear()
        while self._queue:
            text = self._queue.popleft()
            self._queued -= len(text)
            await self._ws.send_text(text)
        if self._session.behind:
            await catch_up(self._board.reader, self._session, self._send)
        elif not self.closing:
            await self._wake.wait()

    async def _send(self, frames: list[ServerFrame]) -> None:
        for frame in frames:
            FRAMES.labels(frame.type).inc()
            await self._ws.send_text(frame.model_dump_json())


async def say_goodbye(ws: WebSocket, closing: Closing) -> None:
    """Send the close frame. A peer that takes no bytes for a while is cut off without."""
    CLOSED.labels(closing.code.value).inc()
    try:
        # Not asyncio.timeout: before Python 3.11.4 it gives no TimeoutError to a task that was cancelled once.
        await asyncio.wait_for(ws.close(closing.code, closing.short_reason()), CLOSE_SECONDS)
    except TimeoutError:
        cut(ws)
    except WebSocketDisconnect:
        pass


def cut(ws: WebSocket) -> None:
    """End the connection at once, whatever is still to be sent."""
    ws.scope["extensions"][ABORT]["abort"]()
