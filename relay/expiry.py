"""Looks once an hour when the certificates end that Postgres, Redis and the service's own addresses show."""

from collections.abc import Mapping

from prometheus_client import Gauge

from outbox.certificates import Endpoint, endpoint, ends_at
from outbox.log import get
from outbox.service import describe
from outbox.settings import Settings

EVERY_SECONDS = 3600.0
AGAIN_SECONDS = 60.0
SILENCE_SECONDS = 5.0

log = get("relay")
ENDS = Gauge(
    "outbox_certificate_expiry_timestamp_seconds",
    "When the certificate ends that this server shows: postgres, redis, api or gateway.",
    ["server"],
)


class Expiry:
    def __init__(self, settings: Settings) -> None:
        self.servers = shown(settings)

    async def step(self) -> float:
        """A server that cannot be asked is asked again soon; what it showed last still holds."""
        found = [await look(name, where) for name, where in self.servers.items()]
        return EVERY_SECONDS if all(found) else AGAIN_SECONDS


def shown(settings: Settings) -> Mapping[str, Endpoint]:
    urls = {
        "postgres": settings.database,
        "redis": settings.redis,
        "api": settings.public_api_url,
        "gateway": settings.public_gateway_url,
    }
    return {name: where for name, url in urls.items() if (where := endpoint(url))}


async def look(name: str, where: Endpoint) -> bool:
    try:
        at = await ends_at(where, SILENCE_SECONDS)
    except (OSError, ValueError) as error:
        log.warning("relay.certificate_not_seen", server=name, error=describe(error))
        return False
    if at is not None:
        ENDS.labels(name).set(at)
    return True
