"""Which pages may call the API from a browser, and for what."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from db.pool import Pool
from outbox.api.app import create_app
from outbox.probes import Health
from outbox.settings import Settings

APP = "https://app.example"
ASKS = {
    "access-control-request-method": "PUT",
    "access-control-request-headers": "authorization,content-type",
}


@pytest.fixture
async def http(
    settings: Settings, pool: Pool, request: pytest.FixtureRequest
) -> AsyncIterator[httpx.AsyncClient]:
    update: dict[str, Any] = {"gateway_origins": [APP], "env": getattr(request, "param", "production")}
    app = create_app(settings.model_copy(update=update), pool, Health())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
        yield http


async def allowed(http: httpx.AsyncClient, origin: str, path: str = "/v1/users/ada/preferences") -> bool:
    answer = await http.options(path, headers={"origin": origin} | ASKS)
    return answer.is_success and answer.headers.get("access-control-allow-origin") == origin


async def test_named_origins_and_the_gateways_own(http: httpx.AsyncClient, settings: Settings) -> None:
    assert await allowed(http, APP)
    assert await allowed(http, settings.public_gateway_url)
    for other in ("https://app.example.evil", "http://app.example", "https://xapp.example", "null"):
        assert not await allowed(http, other)


@pytest.mark.parametrize("http", ["development"], indirect=True)
async def test_any_page_on_this_machine_in_development(http: httpx.AsyncClient) -> None:
    assert await allowed(http, "http://localhost:3000")
    assert await allowed(http, "http://127.0.0.1:3000")
    assert not await allowed(http, "http://localhost.evil.example")
    assert not await allowed(http, "http://localhost:3000.evil.example")


async def test_not_this_machine_in_production(http: httpx.AsyncClient) -> None:
    assert not await allowed(http, "http://localhost:3000")


async def test_what_is_no_users_is_for_no_browser(http: httpx.AsyncClient) -> None:
    assert not await allowed(http, APP, "/v1/notifications")
    assert not await allowed(http, APP, "/v1/channels")


async def test_a_refusal_can_be_read_and_no_cookie_is_asked_for(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/users/ada/preferences", headers={"origin": APP})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == APP
    assert "access-control-allow-credentials" not in answer.headers
    assert "origin" in answer.headers["vary"].lower()
