"""The element's script, as pages of other origins load it."""

import gzip

import httpx

from gateway.script import FILE, PATH
from tests.gateway.harness import Gate

BUNDLE_BYTES = 14_000  # packed: what a page pays for all of it


async def test_a_page_anywhere_may_load_and_keep_it(gate: Gate) -> None:
    async with httpx.AsyncClient(base_url=f"http://{gate.address}") as http:
        got = await http.get(PATH, headers={"origin": "https://shop.example", "accept-encoding": "gzip"})
        assert got.content == FILE.read_bytes()
        assert got.headers["content-encoding"] == "gzip"
        assert got.headers["content-type"].startswith("text/javascript")
        assert got.headers["access-control-allow-origin"] == "*"
        assert "public" in got.headers["cache-control"]
        plain = await http.get(PATH, headers={"accept-encoding": "identity"})
        assert (plain.content, "content-encoding" in plain.headers) == (got.content, False)
        again = await http.get(PATH, headers={"if-none-match": got.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_it_is_small() -> None:
    assert len(gzip.compress(FILE.read_bytes(), 9)) < BUNDLE_BYTES
