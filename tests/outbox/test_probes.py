"""uvicorn as one task among others."""

import socket
from contextlib import closing

import pytest

from outbox.probes import Health, ListenError, serve_probes
from outbox.service import Stop


async def test_a_port_that_is_taken_is_an_error_and_not_the_end_of_the_loop() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ExceptionGroup) as raised:
            await serve_probes(Health(), "127.0.0.1", port, Stop())
    assert raised.group_contains(ListenError, match=f"127.0.0.1:{port}")
