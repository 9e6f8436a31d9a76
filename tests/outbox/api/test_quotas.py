"""Rates of the API: counted over all processes, told in every answer, one caller never in another's way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest
import redis.asyncio as aioredis
import structlog
from pydantic import SecretStr

from bench.chaos.proxy import Proxy
from db.pool import Connection, Pool
from outbox import rates
from outbox.api import quotas
from outbox.api.app import create_app
from outbox.local.ports import any_free
from outbox.probes import Health
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.outbox.api.answers import problem

MISSING = "/v1/notifications/01890a5d-ac96-774b-bcce-b302099a8057"


def bearer(settings: Settings, subject: str, scope: Scope = Scope.PRODUCER) -> dict[str, str]:
    return {"Authorization": f"Bearer {issue(settings, subject, scope, timedelta(minutes=5))}"}


@asynccontextmanager
async def process(settings: Settings, pool: Pool, **changed: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings.model_copy(update=changed), pool, Health())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers=bearer(settings, "shop")
    ) as client:
        yield client
    await app.state.guard.aclose()


async def test_the_quota_is_told_in_every_answer_and_kept(
    settings: Settings, pool: Pool, redis: aioredis.Redis
) -> None:
    async with process(settings, pool, rate_producer="3/minute") as api:
        left = []
        for _ in range(3):
            answer = await api.get(MISSING)
            assert answer.status_code == 404
            assert answer.headers["ratelimit-policy"] == '"producer";q=3;w=60'
            left.append(answer.headers["ratelimit"].partition(";t=")[0])
        assert left == [f'"producer";r={n}' for n in (2, 1, 0)]
        refused = await api.get(MISSING)
        assert problem(refused, 429, "too-many-requests") == []
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit"].startswith('"producer";r=0;t=')
        assert refused.headers["ratelimit"].endswith(refused.headers["retry-after"])
        assert len(refused.headers.get_list("ratelimit")) == 1
        other = await api.get(MISSING, headers=bearer(settings, "other"))
        assert other.status_code == 404


async def test_it_is_one_quota_over_all_processes(
    settings: Settings, pool: Pool, redis: aioredis.Redis
) -> None:
    async with (
        process(settings, pool, rate_producer="10/hour") as one,
        process(settings, pool, rate_producer="10/hour") as two,
    ):
        answers = await asyncio.gather(*(api.get(MISSING) for api in (one, two) for _ in range(20)))
    codes = [answer.status_code for answer in answers]
    assert (codes.count(404), codes.count(429)) == (10, 30)


async def test_a_process_asks_redis_once_for_a_hundredth_of_the_quota(
    settings: Settings, pool: Pool, redis: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def script(bridge: rates.OnNodes, source: bytes) -> Any:
        run = plain(bridge, source)

        async def counted(keys: Sequence[str], args: Sequence[Any]) -> Any:
            asked.append(keys[0])
            return await run(keys, args)

        return counted

    plain = rates.OnNodes.script
    monkeypatch.setattr(rates.OnNodes, "script", script)
    async with process(settings, pool, rate_producer="2000/hour") as api:
        for _ in range(20):
            assert (await api.get(MISSING)).status_code == 404
        assert 1 <= len(asked) <= 2  # one to count, one to look what is left
        assert (await api.get(MISSING)).headers["ratelimit"].startswith('"producer";r=1979;')


async def test_each_user_has_a_quota_and_redis_does_not_learn_who(
    settings: Settings, pool: Pool, redis: aioredis.Redis
) -> None:
    async with process(settings, pool, rate_user="1/hour") as api:
        for user, expected in (("ann", 200), ("bob", 200), ("ann", 429), ("bob", 429)):
            answer = await api.get(
                f"/v1/users/{user}/preferences", headers=bearer(settings, user, Scope.USER)
            )
            assert answer.status_code == expected, answer.text
        assert "ratelimit" not in (await api.get(MISSING)).headers
    keys = await redis.keys("*")
    assert keys
    assert not any(b"ann" in key or b"bob" in key for key in keys)


async def test_words_of_the_issuer_s_own_do_not_make_a_user_a_producer(
    settings: Settings, pool: Pool, redis: aioredis.Redis
) -> None:
    """Identity providers add theirs: openid, profile, offline_access."""
    token = bearer(settings, "ann", Scope.USER)["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False}) | {"scope": "openid user profile"}
    headers = {
        "Authorization": f"Bearer {jwt.encode(claims, settings.jwt_secret.get_secret_value(), 'HS256')}"
    }
    async with process(settings, pool, rate_user="1/hour") as api:
        answers = [await api.get("/v1/users/ann/preferences", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]


async def test_a_key_has_a_rate_of_its_own(settings: Settings, pool: Pool, redis: aioredis.Redis) -> None:
    async with process(settings, pool) as api:
        wanted = {"name": "slow", "scopes": ["producer"], "rate": "1/hour"}
        key = await api.post("/v1/api-keys", json=wanted, headers=bearer(settings, "ops", Scope.ADMIN))
        headers = {"Authorization": f"Bearer {key.json()['key']}"}
        first, second = [await api.get(MISSING, headers=headers) for _ in range(2)]
    assert (first.status_code, second.status_code) == (404, 429)
    assert first.headers["ratelimit-policy"] == '"key";q=1;w=3600'


def of(number: int) -> dict[str, Any]:
    return {"notifications": [{"event_type": "order.paid", "user_id": "u-1"}] * number}


async def test_a_batch_counts_as_many_as_it_holds(
    settings: Settings, pool: Pool, redis: aioredis.Redis, admin: Connection
) -> None:
    """Else a thousandth of the requests would do for whoever sends batches."""
    async with process(settings, pool, rate_producer="10/hour") as api:
        told = []
        for number, expected in ((6, 202), (5, 429), (3, 202), (1, 429)):
            answer = await api.post("/v1/notifications:batch", json=of(number))
            assert answer.status_code == expected, answer.text
            assert len(answer.headers.get_list("ratelimit")) == 1
            told.append(answer.headers["ratelimit"].partition(";t=")[0])
        assert answer.headers["retry-after"]
    # A refused one was a request all the same, and no more.
    assert told == [f'"producer";r={left}' for left in (4, 3, 0, 0)]
    assert await admin.fetchval("SELECT count(*) FROM notify.notifications") == 9


async def test_a_batch_that_no_time_would_let_pass_is_told_how_long_it_may_be(
    settings: Settings, pool: Pool, redis: aioredis.Redis
) -> None:
    async with process(settings, pool, rate_producer="3/hour") as api:
        answer = await api.post("/v1/notifications:batch", json=of(4))
    [(field, rule)] = problem(answer, 422, "invalid-notification")
    assert (field, rule) == ("notifications", "must be at most 3 at once: no more pass in 3600 s")


async def test_batches_of_several_processes_take_no_more_than_there_is(
    settings: Settings, pool: Pool, redis: aioredis.Redis, admin: Connection
) -> None:
    async with (
        process(settings, pool, rate_producer="1000/hour") as one,
        process(settings, pool, rate_producer="1000/hour") as two,
    ):
        asked = [api.post("/v1/notifications:batch", json=of(30)) for _ in range(30) for api in (one, two)]
        codes = [answer.status_code for answer in await asyncio.gather(*asked)]
    assert set(codes) == {202, 429}
    made: int = await admin.fetchval("SELECT count(*) FROM notify.notifications")
    assert made == 30 * codes.count(202)
    assert 900 <= made + codes.count(429) <= 1000


async def test_nothing_is_counted_where_nothing_is_set(
    settings: Settings, pool: Pool, redis: aioredis.Redis
) -> None:
    async with process(settings, pool) as api:
        assert "ratelimit" not in (await api.get(MISSING)).headers
    assert await redis.keys("*") == []


@pytest.mark.parametrize(("without", "expected"), [("open", 404), ("closed", 503)])
async def test_without_redis_the_setting_decides(
    settings: Settings, pool: Pool, without: str, expected: int
) -> None:
    away = {"redis_url": settings.model_copy().redis_url.__class__("redis://127.0.0.1:9")}
    with structlog.testing.capture_logs() as lines:
        async with process(
            settings, pool, rate_producer="1/hour", rates_without_redis=without, **away
        ) as api:
            for _ in range(3):
                answer = await api.get(MISSING)
                assert answer.status_code == expected
                assert "ratelimit" not in answer.headers
    assert [line["event"] for line in lines].count("api.rates_blind") == 1


@pytest.fixture
async def proxy(settings: Settings, redis: aioredis.Redis) -> AsyncIterator[Proxy]:
    at = urlsplit(settings.redis)
    proxy = Proxy(at.hostname or "", at.port or 6379)
    await proxy.start()
    yield proxy
    await proxy.stop()


async def test_it_comes_back_when_redis_does(
    settings: Settings, pool: Pool, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "BLIND_SECONDS", 0.0)
    there, proxy.target = proxy.target, ("127.0.0.1", any_free())
    through = SecretStr(settings.redis.replace(f":{there[1]}/", f":{proxy.port}/"))
    async with process(settings, pool, rate_producer="1/hour", redis_url=through) as api:
        with structlog.testing.capture_logs() as lines:
            assert (await api.get(MISSING)).status_code == 404
        assert [line["event"] for line in lines] == ["api.rates_blind"]
        proxy.target = there
        assert [(await api.get(MISSING)).status_code for _ in range(2)] == [404, 429]


def test_who_is_asked_for_most_is_not_remembered_for_ever(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "CALLERS", 3)
    many = quotas.Quotas(settings)
    for number in range(10):
        many._lease(str(number))
    assert list(many._leases) == ["7", "8", "9"]
