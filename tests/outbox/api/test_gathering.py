"""Concurrent creates in one commit: who shares one, who is refused alone, and what is told when things go wrong."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.chaos.proxy import Proxy
from db import intake
from db.pool import Connection, Pool, PooledConnection, open_pool
from db.producer import Row
from outbox.api import gathering as gathering_of
from outbox.api.gathering import Gathering
from outbox.api.intake import Accepted
from outbox.api.problems import OUTAGES, ProblemError
from outbox.envelope import Notification
from outbox.errors import InvalidNotificationError
from tests.conftest import Database

WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'notify.notifications'::regclass"
COMMITS = "SELECT count(DISTINCT xid::text) FROM notify.outbox"
LATE = "2190-01-01T00:00:00Z"


def one(**fields: Any) -> Notification:
    return Notification.model_validate({"event_type": "order.paid", "user_id": "u-1"} | fields)


def odd(**fields: Any) -> Notification:
    """What the model would not let pass."""
    return one().model_copy(update=fields)


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not await true():  # noqa: ASYNC110 - Postgres tells nobody who waits for a lock
            await asyncio.sleep(0.005)


@asynccontextmanager
async def locked(admin: Connection) -> AsyncIterator[Callable[[int], Any]]:
    """Nothing is inserted meanwhile. The function waits until so many statements wait for it."""

    async def waiting(number: int) -> None:
        async def there() -> bool:
            return int(await admin.fetchval(WAITS)) >= number

        await until(there)

    async with admin.transaction():
        await admin.execute("LOCK TABLE notify.notifications IN EXCLUSIVE MODE")
        yield waiting


@pytest.fixture
async def gathering(pool: Pool) -> AsyncIterator[Gathering]:
    gathering = Gathering(pool)
    yield gathering
    await gathering.close()


async def all_of(gathering: Gathering, *notifications: Notification) -> list[Accepted | BaseException]:
    """At once, each with its own end."""
    return await asyncio.gather(*map(gathering.accept, notifications), return_exceptions=True)


def kinds(results: list[Accepted | BaseException]) -> list[str]:
    return [result.kind if isinstance(result, ProblemError) else type(result).__name__ for result in results]


def one_commit_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering_of, "FLUSHERS", 1)
    monkeypatch.setattr(gathering_of, "FEW", 1)


async def test_what_comes_at_once_is_one_commit_in_its_order(gathering: Gathering, admin: Connection) -> None:
    found = await all_of(gathering, *(one(user_id=f"u-{number}") for number in range(50)))
    rows = await admin.fetch("SELECT notification_id, user_id, origin FROM notify.outbox ORDER BY id")
    assert [Accepted(row["notification_id"], replayed=False) for row in rows] == found
    assert [row["user_id"] for row in rows] == [f"u-{number}" for number in range(50)]
    assert {row["origin"] for row in rows} == {"api"}
    assert await admin.fetchval(COMMITS) == 1


async def test_what_comes_while_commits_run_goes_into_the_next(
    gathering: Gathering, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_commit_at_a_time(monkeypatch)
    async with locked(admin) as waiting:
        first = asyncio.create_task(gathering.accept(one()))
        await waiting(1)
        others = [asyncio.create_task(gathering.accept(one())) for _ in range(20)]
        await until(lambda: gathered(gathering, 20))
        assert not first.done()
    assert not any(each.replayed for each in await asyncio.gather(first, *others))
    assert await admin.fetchval("SELECT count(*) FROM notify.outbox") == 21
    assert await admin.fetchval(COMMITS) == 2


async def gathered(gathering: Gathering, number: int) -> bool:
    return len(gathering.waiting) == number


async def test_few_requests_do_not_wait_for_each_others_commits(
    gathering: Gathering, admin: Connection
) -> None:
    """Four clients had two commits, so each waited for another's and then for its own."""
    async with locked(admin) as waiting:
        requests = []
        for number in range(1, gathering_of.FEW + 1):
            requests.append(asyncio.create_task(gathering.accept(one())))
            await waiting(number)
        requests.append(asyncio.create_task(gathering.accept(one())))
        await until(lambda: gathered(gathering, 1))
    await asyncio.gather(*requests)
    assert await admin.fetchval(COMMITS) == gathering_of.FEW + 1


async def test_many_requests_share_two_commits(gathering: Gathering, admin: Connection) -> None:
    async with locked(admin) as waiting:
        requests = [asyncio.create_task(gathering.accept(one())) for _ in range(10)]
        await waiting(1)
        requests.append(asyncio.create_task(gathering.accept(one())))
        await waiting(2)
        requests += [asyncio.create_task(gathering.accept(one())) for _ in range(10)]
        await until(lambda: gathered(gathering, 10))
    await asyncio.gather(*requests)
    assert await admin.fetchval(COMMITS) == 3


