"""One tick with rows for more streams than a pool has connections."""

from db.pool import Connection
from outbox.settings import Settings
from relay import metrics
from tests.relay.conftest import Reader, relaying

CHANNELS = (
    "INSERT INTO notify.channels (name, kind) SELECT 'c-' || i, 'webhook' FROM generate_series(1, 300) i"
)
ROWS = (
    "INSERT INTO notify.outbox (event_type, user_id, channels)"
    " SELECT 'a', 'u', ARRAY['c-' || i] FROM generate_series(1, 300) i"
)


async def test_a_tick_of_many_streams_goes_through_at_once_and_leaves_none_behind(
    settings: Settings, producer: Connection, admin: Connection, reader: Reader
) -> None:
    await admin.execute(CHANNELS)
    await producer.execute(ROWS)

    async def all_there(reader: Reader) -> bool:
        streams = [settings.keys.stream(f"c-{i}") for i in range(1, 301)]
        return all([await reader.redis.xlen(stream) == 1 for stream in streams])

    async with relaying(settings):
        await reader.until(all_there, 5)
    behind = [
        sample
        for metric in metrics.BEHIND.collect()
        for sample in metric.samples
        if "c-" in str(sample.labels)
    ]
    assert not behind
