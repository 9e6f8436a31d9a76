"""Mail servers: kept connections, TLS and login as the URL says, and every answer classed once (RFC 5321 §4.2.1)."""

import asyncio
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException, SMTPResponseException

from outbox.errors import SettingsError
from outbox.service import describe
from workers.message import Letter
from workers.outcome import Delivered, Outcome, Permanent, RecipientGone, Throttled, Transient, Unknown, clean

# To a mail server for each lane; servers commonly allow some fifty for a client.
CONNECTIONS = 16
CONNECT_SECONDS = 10.0
# A connection unused for so long is asked (NOOP) before it is trusted.
DOUBT_SECONDS = 5.0
IDLE_SECONDS = 60.0
QUIT_SECONDS = 1.0
MESSAGES_PER_CONNECTION = 100
NO_SUCH_MAILBOX = frozenset({550, 551, 553})
NOT_LOGGED_IN = frozenset({530, 534, 535, 538})


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

    name = "smtp"

    def __init__(self, server: Server, budget: float) -> None:
        self.server, self.budget = server, budget
        self._idle: list[Kept] = []
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._closed = False

    async def send(self, letter: Letter) -> Outcome:
        """Within the budget. Once the content is on its way, silence means that it may have arrived."""
        transfer = Transfer(letter)
        try:
            async with asyncio.timeout(self.budget), self._free:
                await self._transfer(transfer)
        except (SMTPException, OSError, TimeoutError, ValueError) as error:
            return classify(error, transfer)
        return Delivered(letter.message_id)

    async def _transfer(self, transfer: "Transfer") -> None:
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

    async def _put_back_after_refusal(self, kept: Kept, transfer: "Transfer") -> None:
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


@dataclass(slots=True)
class Transfer:
    """One mail transaction, and how far it came."""

    letter: Letter
    recipient_named: bool = False
    content_left: bool = False

    async def run(self, client: SMTP) -> None:
        await client.mail(self.letter.sender)
        self.recipient_named = True
        await client.rcpt(self.letter.recipient)
        self.content_left = True
        await client.data(self.letter.content)


def classify(error: Exception, transfer: Transfer) -> Outcome:
    """The outcome that an error stands for. It is told without the recipient's address."""
    if isinstance(error, SMTPResponseException):
        return answered(error, transfer)
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        if transfer.recipient_named:
            return Permanent("bad_address", "the address cannot be used in a mail command")
        return Transient("config", clean(f"the mail server cannot be used as configured: {error}"))
    return unanswered(error, transfer)


def unanswered(error: Exception, transfer: Transfer) -> Outcome:
    if transfer.content_left:
        return Unknown(
            clean(f"the mail server fell silent after the content was sent: {type(error).__name__}")
        )
    if isinstance(error.__cause__ or error, ssl.SSLError):
        return Transient("tls", clean(f"no TLS with the mail server: {describe(error)}"))
    if isinstance(error, TimeoutError):
        return Transient("timeout", "the mail server did not answer in time")
    return Transient("connection", clean(f"the mail server cannot be reached: {describe(error)}"))


def answered(error: SMTPResponseException, transfer: Transfer) -> Outcome:
    code, reason = error.code, clean(f"{error.code} {error.message}")
    if isinstance(error, aiosmtplib.SMTPConnectResponseError | aiosmtplib.SMTPHeloError):
        return Throttled(reason) if code == 421 else Transient("connection", reason)
    if code == 421:
        return Throttled(reason)
    if code in NOT_LOGGED_IN:
        return Transient("auth", reason)
    if 400 <= code < 500:
        return Transient("smtp_4xx", reason)
    if 500 <= code < 600:
        named = transfer.recipient_named and not transfer.content_left
        return RecipientGone(reason) if named and code in NO_SUCH_MAILBOX else Permanent("smtp_5xx", reason)
    # An answer that is none (aiosmtplib gives -1): after the content, nobody knows.
    return Unknown(reason) if transfer.content_left else Transient("smtp_protocol", reason)
