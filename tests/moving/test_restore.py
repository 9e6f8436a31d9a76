"""A base backup restored while Redis has gone on: Postgres is back in the past, and the streams are not."""

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

import relay.main
import workers.main
from db import migrations
from db.pool import Connection
from outbox.local.servers import Embedded
from outbox.service import Stop
from outbox.settings import Settings
from tests import servers
from tests.moving.conftest import connected, ids, tool
from tests.workers.mail import MailServer, mail_server

MAIL = """
INSERT INTO notify.outbox (notification_id, event_type, user_id, channels) VALUES ($1, 'order.paid', 'ada', '{email}')
"""
ADA = "INSERT INTO notify.recipients (user_id, email) VALUES ('ada', 'ada@example.com')"
DELIVERED = "SELECT notification_id FROM notify.deliveries WHERE status = 'delivered'"
COMMITTED = "SELECT id FROM notify.notifications"


@pytest.fixture
def embedded() -> Iterator[Embedded]:
    """A server whose files may be exchanged."""
    with tempfile.TemporaryDirectory(prefix="outbox-restore-", dir=servers.memory()) as folder:
        Path(folder).chmod(0o755)  # an unprivileged Postgres must get in when the tests run as root
        redis = os.environ[servers.REDIS_URL]
        with Embedded(Path(folder) / "state", throwaway=True, redis_url=redis) as running:
            yield running


class Post:
    """Relay, e-mail worker and mail server, to be stopped and started."""

    def __init__(self, settings: Settings, mail: MailServer) -> None:
        self.settings, self.mail = settings, mail
        self.stop, self.tasks = Stop(), list[asyncio.Task[None]]()

    def start(self) -> None:
        self.stop = Stop()
        mains = [
            relay.main.main(self.settings, self.stop),
            workers.main.main(self.settings, ["email"], self.stop),
        ]
        self.tasks = [asyncio.create_task(main) for main in mains]

    async def end(self) -> None:
        self.stop.ask()
        async with asyncio.timeout(60):
            await asyncio.gather(*self.tasks)

    def sent(self) -> Counter[UUID]:
        """By notification, as the recipient counts them."""
        return Counter(
            UUID(str(each).strip("<>").partition("@")[0].partition(".")[0]) for each in self.mail.message_ids
        )

    async def until_sent(self, wanted: set[UUID]) -> None:
        async with asyncio.timeout(60):
            while not wanted <= self.sent().keys():  # noqa: ASYNC110 - a mail server is asked
                await asyncio.sleep(0.02)


async def send(conn: Connection, count: int) -> set[UUID]:
    made = [uuid4() for _ in range(count)]
    for notification in made:
        await conn.execute(MAIL, notification)
    return set(made)


def exchange(data: Path, backup: Path) -> None:
    """The server's files for those of the backup, under the same owner."""
    owner = data.stat()
    shutil.rmtree(data)
    shutil.move(backup, data)
    data.chmod(0o700)
    for path in [data, *data.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)


async def until_settled(conn: Connection) -> None:
    """All that is committed has been delivered."""
    async with asyncio.timeout(60):
        while set(await ids(conn, DELIVERED)) != set(await ids(conn, COMMITTED)):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("redis_is", ["kept", "empty"])
async def test_an_older_backup(
    embedded: Embedded,
    settings: Settings,
    redis: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    redis_is: str,
) -> None:
    await asyncio.to_thread(migrations.upgrade, embedded.migrate_url)
    leases = {"relay_lease": 2, "worker_lease": 2}  # what the backup holds of them runs out first
    settings = settings.model_copy(update={"database_url": SecretStr(embedded.database_url), **leases})
    async with mail_server() as mail:
        monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{mail.port}?tls=none")
        post = Post(settings, mail)
        backup = tmp_path / "backup"
        async with connected(embedded.migrate_url) as conn:
            await conn.execute(ADA)
            before = await send(conn, 20)
            post.start()
            await post.until_sent(before)
            mail.gate.clear()  # what comes now is under way when the backup is made
            under_way = await send(conn, 5)
            base = asyncio.create_task(
                asyncio.to_thread(
                    tool, "pg_basebackup", "-d", embedded.admin_url, "-D", str(backup), "-c", "fast"
                )
            )
            during = await send(conn, 20)
            await base
            mail.gate.set()
            lost = await send(conn, 10)
            await post.until_sent(before | under_way | during | lost)
            await post.end()
        data = embedded.info["postgres"].data
        await asyncio.to_thread(embedded.stop)
        await asyncio.to_thread(exchange, data, backup)
        if redis_is == "empty":
            await redis.flushdb()
        await asyncio.to_thread(embedded.start)
        async with connected(embedded.migrate_url) as conn:
            kept = set(await ids(conn, COMMITTED))
            known = set(await ids(conn, DELIVERED))
            assert before | under_way <= kept <= before | under_way | during
            post.start()
            after = await send(conn, 10)
            await post.until_sent(after)
            await until_settled(conn)
            await post.end()
        sent = post.sent()
        assert (
            sent.keys() == before | under_way | during | lost | after
        )  # nothing is lost that the backup holds
        twice = {notification for notification, times in sent.items() if times > 1}
        assert twice == kept - known  # what was delivered after the backup, and only that, went out again
        assert max(sent.values()) <= 2
