"""Down the list of providers: who is asked, who is not, and what the outcome tells about it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from db.delivery import Tried
from outbox.errors import SettingsError
from workers.circuit import State
from workers.common import Common
from workers.outcome import (
    Deferred,
    Delivered,
    LeaseShort,
    Outcome,
    Permanent,
    RecipientGone,
    Throttled,
    Transient,
    Unknown,
    sends,
)
from workers.providers import Providers, chain, share

DOWN = Transient("connection", "refused")
REFUSED = Transient("http_5xx", "503")


@dataclass
class Scripted:
    """A provider that gives what it was told, the last again and again."""

    name: str
    outcomes: list[Outcome]
    asked: int = 0
    closed: bool = False

    async def send(self, _: str) -> Outcome:
        self.asked += 1
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]

    async def close(self) -> None:
        self.closed = True


@dataclass
class Hanging:
    name: str = "hanging"
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, _: str) -> Outcome:
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self) -> None: ...


def pair(*first: Outcome) -> tuple[Scripted, Scripted, Providers[str]]:
    a, b = Scripted("a", list(first)), Scripted("b", [Delivered("m1")])
    return a, b, of(a, b)


def of(*providers: Any) -> Providers[str]:
    return Providers(providers, Common("sms"), budget=30)


def tried(outcome: Outcome) -> Sequence[Tried]:
    assert not isinstance(outcome, LeaseShort)
    return outcome.tried


@pytest.mark.parametrize(
    "failure",
    [
        DOWN,
        REFUSED,
        Transient("tls", "certificate"),
        Transient("timeout", "before sending"),
        Transient("auth", "401"),
        Transient("config", "no such sender"),
        Throttled("429", 3),
        Permanent("route", "not to this country"),
    ],
    ids=str,
)
async def test_the_next_provider_takes_over(failure: Outcome) -> None:
    _, b, providers = pair(failure)
    outcome = await providers.send("hello")
    assert isinstance(outcome, Delivered)
    assert (outcome.provider, outcome.message_id, b.asked) == ("b", "m1", 1)
    (before,) = outcome.tried
    assert before.provider == "a"


@pytest.mark.parametrize(
    "outcome",
    [
        Unknown("silence after the request"),
        Permanent("body", "too long"),
        RecipientGone("no such number"),
        LeaseShort(),
        Delivered("m0"),
    ],
    ids=str,
)
async def test_what_may_have_arrived_or_is_final_is_asked_of_nobody_else(outcome: Outcome) -> None:
    _, b, providers = pair(outcome)
    assert type(await providers.send("hello")) is type(outcome)
    assert b.asked == 0


@pytest.mark.parametrize(
    ("first", "count"), [(DOWN, 1), (REFUSED, 2), (Transient("timeout", ""), 1), (Throttled("429"), 2)]
)
async def test_every_request_that_left_is_counted(first: Outcome, count: int) -> None:
    _, _, providers = pair(first)
    assert sends(await providers.send("hello")) == count


async def test_nobody_took_it_the_last_speaks_and_the_others_are_named() -> None:
    a, b = Scripted("a", [DOWN]), Scripted("b", [REFUSED])
    outcome = await of(a, b).send("hello")
    before = (Tried("a", "connection", "refused", 0),)
    assert outcome == Transient("http_5xx", "503", None, "b", before, sends=1)
    assert sends(outcome) == 1


async def test_a_route_that_neither_has_is_permanent() -> None:
    route = Permanent("route", "not to this country")
    outcome = await of(Scripted("a", [route]), Scripted("b", [route])).send("hello")
    assert isinstance(outcome, Permanent)
    assert sends(outcome) == 2


async def test_a_route_that_the_other_may_have_later_is_not() -> None:
    outcome = await of(Scripted("a", [Throttled("429", 30)]), Scripted("b", [Permanent("route", "no")])).send(
        ""
    )
    assert isinstance(outcome, Transient)
    assert outcome.retry_after == pytest.approx(30, abs=1)


async def test_all_throttled_slows_the_channel_until_the_first_is_ready() -> None:
    outcome = await of(Scripted("a", [Throttled("429", 9)]), Scripted("b", [Throttled("429", 5)])).send(
        "hello"
    )
    assert isinstance(outcome, Throttled)
    assert outcome.retry_after == pytest.approx(5, abs=1)


async def test_a_throttled_one_is_left_alone_until_its_retry_after() -> None:
    a, b, providers = pair(Throttled("429", 60), Delivered("late"))
    await providers.send("hello")
    outcome = await providers.send("hello")
    assert (a.asked, b.asked) == (1, 2)
    (before,) = tried(outcome)
    assert (before.provider, before.error_class, before.sends) == ("a", "throttled", 0)


async def test_an_ill_one_is_left_alone_and_the_timeline_says_so() -> None:
    a, b, providers = pair(DOWN)
    for _ in range(8):
        outcome = await providers.send("hello")
    assert (a.asked, b.asked) == (5, 8)
    (before,) = tried(outcome)
    assert before.error_class == "circuit_open"
    assert before.reason.startswith("not asked for another")
    assert sends(outcome) == 1


async def test_silence_opens_the_circuit_too() -> None:
    a, _, providers = pair(Unknown("silence"))
    for _ in range(8):
        outcome = await providers.send("hello")
    assert a.asked == 5
    assert isinstance(outcome, Delivered)


async def test_greylisting_and_refusals_do_not() -> None:
    greylisted: Outcome = Transient("smtp_4xx", "greylisted")
    a = Scripted("a", [greylisted] * 20 + [Permanent("smtp_5xx", "no")] * 20)
    providers = of(a)
    for _ in range(40):
        await providers.send("hello")
    assert a.asked == 40


async def test_all_open_is_deferred_until_the_first_probe_and_nobody_is_asked() -> None:
    a, b = Scripted("a", [DOWN]), Scripted("b", [REFUSED])
    providers = of(a, b)
    for _ in range(5):
        await providers.send("hello")
    outcome = await providers.send("hello")
    assert isinstance(outcome, Deferred)
    assert outcome.lane
    assert outcome.error_class == "circuit_open"
    assert outcome.retry_after == pytest.approx(5, rel=0.4)
    assert (a.asked, b.asked, sends(outcome)) == (5, 5, 0)


async def test_the_lanes_of_a_channel_share_what_they_know() -> None:
    common, a = Common("sms"), Scripted("a", [Transient("auth", "401")])
    await Providers([a], common, 30).send("hello")
    assert isinstance(await Providers([a], common, 30).send("hello"), Deferred)
    assert a.asked == 1


async def test_another_config_is_found_out_anew() -> None:
    common, a = Common("sms"), Scripted("a", [Transient("auth", "401"), Delivered("m")])
    old = Providers([a], common, 30)
    await old.send("hello")
    await old.close()
    assert a.closed
    assert isinstance(await Providers([a], common, 30).send("hello"), Delivered)


async def test_a_probe_that_is_cancelled_is_no_probe() -> None:
    common, hanging = Common("sms"), Hanging("a")
    await Providers([Scripted("a", [Transient("auth", "401")])], common, 30).send("hello")
    circuit = common.circuit("a")
    circuit._opens_until = time.monotonic()  # the cool-down is over
    probe = asyncio.create_task(Providers([hanging], common, 30).send("hello"))
    await hanging.begun.wait()
    assert circuit.state is State.HALF_OPEN
    assert isinstance(await Providers([hanging], common, 30).send("hello"), Deferred)
    probe.cancel()
    await asyncio.wait({probe})
    assert isinstance(await Providers([Scripted("a", [Delivered("m")])], common, 30).send("hello"), Delivered)


async def test_a_probe_in_vain_costs_no_attempt_but_its_request_is_counted() -> None:
    common, a = Common("sms"), Scripted("a", [Transient("auth", "401"), REFUSED])
    await Providers([a], common, 30).send("hello")
    common.circuit("a")._opens_until = time.monotonic()  # the cool-down is over
    outcome = await Providers([a], common, 30).send("hello")
    assert isinstance(outcome, Deferred)
    assert (outcome.error_class, outcome.reason, sends(outcome)) == ("http_5xx", "a: 503", 1)
    assert outcome.retry_after == pytest.approx(10, rel=0.4)  # the circuit is open for longer


async def test_one_that_keeps_no_time_is_cut_off_and_nobody_knows() -> None:
    outcome = await Providers([Hanging()], Common("sms"), budget=0.5).send("hello")
    assert isinstance(outcome, Unknown)
    assert outcome.provider == "hanging"


async def test_a_second_one_is_not_begun_without_time_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("workers.providers.time", SimpleNamespace(monotonic=lambda: now))

    class Slow(Scripted):
        async def send(self, _: str) -> Outcome:
            nonlocal now
            now += 20
            return DOWN

    b = Scripted("b", [Delivered("m")])
    outcome = await Providers([Slow("a", []), b], Common("sms"), budget=30).send("hello")
    assert isinstance(outcome, Transient)
    assert b.asked == 0


async def test_attempts_and_the_circuit_are_counted() -> None:
    def count(result: str) -> float:
        labels = {"channel": "counted", "provider": "a", "result": result}
        return REGISTRY.get_sample_value("outbox_provider_attempts_total", labels) or 0

    providers = Providers([Scripted("a", [Delivered("m"), Transient("auth", "401")])], Common("counted"), 5)
    for _ in range(3):
        await providers.send("hello")
    assert (count("delivered"), count("auth"), count("skipped")) == (1, 1, 1)
    labels = {"channel": "counted", "provider": "a"}
    assert REGISTRY.get_sample_value("outbox_provider_circuit", labels) == State.OPEN
    await providers.close()
    assert REGISTRY.get_sample_value("outbox_provider_circuit", labels) is None, "it may never be asked again"


def test_a_chain_is_made_from_its_config() -> None:
    made: list[tuple[str, float]] = []

    def make(name: str, part: Any, seconds: float) -> Scripted:
        made.append((name, seconds))
        return Scripted(name, [])

    config = {"providers": [{"type": "x"}, {"type": "x", "name": "second"}]}
    providers = chain(config, {"x": make}, Common("sms"), 30)
    assert [provider.name for provider in providers.providers] == ["x", "second"]
    assert made == [("x", share(30, 2)), ("second", share(30, 2))]


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({}, "needs .providers"),
        ({"providers": []}, "needs .providers"),
        ({"providers": ["x"]}, "needs .providers"),
        ({"providers": [{"type": "pigeon"}]}, "one of x, not 'pigeon'"),
        ({"providers": [{"type": "x"}, {"type": "x"}]}, "a name of its own, not 'x'"),
        ({"providers": [{"type": "x", "name": 3}]}, "a name of its own, not 3"),
    ],
)
def test_a_chain_that_cannot_be_made_says_why(config: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        chain(config, {"x": lambda name, _part, _seconds: Scripted(name, [])}, Common("sms"), 30)
