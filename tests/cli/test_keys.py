"""`outbox key`: what it prints is what the API accepts, until it is revoked."""

import json

import pytest

from db.pool import Connection, Pool
from outbox.api.keyring import Keyring
from outbox.errors import UnauthenticatedError
from outbox.settings import Settings
from tests.cli.conftest import Command


async def test_a_key_is_printed_once_listed_and_revoked(
    outbox: Command, configured: Settings, pool: Pool, admin: Connection
) -> None:
    words = ("--name", "shop [1]", "-e", "order.*", "-c", "inapp", "-c", "email", "--rate", "600/minute")
    made = await outbox("key", "create", *words, "--expires", "2199-01-01T00:00:00")
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    identity = await Keyring(pool).identify(key)
    assert identity.scopes == {"producer"}
    assert identity.limits.event_types == ("order.*",)
    assert sorted(identity.limits.channels or ()) == ["email", "inapp"]
    assert (identity.rate, identity.expires_at.year) == ("600/minute", 2199)
    listed = (await outbox("key", "list")).output
    id_ = identity.subject.removeprefix("key:")
    for expected in (id_, "shop [1]", "only order.*", "only inapp email", "600/minute", "never"):
        assert expected in listed
    assert key not in listed
    assert "is revoked" in (await outbox("key", "revoke", id_)).output
    with pytest.raises(UnauthenticatedError):
        await Keyring(pool).identify(key)
    assert "There are no keys" in (await outbox("key", "list")).output
    assert "revoked" in (await outbox("key", "list", "--over")).output
    again = await outbox("key", "revoke", id_)
    assert (again.exit_code, id_ in again.stderr) == (2, True)
    acts = await admin.fetch("SELECT via, action, target, detail FROM notify.audit_log ORDER BY id")
    assert [tuple(act)[:3] for act in acts] == [("command", "key.make", id_), ("command", "key.revoke", id_)]
    assert json.loads(acts[0]["detail"])["after"]["channels"] == ["inapp", "email"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rate", "fast"), "rate"),
        (("--scope", "user"), "admin"),
        (("--scope", "admin", "-c", "inapp"), "limit a producer"),
        (("--expires", "2020-01-01T00:00:00"), "future"),
    ],
)
async def test_what_is_wrong_is_said(
    outbox: Command, configured: Settings, words: tuple[str, ...], said: str
) -> None:
    result = await outbox("key", "create", "--name", "shop", *words)
    assert result.exit_code == 2
    assert said in result.stderr
