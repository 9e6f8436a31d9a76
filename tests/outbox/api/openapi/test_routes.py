"""GET /openapi.json and /docs: open to everybody, cached, and without any other host."""

import hashlib
import re

import httpx
import pytest

from outbox.api.openapi.routes import STATIC
from tests.outbox.api.answers import problem

# Of swagger-ui-dist 5.35.0, as its package has them.
PUBLISHED = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}


@pytest.fixture
def anybody(api: httpx.AsyncClient) -> httpx.AsyncClient:
    del api.headers["Authorization"]
    return api


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/docs.js", "/docs/swagger-ui.css"])
async def test_what_is_known_is_not_sent_again(anybody: httpx.AsyncClient, path: str) -> None:
    first = await anybody.get(path)
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
        again = await anybody.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert (await anybody.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_the_page_asks_no_other_host(anybody: httpx.AsyncClient) -> None:
    page = await anybody.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|script-src[^;]*unsafe|\*", policy)
    for place in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert place.startswith("data:") or (await anybody.get(f"/{place}")).status_code == 200, place


async def test_only_the_page_s_own_files(anybody: httpx.AsyncClient) -> None:
    for name in ("README.md", "docs.html", "..%2Froutes.py", "x", "%00"):
        problem(await anybody.get(f"/docs/{name}"), 404, "not-found")


@pytest.mark.parametrize("name", PUBLISHED)
def test_swagger_ui_is_as_it_is_published(name: str) -> None:
    assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == PUBLISHED[name]
