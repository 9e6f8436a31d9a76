"""The relay on real Postgres and Redis: rows in, entries out."""

from db.pool import Connection
from outbox.settings import Settings
from tests.relay.conftest import Reader, relaying

INSERT = "INSERT INTO notify.outbox (event_type, user_id, channels) VALUES ('order.paid', $1, $2)"


async def test_a_committed_row_appears_in_each_of_its_streams(
    settings: Settings, producer: Connection, reader: Reader
) -> None:
    async with relaying(settings):
        await producer.execute(INSERT, "alice", ["inapp", "email"])
        await reader.until_users(["alice"])
        await reader.until_users(["alice"], "email")
