"""Webhooks: a receiver that verifies."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from outbox.local.doubles.faults import Kind
from outbox.local.doubles.webhook import Receiver
from tests.workers.conftest import Road
from tests.workers.hooks import SECRET, receiver
from tests.workers.outcomes.mails import nobody
from tests.workers.outcomes.stage import Case

SLOW_SECONDS = 0.3


@dataclass(slots=True)
class Webhook:
    """What is known of an endpoint outlives its config, so each attempt has an address of its own, unless it fails for
    long."""

    far: Receiver
    number: int = 0

    channel = "webhook"

    @property
    def config(self) -> Mapping[str, Any]:
        self.number += 1
        return {
            "url": f"{self.far.double.url}/{self.number}",
            "secrets": ["env:HOOK_SECRET"],
            "timeout_seconds": 20,
        }

    @property
    def cases(self) -> Mapping[str, Case]:
        url, order = self.far.double.url, self.far.double.menu.order
        secure, soon = {"url": url.replace("http:", "https:")}, {"timeout_seconds": 2}
        return {
            "success": Case(),
            "redirect": Case(lambda: order(Kind.ANSWER, status=302)),
            "status_4xx": Case(lambda: order(Kind.ANSWER, status=404)),
            "status_5xx": Case(lambda: order(Kind.ANSWER, status=500)),
            "throttled": Case(lambda: order(Kind.ANSWER, status=429, headers={"Retry-After": "1"})),
            "recipient_gone": Case(lambda: order(Kind.ANSWER, status=410)),
            "egress": Case(config={"url": "https://10.0.0.1/"}),
            "connection": Case(config={"url": nobody()}),
            "tls": Case(lambda: order(Kind.GARBAGE, times=None), config=secure),
            "timeout before sending": Case(lambda: order(Kind.SILENT, times=None), config=secure | soon),
            "timeout after sending": Case(lambda: order(Kind.HANG, taken=True), config=soon),
            "malformed answer": Case(lambda: order(Kind.MALFORMED, taken=True)),
            "slow": Case(lambda: order(Kind.SLOW, seconds=SLOW_SECONDS)),
        }

    async def settle_in(self, road: Road, user: str, to: str | None) -> None:
        """The channel's own endpoint needs nobody. One that was gone is switched on again."""
        await road.admin.execute("UPDATE notify.channels SET enabled = true WHERE name = 'webhook'")

    def has(self, words: str) -> bool:
        return any(f'"{words}"' in message.text for message in self.far.double.box.messages)

    def fail(self) -> None:
        self.far.double.menu.order(Kind.ANSWER, times=None, status=500)

    def heal(self) -> None:
        self.far.double.menu.clear()


@asynccontextmanager
async def webhook(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Webhook]:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    async with receiver() as made:
        yield Webhook(made)
