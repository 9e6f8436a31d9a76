"""What the tests of push share: the doubles, and a push to send to them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from db.push import Device, Platform
from outbox.envelope import Priority
from outbox.local.doubles.apns import ApnsDouble
from outbox.local.doubles.fcm import FcmDouble
from outbox.local.doubles.http2 import Certificate, over_http2
from outbox.local.doubles.serving import running
from workers.apns import Apns, App
from workers.apns_token import Signer
from workers.fcm import Account, Fcm
from workers.google_token import Access
from workers.http2 import Origin
from workers.outcome import Outcome
from workers.push_message import Parcel, Push

NOTIFICATION = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
APNS_TOKEN = "c0ffee" * 10 + "c0ff"
BUDGET_SECONDS = 30.0


def a_push(**changed: object) -> Push:
    fields: dict[str, object] = {
        "notification_id": NOTIFICATION,
        "title": "Paid",
        "body": "Thank you",
        "data": {"order": "7"},
        "priority": Priority.NORMAL,
        "ttl_seconds": 3600,
        "collapse": str(NOTIFICATION),
        "queue": None,
        "badge": 3,
    }
    return Push(**fields | changed)  # type: ignore[arg-type]  # by name, for brevity in the tests


def a_device(token: str, platform: Platform = Platform.FCM, registered_at: datetime | None = None) -> Device:
    return Device(uuid4(), platform, token, registered_at or datetime(2026, 1, 1, tzinfo=UTC))


def parcel(
    token: str, platform: Platform = Platform.FCM, *, budget: float = BUDGET_SECONDS, **changed: object
) -> Parcel:
    ends = asyncio.get_running_loop().time() + budget
    return Parcel(a_push(**changed), a_device(token, platform), ends)


@dataclass(frozen=True, slots=True)
class Fire:
    """A double of FCM and our side of it."""

    server: FcmDouble
    provider: Fcm

    async def send(self, token: str = "phone", *, budget: float = BUDGET_SECONDS) -> Outcome:
        return await self.provider.send(parcel(token, budget=budget))

    async def let_in(self) -> Access:
        """With an access token, and nothing sent yet."""
        access = self.provider.account.access
        assert isinstance(await access.token(asyncio.get_running_loop().time() + BUDGET_SECONDS), str)
        return access


@dataclass(frozen=True, slots=True)
class Apple:
    """A double of APNs and our side of it."""

    server: ApnsDouble
    signer: Signer
    provider: Apns

    async def send(self, token: str = APNS_TOKEN, *, budget: float = BUDGET_SECONDS) -> Outcome:
        return await self.provider.send(parcel(token, Platform.APNS, budget=budget))


def origin(url: str, certificate: Certificate) -> Origin:
    return Origin(url, str(certificate.chain), direct=True)


@asynccontextmanager
async def fire(folder: Path) -> AsyncIterator[Fire]:
    certificate, server = Certificate.kept(folder), FcmDouble()
    async with running(server.double, over_http2(certificate)):
        account = Account.from_config(server.credentials, None, origin(server.double.url, certificate))
        provider = Fcm(account)
        try:
            yield Fire(server, provider)
        finally:
            await provider.close()


@asynccontextmanager
async def apple(folder: Path) -> AsyncIterator[Apple]:
    certificate, server = Certificate.kept(folder), ApnsDouble()
    team = server.team
    signer = Signer(team.key, team.key_id, team.team_id)
    async with running(server.double, over_http2(certificate)):
        provider = Apns(App(team.topic, signer, origin(server.double.url, certificate)))
        try:
            yield Apple(server, signer, provider)
        finally:
            await provider.close()
