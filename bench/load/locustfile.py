"""Load on a running installation, by Locust: POSTs one by one and in batches, inbox pages, WebSockets that listen.

docs/load-testing.md says how to run it and how to read it. It makes notifications for users load-0, load-1, …
"""

import base64
import hashlib
import hmac
import json
import os
import random
import time
from typing import Any

import gevent
import websocket
from locust import HttpUser, User, constant_throughput, events, task

GATEWAY = os.environ.get("GATEWAY", "http://127.0.0.1:8081")
SECRET = os.environ.get("OUTBOX_JWT_SECRET", "")
PEOPLE = int(os.environ.get("PEOPLE", "200"))
BATCH = 20
# What a run must keep, or it ends with status 1: the share of failures, and milliseconds by name.
MOST_FAILED = 0.001
MOST_MS = {"POST one": 500, "POST batch": 1000, "GET inbox": 500, "created → arrival": 2000}


def token(subject: str, scope: str) -> str:
    """HS256, as `outbox token` makes it: Locust has no library for it."""
    claims = {
        "sub": subject,
        "scope": scope,
        "iss": "outbox",
        "aud": "outbox",
        "exp": int(time.time()) + 86_400,
    }
    signed = b".".join(part(json.dumps(each).encode()) for each in ({"alg": "HS256", "typ": "JWT"}, claims))
    proof = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + part(proof)).decode()


def part(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def user() -> str:
    return f"load-{random.randrange(PEOPLE)}"


def notification() -> dict[str, Any]:
    payload = {"title": "Load", "body": "It leaves our house tomorrow.", "sent_at": time.time() * 1000}
    return {"event_type": "load.test", "user_id": user(), "channels": ["inapp"], "payload": payload}


class Producer(HttpUser):
    """Ten calls a second: eight creates, a batch now and then, and pages of inboxes."""

    weight = 1
    host = os.environ.get("API", "http://127.0.0.1:8080")
    wait_time = constant_throughput(10)

    def on_start(self) -> None:
        self.client.headers["Authorization"] = f"Bearer {token('load', 'producer')}"

    @task(16)
    def create(self) -> None:
        self.client.post("/v1/notifications", json=notification(), name="POST one")

    @task(1)
    def create_many(self) -> None:
        body = {"notifications": [notification() for _ in range(BATCH)]}
        self.client.post("/v1/notifications:batch", json=body, name="POST batch")

    @task(3)
    def read(self) -> None:
        self.client.get(f"/v1/users/{user()}/inbox?limit=20", name="GET inbox")


class Listener(User):
    """A socket of one of the users, for as long as the run takes."""

    weight = 4

    @task
    def listen(self) -> None:
        url = f"{GATEWAY.replace('http', 'ws', 1)}/v1/ws"
        socket = websocket.create_connection(url, subprotocols=["outbox.v1"])
        socket.send(json.dumps({"type": "auth", "token": token(user(), "user"), "cursor": None}))
        live = False
        try:
            while text := socket.recv():
                frame = json.loads(text)
                live = live or frame["type"] == "synced"
                if live and frame["type"] == "notification":
                    self.arrived(frame["payload"], len(text))
        except gevent.GreenletExit:
            socket.close()
            raise
        events.request.fire(
            request_type="WS",
            name="socket",
            response_time=0,
            response_length=0,
            exception=ConnectionError("ended"),
            context={},
        )

    def arrived(self, payload: dict[str, Any], length: int) -> None:
        if sent_at := payload.get("sent_at"):
            events.request.fire(
                request_type="WS",
                name="created → arrival",
                response_time=time.time() * 1000 - sent_at,
                response_length=length,
                exception=None,
                context={},
            )


@events.init.add_listener
def refuse_without_secret(**_: Any) -> None:
    if not SECRET:
        raise SystemExit("OUTBOX_JWT_SECRET is not set: the tokens of the load's users are signed with it")


@events.quitting.add_listener
def judge(environment: Any, **_: Any) -> None:
    """The exit status, and why."""
    stats = environment.stats
    broken = [] if stats.total.fail_ratio <= MOST_FAILED else [f"{stats.total.fail_ratio:.2%} failed"]
    for entry in stats.entries.values():
        most, p99 = MOST_MS.get(entry.name), entry.get_response_time_percentile(0.99)
        if most and p99 > most:
            broken.append(f"{entry.name}: p99 {p99:.0f} ms, at most {most}")
    if broken:
        print("thresholds missed:", "; ".join(broken))
    environment.process_exit_code = 1 if broken else 0
