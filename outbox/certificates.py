"""When the certificate ends that a server shows: asked of the server itself, since that is what its clients see."""

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509

# https://www.postgresql.org/docs/current/protocol-message-formats.html, SSLRequest: length and code
SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)
PORTS = {"https": 443, "postgresql": 5432, "postgres": 5432}
REDIS_PORT = 6379


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`asks`: Postgres speaks TLS only once it was asked to."""

    host: str
    port: int
    asks: bool = False


def endpoint(url: str) -> Endpoint | None:
    """Where the URL leads, if a certificate may be seen there. Of a cluster, its first node."""
    parts = urlsplit(url)
    first = urlsplit(f"//{parts.netloc.rpartition('@')[2].split(',')[0]}")
    if not first.hostname:
        return None
    if parts.scheme.startswith("rediss"):
        return Endpoint(first.hostname, first.port or REDIS_PORT)
    if parts.scheme not in PORTS:
        return None
    port = first.port or PORTS[parts.scheme]
    return Endpoint(first.hostname, port, asks=parts.scheme.startswith("postgres"))


async def ends_at(where: Endpoint, seconds: float) -> float | None:
    """Unix seconds; None where the server speaks no TLS. Whether it is to be trusted is not asked here: a certificate
    that has run out must be seen, too. Raises OSError, of which TimeoutError is one, and ValueError."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(where.host, where.port)
        try:
            if where.asks:
                writer.write(SSL_REQUEST)
                if await reader.read(1) != b"S":
                    return None
            await writer.start_tls(any_certificate(), server_hostname=where.host)
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.transport.abort()
    return x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp()


def any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
