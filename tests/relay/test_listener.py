"""The LISTEN connection dies without a word: noticed within seconds, told, bridged by the poll, and replaced."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from redis.asyncio import Redis

from bench.chaos.proxy import Link, Proxy
from db.pool import Connection
from outbox.settings import Settings
from relay.listener import PING_SECONDS, SILENCE_SECONDS
from relay.wake import Mode, Sleep
from tests.conftest import Database
from tests.relay.wakes import Watched, watching

INSERT = "INSERT INTO notify.outbox (event_type, user_id) VALUES ('a', 'u')"
DETECTION_SECONDS = 5.0
STALLED_SECONDS = (
    20.0  # the same on a machine that stands still at times; TCP by itself takes a quarter of an hour
)


@pytest.fixture
async def proxy(database: Database) -> AsyncIterator[Proxy]:
    postgres = urlsplit(database.app)
    proxy = Proxy(postgres.hostname or "", postgres.port or 5432)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def relay(settings: Settings, database: Database, proxy: Proxy, redis: Redis) -> AsyncIterator[Watched]:
    """Its LISTEN goes through the proxy, everything else does not."""
    direct = urlsplit(database.app)
    through = direct._replace(netloc=direct.netloc.rpartition("@")[0] + f"@127.0.0.1:{proxy.port}").geturl()
    settings = settings.model_copy(update={"listen_database_url": SecretStr(through), "relay_lease": 600})
    async with watching(settings, Sleep(linger=0.01, poll=5)) as relay:
        relay.listener.silence = 6  # the machine may stand still for some seconds
        await until_told(relay, unready=False)
        yield relay


async def until_told(relay: Watched, *, unready: bool, seconds: float = 60) -> None:
    """Until readiness and the metric both say so."""
    async with asyncio.timeout(seconds):
        while (relay.listener.check() is not None) is not unready:  # noqa: ASYNC110 - as a probe asks
            await asyncio.sleep(0.01)
    assert REGISTRY.get_sample_value("outbox_relay_listening") == (not unready)


async def cause(relay: Watched, producer: Connection) -> str:
    """Commit while the relay relies on notifications. What found it."""
    async with asyncio.timeout(60):
        await relay.modes[Mode.ASLEEP].wait()
        before = relay.tick
        await producer.execute(INSERT)
        # The tick has its number before the step that made it has ended, and only then is its cause noted.
        while relay.tick == before or relay.tick not in relay.found:
            relay.ticked.clear()
            await relay.ticked.wait()
    return relay.found[relay.tick].cause


async def heard(relay: Watched, producer: Connection) -> None:
    """Until a commit is found by its notification. The first may be met by the look that follows a reconnect."""
    async with asyncio.timeout(60):
        while await cause(relay, producer) != "notify":
            pass


def test_the_defaults_detect_within_seconds() -> None:
    assert PING_SECONDS + SILENCE_SECONDS <= DETECTION_SECONDS


async def test_dropped_packets_are_noticed_told_and_bridged_by_the_poll(
    relay: Watched, proxy: Proxy, producer: Connection
) -> None:
    await heard(relay, producer)
    proxy.swallow = True
    assert await cause(relay, producer) == "poll", "nobody can have heard of it"
    await until_told(relay, unready=True, seconds=STALLED_SECONDS)
    assert "LISTEN" in (relay.listener.check() or "")
    assert await cause(relay, producer) == "poll"
    proxy.swallow = False
    await until_told(relay, unready=False)
    await heard(relay, producer)


async def until_replaced(proxy: Proxy, *old: Link) -> None:
    async with asyncio.timeout(STALLED_SECONDS):
        while not proxy.links.difference(old):  # noqa: ASYNC110 - the proxy is asked: it tells nobody
            await asyncio.sleep(0.01)


async def test_one_dead_connection_is_replaced_by_a_healthy_one(
    relay: Watched, proxy: Proxy, producer: Connection
) -> None:
    (dead,) = proxy.links
    proxy.swallow_existing()
    await until_replaced(proxy, dead)
    await until_told(relay, unready=False)
    await heard(relay, producer)


async def test_a_reset_does_not_wait_for_the_next_ping(
    relay: Watched, proxy: Proxy, producer: Connection
) -> None:
    relay.listener.ping = 3600  # of the next connection
    (first,) = proxy.links
    proxy.cut()
    await until_replaced(proxy, first)
    await until_told(relay, unready=False)
    (dead,) = proxy.links - {first}
    proxy.cut()
    await until_replaced(proxy, first, dead)
    await until_told(relay, unready=False)
    await heard(relay, producer)
