"""HTTP/2 with TLS for doubles, as FCM and APNs speak it: hypercorn, and a certificate of its own.

Needs the extra `doubles`.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outbox.local.ports import LOOPBACK
from outbox.service import Stop

LIFETIME = timedelta(days=3650)
# Apple and Google leave idle connections open for long. By its own default hypercorn would end one after 5 s, which is
# when the next attempt comes that was told to wait for 5 s.
IDLE_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files: `chain` is also what a client has to trust."""

    chain: Path
    key: Path

    @classmethod
    def kept(cls, folder: Path, host: str = LOOPBACK) -> "Certificate":
        """The one in the folder; made when it is first needed, for this machine and a host."""
        made = cls(folder / "doubles.pem", folder / "doubles-key.pem")
        if not (made.chain.exists() and made.key.exists()):
            folder.mkdir(parents=True, exist_ok=True)
            made.write(host)
        return made

    def write(self, host: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Outbox double")])
        now = datetime.now(UTC)
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(LOOPBACK))]
        names += [x509.DNSName(name) for name in ("localhost", host) if name != LOOPBACK]
        signed = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        private(self.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.chain.write_bytes(signed.public_bytes(Encoding.PEM))


def private(path: Path, content: bytes) -> None:
    """Readable by nobody else from the first byte on."""
    path.touch(mode=0o600)
    path.write_bytes(content)


def over_http2(certificate: Certificate) -> Callable[[ASGIApp, str, int, Stop], Any]:
    """For serve_double and running."""

    async def http(app: ASGIApp, host: str, port: int, stop: Stop) -> None:
        config = Config()
        config.bind = [f"{host}:{port}"]
        config.certfile, config.keyfile = str(certificate.chain), str(certificate.key)
        config.errorlog = config.accesslog = None
        config.graceful_timeout = 0.5
        config.keep_alive_timeout = IDLE_SECONDS
        await serve(read_first(app), config, shutdown_trigger=stop.asked.wait)  # type: ignore[arg-type]  # ASGI by another name

    return http


def read_first(app: ASGIApp) -> ASGIApp:
    """Request bodies are read whole before anything is answered: hypercorn trips over what comes for a stream that it
    has ended."""

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        await app(scope, again, send)

    return reading
