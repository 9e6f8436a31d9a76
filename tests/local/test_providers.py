"""The process of all doubles: what any of them takes is on one page, and any of them fails when the page says so."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from google.oauth2.service_account import Credentials
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from twilio.request_validator import RequestValidator

from outbox.local import env, sandbox
from outbox.local.doubles.accounts import Accounts
from outbox.local.doubles.serving import Double, running
from outbox.local.doubles.twilio import SID, TwilioDouble
from outbox.local.ports import any_free
from outbox.local.providers import Place, main
from outbox.service import Stop, wait

Json = dict[str, Any]


class Providers:
    """The running process, and a browser at its page."""

    def __init__(self, folder: Path, name: str | None = None, callbacks: str | None = None) -> None:
        used: set[int] = set()
        for _ in range(len(sandbox.PORTS) + 1):
            used.add(any_free(used))
        page, *rest = sorted(used)
        ports = dict(zip(sandbox.PORTS, rest, strict=True))
        self.place = Place(folder, "127.0.0.1", page, ports, name, callbacks)
        self.accounts = Accounts.kept(folder / sandbox.FOLDER, name or "127.0.0.1")
        self.stop = Stop()
        self.web = httpx.AsyncClient(base_url=f"http://127.0.0.1:{page}", trust_env=False)

    async def __aenter__(self) -> "Providers":
        self.task = asyncio.create_task(main(self.place, self.stop))
        async with asyncio.timeout(60):
            while not await self.ready():
                await wait(self.stop.asked, 0.02)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.web.aclose()
        self.stop.ask()
        await self.task

    async def ready(self) -> bool:
        try:
            return (await self.web.get("/readyz")).is_success
        except httpx.TransportError:
            self.task.done() and self.task.result()
            return False

    async def get(self, path: str) -> Json:
        answer = await self.web.get(path)
        assert answer.is_success, answer.text
        found: Json = answer.json()
        return found

    async def provider(self, name: str) -> Json:
        listed = (await self.get("/api/providers"))["providers"]
        return next(each for each in listed if each["name"] == name)

    async def texts(self, path: str = "/api/messages") -> list[str]:
        return [each["text"] for each in (await self.get(path))["messages"]]

    async def fault(self, name: str, fault: str) -> None:
        answer = await self.web.put(f"/api/providers/{name}/fault", json={"fault": fault})
        assert answer.json()["fault"] == fault

    async def heal(self, name: str) -> None:
        answer = await self.web.delete(f"/api/providers/{name}/fault")
        assert answer.json()["fault"] is None

    async def text(self, body: str, seconds: float = 60) -> httpx.Response:
        """As Twilio's client sends one."""
        url = f"http://127.0.0.1:{self.place.ports['twilio']}/2010-04-01/Accounts/{SID}/Messages.json"
        form = {"To": "+12025550143", "From": sandbox.FROM, "Body": body}
        login = (SID, self.accounts.twilio_token)
        async with httpx.AsyncClient(trust_env=False, timeout=seconds) as client:
            return await client.post(url, data=form, auth=login)


@pytest.fixture
async def providers(tmp_path: Path) -> AsyncIterator[Providers]:
    async with Providers(tmp_path) as running:
        yield running


async def test_what_came_is_listed_newest_first_and_found_and_shown(providers: Providers) -> None:
    for body in ("first", "second"):
        assert (await providers.text(body)).status_code == 201
    assert await providers.texts() == ["second", "first"]
    assert await providers.texts("/api/messages?limit=1") == ["second"]
    assert await providers.texts("/api/messages?query=FIRST") == ["first"]
    assert await providers.texts("/api/messages?provider=fcm") == []
    shown = await providers.get("/api/messages/twilio/1")
    assert (shown["to"], shown["text"], shown["details"]["Body"]) == ("+12025550143", "first", "first")
    assert (await providers.provider("twilio"))["kept"] == 2


async def test_two_doubles_in_one_list(providers: Providers) -> None:
    await providers.text("a text")
    url = f"http://127.0.0.1:{providers.place.ports['sendgrid']}/v3/mail/send"
    mail = {
        "personalizations": [{"to": [{"email": "alice@example.com"}]}],
        "from": {"email": "shop@example.com"},
        "subject": "A mail",
        "content": [{"type": "text/plain", "value": "a letter"}],
    }
    headers = {"Authorization": f"Bearer {providers.accounts.sendgrid_key}"}
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(url, json=mail, headers=headers)).status_code == 202
    assert await providers.texts() == ["a letter", "a text"]


async def test_the_push_providers_speak_http2_under_the_kept_certificate(providers: Providers) -> None:
    trusted = ssl.create_default_context(cafile=providers.accounts.certificate.chain)
    async with httpx.AsyncClient(trust_env=False, http2=True, verify=trusted) as client:
        for name in ("fcm", "apns"):
            answer = await client.get(f"https://127.0.0.1:{providers.place.ports[name]}/")
            assert (answer.http_version, answer.status_code) == ("HTTP/2", 404)


