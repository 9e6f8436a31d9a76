"""Connecting to an address that somebody else has named: resolved once, every address judged, and the judged address
is the one that is connected to. So a name server that gives another answer the next moment changes nothing, and TLS
still asks for the certificate of the name."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import httpcore
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

from outbox.egress import Egress, EgressRefusedError, Target

# Addresses of a host, as text. Raises OSError.
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """By the system's resolver, in its order (RFC 6724). It takes every spelling of an address, too."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Dialer(AsyncNetworkBackend):
    """httpcore's way to the network. `scheme` is that of the one URL it dials for."""

    def __init__(self, egress: Egress, scheme: str, resolver: Resolver = resolve) -> None:
        self._egress, self._scheme, self._resolver = egress, scheme, resolver
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Raises EgressRefusedError, and what httpcore raises."""
        where = Target(self._scheme, host, port)
        self._egress.check_target(where)
        addresses = await self._resolved(host, port)
        self._egress.check(where, addresses)
        failed: httpcore.ConnectError | httpcore.ConnectTimeout = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return Line(
                    await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def _resolved(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolver(host, port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label too long for a name
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        for address in addresses:
            if not is_address(address):
                raise EgressRefusedError(f"{host} resolves to what is no address")
        return addresses

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        raise EgressRefusedError("there is no way to a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Line(AsyncNetworkStream):
    """A connection that is closed, too, where its TLS handshake is cut off: httpcore's own leaves it open then."""

    def __init__(self, stream: AsyncNetworkStream) -> None:
        self._stream = stream

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except asyncio.CancelledError:
            await self._stream.aclose()
            raise

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
