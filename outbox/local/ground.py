"""Where the embedded servers keep their things, and as which user they run.

Two places: the *state* directory asked for holds the lock, the passwords, the ports and the logs;
the *home* holds what the servers themselves must reach. They are the same directory, unless this
is root and PostgreSQL's user cannot get there.
"""

import json
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from outbox.local import guard
from outbox.local.errors import EmbeddedError

ELSEWHERE = Path("/var/lib")  # for data to keep; throwaway data goes to the temporary directory
POINTER = "home.json"
PASSWORDS = "passwords.json"


@dataclass(frozen=True, slots=True)
class Ground:
    state: Path
    home: Path
    uid: int  # of PostgreSQL, which refuses to run as root
    gid: int

    def give(self, file: int) -> None:
        """Hands an open file or directory that root has made to the user of the servers."""
        if os.geteuid() == 0:
            os.fchown(file, self.uid, self.gid)

    def give_tree(self, path: Path) -> None:
        """A directory and what is in it. By descriptors: a name may stand for something else by now."""
        if path.is_symlink():
            raise EmbeddedError(f"{path} is a symbolic link, which is not followed. Remove it.")
        if os.geteuid():
            return
        for _, _, files, directory in os.fwalk(path):
            self.give(directory)
            for name in files:
                file = guard.open_plain(name, os.O_RDONLY, directory)
                self.give(file)
                os.close(file)

    def passwords(self, names: Iterable[str]) -> dict[str, str]:
        """One password each, made once and kept in a file that only its owner can read."""
        kept = _read(self.state / PASSWORDS)
        missing = [name for name in names if name not in kept]
        if missing:
            kept |= {name: secrets.token_hex(24) for name in missing}  # hex: needs no quoting in URLs
            self.write(PASSWORDS, kept)
        return kept

    def write(self, name: str, content: dict[str, str] | dict[str, int]) -> None:
        """Replaces a small file of the state directory in one step: all of it or nothing."""
        _write(self.state / name, content, self.give)

    def new_directory(self, name: str) -> Path:
        """An empty directory of the servers, in place of whatever had that name."""
        path = self.home / name
        if path.is_symlink():
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        self.give_tree(path)
        return path


def make_state(state: Path) -> bool:
    """Makes the state directory if need be; tells whether it did."""
    fresh = not state.exists()
    state.mkdir(parents=True, exist_ok=True)
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        raise EmbeddedError(
            f"No permission to write in {state} (it belongs to uid {state.stat().st_uid}). "
            "Run as that user, or remove the directory."
        )
    return fresh


def prepare(state: Path, fresh: bool, throwaway: bool) -> Ground:
    """Picks user and home, under the lock. No user is added, no mode of a parent is changed."""
    if os.geteuid():
        return Ground(state, state, os.geteuid(), os.getegid())
    home = home_of(state)
    uid, gid = _unprivileged(state, home)
    if fresh:  # never a directory that was there before
        os.chown(state, uid, gid, follow_symlinks=False)
    if not _reaches(home, uid, gid):
        home = _make_home(state, throwaway)
        os.chown(home, uid, gid, follow_symlinks=False)
    return Ground(state, home, uid, gid)


def home_of(state: Path) -> Path:
    """Where the data lies: elsewhere if a start as root has said so, else in the state directory."""
    elsewhere = Path(_read(state / POINTER, by_root=True).get("home", state))
    return elsewhere if elsewhere.is_dir() else state


def drop_home(state: Path) -> None:
    """Removes the data, if it lies elsewhere."""
    home = home_of(state)
    if home != state:
        shutil.rmtree(home)


def _make_home(state: Path, throwaway: bool) -> Path:
    base = Path(tempfile.gettempdir()) if throwaway else ELSEWHERE
    home = Path(tempfile.mkdtemp(prefix="outbox-", dir=base))
    _write(state / POINTER, {"home": str(home)})
    return home


def _unprivileged(state: Path, home: Path) -> tuple[int, int]:
    """Owner of an existing cluster, else owner of the directory around the state, else nobody."""
    for cluster in home.glob("pg[0-9]*/PG_VERSION"):
        found = cluster.lstat()
        if found.st_uid:
            return found.st_uid, found.st_gid
    around = state.parent.stat()
    if around.st_uid and _has_name(around.st_uid):
        return around.st_uid, around.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _has_name(uid: int) -> bool:
    """initdb refuses to run as a user that the system has no name for."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _reaches(path: Path, uid: int, gid: int) -> bool:
    asked = subprocess.run(  # noqa: S603 - constant but for the path, which is an argument
        ["/bin/sh", "-c", 'test -x "$1"', "sh", path],
        check=False,
        cwd="/",
        user=uid,
        group=gid,
        extra_groups=[],
    )
    return asked.returncode == 0


def _read(path: Path, *, by_root: bool = False) -> dict[str, str]:
    """Nothing if there is no such file. `by_root`: nobody else is believed in this."""
    try:
        with os.fdopen(guard.open_plain(str(path), os.O_RDONLY)) as file:
            if by_root and os.fstat(file.fileno()).st_uid:
                raise EmbeddedError(f"{path} was not written by root. Remove it.")
            content = json.load(file)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise EmbeddedError(
            f"{path} is damaged ({error}). Restore it, or remove {path.parent} to start afresh."
        ) from error
    return {str(name): str(value) for name, value in content.items()}


def _write(
    path: Path, content: dict[str, str] | dict[str, int], give: Callable[[int], None] | None = None
) -> None:
    """On disk before it has its name: a cluster without its passwords is a locked door."""
    scratch = path.with_name(f"{path.name}.tmp")
    with os.fdopen(guard.make_anew(str(scratch)), "w") as file:
        if give:
            give(file.fileno())
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
