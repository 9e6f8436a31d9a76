"""`python -m bench.balance.crowd <port> <clients>`: the clients, in a process of their own.

Tokens come first on standard input, a line with all of them; then orders, each answered with a line.
"""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from bench.balance.client import Client

COME_OVER_SECONDS = 10.0


class Crowd:
    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self.running: list[asyncio.Task[None]] = []

    async def come(self) -> dict[str, Any]:
        """All of them, one after the other over some seconds; until each has synced."""
        for client in self.clients:
            self.running.append(asyncio.create_task(client.run()))
            await asyncio.sleep(COME_OVER_SECONDS / len(self.clients))
        while not all(client.synced for client in self.clients):  # noqa: ASYNC110 - of thousands
            await asyncio.sleep(0.05)
        return {"synced": len(self.clients)}

    async def settle(self, inboxes: dict[str, list[int]], seconds: float) -> dict[str, Any]:
        """Wait until every client is where its inbox is: [last_seq, version]. Who is not in time, is named."""
        late: list[str] = []
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while late := [client.user_id for client in self.clients if not client.at(*inboxes[client.user_id])]:
            if loop.time() > until:
                break
            await asyncio.sleep(0.1)
        return {"late": late[:20], "number": len(late)}

    async def tell(self, path: str) -> dict[str, Any]:
        """What each was told, into a file."""
        for task in self.running:
            task.cancel()
        with Path(path).open("w", encoding="utf-8") as file:  # noqa: ASYNC230 - nothing else is to be done
            file.writelines(json.dumps(asdict(client.told())) + "\n" for client in self.clients)
        codes: Counter[int] = Counter()
        for client in self.clients:
            codes.update(client.codes)
        return {"connections": sum(client.connections for client in self.clients), "codes": dict(codes)}


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    tokens: dict[str, str] = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    crowd = Crowd([Client(number, user, token, port) for number, (user, token) in enumerate(tokens.items())])
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        print(json.dumps(await getattr(crowd, order.pop("do"))(**order)), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
