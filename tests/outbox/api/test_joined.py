"""What is written within a turn of the loop leaves together, in order, and nothing of it is lost."""

import asyncio
from typing import cast

from outbox.api.joined import MOST_BYTES, Joined


class Recording(asyncio.Transport):
    """Behind it, what a socket would get."""

    def __init__(self) -> None:
        super().__init__()
        self.did: list[bytes | str] = []
        self.closing = False

    def write(self, data: object) -> None:
        self.did.append(cast("bytes", data))

    def close(self) -> None:
        self.did.append("close")
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


def joined(real: asyncio.Transport) -> Joined:
    return Joined(real, asyncio.get_running_loop())


async def test_head_and_body_are_one_write() -> None:
    real = Recording()
    transport = joined(real)
    transport.write(b"head ")
    transport.write(b"body")
    assert real.did == []
    await asyncio.sleep(0)
    assert real.did == [b"head body"]
    transport.write(b"next")
    await asyncio.sleep(0)
    assert real.did == [b"head body", b"next"]


async def test_much_does_not_wait() -> None:
    real = Recording()
    transport = joined(real)
    transport.write(b"head ")
    transport.write(much := bytes(MOST_BYTES))
    assert real.did == [b"head " + much]
    transport.write(b"more")
    await asyncio.sleep(0)
    assert real.did[1:] == [b"more"]


async def test_what_was_written_goes_before_the_end() -> None:
    real = Recording()
    transport = joined(real)
    transport.write(b"last words")
    transport.close()
    await asyncio.sleep(0)
    assert real.did == [b"last words", "close"]


async def test_what_has_gone_is_written_to_no_more() -> None:
    """uvloop would raise."""
    real = Recording()
    transport = joined(real)
    transport.write(b"too late")
    real.closing = True
    await asyncio.sleep(0)
    assert real.did == []


async def test_all_else_is_the_real_ones() -> None:
    real = Recording()
    assert joined(real).is_closing() is False
