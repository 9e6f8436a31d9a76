"""POST /v1/bounces: mails that came to the bounce address, handed in by the mail server that received them.

The report decides nothing that its sender could not know: only the address that our mail went to can be suppressed by
it, and the token in the bounce address (or the Message-ID, for installations without one) must be of that mail.
Safe to repeat: a report counts once.
"""

import asyncio
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db.pool import Pool, PooledConnection
from db.reports import Mail, Report, mails_of, take_in
from db.suppressions import Suppression, suppress
from outbox import verp
from outbox.api.contract import Contract, Endpoint
from outbox.api.delivery_reports import READ_BYTES, DeliveryReport, read
from outbox.api.raw import read_beginning
from outbox.log import get
from outbox.settings import Settings
from outbox.tokens import Scope

log = get("api")

PROVIDER = "rfc3464"
ACQUIRE_SECONDS = 5.0
RECIPIENT_CHARACTERS = 500


class Envelope(BaseModel):
    """`recipient`: the address that the mail came to, where the mail server knows it."""

    recipient: str = ""


class Result(BaseModel):
    """What the timeline got, or why nothing."""

    result: Literal["bounced", "delayed", "arrived", "repeated", "no_report", "not_ours"]


TAKE = Contract(
    *("take_bounce", "Hand in a mail that came back", {202: Result}, (Scope.BOUNCES, Scope.PRODUCER)),
    query=Envelope,
    takes="message/rfc822",
)


class Bounces:
    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool
        self.key = settings.link_key("bounce")

    def routes(self) -> list[Endpoint]:
        return [Endpoint("POST", "/v1/bounces", self.take, TAKE)]

    async def take(self, request: Request) -> Response:
        """Always taken, once the token holds: a mail that is no report must not make the mail server try again."""
        raw = await read_beginning(request, READ_BYTES)
        envelope_to = request.query_params.get("recipient", "")[:RECIPIENT_CHARACTERS]
        report = await asyncio.to_thread(read, raw, envelope_to)
        result = await self.write(report) if report else "no_report"
        log.info("api.bounce_taken", result=result, status=report.status if report else None)
        return JSONResponse({"result": result}, 202)

    async def write(self, report: DeliveryReport) -> str:
        """The event, or why there is none."""
        notification_id = whose(report)
        if notification_id is None:
            return "not_ours"
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            mails = await mails_of(conn, notification_id)
            found = match(self.key, report, mails)
            if found is None:
                return "not_ours"
            async with conn.transaction():
                fresh = await self.put(conn, notification_id, report, found)
        return report.event if fresh else "repeated"

    async def put(
        self, conn: PooledConnection, notification_id: UUID, report: DeliveryReport, mail: Mail
    ) -> bool:
        event_id = f"{notification_id}.{mail.channel}.{report.action}.{report.status}"
        facts = {"status": report.status, "provider": PROVIDER}
        fresh = await take_in(
            conn, PROVIDER, [Report(event_id, notification_id, mail.channel, report.event, facts)]
        )
        if fresh and mail.address and report.no_such_address:
            await suppress(conn, [Suppression(mail.channel, mail.address, "hard bounce")])
        return bool(fresh)


def whose(report: DeliveryReport) -> UUID | None:
    if report.token:
        return report.token.notification_id
    return report.message_id[0] if report.message_id else None


def match(key: bytes, report: DeliveryReport, mails: Sequence[Mail]) -> Mail | None:
    """The mail that the report is about, with the address it went to. With a token it is the address that the token
    was made for, among those that the report names and the recipient's own; without one, it must be the recipient's
    own, and be named."""
    for mail in mails:
        if report.token:
            own = {mail.address.lower()} if mail.address else set()
            for address in sorted(report.addresses | own):
                if verp.holds(key, report.token, mail.channel, address):
                    return Mail(mail.channel, address)
        elif report.message_id and report.message_id[1] == mail.channel:
            known = mail.address is not None and mail.address.lower() in report.addresses
            return Mail(mail.channel, mail.address if known else None)
    return None
