"""Everybody who may turn up at the API's door: those whose token or key holds, and those whose does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from db import keys
from db.keys import Terms
from db.pool import Pool
from outbox.api_keys import NewKey, make
from outbox.settings import Settings
from outbox.tokens import Scope
from tests.conftest import SECRET
from tests.outbox.api.matrix import ME


@dataclass(frozen=True, slots=True)
class Caller:
    """`scopes` None: nobody whom the API knows."""

    name: str
    shown: str | None
    scopes: frozenset[str] | None = None
    limited: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.shown}"} if self.shown is not None else {}


async def everybody(settings: Settings, pool: Pool) -> list[Caller]:
    return [*strangers(settings), *tokens(settings), *await keys_of(pool)]


def token(settings: Settings, secret: str = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    claims = {
        "sub": ME,
        "scope": " ".join(Scope),
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "exp": datetime.now(UTC) + timedelta(minutes=5),
    }
    said = {name: value for name, value in (claims | changed).items() if value is not None}
    return jwt.encode(said, secret, algorithm)


def strangers(settings: Settings) -> list[Caller]:
    """All of them claim to have every scope."""
    shown = {
        "nobody": None,
        "no token": "",
        "nonsense": "a.b.c",
        "expired": token(settings, exp=datetime.now(UTC) - timedelta(minutes=1)),
        "without an end": token(settings, exp=None),
        "for another audience": token(settings, aud="other"),
        "of another issuer": token(settings, iss="other"),
        "of nobody": token(settings, sub=None),
        "unsigned": token(settings, "", "none"),
        "signed with another secret": token(settings, SECRET[::-1]),
        "signed by another algorithm": token(settings, SECRET + SECRET, "HS512"),
        "a key that nobody made": make().text,
        "a mistyped key": make().text[:-1] + "?",
    }
    return [Caller(name, each) for name, each in shown.items()]


def tokens(settings: Settings) -> list[Caller]:
    single = [Caller(f"token of {each}", token(settings, scope=each), frozenset({each})) for each in Scope]
    return [
        *single,
        Caller("token of nothing", token(settings, scope="openid superadmin ADMIN"), frozenset()),
        Caller("token of everything", token(settings), frozenset(Scope)),
    ]


async def keys_of(pool: Pool) -> list[Caller]:
    single = [
        Caller(f"key of {each}", (await stored(pool, [each])).text, frozenset({each}))
        for each in (Scope.PRODUCER, Scope.BOUNCES, Scope.ADMIN)
    ]
    narrow = [
        Caller(f"key limited to {next(iter(limit))}", (await stored(pool, ["producer"], **limit)).text)
        for limit in ({"event_types": ["order.*"]}, {"channels": ["inapp"]})
    ]
    revoked = await stored(pool, [Scope.PRODUCER])
    expired = await stored(pool, ["admin"], expires_at=datetime.now(UTC) - timedelta(minutes=1))
    async with pool.acquire() as conn:
        await keys.revoke(conn, revoked.id)
    return [
        *single,
        *(Caller(each.name, each.shown, frozenset({"producer"}), limited=True) for each in narrow),
        Caller("a revoked key", revoked.text),
        Caller("an expired key", expired.text),
    ]


async def stored(pool: Pool, scopes: Sequence[str], **limits: Any) -> NewKey:
    new = make()
    async with pool.acquire() as conn:
        await keys.add(conn, new.id, new.hash, Terms("k", [str(each) for each in scopes], **limits), "ann")
    return new
