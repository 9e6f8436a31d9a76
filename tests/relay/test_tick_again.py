"""A tick that is shipped again by the same relay, because Redis went away between two of its streams."""

from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from db.pool import Connection
from outbox.settings import Settings
from relay.main import build
from relay.ship import Shipper
from tests.relay.conftest import Reader

BOTH = "INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('order.paid', $1, '{inapp,email}')"


@pytest.mark.xfail(strict=True, reason="what this relay itself has appended of the tick is offered once more")
async def test_a_stream_that_has_the_whole_tick_is_left_alone(
    settings: Settings, producer: Connection, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by `make chaos`: Redis refused the ids, so the stream was taken for full and fell behind."""
    relay = build(settings, redis)
    append, outages = relay.shipper.streams.append, [RedisConnectionError("closed by server")]
    refused: list[str] = []
    monkeypatch.setattr(Shipper, "leave_behind", lambda self, ledger, stream: refused.append(stream))

    async def cut_off(stream: str, pages: Any, *more: Any) -> Sequence[Any]:
        if "email" in stream and outages:
            raise outages.pop()
        return await append(stream, pages, *more)

    monkeypatch.setattr(relay.shipper.streams, "append", cut_off)
    await producer.execute(BOTH, "alice")
    with pytest.raises(RedisConnectionError):
        await relay.step()
    await relay.step()
    await relay.stop()
    reader = Reader(redis, settings)
    assert await reader.users("inapp") == await reader.users("email") == ["alice"]
    assert refused == []
