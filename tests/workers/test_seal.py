"""DKIM: dkimpy itself verifies what we sign, with the public keys from a DNS of our own."""

import base64
import re
from collections.abc import Callable
from email.headerregistry import Address
from typing import Any
from uuid import UUID

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from outbox.errors import SettingsError
from outbox.rendering.renderers import Rendered
from tests.workers.mail import mail_server
from workers.message import Letter, compose, unsubscribe_headers
from workers.outcome import Delivered
from workers.seal import Seal, seal
from workers.smtp import Mailer, parse

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
LINK = "https://notify.example.com/v1/unsubscribe/" + "A" * 300
LETTER = Letter(
    UUID(int=1),
    "email",
    Address("Shop", addr_spec="no-reply@shop.example"),
    "ada@example.com",
    Rendered("Grüße", "Hello\n", "<p>Hello</p>"),
    unsubscribe_headers(LINK),
)


def pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    text: bytes = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return text.decode()


def dns(selector: str, kind: str, public: bytes) -> Callable[..., bytes | None]:
    record = f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode()}".encode()

    def look_up(name: bytes, timeout: int = 5) -> bytes | None:
        return record if name == f"{selector}._domainkey.shop.example.".encode() else None

    return look_up


RSA_DNS = dns("s1", "rsa", RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
ED_DNS = dns("s2", "ed25519", ED25519.public_key().public_bytes_raw())


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Seal:
    monkeypatch.setenv("DKIM_RSA", pem(RSA))
    monkeypatch.setenv("DKIM_ED", pem(ED25519).replace("\n", "\\n"))  # as some platforms keep it
    return seal(
        [
            {"selector": "s1", "domain": "shop.example", "key": "env:DKIM_RSA"},
            {"selector": "s2", "domain": "shop.example", "key": "env:DKIM_ED"},
        ],
        "shop.example",
    )


def verified(content: bytes, at: int, look_up: Callable[..., bytes | None]) -> bool:
    try:
        return bool(dkim.DKIM(content).verify(at, dnsfunc=look_up))
    except dkim.ValidationError:  # of the body's hash
        return False


def test_both_signatures_hold(both: Seal) -> None:
    content = both(compose(LETTER))
    assert verified(content, 0, RSA_DNS)
    assert verified(content, 1, ED_DNS)


def test_the_headers_that_count_are_covered(both: Seal) -> None:
    signature = both(compose(LETTER)).partition(b"\r\nDKIM-Signature")[0]
    covered = re.search(rb"h=([^;]+);", signature)
    assert covered is not None
    names = [name.strip() for name in covered[1].split(b":")]
    assert {b"from", b"to", b"subject", b"date", b"message-id", b"content-type"} <= set(names)
    assert {b"list-unsubscribe", b"list-unsubscribe-post"} <= set(names)
    assert names.count(b"from") == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"List-Unsubscribe: <https://notify.example.com", b"List-Unsubscribe: <https://evil.example"),
        (b"Subject: ", b"Subject: Re: "),
        (b"Hello", b"Hallo"),
        (b"\r\nTo: ", b"\r\nFrom: eve@evil.example\r\nTo: "),
    ],
)
def test_a_change_breaks_it(both: Seal, before: bytes, after: bytes) -> None:
    content = both(compose(LETTER))
    assert before in content
    assert not verified(content.replace(before, after, 1), 0, RSA_DNS)


async def test_a_mail_that_arrives_is_signed(both: Seal) -> None:
    async with mail_server() as server:
        mailer = Mailer(parse(f"smtp://127.0.0.1:{server.port}"), 5, "own", both)
        assert isinstance(await mailer.send(LETTER), Delivered)
        await mailer.close()
        [content] = server.contents
    assert verified(content, 0, RSA_DNS)
    assert verified(content, 1, ED_DNS)


GOOD = {"selector": "s1", "domain": "shop.example", "key": "env:DKIM_KEY"}


@pytest.mark.parametrize(
    ("config", "key", "said"),
    [
        ("yes", pem(RSA), "must be an object"),
        (GOOD | {"selector": "s 1"}, pem(RSA), "selector='s 1'"),
        (GOOD | {"domain": "shop.example; x"}, pem(RSA), "domain='shop.example; x'"),
        (GOOD | {"domain": "other.example"}, pem(RSA), "DMARC"),
        (GOOD | {"domain": "op.example"}, pem(RSA), "DMARC"),
        (GOOD | {"key": 5}, pem(RSA), "env:DKIM_KEY"),
        (GOOD, "secret", "no private key in PEM"),
        (GOOD, pem(generate_private_key(SECP256R1())), "must be RSA"),
    ],
)
def test_a_bad_config_is_told(monkeypatch: pytest.MonkeyPatch, config: Any, key: str, said: str) -> None:
    monkeypatch.setenv("DKIM_KEY", key)
    with pytest.raises(SettingsError, match=said) as caught:
        seal(config, "shop.example")
    assert key not in str(caught.value)


@pytest.mark.parametrize("domain", ["shop.example", "mail.shop.example", "example"])
def test_domains_that_are_aligned(monkeypatch: pytest.MonkeyPatch, domain: str) -> None:
    monkeypatch.setenv("DKIM_KEY", pem(RSA, PrivateFormat.TraditionalOpenSSL))
    assert seal(GOOD | {"domain": domain}, "shop.example").keys[0].domain == domain.encode()
