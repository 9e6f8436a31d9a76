"""Rates over several processes, on the Redis of the tests: one server, or a cluster."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis.asyncio as aioredis
from prometheus_client import REGISTRY

from outbox.errors import SettingsError
from outbox.local.ports import any_free
from outbox.rates import BLIND_SECONDS
from workers.common import Common
from workers.outcome import Deferred, Delivered, Outcome
from workers.providers import Providers, chain
from workers.rates import EXACT, RESERVE, Rates, rate


@pytest.fixture
async def rates(redis_url: str, redis: "aioredis.Redis") -> AsyncIterator[Rates]:
    made = Rates(redis_url, "t:")
    yield made
    await made.close()


@pytest.fixture
async def other(redis_url: str) -> AsyncIterator[Rates]:
    """Another process."""
    made = Rates(redis_url, "t:")
    yield made
    await made.close()


@pytest.mark.parametrize("before", [0, EXACT], ids=["exact", "rough"])
async def test_processes_share_a_rate(rates: Rates, other: Rates, before: int) -> None:
    it = rate(f"{before + 5}/hour")
    if before:
        assert await rates._of(it.common).hit(it.common, "sms", "twilio", cost=before)
    both = [each.take(it, "sms", "twilio") for each in (rates, other) for _ in range(20)]
    taken = await asyncio.gather(*both)
    assert sum(wait == 0 for wait in taken) == 5
    assert all(0 < wait <= 3_600 for wait in taken if wait)


async def test_each_has_its_own(rates: Rates) -> None:
    it = rate("1/hour")
    assert await rates.take(it, "sms", "a") == 0
    assert await rates.take(it, "sms", "b") == 0
    assert await rates.take(it, "email", "a") == 0
    assert await rates.take(it, "sms", "a") > 3_500


async def test_there_is_room_again_when_it_says_so(rates: Rates) -> None:
    it = rate("2/second")
    began, waited = time.monotonic(), 0.0
    for _ in range(6):
        while wait := await rates.take(it, "x"):
            assert wait <= 1.01
            waited += wait
            await asyncio.sleep(wait)
    assert time.monotonic() - began > 1.8
    assert waited < 5


async def test_what_is_urgent_has_a_part_of_its_own(rates: Rates) -> None:
    it = rate("20/hour", reserve=RESERVE)
    assert [await rates.take(it, "x") for _ in range(18)] == [0] * 18
    assert await rates.take(it, "x") > 0
    assert [await rates.take(it, "x", urgent=True) for _ in range(2)] == [0, 0]
    assert await rates.take(it, "x", urgent=True) > 0


async def test_a_recipient_is_not_named_in_redis(rates: Rates, redis: "aioredis.Redis") -> None:
    assert await rates.recipient(rate("1/hour"), "sms", "+15005550010") is None
    deferred = await rates.recipient(rate("1/hour"), "sms", "+15005550010")
    assert isinstance(deferred, Deferred)
    assert (deferred.error_class, deferred.lane) == ("rate_limited", False)
    assert await rates.recipient(rate("1/hour"), "sms", "+15005550011") is None
    keys = [key async for key in redis.scan_iter()]
    assert len(keys) == 2
    assert not [key for key in keys if b"1500" in key]


async def test_what_was_not_sent_is_given_back(rates: Rates) -> None:
    it = rate("1/hour", exact=True)
    for _ in range(3):
        assert await rates.recipient(it, "sms", "+15005550010") is None
        await rates.give_back(it, "sms", "+15005550010")


@pytest.mark.parametrize(("blind", "wait"), [("open", 0), ("closed", BLIND_SECONDS)])
async def test_without_redis(blind: Any, wait: float) -> None:
    blinded = REGISTRY.get_sample_value("outbox_worker_rates_blind_total") or 0
    rates = Rates(f"redis://127.0.0.1:{any_free()}", "t:", blind)
    assert [await rates.take(rate("1/hour"), "x") for _ in range(3)] == [wait] * 3
    await rates.give_back(rate("1/hour"), "x", "y")
    await rates.close()
    assert REGISTRY.get_sample_value("outbox_worker_rates_blind_total") == blinded + 3


async def test_a_redis_that_hangs_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first waits a little; those who come next do not ask at all."""
    monkeypatch.setattr("outbox.rates.ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("workers.rates.BLIND_SECONDS", 60.0)
    asked = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    rates = Rates(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", "t:")
    async with asyncio.timeout(60):
        assert [await rates.take(rate("1/hour"), "x") for _ in range(5)] == [0] * 5
    assert asked <= 1
    await rates.close()
    server.close()


@pytest.mark.parametrize("text", ["", "fast", "0/second", 5, None, "5"])
def test_a_rate_that_is_none(text: object) -> None:
    with pytest.raises(SettingsError, match="50/second"):
        rate(text)


def test_a_recipients_rate_is_small() -> None:
    with pytest.raises(SettingsError, match="at most"):
        rate("2000/day", exact=True)


@dataclass
class Fast:
    name: str
    sent: list[str] = field(default_factory=list)

    async def send(self, message: str) -> Outcome:
        self.sent.append(message)
        return Delivered(str(len(self.sent)))

    async def close(self) -> None: ...


def limited(rates: Rates, budget: float, **rate_of: str) -> tuple[list[Fast], Providers[str]]:
    made: list[Fast] = []

    def make(name: str, _part: Any, _seconds: float) -> Fast:
        made.append(Fast(name))
        return made[-1]

    config = {"providers": [{"type": "x", "name": name, "rate": text} for name, text in rate_of.items()]}
    return made, chain(config, {"x": make}, Common("sms", rates=rates), budget)


async def test_past_its_rate_the_next_provider_is_asked(rates: Rates) -> None:
    (a, b), providers = limited(rates, 10, a="2/hour", b="2/hour")
    outcomes = [await providers.send("hello") for _ in range(5)]
    assert (len(a.sent), len(b.sent)) == (2, 2)
    third = outcomes[2]
    assert isinstance(third, Delivered)
    assert (third.provider, third.tried[0].error_class, third.tried[0].sends) == ("b", "rate_limited", 0)
    last = outcomes[4]
    assert isinstance(last, Deferred)
    assert (last.error_class, last.lane) == ("rate_limited", True)
    assert last.retry_after is not None
    assert last.retry_after > 3_500


async def test_room_that_comes_soon_is_waited_for(rates: Rates) -> None:
    (a,), providers = limited(rates, 30, a="4/second")
    outcomes = await asyncio.gather(*(providers.send("hello") for _ in range(8)))
    assert {type(outcome) for outcome in outcomes} == {Delivered}
    assert len(a.sent) == 8


async def test_a_bad_rate_is_told_with_the_config(rates: Rates) -> None:
    with pytest.raises(SettingsError, match="50/second"):
        limited(rates, 30, a="often")
