"""Code to run: this checkout, and an earlier commit unpacked beside it."""

import asyncio
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.processes import ROOT

REVISION = re.compile(r"(\d{4})_\w+\.py")
UPGRADE = "import sys; from db import migrations; migrations.upgrade(*sys.argv[1:])"


class NoSuchCommitError(Exception):
    """The message says which, in git's words."""


@dataclass(frozen=True, slots=True)
class Tree:
    name: str
    path: Path

    def revisions(self) -> list[str]:
        """Of the schema, in their order."""
        found = (REVISION.fullmatch(file.name) for file in (self.path / "db/migrations/versions").iterdir())
        return sorted(match[1] for match in found if match)

    async def migrate(self, url: str, revision: str = "head") -> None:
        """As this code does it. Raises RuntimeError with the last words."""
        done = await finished(sys.executable, "-c", UPGRADE, url, revision, cwd=self.path)
        if done.status:
            raise RuntimeError(f"the migration to {revision} failed: {done.said.decode()[-400:]}")


HERE = Tree("this checkout", ROOT)


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    said: bytes


async def finished(*command: str, cwd: Path) -> Done:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, said)


async def unpacked(commit: str, folder: Path) -> Tree:
    """Into this folder, which is there. Raises NoSuchCommitError."""
    archive = folder.with_suffix(".tar")
    done = await finished("git", "archive", f"--output={archive}", commit, cwd=ROOT)
    if done.status:
        raise NoSuchCommitError(f"{commit}: {done.said.decode().strip()}")
    await finished("tar", "-xf", str(archive), "-C", str(folder), cwd=folder)
    return Tree(commit, folder)