async def test_a_batch_has_its_bounds(
    gathering: Gathering, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering_of, "ROWS", 10)
    one_commit_at_a_time(monkeypatch)
    await all_of(gathering, *[one()] * 25)
    assert await admin.fetchval(COMMITS) == 3


async def test_repeats_in_the_batch_and_before_it_get_the_first_id(
    gathering: Gathering, admin: Connection
) -> None:
    before = await gathering.accept(one(dedup_key="old"))
    late = one(dedup_key="late", deliver_at=LATE)
    results = await all_of(
        gathering, one(dedup_key="old"), one(dedup_key="new"), one(), one(dedup_key="new"), late, late
    )
    repeat, first, plain, again, later, later_again = [each for each in results if isinstance(each, Accepted)]
    assert repeat == Accepted(before.id, replayed=True)
    assert {first.replayed, again.replayed} == {later.replayed, later_again.replayed} == {False, True}
    assert (first.id, later.id) == (again.id, later_again.id)
    assert not plain.replayed
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 4
    assert await admin.fetchval("SELECT array_agg(reason) FROM notify.scheduled") == ["deliver_at"]


async def test_an_escalation_waits_as_it_does_for_every_producer(
    gathering: Gathering, admin: Connection
) -> None:
    await all_of(gathering, one(channels=["inapp", "email"], escalate_after=60), one())
    rows = await admin.fetch("SELECT channels, escalate_channels FROM notify.outbox ORDER BY channels, id")
    assert [tuple(row) for row in rows] == [(["inapp"], None), (["inapp"], ["email"])] or [
        tuple(row) for row in rows
    ] == [(["inapp"], ["email"]), (["inapp"], None)]
    assert await admin.fetchval("SELECT channels FROM notify.scheduled") == ["email"]


# Each is refused by another part: the trigger, a CHECK, a cast in Postgres, the driver.
BAD: dict[str, tuple[Notification, str]] = {
    "channel": (one(channels=["fax"]), "InvalidNotificationError"),
    "channel twice": (odd(channels=["sms", "sms"]), "InvalidNotificationError"),
    "no channel": (odd(channels=[]), "InvalidNotificationError"),
    "template": (one(template_name="nowhere"), "InvalidNotificationError"),
    "escalation": (one(channels=["email"], escalate_after=5), "InvalidNotificationError"),
    "user": (odd(user_id=""), "InvalidNotificationError"),
    "event": (odd(event_type="a b"), "InvalidNotificationError"),
    "too big": (odd(payload={"a": "x" * 70_000}), "InvalidNotificationError"),
    "NUL": (odd(payload={"a": "\x00"}), "UntranslatableCharacterError"),
    "NUL in text": (odd(user_id="a\x00b"), "CharacterNotInRepertoireError"),
    "surrogate": (odd(user_id="\ud800"), "DataError"),
}


@pytest.mark.parametrize("bad", BAD)
async def test_one_that_is_refused_fails_no_other(gathering: Gathering, admin: Connection, bad: str) -> None:
    notification, expected = BAD[bad]
    results = await all_of(gathering, *[one()] * 7, notification, *[one(dedup_key="k")] * 2)
    assert kinds(results) == ["Accepted"] * 7 + [expected] + ["Accepted"] * 2
    assert await admin.fetchval("SELECT count(*) FROM notify.outbox") == 8
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 8


async def test_what_is_refused_is_named_as_if_it_had_come_alone(gathering: Gathering) -> None:
    results = await all_of(gathering, one(), BAD["channel"][0], BAD["template"][0], BAD["user"][0])
    told = [(error.field, error.rule) for error in results if isinstance(error, InvalidNotificationError)]
    (channel, known), (template, _), user = told
    assert (channel, template) == ("channels", "template_name")
    assert "Known channels: email, inapp, push, sms, webhook." in known
    assert user == ("user_id", "must be 1 to 200 printable characters")


ITEMS = st.one_of(
    st.just("plain"),
    st.just("later"),
    st.just("escalating"),
    st.integers(0, 3),  # a dedup_key
    st.sampled_from(sorted(BAD)),
)


