"""A mail server that fails (RFC 5321): temporary and final refusals, silences and cut connections at every step."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bench.channels.arrivals import Arrivals
from outbox import verp
from outbox.local.doubles.front import abort

NAME = "smtp"
SLOW_SECONDS = 0.3
ANSWERS = {b"EHLO": b"250 bench", b"HELO": b"250 bench", b"DATA": b"354 go on", b"QUIT": b"221 bye"}
# By kind: the command at which it strikes ("." is the end of the content), and the answer; without one, see `fail`.
FAULTS: dict[str, tuple[bytes, bytes | None]] = {
    "smtp 451 at MAIL": (b"MAIL", b"451 4.3.0 try later\r\n"),
    "smtp 450 at RCPT": (b"RCPT", b"450 4.2.1 try later\r\n"),
    "smtp 451 after content": (b".", b"451 4.3.0 try later\r\n"),
    "smtp 554 after content": (b".", b"554 5.6.0 no\r\n"),
    "smtp cut at MAIL": (b"MAIL", None),
    "smtp cut after content": (b".", None),
    "smtp silent at MAIL": (b"MAIL", None),
    "smtp silent after content": (b".", None),
    "smtp slow": (b".", b"250 taken\r\n"),
}
AT_CONNECT = ("smtp reset at connect", "smtp 421 at connect")


class EndedError(Exception):
    """The connection is over."""


@dataclass(slots=True)
class Server:
    """A transaction is counted once its content was here, or the client has heard that it was refused; `share` of them
    meet a fault, as do connections."""

    arrivals: Arrivals
    share: float = 0.0
    chance: Callable[[], float] = random.random
    struck: Counter[str] = field(default_factory=Counter)
    port: int = 0
    _sessions: set[asyncio.Task[None]] = field(default_factory=set)

    def throw(self, kinds: list[str]) -> str | None:
        throw = self.chance()
        if throw >= self.share:
            return None
        kind = kinds[int(throw / self.share * len(kinds))]
        self.struck[kind] += 1
        return kind

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self.serve(reader, writer))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.greet(writer)
            await self.converse(reader, writer)
        except (EndedError, OSError, asyncio.IncompleteReadError):
            pass  # what became of the mail is the client's business
        finally:
            writer.close()

    async def greet(self, writer: asyncio.StreamWriter) -> None:
        match self.throw(list(AT_CONNECT)):
            case "smtp reset at connect":
                abort(writer)
                raise EndedError
            case "smtp 421 at connect":
                writer.write(b"421 4.3.2 busy\r\n")
                raise EndedError
        writer.write(b"220 bench\r\n")

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault, notification, refused = None, "", False
        while line := await reader.readline():
            verb = line[:4].upper().strip()
            if verb == b"MAIL":
                token = verp.find(line.decode())
                notification = str(token.notification_id) if token else ""
                fault = self.throw(list(FAULTS))
            if verb == b"RSET" and refused:  # so the client has heard it, and did not go away before
                self.arrivals.add(NAME, [notification])
            refused = await self.fail(fault, verb, notification, (reader, writer))
            if not refused:
                writer.write(ANSWERS.get(verb, b"250 ok") + b"\r\n")
            if verb == b"DATA":
                await reader.readuntil(b"\r\n.\r\n")
                if not await self.fail(fault, b".", notification, (reader, writer)):
                    self.arrivals.add(NAME, [notification])
                    writer.write(b"250 taken\r\n")
            if verb == b"QUIT":
                return

    async def fail(
        self,
        kind: str | None,
        step: bytes,
        notification: str,
        ends: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> bool:
        """Whether it did, in place of the usual answer."""
        if kind is None or FAULTS[kind][0] != step:
            return False
        answer, (reader, writer) = FAULTS[kind][1], ends
        if step == b".":
            self.arrivals.add(NAME, [notification])
        if answer is None:
            if "silent" in kind:
                await reader.read()  # until the client gives up
            abort(writer)
            raise EndedError
        if "slow" in kind:
            await asyncio.sleep(SLOW_SECONDS)
        writer.write(answer)
        return True

    async def close(self) -> None:
        for task in self._sessions:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)


@asynccontextmanager
async def mail_server(arrivals: Arrivals) -> AsyncIterator[Server]:
    made = Server(arrivals)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
