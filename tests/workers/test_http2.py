"""One request over HTTP/2: how far it came, what an answer holds, and where it may go."""

import httpx
import pytest

from outbox.errors import SettingsError
from workers.http2 import Answer, Origin, Progress


async def test_progress_begins_anew_with_a_new_connection() -> None:
    progress = Progress()
    for event, left in [
        ("connection.connect_tcp.started", False),
        ("http2.send_request_headers.started", False),
        ("http2.send_request_body.started", True),
        ("http2.receive_response_headers.started", True),
        ("http2.send_request_headers.started", False),
        ("http11.send_request_body.started", True),
        ("connection.connect_tcp.started", False),
    ]:
        await progress(event, {})
        assert progress.left is left, event


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_an_empty_one(body: bytes) -> None:
    assert Answer(200, httpx.Headers(), body).document() == {}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://", "https://user:pw@host", "https://x:port", ""]
)
def test_only_https(url: str) -> None:
    with pytest.raises(SettingsError, match="must be like https"):
        Origin(url).client()


def test_certificates_that_are_none() -> None:
    with pytest.raises(SettingsError, match="no file of certificates"):
        Origin("https://x", ca="/nowhere.pem").client()
