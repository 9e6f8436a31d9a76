"""How far a request came."""

import pytest

from workers.http_exchange import Progress


@pytest.mark.parametrize(
    ("event", "left"),
    [
        ("connection.start_tls.complete", False),
        ("http11.send_request_headers.complete", False),
        ("http11.send_request_body.started", True),
    ],
)
async def test_a_request_has_left_once_its_end_is_being_written(event: str, left: bool) -> None:
    """It counted as left when the write had ended: given up on before that, it was sent again and arrived twice."""
    progress = Progress()
    await progress.note(event, {})
    assert progress.left is left
