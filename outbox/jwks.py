"""The public keys of whoever issues tokens (JWKS, RFC 7517): fetched, kept, fetched anew when they have changed.

An issuer that cannot be reached locks nobody out: the keys that were there last are believed until `max_age`. A token
with an unknown key id makes them be fetched, but not more often than every FLOOR_SECONDS, whoever sends how many.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
from prometheus_client import Gauge

from outbox.errors import OutboxError, UnauthenticatedError
from outbox.log import get
from outbox.service import describe
from outbox.settings import Settings
from outbox.signed_by import Algorithm, serves

log = get("jwks")

FETCHED_AT = Gauge("outbox_jwks_fetched_timestamp_seconds", "When the keys of tokens were last fetched.")
FAILING = Gauge("outbox_jwks_failing", "1 while the last try to fetch the keys of tokens has failed.")

FLOOR_SECONDS = 10.0
FETCH_SECONDS = 5.0
BYTES, KEYS = 1_048_576, 100
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth"}  # RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2
SAFE = (jwt.PyJWTError, ValueError, TypeError)  # what PyJWT says of a key that is none


class UnreadableJwksError(OutboxError):
    """What was fetched is no JWKS with a key in it that serves."""


class IssuerAwayError(OutboxError):
    """The keys have never been fetched, or too long ago, and cannot be now. Try again."""


@dataclass(frozen=True, slots=True)
class Key:
    kid: str | None
    by_algorithm: dict[Algorithm, jwt.PyJWK]


def parse(text: bytes, allowed: frozenset[Algorithm]) -> list[Key]:
    """The keys that may check signatures by an allowed algorithm. Raises UnreadableJwksError."""
    try:
        members = json.loads(text)["keys"][:KEYS]
        found = [usable(member, allowed) for member in members if isinstance(member, dict)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableJwksError(f"no JWKS: {type(error).__name__}") from None
    keys = [key for key in found if key.by_algorithm]
    if not keys:
        raise UnreadableJwksError(f"no key in the JWKS serves for {', '.join(sorted(allowed))}")
    return keys


def usable(member: dict[str, Any], allowed: frozenset[Algorithm]) -> Key:
    made = {}
    # Of an issuer that publishes its whole key by mistake, too: PyJWT cannot check a signature with a private one.
    public = {name: value for name, value in member.items() if name not in PRIVATE}
    for algorithm in serves(public) & allowed:
        try:
            made[algorithm] = jwt.PyJWK(public, algorithm)
        except SAFE:
            continue  # RFC 7517 §5: keys that are not understood are passed over
    kid = member.get("kid")
    return Key(kid if isinstance(kid, str) else None, made)


def pick(keys: list[Key], kid: str | None, algorithm: Algorithm) -> jwt.PyJWK | None:
    """The key that a token names. One that names none is checked by the only key there is."""
    fitting = [key for key in keys if algorithm in key.by_algorithm]
    if kid is not None:
        fitting = [key for key in fitting if key.kid == kid]
    return fitting[0].by_algorithm[algorithm] if len(fitting) == 1 or (fitting and kid is not None) else None


class Jwks:
    """Of one process. `load` gives the document; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Awaitable[bytes]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._clock = settings, clock
        self._load = load or loader(settings)
        self._keys: list[Key] = []
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str | None, algorithm: Algorithm) -> jwt.PyJWK:
        """The key for a token. Raises UnauthenticatedError where there is none, IssuerAwayError where none can be
        known."""
        age = self._clock() - self._fetched_at
        if age > self._settings.jwt_jwks_max_age:
            await self._fetch()
        elif age > self._settings.jwt_jwks_ttl:
            self._begin()  # nobody waits for it: the keys at hand still serve
        if found := pick(self._keys_believed(), kid, algorithm):
            return found
        await self._fetch()
        if found := pick(self._keys_believed(), kid, algorithm):
            return found
        raise UnauthenticatedError("the token does not hold: no key is known by which it could be signed")

    def _keys_believed(self) -> list[Key]:
        if self._clock() - self._fetched_at > self._settings.jwt_jwks_max_age:
            raise IssuerAwayError("the keys that tokens are signed with cannot be fetched at the moment")
        return self._keys

    async def _fetch(self) -> None:
        """Fetched, or found out to be too early. One fetch, however many wait for it; a caller that goes away does
        not take it along."""
        if (task := self._begin()) is not None:
            await asyncio.shield(task)

    def _begin(self) -> asyncio.Task[None] | None:
        if self._fetching is None and self._clock() - self._tried_at >= FLOOR_SECONDS:
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._replace())
        return self._fetching

    async def _replace(self) -> None:
        try:
            self._keys = parse(await self._load(), self._settings.algorithms)
        except (UnreadableJwksError, httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            log.warning("jwks.not_fetched", error=describe(error))
            FAILING.set(1)
        else:
            self._fetched_at = self._clock()
            FETCHED_AT.set_to_current_time()
            FAILING.set(0)
        finally:
            self._fetching = None


def loader(settings: Settings) -> Callable[[], Awaitable[bytes]]:
    """Where the document comes from: a URL, a file, or the setting itself."""
    given, url = settings.jwt_jwks or "", settings.jwt_jwks_url

    async def from_setting() -> bytes:
        if given.lstrip().startswith("{"):
            return given.encode()
        return await asyncio.to_thread(Path(given).read_bytes)

    async def from_url() -> bytes:
        return await download(url or "")

    return from_url if url else from_setting


async def download(url: str) -> bytes:
    """The document at `url`. Redirects are not followed: keys come from where the setting says. Raises httpx's errors
    and TimeoutError."""
    body = bytearray()
    async with (
        asyncio.timeout(FETCH_SECONDS),
        httpx.AsyncClient(timeout=FETCH_SECONDS) as client,
        client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
    ):
        if answer.status_code != 200:
            raise UnreadableJwksError(f"answered with status {answer.status_code}")
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > BYTES:
                raise UnreadableJwksError(f"longer than {BYTES} bytes")
    return bytes(body)
