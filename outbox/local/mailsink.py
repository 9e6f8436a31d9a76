"""The mail sink of `outbox up`: takes every mail over SMTP, keeps it as a file, sends it to nobody."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from outbox.local.mailsink_store import KEEP, Store
from outbox.local.mailsink_web import make_app
from outbox.log import get
from outbox.probes import serve
from outbox.service import Stop

log = get("mailsink")
LARGEST_BYTES = 16 * 1024 * 1024
NAME = "mailsink.localhost"  # said in the greeting; a lookup of the machine's own name can take seconds


@dataclass(frozen=True, slots=True)
class Place:
    folder: Path
    host: str
    smtp_port: int
    web_port: int
    keep: int = KEEP


class Sink:
    """aiosmtpd's handler. 250 is said after the mail is in its file: what was accepted is never lost."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        content = envelope.content or b""
        trace = [f"Return-Path: <{envelope.mail_from}>", *(f"Delivered-To: {to}" for to in envelope.rcpt_tos)]
        head = "".join(f"{line}\r\n" for line in trace).encode("utf-8", "surrogateescape")
        body = content if isinstance(content, bytes) else content.encode()
        try:
            mail = self.store.add(head + body)
        except OSError as error:
            log.error("mailsink.not_kept", error=str(error))
            return "452 4.3.1 The mail could not be written"
        log.debug("mailsink.caught", id=mail.id, bytes=mail.size)
        return f"250 2.0.0 OK {mail.id}"


async def main(place: Place, stop: Stop) -> None:
    store = Store(place.folder, place.keep)
    await asyncio.to_thread(store.read_folder)
    sink = Sink(store)

    def session() -> SMTP:
        return SMTP(
            sink, data_size_limit=LARGEST_BYTES, enable_SMTPUTF8=True, hostname=NAME, ident="Outbox mail sink"
        )

    server = await asyncio.get_running_loop().create_server(session, place.host, place.smtp_port)
    log.info("mailsink.started", smtp=place.smtp_port, web=place.web_port, kept=len(store.mails))
    try:
        await serve(make_app(store), place.host, place.web_port, stop)
    finally:
        server.close()
