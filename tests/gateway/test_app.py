"""The gateway's HTTP side: probes, and the page in development."""

import re
from pathlib import Path

import httpx
import pytest

from gateway.page import FILES
from gateway.protocol import Close
from gateway.script import FILE as SCRIPT
from outbox.settings import PROJECT, Settings
from tests.gateway.harness import Gate, eventually, serving


async def test_page_with_a_strict_policy(gate: Gate) -> None:
    async with httpx.AsyncClient(base_url=f"http://{gate.address}") as http:
        front = await http.get("/")
        assert front.headers["content-type"].startswith("text/html")
        for file in FILES:
            assert f"/page/{file}" in front.text
            assert (await http.get(f"/page/{file}")).status_code == 200
        policy = front.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert f"connect-src 'self' {gate.settings.public_api_url};" in policy
        assert "unsafe" not in policy
        for path in ("/page/main.py", "/page/..%2fapp.py", "/page/", "/page/index.html/.."):
            assert (await http.get(path)).status_code == 404


def test_page_keeps_its_own_policy() -> None:
    """No inline script or style, no foreign host, and nothing that writes HTML from text."""
    page = PROJECT / "gateway" / "page"
    html = (page / "index.html").read_text()
    script = (page / "page.js").read_text() + SCRIPT.read_text()
    assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=|https?://", html)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


async def test_no_page_in_production(settings: Settings) -> None:
    async with (
        serving(settings.model_copy(update={"env": "production"})) as gate,
        httpx.AsyncClient(base_url=f"http://{gate.address}") as http,
    ):
        assert (await http.get("/")).status_code == 404
        assert (await http.get("/page/page.js")).status_code == 404


async def test_probes(gate: Gate) -> None:
    async with httpx.AsyncClient(base_url=f"http://{gate.address}") as http, gate.client("anna") as client:
        await client.synced()
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).json()["checks"] == {"redis": "ok", "stopping": "ok"}
        metrics = (await http.get("/metrics")).text
        assert "outbox_gateway_sockets 1.0" in metrics
        assert 'outbox_gateway_frames_total{type="welcome"}' in metrics
        gate.stop.announce()
        told = await http.get("/readyz")
        assert (told.status_code, told.json()["checks"]["stopping"]) == (503, "the process is about to stop")
        assert told.headers["connection"] == "close"
        async with gate.client("ben") as ben:  # a balancer that has not noticed yet
            await ben.synced()


async def test_not_ready_without_redis(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(settings) as gate:
        monkeypatch.setattr(type(gate.board.hub), "deaf", True)
        async with httpx.AsyncClient(base_url=f"http://{gate.address}") as http:
            answer = await http.get("/readyz")
        assert answer.status_code == 503
        assert "Redis" in answer.json()["checks"]["redis"]
        async with gate.client("anna") as client:  # the next confirmed subscription makes it ready again
            await client.synced()
            await eventually(lambda: gate.board.hub.ready)


def test_documented_close_codes_are_those_in_use() -> None:
    text = Path(PROJECT / "docs" / "realtime.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d{4}) \|", text, re.MULTILINE)}
    assert documented == {code.value for code in Close} | {1002, 1007, 1009, 1011}
