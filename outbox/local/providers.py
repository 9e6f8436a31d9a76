"""The providers of `outbox up`: the doubles of all of them in one process, and a page that shows what they took."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from outbox.local.doubles.accounts import Accounts
from outbox.local.doubles.apns import ApnsDouble
from outbox.local.doubles.fcm import FcmDouble
from outbox.local.doubles.http2 import over_http2
from outbox.local.doubles.sendgrid import SendGridDouble
from outbox.local.doubles.serving import Double, answering, over_http1, serve_double
from outbox.local.doubles.twilio import TwilioDouble
from outbox.local.doubles.webhook import Receiver
from outbox.local.providers_web import make_app
from outbox.log import get
from outbox.probes import serve
from outbox.service import Stop

log = get("doubles")


@dataclass(frozen=True, slots=True)
class Place:
    """`folder`: of the accounts. `ports`: by the name of the double."""

    folder: Path
    host: str
    page_port: int
    ports: Mapping[str, int]


async def main(place: Place, stop: Stop) -> None:
    """The page answers once every double does."""
    accounts = await asyncio.to_thread(Accounts.kept, place.folder)
    twilio = TwilioDouble(token=accounts.twilio_token)
    doubles = [
        twilio.double,
        SendGridDouble(accounts.sendgrid_key).double,
        FcmDouble(accounts.google).double,
        ApnsDouble(accounts.apple).double,
        Receiver(accounts.webhook_secret).double,
    ]
    secure = over_http2(accounts.certificate)
    try:
        async with asyncio.TaskGroup() as tasks:
            for double in doubles:
                http = secure if double.scheme == "https" else over_http1
                tasks.create_task(serve_double(double, place.ports[double.name], stop, http))
            await show(place, doubles, stop)
    finally:
        await twilio.close()


async def show(place: Place, doubles: list[Double], stop: Stop) -> None:
    for double in doubles:
        await answering(double)
    log.info(
        "doubles.started", page=place.page_port, **{double.name: double.front.port for double in doubles}
    )
    await serve(make_app(doubles), place.host, place.page_port, stop)
    for double in doubles:
        double.front.reset_all()  # a request that hangs by order would hold up the end
