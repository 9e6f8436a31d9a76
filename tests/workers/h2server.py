"""A server that speaks HTTP/2 frame by frame, for what no well-behaved one does: GOAWAY and RST_STREAM on demand."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded

from outbox.local.doubles.http2 import Certificate

# What to do with a request that has come whole: by its stream's number.
Act = Callable[[H2Connection, int], None]


def answer(conn: H2Connection, stream: int) -> None:
    conn.send_headers(stream, [(":status", "200")])
    conn.send_data(stream, b"{}", end_stream=True)


def hang(_: H2Connection, __: int) -> None:
    """Nothing."""


def refuse(conn: H2Connection, stream: int) -> None:
    conn.reset_stream(stream, 7)  # REFUSED_STREAM


def reset(conn: H2Connection, stream: int) -> None:
    conn.reset_stream(stream, 2)  # INTERNAL_ERROR


def go_away(last: Callable[[int], int]) -> Act:
    """GOAWAY that names the last stream looked at, made from this request's."""
    return lambda conn, stream: conn.close_connection(last_stream_id=last(stream))


def cut(_: H2Connection, __: int) -> None:
    raise ConnectionAbortedError


@dataclass
class H2Server:
    """`acts`: for the next requests, one each; then they are answered."""

    url: str = ""
    acts: list[Act] = field(default_factory=list)
    requests: int = 0
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        conn = H2Connection(H2Configuration(client_side=False))
        conn.initiate_connection()
        writer.write(conn.data_to_send())
        try:
            while data := await reader.read(65536):
                for event in conn.receive_data(data):
                    if isinstance(event, StreamEnded):
                        self.requests += 1
                        (self.acts.pop(0) if self.acts else answer)(conn, event.stream_id)
                writer.write(conn.data_to_send())
        except OSError:
            pass  # cut, by us or by the client
        finally:
            writer.close()


@asynccontextmanager
async def h2_server(certificate: Certificate) -> AsyncIterator[H2Server]:
    made = H2Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    context.set_alpn_protocols(["h2"])
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield made
