"""Where a run keeps its servers: in memory where there is room, as a user that Postgres agrees to."""

import asyncio
import os
import pwd
import secrets
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.kin import Kin
from outbox.local.binaries import Binary, copied, find_postgres, find_redis, runs_as
from outbox.local.ports import any_free

HOST = "127.0.0.1"
SUPERUSER = "postgres"
ROOM_BYTES = 2 * 1024**3


@dataclass(slots=True)
class Ground:
    """Folders, passwords, programs and the user that all servers of a run share."""

    folder: Path
    kin: Kin
    uid: int
    gid: int
    postgres: Binary
    valkey: Binary
    passwords: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, kin: Kin) -> "Ground":
        folder.chmod(0o755)
        root = os.geteuid() == 0
        nobody = pwd.getpwnam("nobody") if root else None
        uid, gid = (nobody.pw_uid, nobody.pw_gid) if nobody else (os.geteuid(), os.getegid())
        postgres = find_postgres()
        if not runs_as(postgres.exe, uid, gid):
            postgres = copied(postgres, folder)
        return cls(folder, kin, uid if root else 0, gid, postgres, find_redis())

    def password(self, name: str) -> str:
        return self.passwords.setdefault(name, secrets.token_hex(16))

    def new_folder(self, name: str) -> Path:
        """Empty, and the servers' own."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        if self.uid:
            os.chown(path, self.uid, self.gid)

    async def start(self, name: str, *argv: str) -> int:
        """A server program, kept by the nursery. Its pid."""
        return await self.kin.start(
            argv=list(argv),
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            log=str(self.folder / f"{name}.log"),
            cwd=str(self.folder),
            uid=self.uid,
            gid=self.gid,
        )

    async def run(self, *argv: str, **env: str) -> None:
        """A tool of the servers, to its end. Raises RuntimeError with what it said."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"} | env,
            cwd=self.folder,
            user=self.uid or None,
            group=self.gid if self.uid else None,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await process.communicate()
        except BaseException:
            process.kill()
            raise
        if process.returncode:
            raise RuntimeError(f"{Path(argv[0]).name}: {said.decode().strip()[-500:]}")

    def tool(self, name: str) -> str:
        return str(self.postgres.exe.with_name(name))


def new_folder() -> Path:
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > ROOM_BYTES
    return Path(tempfile.mkdtemp(prefix="outbox-chaos-", dir=shared if roomy else None))


def free_port() -> int:
    """Below those that outgoing connections get: it is still free when its server starts, seconds later."""
    return any_free()