async def test_with_a_name_others_find_all_they_need_in_the_state_directory(tmp_path: Path) -> None:
    """As the containers of compose.yml do, which share a volume."""
    async with Providers(tmp_path, name="localhost") as providers:
        found = env.read(tmp_path)
        ports = providers.place.ports
        assert found["TWILIO_URL"] == f"http://localhost:{ports['twilio']}"
        assert found["OUTBOX_EGRESS_ALLOW"] == f"localhost:{ports['webhook']}"
        assert found["SENDGRID_API_KEY"] == providers.accounts.sendgrid_key
        account = Credentials.from_service_account_file(found["FCM_CREDENTIALS"])  # type: ignore[no-untyped-call]
        assert account._token_uri == f"https://localhost:{ports['fcm']}/token"
        trusted = ssl.create_default_context(cafile=found["PUSH_CA"])
        async with httpx.AsyncClient(trust_env=False, http2=True, verify=trusted) as client:
            assert (await client.get(found["APNS_URL"])).status_code == 404


async def test_callbacks_go_where_the_api_is_found_and_are_signed_for_where_it_says() -> None:
    """Between containers the API has another name than its OUTBOX_API_URL."""
    said = "http://127.0.0.1:8080/v1/callbacks/twilio?channel=sms"
    heard: list[tuple[str, bool]] = []

    async def callback(request: Request) -> Response:
        signature = request.headers["x-twilio-signature"]
        params = dict(parse_qsl((await request.body()).decode()))
        valid = RequestValidator("double").validate(said, params, signature)
        heard.append((f"{request.url.path}?{request.url.query}", valid))
        return Response(status_code=204)

    async with running(Double("api", [Route("/v1/callbacks/twilio", callback, methods=["POST"])])) as api:
        twilio = TwilioDouble(callbacks_at=api.url)
        assert await twilio.post(said, {"MessageStatus": "sent"}) == 204
        await twilio.close()
    assert heard == [("/v1/callbacks/twilio?channel=sms", True)]


@pytest.mark.parametrize("fault", ["503", "429"])
async def test_an_answer_by_order_until_healed(providers: Providers, fault: str) -> None:
    await providers.fault("twilio", fault)
    for _ in range(2):
        assert (await providers.text("refused")).status_code == int(fault)
    assert (await providers.provider("sendgrid"))["fault"] is None
    await providers.heal("twilio")
    assert (await providers.text("taken")).status_code == 201
    assert await providers.texts() == ["taken"]


async def test_a_reset_by_order(providers: Providers) -> None:
    await providers.fault("twilio", "reset")
    with pytest.raises(httpx.ReadError):
        await providers.text("lost")
    assert await providers.texts() == []


async def test_slow_by_order(providers: Providers) -> None:
    await providers.fault("twilio", "slow")
    with pytest.raises(httpx.ReadTimeout):
        await providers.text("late", seconds=1.5)


async def test_who_hangs_hears_of_it_when_it_is_healed(providers: Providers) -> None:
    await providers.fault("twilio", "hang")
    hanging = asyncio.create_task(providers.text("hangs"))
    await served(providers, 1)
    await providers.heal("twilio")
    with pytest.raises(httpx.ReadError):
        await hanging


async def served(providers: Providers, requests: int) -> None:
    """Until the double has met so many with a fault."""
    async with asyncio.timeout(60):
        while (await providers.provider("twilio"))["served"] < requests:
            await wait(providers.stop.asked, 0.02)


async def test_it_ends_while_a_request_hangs(tmp_path: Path) -> None:
    async with Providers(tmp_path) as providers:
        await providers.fault("twilio", "hang")
        hanging = asyncio.create_task(providers.text("hangs"))
        await served(providers, 1)
    with pytest.raises(httpx.ReadError):
        await hanging


async def test_deleted(providers: Providers) -> None:
    await providers.text("old")
    assert (await providers.web.delete("/api/messages")).status_code == 204
    assert await providers.texts() == []
    await providers.text("new")
    assert (await providers.get("/api/messages/twilio/2"))["text"] == "new"


async def test_what_is_not_there(providers: Providers) -> None:
    for path, status in (
        ("/api/messages/twilio/1", 404),
        ("/api/messages/nobody/1", 404),
        ("/api/messages?limit=all", 400),
    ):
        assert (await providers.web.get(path)).status_code == status
    for name, body, status in (
        ("nobody", b'{"fault": "slow"}', 404),
        ("twilio", b'{"fault": "worse"}', 422),
        ("twilio", b'["slow"]', 422),
        ("twilio", b"{", 422),
    ):
        answer = await providers.web.put(f"/api/providers/{name}/fault", content=body)
        assert answer.status_code == status


async def test_the_page_runs_nothing_but_its_own(providers: Providers) -> None:
    page = await providers.web.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "'unsafe" not in policy
    for file in ("page.css", "providers.css", "page.js", "providers.js"):
        assert f"/{file}" in page.text
        assert (await providers.web.get(f"/{file}")).is_success


async def test_no_foreign_site_reaches_it_by_a_name_of_its_own(providers: Providers) -> None:
    assert (await providers.web.get("/api/messages", headers={"Host": "evil.example"})).status_code == 400
