"""What goes out to one client, by socket or as events: its session, a bounded queue, and a writer when there is need.

A live frame is written at once where nothing is before it, so that a quiet client costs no task. Otherwise it queues,
and the writer sends it; the writer alone waits for a client and reads Postgres for its session, so frames leave in the
session's order and a client that reads slowly slows only its own catch-up. A queue that is full means that the client
does not keep up, and the line is closed with a code that says "come back with your cursor".
"""

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import Protocol

from starlette.websockets import WebSocketDisconnect

from db.pool import OUTAGES
from gateway.catchup import catch_up
from gateway.door import Visitor
from gateway.metrics import CLOSED, sent
from gateway.protocol import Arrived, Close, Closing, Outgoing
from gateway.session import Session
from gateway.switchboard import Switchboard
from outbox.inbox import InboxChange
from outbox.log import get
from outbox.service import describe, wait

log = get("gateway")

QUEUE_BYTES = 1_048_576
CONFIRM_SECONDS = 2.0
CLOSE_SECONDS = 5.0
SLOW = Closing(Close.TOO_SLOW, "frames were not read fast enough; come back with your cursor")


class Wire(Protocol):
    """The connection below. Its methods raise WebSocketDisconnect once the client has left."""

    def encode(self, frame: Outgoing) -> bytes:
        """The frame as it goes over this wire."""

    def push(self, data: bytes) -> bool:
        """Send now what needs no waiting; False where it does."""

    async def send(self, data: bytes) -> None:
        """Wait until the client takes more, then send."""

    async def end(self, closing: Closing) -> None:
        """Say goodbye."""

    def cut(self) -> None:
        """End the connection at once, whatever is still to be sent."""


class Line:
    __slots__ = (
        "_board",
        "_expiry",
        "_pumping",
        "_queue",
        "_queued",
        "_session",
        "_subscribed",
        "_wire",
        "_writer",
        "closing",
        "user_id",
    )

    def __init__(self, board: Switchboard, visitor: Visitor, wire: Wire) -> None:
        self.user_id = visitor.identity.subject
        self.closing: Closing | None = None
        self._board = board
        self._wire = wire
        self._session = Session(self.user_id, visitor.cursor)
        self._queue: deque[bytes] | None = None  # where one was needed
        self._queued = 0  # bytes
        self._writer: asyncio.Task[None] | None = None
        self._pumping = False
        self._subscribed: asyncio.Event | None = None  # until the first round
        self._expiry: asyncio.TimerHandle | None = None
        self.expire_at(visitor.identity.expires_at)

    def open(self) -> None:
        self._subscribed = self._board.enter(self)
        self._stir()

    async def finish(self) -> None:
        """The client has left, or was closed. Raises what went wrong in the writer by a mistake in here."""
        if self._expiry:
            self._expiry.cancel()
        self._board.leave(self)
        if writer := self._writer:
            if not self.closing:
                writer.cancel()
            await asyncio.wait([writer])
            if not writer.cancelled():
                writer.result()

    def expire_at(self, moment: datetime) -> None:
        """When the token's time is over; a new one puts it off."""
        if self._expiry:
            self._expiry.cancel()
        seconds = (moment - datetime.now(UTC)).total_seconds()
        closing = Closing(Close.TOKEN_EXPIRED, "the token has expired")
        self._expiry = asyncio.get_running_loop().call_later(max(0.0, seconds), self.close, closing)

    # What others call; none of it waits.

    def hint(self, change: InboxChange | Arrived | None) -> None:
        """The user's inbox changed."""
        for frame in self._session.hint(change):
            self.put(frame)
        if self._session.behind:
            self._stir()

    def suspect(self, version: int, *, anew: bool = False) -> bool:
        """The user's inbox has this version; `anew`: it had a higher one before. Whether that was news."""
        news = self._session.suspect(version, anew=anew)
        if news:
            self._stir()
        return news

    @property
    def behind(self) -> bool:
        return self._session.behind

    @property
    def version(self) -> int:
        """Of the inbox, as far as the client knows; -1 before it was read."""
        return self._session.version

    def close(self, closing: Closing) -> None:
        """End the line: what is queued is dropped, the writer says goodbye."""
        if self.closing is None:
            self.closing = closing
            self._queue = None
            if self._pumping and self._writer:
                self._writer.cancel()
            else:
                self._stir()

    def put(self, frame: Outgoing) -> None:
        """Send it, at once or in its turn."""
        if not self.closing:
            sent(frame.type).inc()
            self.put_bytes(self._wire.encode(frame))

    def put_bytes(self, data: bytes) -> None:
        """What is encoded already."""
        if self.closing or (self._writer is None and self._wire.push(data)):
            return
        if self._queue is None:
            self._queue = deque()
        self._queue.append(data)
        self._queued += len(data)
        self._stir()
        if len(self._queue) > self._board.settings.gateway_queue or self._queued > QUEUE_BYTES:
            self.close(SLOW)

    # The writer.

    def _stir(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
            self._writer.add_done_callback(self._cut_if_broken)

    def _cut_if_broken(self, writer: asyncio.Task[None]) -> None:
        """A mistake in here must not leave a line that looks alive and says nothing; finish() raises it."""
        if not writer.cancelled() and writer.exception():
            self._wire.cut()

    async def _write(self) -> None:
        self._pumping = True
        try:
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
            await say_goodbye(self._wire, self.closing)

    async def _pump(self) -> None:
        """Until there is nothing to do. The queue before a catch-up: the session has counted on it being sent."""
        if self._subscribed:
            # Without Redis the reconciliation still keeps the line up to date, only later.
            await wait(self._subscribed, CONFIRM_SECONDS)
            self._subscribed = None
        while not self.closing:
            if self._queue:
                data = self._queue.popleft()
                self._queued -= len(data)
                await self._wire.send(data)
            elif self._session.behind:
                await catch_up(self._board.reader, self._session, self._send)
            else:
                self._queue = self._writer = None
                return

    async def _send(self, frames: list[Outgoing]) -> None:
        for frame in frames:
            sent(frame.type).inc()
            await self._wire.send(self._wire.encode(frame))


async def say_goodbye(wire: Wire, closing: Closing) -> None:
    """A peer that takes no bytes for a while is cut off without."""
    CLOSED.labels(closing.code.value).inc()
    try:
        # Not asyncio.timeout: before Python 3.11.4 it gives no TimeoutError to a task that was cancelled once.
        await asyncio.wait_for(wire.end(closing), CLOSE_SECONDS)
    except TimeoutError:
        wire.cut()
    except WebSocketDisconnect:
        pass