@given(st.lists(st.lists(ITEMS, min_size=1, max_size=12), min_size=1, max_size=3))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_mix_ends_as_each_of_it_would_alone(
    gathering: Gathering, admin: Connection, batches: list[list[str | int]]
) -> None:
    """What is accepted is there, once, under the id that was told; what is refused is not."""
    run = uuid4().hex
    await admin.execute("TRUNCATE notify.notifications, notify.outbox CASCADE")
    results = await asyncio.gather(*(mixed(gathering, run, batch) for batch in batches))
    told = [pair for batch in results for pair in batch]
    fresh = {each.id for _, each in told if isinstance(each, Accepted) and not each.replayed}
    stored = {row[0] for row in await admin.fetch("SELECT id FROM notify.notifications")}
    placed = await admin.fetch(
        "SELECT notification_id FROM notify.outbox UNION ALL"
        " SELECT notification_id FROM notify.scheduled WHERE reason = 'deliver_at'"
    )
    assert fresh == stored
    assert sorted(row[0] for row in placed) == sorted(stored)
    for item, result in told:
        expected = BAD[item][1] if item in BAD else "Accepted"
        assert kinds([result]) == [expected], item
    for key in range(4):
        same = [each for item, each in told if item == key and isinstance(each, Accepted)]
        assert len({each.id for each in same}) <= 1
        assert sum(not each.replayed for each in same) == bool(same)


async def mixed(
    gathering: Gathering, run: str, batch: list[str | int]
) -> list[tuple[str | int, Accepted | BaseException]]:
    made: dict[str | int, Notification] = {
        "plain": one(),
        "later": one(deliver_at=LATE),
        "escalating": one(channels=["inapp", "email"], escalate_after=60),
        **{name: bad for name, (bad, _) in BAD.items()},
        **{key: one(dedup_key=f"{run}-{key}") for key in range(4)},
    }
    return list(zip(batch, await all_of(gathering, *(made[item] for item in batch)), strict=True))


async def test_too_many_that_wait_are_told_to_come_back(
    gathering: Gathering, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering_of, "WAITING", 5)
    one_commit_at_a_time(monkeypatch)
    async with locked(admin) as waiting:
        first = asyncio.create_task(gathering.accept(one()))
        await waiting(1)
        rest = asyncio.create_task(all_of(gathering, *[one()] * 7))
        await until(lambda: gathered(gathering, 5))
    await first
    results = await rest
    assert kinds(results) == ["Accepted"] * 5 + ["overloaded"] * 2
    [refused, _] = [each for each in results if isinstance(each, ProblemError)]
    assert (refused.status, refused.headers) == (503, {"Retry-After": "2"})
    assert await admin.fetchval("SELECT count(*) FROM notify.outbox") == 6


async def test_a_caller_that_gives_up_before_its_commit_is_left_out(
    gathering: Gathering, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_commit_at_a_time(monkeypatch)
    async with locked(admin) as waiting:
        first = asyncio.create_task(gathering.accept(one(user_id="under way")))
        await waiting(1)
        gone = asyncio.create_task(gathering.accept(one(user_id="gone")))
        stays = asyncio.create_task(gathering.accept(one(user_id="stays")))
        await until(lambda: gathered(gathering, 2))
        gone.cancel()
        first.cancel()
    await stays
    rows = await admin.fetch("SELECT user_id FROM notify.outbox ORDER BY id")
    assert [row[0] for row in rows] == ["under way", "stays"]


async def test_what_waits_is_committed_before_the_end(pool: Pool, admin: Connection) -> None:
    gathering = Gathering(pool)
    async with locked(admin) as waiting:
        requests = [asyncio.create_task(gathering.accept(one())) for _ in range(30)]
        await waiting(1)
        ending = asyncio.create_task(gathering.close())
    await ending
    assert all(request.done() for request in requests)
    assert await admin.fetchval("SELECT count(*) FROM notify.outbox") == 30


async def test_an_outage_is_told_to_all_who_wait_and_passes(
    gathering: Gathering, database: Database, admin: Connection
) -> None:
    await gathering.accept(one())
    other = await asyncpg.connect(os.environ["OUTBOX_TEST_ADMIN_URL"])
    try:
        await other.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE usename = 'outbox_test_app' AND datname = '{database.name}'"
        )
        results = await all_of(gathering, *[one()] * 20)
    finally:
        await other.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
        await other.close()
    assert all(isinstance(result, (*OUTAGES, ProblemError)) for result in results)
    assert kinds(await all_of(gathering, *[one()] * 20)) == ["Accepted"] * 20
    assert await admin.fetchval("SELECT count(*) FROM notify.outbox") == 21


async def test_a_bug_is_told_to_all_and_nobody_waits_for_ever(
    gathering: Gathering, admin: Connection
) -> None:
    await admin.execute("ALTER TABLE notify.notifications RENAME COLUMN priority TO surprise")
    assert kinds(await all_of(gathering, *[one()] * 3)) == ["UndefinedColumnError"] * 3


