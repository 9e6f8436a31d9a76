"""The access token of FCM: who waits for one when the config is replaced."""

import asyncio
import threading
from typing import Any

from google.auth.exceptions import TransportError

from workers.google_token import Access
from workers.outcome import Transient


class Slow:
    """Credentials whose refresh takes until it is let go."""

    valid, token = False, None

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()

    def refresh(self, _: Any) -> None:
        self.asked.set()
        self.go.wait(60)
        raise TransportError("let go")  # type: ignore[no-untyped-call]  # google-auth has no annotations


async def test_who_waits_for_a_token_is_told_when_it_is_closed() -> None:
    """A cancellation instead would be taken for the attempt's own, and its delivery be held for ever."""
    credentials: Any = Slow()
    access = Access(credentials)
    waiting = asyncio.create_task(access.token(asyncio.get_running_loop().time() + 60))
    await asyncio.to_thread(credentials.asked.wait, 60)
    await access.close()
    (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
    credentials.go.set()
    assert isinstance(outcome, Transient)
    assert outcome.error_class == "connection"
