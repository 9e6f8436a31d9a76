"""A small real mail server on loopback that can refuse, drop the connection, and remembers what it took."""

import asyncio
import email
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

DROP = "drop"  # close the connection instead of answering
HANG = "hang"  # never answer


@dataclass
class MailServer:
    """Answers of the next RCPT and DATA commands stand in queues; when they are empty it takes everything."""

    port: int = 0
    rcpt: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    after_data: list[str] = field(default_factory=list)  # taken into account, then this answer
    mails: list[EmailMessage] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    options: list[list[str]] = field(default_factory=list)  # of each RCPT
    connections: int = 0
    logins: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    sessions: list[SMTP] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def message_ids(self) -> list[str]:
        return [mail["Message-ID"] for mail in self.mails]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.rcpt.pop(0) if self.rcpt else "250 OK"
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return await self.say(server, answer)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        await self.gate.wait()
        if self.data:
            return await self.say(server, self.data.pop(0))
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(email.message_from_bytes(content, policy=default))
        self.contents.append(content)
        self.senders.append(envelope.mail_from or "")
        self.recipients += envelope.rcpt_tos
        self.options.append(envelope.rcpt_options)
        self.arrived.set()
        return await self.say(server, self.after_data.pop(0) if self.after_data else "250 taken")

    async def say(self, server: SMTP, answer: str) -> str:
        if answer == HANG:
            await asyncio.Event().wait()
        if answer == DROP:
            cut(server)
        return answer

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any
    ) -> AuthResult:
        self.logins.append(auth_data.login.decode())
        return AuthResult(success=auth_data.password == b"right", handled=False)

    def session(self, options: dict[str, Any]) -> SMTP:
        self.connections += 1
        server = SMTP(self, hostname="mail.test", timeout=600, **options)
        self.sessions.append(server)
        return server


@asynccontextmanager
async def mail_server(
    port: int = 0, tls: ssl.SSLContext | None = None, login: bool = False, **options: Any
) -> AsyncIterator[MailServer]:
    server = MailServer()
    loop = asyncio.get_running_loop()
    if login:
        options |= {"authenticator": server.authenticate, "auth_require_tls": False}
    factory: Callable[[], asyncio.BaseProtocol] = lambda: server.session(options)  # noqa: E731
    listening = await loop.create_server(factory, "127.0.0.1", port, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for session in server.sessions:
            cut(session)
            if handler := session._handler_coroutine:
                handler.cancel()
                await asyncio.gather(handler, return_exceptions=True)


def cut(server: SMTP) -> None:
    """Close the connection without a word."""
    transport = server.transport
    # Python before 3.11.4 trips over an abort of a TLS transport that is closed already.
    if isinstance(transport, asyncio.WriteTransport) and not transport.is_closing():
        transport.abort()
