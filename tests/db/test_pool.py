"""The pool and a server that is away."""

import socket
from contextlib import closing

import pytest

from db.pool import open_pool


async def test_a_pool_opens_while_the_server_is_away() -> None:
    """Found by `make chaos`: a worker that started while Postgres crashed ended with a stack trace."""
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        pool = await open_pool(f"postgresql://u:p@127.0.0.1:{nobody.getsockname()[1]}/d", name="test")
        with pytest.raises(ConnectionRefusedError):
            await pool.fetchval("SELECT 1")
        await pool.close()
