"""Mail servers: kept connections, TLS and login as the URL says; how far a mail transaction came."""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException

from outbox.errors import SettingsError
from workers.message import Letter, compose
from workers.outcome import Delivered, Outcome
from workers.smtp_answers import classify
from workers.smtp_transfer import Transfer

# To a mail server for each lane; servers commonly allow some fifty for a client.
CONNECTIONS = 16
CONNECT_SECONDS = 10.0
# A connection unused for so long is asked (NOOP) before it is trusted.
DOUBT_SECONDS = 5.0
IDLE_SECONDS = 60.0
QUIT_SECONDS = 1.0
MESSAGES_PER_CONNECTION = 100


Seal = Callable[[bytes], bytes]


def plain(content: bytes) -> bytes:
    """No signature."""
    return content


@dataclass(frozen=True, slots=True)
class Server:
    """From a URL: smtp://user:password@host:port?tls=none|starttls, or smtps:// for TLS from the first byte.
    `ca=` names a file with the certificates to trust instead of the system's."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool
    starttls: bool
    ca: str | None

    def client(self, timeout: float) -> SMTP:
        context = ssl.create_default_context(cafile=self.ca) if self.tls or self.starttls else None
        return SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            use_tls=self.tls,
            start_tls=self.starttls,
            tls_context=context,
            local_hostname=socket.gethostname(),
            timeout=timeout,
        )


def parse(url: str) -> Server:
    """Raises SettingsError, which never shows the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError("the mail server's URL has no valid port") from None
    query = parse_qs(parts.query)
    wish = query.get("tls", ["none" if parts.hostname and loopback(parts.hostname) else "starttls"])[0]
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise SettingsError("the mail server's URL must be like smtp://user:password@host:587")
    if wish not in {"none", "starttls", "required"}:
        raise SettingsError(
            "the mail server's URL: tls must be none or starttls; for TLS at once write smtps://"
        )
    secure = parts.scheme == "smtps"
    return Server(
        host=parts.hostname,
        port=port or (465 if secure else 587 if wish != "none" else 25),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=secure,
        starttls=not secure and wish != "none",
        ca=query.get("ca", [None])[0],
    )


def loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class Kept:
    """A connection between two messages."""

    client: SMTP
    sent: int
    used_at: float


class Mailer:
    """Sends letters to one server over connections of one lane: as many as letters at a time, up to CONNECTIONS,
    and kept for the next."""

    def __init__(self, server: Server, budget: float, name: str = "smtp", seal: Seal = plain) -> None:
        """`seal` signs a message; it takes processor time, so it is called in a thread."""
        self.server, self.budget, self.name = server, budget, name
        self._seal = seal
        self._idle: list[Kept] = []
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._closed = False

    async def send(self, letter: Letter) -> Outcome:
        """Within the budget. Once the content is on its way, silence means that it may have arrived."""
        transfer = Transfer(letter)
        try:
            async with asyncio.timeout(self.budget), self._free:
                transfer.content = await self._content(letter)
                await self._transfer(transfer)
        except (SMTPException, OSError, TimeoutError, ValueError) as error:
            return classify(error, transfer)
        return Delivered(letter.message_id)

    async def _content(self, letter: Letter) -> bytes:
        content = compose(letter)
        return content if self._seal is plain else await asyncio.to_thread(self._seal, content)

    async def _transfer(self, transfer: Transfer) -> None:
        kept = await self._acquire()
        try:
            await transfer.run(kept.client)
        except (SMTPException, OSError, ValueError):
            await self._put_back_after_refusal(kept, transfer)
            raise
        except BaseException:
            kept.client.close()
            raise
        self._put_back(kept)

    async def _acquire(self) -> Kept:
        while self._idle:
            kept = self._idle.pop()
            if await self._alive(kept):
                return kept
            kept.client.close()
        client = self.server.client(min(CONNECT_SECONDS, self.budget))
        await client.connect()
        client.timeout = self.budget
        return Kept(client, 0, time.monotonic())

    async def _alive(self, kept: Kept) -> bool:
        quiet = time.monotonic() - kept.used_at
        if not kept.client.is_connected or quiet > IDLE_SECONDS:
            return False
        if quiet < DOUBT_SECONDS:
            return True
        try:
            return (await kept.client.noop(timeout=CONNECT_SECONDS / 2)).code == 250
        except (SMTPException, OSError):
            return False

    async def _put_back_after_refusal(self, kept: Kept, transfer: Transfer) -> None:
        """After a refusal the transaction is reset and the connection serves on."""
        try:
            if kept.client.is_connected and not transfer.content_left:
                await kept.client.rset(timeout=CONNECT_SECONDS / 2)
                self._put_back(kept)
                return
        except (SMTPException, OSError):
            pass  # the refusal is what counts; a connection that cannot be reset is closed
        kept.client.close()

    def _put_back(self, kept: Kept) -> None:
        kept.sent += 1
        kept.used_at = time.monotonic()
        if self._closed or kept.sent >= MESSAGES_PER_CONNECTION:
            kept.client.close()
        else:
            self._idle.append(kept)

    async def close(self) -> None:
        """Take leave on every idle connection, on all at once. What is in use is closed after its letter."""
        self._closed = True
        idle, self._idle = self._idle, []
        await asyncio.gather(*(take_leave(kept.client) for kept in idle))


async def take_leave(client: SMTP) -> None:
    try:
        if client.is_connected:
            await client.quit(timeout=QUIT_SECONDS)
    except (SMTPException, OSError):
        pass  # it is closed all the same
    finally:
        client.close()
