"""Links that another user has put into the state directory: root follows none, to write, read or give away."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbox.local import binaries, guard
from outbox.local.servers import Embedded, EmbeddedError, erase
from tests.local.embedded import IS_ROOT, query, wait_until

PRECIOUS = '{"precious": "kept"}'
KEPT = ["lock", "passwords.json", "postgres.log", "redis.log"]
KEPT += ["home.json"] if IS_ROOT else []  # only root keeps its data elsewhere
GIVEN = "postgresql://given"


@pytest.fixture
def state(place: Path) -> Path:
    """A state directory that belongs to an unprivileged user, where there is another one than this."""
    path = place / "state"
    path.mkdir(mode=0o700)
    if IS_ROOT:
        os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
        path.chmod(0o711)
    return path


@pytest.fixture
def victim(place: Path) -> Iterator[Path]:
    """A file of this user's; that it is as it was is looked at in the end."""
    path = place / "victim"
    path.write_text(PRECIOUS)
    path.chmod(0o600)
    before = path.stat()
    yield path
    after = path.stat()
    assert path.read_text() == PRECIOUS
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_link_in_place_of_a_file_to_keep_is_refused(
    state: Path, victim: Path, name: str, link: str
) -> None:
    getattr(state / name, link)(victim)
    with pytest.raises(EmbeddedError, match=rf"Not a plain file .*{name}"):
        Embedded(state, throwaway=True).start()


def test_links_in_place_of_files_to_make_are_replaced(state: Path, victim: Path) -> None:
    replaced = ("guard.log", "redis.conf", "initdb.password", "passwords.json.tmp", "ports.json.tmp")
    postgres = binaries.find_postgres()
    for name in (*replaced, f"{postgres.engine}{postgres.major}.tmp"):
        (state / name).symlink_to(victim)
    with Embedded(state, throwaway=True) as embedded:
        assert query(embedded.database_url, "SELECT 1") == [(1,)]
        assert not any((state / name).is_symlink() for name in replaced)


def test_a_link_to_nowhere_makes_no_file_there(state: Path, place: Path) -> None:
    (state / "redis.log").symlink_to(place / "made")
    with pytest.raises(EmbeddedError, match="Not a plain file"):
        Embedded(state, throwaway=True, database_url=GIVEN).start()
    assert not (place / "made").exists()


def test_a_pipe_in_place_of_a_log_holds_nothing_up(state: Path) -> None:
    os.mkfifo(state / "redis.log")
    with pytest.raises(EmbeddedError, match=r"redis\.log"):
        Embedded(state, throwaway=True, database_url=GIVEN).start()


def test_a_linked_data_directory_is_not_given_away(state: Path, place: Path) -> None:
    redis = binaries.find_redis()
    (place / "precious").mkdir(mode=0o700)
    (place / "precious/file").touch()
    (state / f"{redis.engine}{redis.major}").symlink_to(place / "precious")
    with pytest.raises(EmbeddedError, match="symbolic link"):
        Embedded(state, throwaway=True, database_url=GIVEN).start()
    assert {path.stat().st_uid for path in (place / "precious", place / "precious/file")} == {os.geteuid()}


def test_nothing_is_deleted_on_another_s_word_than_root_s(state: Path, place: Path) -> None:
    (place / "precious").mkdir()
    (state / "home.json").write_text(f'{{"home": "{place}/precious"}}')
    os.chown(state / "home.json", state.stat().st_uid, -1)  # as root: nobody's
    with pytest.raises(EmbeddedError, match="not written by root"):
        erase(state)
    assert (place / "precious").is_dir()


def test_a_linked_old_log_is_replaced_when_the_log_is_full(state: Path, victim: Path) -> None:
    older = state / "postgres.log.1"
    older.symlink_to(victim)
    with Embedded(state, throwaway=True, redis_url="redis://given", log_limit=20_000) as embedded:
        query(
            embedded.admin_url,
            "DO $$ BEGIN FOR i IN 1..500 LOOP RAISE LOG '%', repeat('x', 100); END LOOP; END $$",
        )
        wait_until(lambda: not older.is_symlink() and older.exists() and older.stat().st_size == 20_000)


def test_a_log_exchanged_for_a_link_is_left_alone(state: Path, victim: Path) -> None:
    log = state / "some.log"
    log.symlink_to(victim)
    with pytest.raises(OSError, match="Not a plain file"):
        guard._cap(str(log), 0)
    assert not (state / "some.log.1").exists()
