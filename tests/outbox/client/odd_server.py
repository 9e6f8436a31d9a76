"""An HTTP server that answers as it was told, or passes a request on and swallows the answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HANG_UP = b""


@dataclass
class OddServer:
    """`script`: the answers in turn, and after them the way through to `behind`."""

    script: list[bytes]
    behind: str | None = None  # the API's URL
    swallow: int = 0  # so many answers of the API never arrive
    url: str = ""
    heads: list[str] = field(default_factory=list)  # of the requests that came

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await read_request(reader)
            self.heads.append(request.split(b"\r\n\r\n")[0].decode())
            writer.write(self.script.pop(0) if self.script else await self.pass_on(request))
            await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # a connection that was opened and not used
        finally:
            writer.close()

    async def pass_on(self, request: bytes) -> bytes:
        parts = urlsplit(str(self.behind))
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        answer = await reader.read()
        writer.close()
        if self.swallow:
            self.swallow -= 1
            return HANG_UP
        return answer


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    lengths = [int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")]
    head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:"))
    return head + await reader.readexactly(sum(lengths))


@asynccontextmanager
async def odd_server(
    script: Sequence[bytes] = (), behind: str | None = None, swallow: int = 0
) -> AsyncIterator[OddServer]:
    odd = OddServer(list(script), behind, swallow)
    server = await asyncio.start_server(odd.serve, "127.0.0.1", 0)
    odd.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield odd
    finally:
        server.close()


def answer(status: int, body: str = "", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Odd", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
