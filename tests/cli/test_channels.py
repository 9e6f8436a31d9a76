"""`outbox channel`: what is there, and cutting one into shards."""

import json

import pytest

from db import shards
from db.pool import Connection
from outbox.settings import Settings
from tests.cli.conftest import Command


async def test_a_channel_is_cut_into_shards_and_listed(
    outbox: Command, configured: Settings, admin: Connection
) -> None:
    cut = await outbox("channel", "shards", "email", "4")
    assert (cut.exit_code, "email: 4 shards from now on" in cut.output) == (0, True), cut.output
    assert (await shards.of_channels(admin))["email"].shards == 4
    await shards.placement(admin, {"email": 4})
    assert "email: 1 shard from now on" in (await outbox("channel", "shards", "email", "1")).output
    [line] = [each for each in (await outbox("channel", "list")).output.splitlines() if "email" in each]
    assert line.split() == ["email", "email", "yes", "8", "1", "4"]
    acts = await admin.fetch("SELECT via, action, target, detail FROM notify.audit_log ORDER BY id")
    assert [tuple(act)[:3] for act in acts] == [("command", "channel.change", "email")] * 2
    assert json.loads(acts[0]["detail"])["after"]["shards"] == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("email", "3"), "1, 2, 4, 8, 16, 32 or 64"),
        (("fax", "4"), "there is no channel 'fax'"),
        (("webhook", "4"), "config.ordered is true"),
    ],
    ids=["no power of two", "no such channel", "ordered"],
)
async def test_what_is_wrong_is_said(
    outbox: Command, configured: Settings, admin: Connection, words: tuple[str, ...], said: str
) -> None:
    await admin.execute("UPDATE notify.channels SET config = '{\"ordered\": true}' WHERE name = 'webhook'")
    result = await outbox("channel", "shards", *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
