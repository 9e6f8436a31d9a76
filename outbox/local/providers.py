"""The providers of `outbox up`: the doubles of all of them in one process, and a page that shows what they took."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from outbox.local import env
from outbox.local.doubles.accounts import Accounts
from outbox.local.doubles.apns import ApnsDouble
from outbox.local.doubles.fcm import FcmDouble
from outbox.local.doubles.http2 import over_http2
from outbox.local.doubles.sendgrid import SendGridDouble
from outbox.local.doubles.serving import Double, answering, over_http1, serve_double
from outbox.local.doubles.twilio import TwilioDouble
from outbox.local.doubles.webhook import Receiver
from outbox.local.providers_web import make_app
from outbox.local.sandbox import FOLDER, PORTS, settings
from outbox.log import get
from outbox.probes import serve
from outbox.service import Stop

log = get("doubles")


@dataclass(frozen=True, slots=True)
class Place:
    """`state`: the accounts are in a folder there. `ports`: by the name of the double. `name`: where others reach them,
    who find what they need for that in the state directory. `callbacks`: where Twilio's reach the API, if that is not
    where the API says that it is."""

    state: Path
    host: str
    page_port: int
    ports: Mapping[str, int]
    name: str | None = None
    callbacks: str | None = None

    def accounts(self) -> Accounts:
        if self.name:
            ports = {PORTS[double]: port for double, port in self.ports.items()}
            env.write(self.state, settings(self.state, ports, self.name))
        return Accounts.kept(self.state / FOLDER)


async def main(place: Place, stop: Stop) -> None:
    """The page answers once every double does."""
    accounts = await asyncio.to_thread(place.accounts)
    twilio = TwilioDouble(token=accounts.twilio_token, callbacks_at=place.callbacks)
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
                tasks.create_task(serve_double(double, place.ports[double.name], stop, http, place.host))
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
