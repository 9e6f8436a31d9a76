"""The whole service in this process, on the test's own database and keys; reached through its ports alone."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

import gateway.main
import outbox.api.main
import relay.main
import workers.main
from db.pool import Connection
from outbox.local.ports import any_free
from outbox.service import Stop
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.gateway.harness import Client, answers, eventually
from tests.workers.mail import MailServer, mail_server

FINAL = {"delivered", "failed", "suppressed", "canceled", "expired", "unknown"}


@dataclass(slots=True)
class Service:
    """A running service, as its users see it."""

    settings: Settings
    http: httpx.AsyncClient
    mail: MailServer

    async def send(self, **fields: Any) -> str:
        """POST, and the id that came back."""
        answer = await self.http.post("/v1/notifications", json={"event_type": "order.paid"} | fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def see(self, notification_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/notifications/{notification_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def settled(self, notification_id: str, seconds: float = 60) -> dict[str, Any]:
        """The notification, once every channel has come to an end."""
        async with asyncio.timeout(seconds):
            while True:
                seen = await self.see(notification_id)
                if all(delivery["status"] in FINAL for delivery in seen["deliveries"]):
                    return seen
                await asyncio.sleep(0.02)

    async def browser(self, user_id: str, cursor: int | None = None) -> Client:
        """A WebSocket that has caught up."""
        ws = await connect(f"ws://127.0.0.1:{self.settings.gateway_port}/v1/ws", max_queue=None)
        client = Client(ws)
        token = issue(self.settings, user_id, Scope.USER, timedelta(minutes=5))
        await client.send(type="auth", token=token, cursor=cursor)
        return await client.synced()


@pytest.fixture
async def service(
    settings: Settings, admin: Connection, redis: object, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    """API, relay, in-app and e-mail workers, gateway; with a recipient, alice."""
    ports = {"api_port": any_free(), "gateway_port": any_free()}
    settings = settings.model_copy(update=ports)
    await admin.execute(
        "INSERT INTO notify.recipients (user_id, email, locale) VALUES ('alice', 'alice@example.com', 'de-AT')"
    )
    async with mail_server() as mail:
        monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{mail.port}?tls=none")
        stop = Stop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(outbox.api.main.main(settings, stop))
            tasks.create_task(relay.main.main(settings, stop))
            tasks.create_task(workers.main.main(settings, ["inapp", "email"], stop))
            tasks.create_task(gateway.main.main(settings, stop))
            await eventually(lambda: all(answers(port) for port in ports.values()))
            token = issue(settings, "shop", Scope.PRODUCER, timedelta(minutes=5))
            headers = {"Authorization": f"Bearer {token}"}
            base = f"http://127.0.0.1:{ports['api_port']}"
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60) as http:
                yield Service(settings, http, mail)
            stop.ask()
