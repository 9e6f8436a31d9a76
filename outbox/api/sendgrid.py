"""POST /v1/callbacks/sendgrid: what became of mails, as SendGrid tells it afterwards.

Safe to repeat: each event counts once, by its sg_event_id. Anything but 2xx makes SendGrid send it again.
"""

import asyncio
import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from db.pool import Pool
from db.reports import take_in
from db.suppressions import suppress
from outbox.api.contract import Contract, Endpoint
from outbox.api.problems import ProblemError
from outbox.api.raw import read_bytes
from outbox.api.sendgrid_events import PROVIDER, Event, genuine, load_keys, read
from outbox.log import get
from outbox.settings import Settings

log = get("api")

LIMIT_BYTES = 4 * 1024 * 1024  # SendGrid posts at most some 800 kB at a time
ACQUIRE_SECONDS = 5.0

TAKE = Contract(
    *("take_sendgrid_events", "What became of mails, as SendGrid tells it", {204: None}),
    headers={
        "X-Twilio-Email-Event-Webhook-Signature": "ECDSA over the timestamp and the body, in base64.",
        "X-Twilio-Email-Event-Webhook-Timestamp": "When it was signed, in seconds since 1970.",
    },
    problems=(400, 403, 413),
)


class SendGridEvents:
    """Served only where a verification key is set. Raises SettingsError for a key that is none."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.keys = load_keys(settings.sendgrid_webhook_keys)
        self.pool = pool

    def routes(self) -> list[Endpoint]:
        return [Endpoint("POST", "/v1/callbacks/sendgrid", self.take, TAKE)] if self.keys else []

    async def take(self, request: Request) -> Response:
        """Each event counts once. Only what is signed with a verification key of ours is taken."""
        body = await read_bytes(request, LIMIT_BYTES)
        if not genuine(self.keys, request.headers, body, time.time()):
            raise ProblemError(403, "forbidden", "The request is not signed as it must be.")
        # In a thread: megabytes of JSON would hold up every other request.
        events = await asyncio.to_thread(read, body)
        if events is None:
            raise ProblemError(400, "malformed", "The body is no JSON list of events.")
        await self.write(events)
        return Response(status_code=204)

    async def write(self, events: Sequence[Event]) -> None:
        """In one transaction, so that an event that counts has its suppression, too."""
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            fresh = await take_in(conn, PROVIDER, [event.report for event in events])
            await suppress(
                conn,
                [
                    event.suppression
                    for event in events
                    if event.suppression and event.report.event_id in fresh
                ],
            )
        log.info("api.events_taken", provider=PROVIDER, events=len(events), fresh=len(fresh))
