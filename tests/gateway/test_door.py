"""Who gets in, and for how long."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from gateway.door import origin_allowed
from gateway.protocol import Close
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.conftest import SECRET
from tests.gateway.harness import Client, Gate, Inbox, serving
from tests.outbox.issuer import publishing, signer


def claims(**changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    good = {"sub": "anna", "scope": "user", "iss": "outbox", "aud": "outbox", "exp": now + timedelta(hours=1)}
    return {key: value for key, value in (good | changes).items() if value is not None}


FORGED = {
    "of nonsense": "no.token.atall",
    "of odd characters": "\u00e9.\x00.x",
    "with another secret": jwt.encode(claims(), "another-secret-of-32-bytes-or-even-more", "HS256"),
    "with the algorithm none": jwt.encode(claims(), "", "none"),
    "with another algorithm": jwt.encode(claims(), SECRET + "x" * 32, "HS512"),
    "expired": jwt.encode(claims(exp=datetime.now(UTC) - timedelta(minutes=1)), SECRET, "HS256"),
    "for another audience": jwt.encode(claims(aud="elsewhere"), SECRET, "HS256"),
    "of another issuer": jwt.encode(claims(iss="elsewhere"), SECRET, "HS256"),
    "without expiry": jwt.encode(claims(exp=None), SECRET, "HS256"),
    "without subject": jwt.encode(claims(sub=None), SECRET, "HS256"),
}


async def test_token_that_does_not_hold(gate: Gate) -> None:
    for why, token in FORGED.items():
        async with gate.raw() as ws:
            client = Client(ws)
            await client.send(type="auth", token=token)
            end = await client.closed()
            assert end.code == Close.UNAUTHENTICATED, why
            assert token not in end.reason
        if not token.isprintable():  # no header could carry it
            continue
        async with gate.raw(subprotocols=["outbox.v1", f"bearer.{token}"]) as ws:
            assert (await Client(ws).closed()).code == Close.UNAUTHENTICATED, why


async def test_tokens_of_an_issuer_that_publishes_its_keys(settings: Settings) -> None:
    one = signer()
    claimed = {"sub": "anna", "iss": settings.jwt_issuer, "aud": settings.jwt_audience}
    async with (
        publishing(one) as publisher,
        serving(settings.model_copy(update={"jwt_jwks_url": publisher.url})) as gate,
    ):
        async with gate.raw() as ws:
            client = Client(ws)
            await client.send(type="auth", token=one.token(**claimed))
            await client.synced()
        async with gate.raw() as ws:
            client = Client(ws)
            await client.send(type="auth", token=issue(settings, "anna", Scope.USER, timedelta(minutes=5)))
            assert (await client.closed()).code == Close.UNAUTHENTICATED
    away = settings.model_copy(update={"jwt_jwks_url": "http://127.0.0.1:9/jwks"})
    async with serving(away) as gate, gate.raw() as ws:
        client = Client(ws)
        await client.send(type="auth", token=one.token(**claimed))
        assert (await client.closed()).code == Close.TRY_LATER


async def test_token_without_the_scope(gate: Gate) -> None:
    async with gate.raw() as ws:
        client = Client(ws)
        await client.send(type="auth", token=gate.token("anna", Scope.PRODUCER))
        assert (await client.closed()).code == Close.FORBIDDEN


async def test_no_token_within_the_deadline(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.door.AUTH_SECONDS", 0.1)
    async with gate.raw() as ws:
        assert (await Client(ws).closed()).code == Close.AUTH_TIMEOUT


async def test_token_in_the_url_is_not_looked_at(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.door.AUTH_SECONDS", 0.1)
    token = gate.token("anna")
    async with gate.raw(f"/v1/ws?token={token}&access_token={token}") as ws:
        assert (await Client(ws).closed()).code == Close.AUTH_TIMEOUT


async def test_first_frame_is_another(gate: Gate) -> None:
    for first, code in (('{"type":"ping"}', Close.UNAUTHENTICATED), ("garbage", Close.BAD_FRAMES)):
        async with gate.raw() as ws:
            await ws.send(first)
            assert (await Client(ws).closed()).code == code


async def test_token_as_subprotocol_and_cursor_in_the_query(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("anna", 3)
    offered = [Subprotocol("outbox.v1"), Subprotocol(f"bearer.{gate.token('anna')}")]
    async with gate.raw("/v1/ws?cursor=2", subprotocols=offered) as ws:
        assert ws.subprotocol == "outbox.v1"
        client = await Client(ws).synced()
        assert client.seqs == [3]
    for cursor in ("-1", "x", "", "9" * 30, "٣"):
        async with gate.raw(f"/v1/ws?cursor={cursor}".encode().decode("latin-1"), subprotocols=offered) as ws:
            assert (await Client(ws).closed()).code == Close.BAD_FRAMES


async def test_expiry_ends_the_socket_and_a_new_token_renews_it(gate: Gate) -> None:
    async with gate.client("anna", seconds=9) as short, gate.client("anna", seconds=9) as renewed:
        await short.synced()
        await renewed.synced()
        await renewed.send(type="auth", token=gate.token("anna", seconds=600))
        await renewed.until(lambda frame: frame["type"] == "renewed")
        assert (await short.closed()).code == Close.TOKEN_EXPIRED
        await renewed.send(type="auth", token="nonsense")
        frame = await renewed.next()
        assert (frame["type"], frame["code"]) == ("error", "unauthenticated")
        await renewed.send(type="auth", token=gate.token("ben"))
        assert (await renewed.closed()).code == Close.FORBIDDEN


async def test_foreign_origin_is_refused(settings: Settings) -> None:
    production = settings.model_copy(update={"env": "production", "gateway_origins": ["https://app.example"]})
    async with serving(production) as gate:
        for origin in ("https://evil.example", "null", "http://localhost:3000", "https://app.example.evil"):
            with pytest.raises(InvalidStatus) as refused:
                await gate.raw(origin=Origin(origin)).__aenter__()
            assert refused.value.response.status_code == 403
        for origin in ("https://app.example", f"http://{gate.address}"):
            async with gate.client("anna", origin=Origin(origin)) as client:
                await client.synced()


@pytest.mark.parametrize(
    ("env", "origin", "allowed"),
    [
        ("production", None, True),
        ("production", "https://host.example", True),
        ("production", "https://HOST.example", True),
        ("production", "https://host.example:8443", False),
        ("production", "https://listed.example", True),
        ("production", "https://sub.listed.example", False),
        ("production", "https://listed.example.evil", False),
        ("production", "file://host.example", False),
        ("production", "null", False),
        ("production", "", False),
        ("production", "http://localhost", False),
        ("development", "http://localhost:5173", True),
        ("development", "http://127.0.0.7", True),
        ("development", "http://[::1]:9", True),
        ("development", "http://localhost.evil", False),
        ("development", "https://evil.example", False),
    ],
)
def test_origins(settings: Settings, env: str, origin: str | None, allowed: bool) -> None:
    settings = settings.model_copy(update={"env": env, "gateway_origins": ["https://listed.example"]})
    assert origin_allowed(settings, origin, "host.example") is allowed
