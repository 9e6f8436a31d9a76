"""The servers that the tests run on, where a Docker engine answers but is of no use."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Thread

import pytest

from outbox.settings import PROJECT

START = """
import os
from tests import servers
stop = servers.start()
print(os.environ[servers.ADMIN_URL])
stop()
"""


class OfflineEngine(BaseHTTPRequestHandler):
    """Has no images, and no way to a registry."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        match self.path.rpartition("/")[2]:
            case "_ping":
                self.answer(200, "OK", "text/plain")
            case "version":
                self.answer(200, '{"ApiVersion": "1.44", "Version": "27"}')
            case _:
                self.answer(404, '{"message": "No such image"}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "/images/create" in self.path:
            self.answer(500, '{"message": "dial tcp: lookup registry-1.docker.io: no such host"}')
        else:
            self.answer(404, '{"message": "No such image"}')

    def do_HEAD(self) -> None:  # how docker pings
        self.do_GET()

    def answer(self, status: int, body: str, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Not on the screen."""


@pytest.fixture
def engine() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own have names too long for a socket
        path = f"{folder}/docker.sock"
        with ThreadingUnixStreamServer(path, OfflineEngine) as server:
            thread = Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            yield f"unix://{path}"
            server.shutdown()
            thread.join()


def test_without_images_the_embedded_servers_are_used(engine: str, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    environment = kept | {
        "DOCKER_HOST": engine,
        "HOME": str(tmp_path),
    }  # no settings of Docker's or testcontainers'
    ran = subprocess.run(
        [sys.executable, "-c", START],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=environment,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("postgresql://postgres:")
    told = [line for line in ran.stderr.splitlines() if "embedded servers are used" in line]
    assert len(told) == 1
    assert "no such host" in told[0] or "No such image" in told[0]