async def test_a_connection_that_ends_between_two_commits_costs_nobody_anything(
    gathering: Gathering, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = intake.accept

    async def once(conn: PooledConnection, rows: Sequence[Row]) -> dict[int, intake.Odd]:
        found = await accept(conn, rows)
        conn.terminate()
        return found

    one_commit_at_a_time(monkeypatch)
    monkeypatch.setattr(gathering_of, "ROWS", 1)
    monkeypatch.setattr(intake, "accept", once)
    assert kinds(await all_of(gathering, *[one()] * 3)) == ["Accepted"] * 3
    assert await admin.fetchval("SELECT count(*) FROM notify.outbox") == 3


async def test_a_connection_that_is_not_to_be_had_costs_nobody_anything_while_there_is_another(
    database: Database, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await open_pool(database.app, name="small", size=1)
    async with pool.acquire():
        pass  # to connect may take longer than that
    gathering = Gathering(pool)
    with structlog.testing.capture_logs() as logged:
        async with locked(admin) as waiting:
            first = asyncio.create_task(gathering.accept(one()))
            await waiting(1)
            monkeypatch.setattr(gathering_of, "ACQUIRE_SECONDS", 0.05)
            others = [asyncio.create_task(gathering.accept(one())) for _ in range(5)]
            await until(lambda: told_of(logged, "api.no_connection"))
        assert kinds(await asyncio.gather(first, *others, return_exceptions=True)) == ["Accepted"] * 6
    await gathering.close()
    await pool.close()


async def told_of(logged: Sequence[MutableMapping[str, Any]], event: str) -> bool:
    return any(entry["event"] == event for entry in logged)


@pytest.fixture
async def proxied(database: Database) -> AsyncIterator[tuple[Proxy, Pool]]:
    """A pool whose way to Postgres can be cut."""
    parts = urlsplit(database.app)
    proxy = Proxy(parts.hostname or "", parts.port or 0)
    await proxy.start()
    pool = await open_pool(database.app.replace(f":{parts.port}/", f":{proxy.port}/"), name="proxied")
    yield proxy, pool
    pool.terminate()
    await proxy.stop()


async def test_what_nobody_knows_is_told_so(proxied: tuple[Proxy, Pool], admin: Connection) -> None:
    """The connection is cut while the statement runs: these are committed all the same."""
    proxy, pool = proxied
    gathering = Gathering(pool)
    async with locked(admin) as waiting:
        requests = asyncio.create_task(all_of(gathering, one(dedup_key="k"), one()))
        await waiting(1)
        proxy.cut()
        assert kinds(await requests) == ["outcome-unknown"] * 2
    await until(lambda: stored(admin, 2))
    again = await gathering.accept(one(dedup_key="k"))
    assert again.replayed
    await gathering.close()


async def stored(admin: Connection, number: int) -> bool:
    return bool(await admin.fetchval("SELECT count(*) = $1 FROM notify.outbox", number))


async def test_a_key_in_an_open_transaction_delays_the_others_little(
    gathering: Gathering, admin: Connection, producer: Connection
) -> None:
    """A producer's transaction may be open for hours."""
    transaction = producer.transaction()
    await transaction.start()
    await producer.execute(
        "INSERT INTO notify.outbox (event_type, user_id, dedup_key) VALUES ('a', 'u', 'k')"
    )
    async with asyncio.timeout(60):  # it would wait for the transaction's end, which comes later
        results = await all_of(gathering, *[one()] * 5, *[one(dedup_key="k")] * 5, one(dedup_key="z"))
    assert kinds(results) == ["Accepted"] * 5 + ["held"] * 5 + ["Accepted"]
    await transaction.commit()
    assert (await gathering.accept(one(dedup_key="k"))).replayed


async def test_who_holds_one_key_and_wants_another_is_not_locked_out(
    gathering: Gathering, producer: Connection
) -> None:
    """A ring of two: the batch lets go long before Postgres would have to choose a victim."""
    insert = "INSERT INTO notify.outbox (event_type, user_id, dedup_key) VALUES ('a', 'u', $1)"
    async with producer.transaction():
        await producer.execute(insert, "b")
        batch = asyncio.create_task(all_of(gathering, one(dedup_key="a"), one(dedup_key="b")))
        await asyncio.wait([batch], timeout=0.1)  # the batch has "a" and waits for "b"
        await producer.execute(insert, "a")
    assert set(kinds(await batch)) <= {"Accepted", "held"}
