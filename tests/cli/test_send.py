"""`outbox send`: which document its options make."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from outbox.settings import Settings
from tests.cli.conftest import Command

MINIMAL = {"event_type": "message", "user_id": "alice", "channels": ["inapp"], "payload": {}}


class Api(BaseHTTPRequestHandler):
    """Takes everything, and keeps it."""

    taken: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(202)
        self.end_headers()
        self.wfile.write(b'{"id": "1"}')

    def log_message(self, *_: object) -> None:
        """Not on the screen."""


@pytest.fixture
def taken(configured: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    documents: list[dict[str, Any]] = []
    with HTTPServer(("127.0.0.1", 0), type("ThisApi", (Api,), {"taken": documents})) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("OUTBOX_API_URL", f"http://127.0.0.1:{server.server_port}")
        yield documents
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ((), {"priority": "normal"}),
        (
            ("--title", "Hello", "--body", "It works.", "--payload", '{"url": "/17"}'),
            {"payload": {"url": "/17", "title": "Hello", "body": "It works."}, "priority": "normal"},
        ),
        (
            (
                "-c",
                "inapp",
                "-c",
                "email",
                "--event",
                "order.paid",
                "--priority",
                "urgent",
                "--template",
                "t",
            ),
            {
                "channels": ["inapp", "email"],
                "event_type": "order.paid",
                "priority": "urgent",
                "template_name": "t",
            },
        ),
        (
            ("--at", "2030-01-31T09:00+01:00", "--dedup-key", "k"),
            {"deliver_at": "2030-01-31T09:00+01:00", "dedup_key": "k", "priority": "normal"},
        ),
    ],
    ids=["user only", "texts", "names", "later"],
)
async def test_options_make_the_document(
    outbox: Command, taken: list[dict[str, Any]], words: tuple[str, ...], more: dict[str, Any]
) -> None:
    result = await outbox("send", "--user", "alice", "--timeout", "0", *words)
    assert result.exit_code == 0, result.output
    assert taken == [MINIMAL | more]
