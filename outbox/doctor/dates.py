"""What ends on a date: API keys, and the certificates that people outside are shown. And the keys of tokens' issuer."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from asyncpg import Record

from db import doctor as sql
from outbox.certificates import Endpoint, ends_at
from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, ok, warn
from outbox.doctor.words import span
from outbox.jwks import UnreadableJwksError, loader

SOON_SECONDS, VERY_SOON_SECONDS = 21 * 86_400.0, 3 * 86_400.0
ANSWER_SECONDS = 2.0


async def keys(desk: Desk) -> list[Record]:
    return await desk.ask(sql.expiring_keys, SOON_SECONDS)


def judge_keys(rows: Sequence[Record]) -> Iterator[Finding]:
    for row in rows:
        yield warn(
            "keys",
            f"the API key {row['name']!r} ({row['id']}) ends in {span(row['seconds'])}",
            "give its holder a new one: outbox key create; then outbox key revoke the old one",
        )
    if not rows:
        yield ok("keys", "no API key ends within three weeks")


@dataclass(frozen=True, slots=True)
class Shown:
    """The certificate under an address: until when it holds, or why it could not be looked at."""

    setting: str
    place: str
    seconds: float | None
    trouble: str = ""


async def certificates(desk: Desk) -> list[Shown]:
    addresses = {"OUTBOX_API_URL": desk.settings.api_url, "OUTBOX_GATEWAY_URL": desk.settings.gateway_url}
    secure = {
        setting: url for setting, url in addresses.items() if url and urlsplit(url).scheme in {"https", "wss"}
    }
    return list(await asyncio.gather(*(shown(setting, url) for setting, url in secure.items())))


async def shown(setting: str, url: str) -> Shown:
    parts = urlsplit(url)
    where = Endpoint(parts.hostname or "", parts.port or 443)
    place = f"{where.host}:{where.port}"
    try:
        at = await ends_at(where, ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        return Shown(setting, place, None, str(error) or "no answer in time")
    return Shown(setting, place, at - time.time() if at is not None else None)


def judge_certificates(found: Sequence[Shown]) -> Iterator[Finding]:
    for each in found:
        check = "certificates"
        if each.seconds is None:
            yield warn(
                check,
                f"{each.setting}: the certificate of {each.place} could not be looked at ({each.trouble})",
                f"is {each.setting} right, and reachable from here?",
            )
        elif each.seconds <= VERY_SOON_SECONDS:
            over = "has run out" if each.seconds <= 0 else f"runs out in {span(each.seconds)}"
            yield fail(
                check,
                f"the certificate of {each.place} {over}",
                f"renew the certificate behind {each.setting}",
            )
        elif each.seconds <= SOON_SECONDS:
            yield warn(
                check,
                f"the certificate of {each.place} runs out in {span(each.seconds)}",
                f"renew the certificate behind {each.setting}; whatever should do so by itself did not",
            )
        else:
            yield ok(check, f"the certificate of {each.place} holds for {span(each.seconds)}")


async def issuer(desk: Desk) -> str | None:
    """Why the public keys of the tokens' issuer cannot be had; empty where they can, None where there is no issuer."""
    if not desk.settings.has_jwks:
        return None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await loader(desk.settings)()
    except (UnreadableJwksError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return str(error) or type(error).__name__
    return ""


def judge_issuer(trouble: str | None) -> Iterator[Finding]:
    if trouble:
        yield fail(
            "issuer",
            f"the keys that tokens are signed with cannot be fetched: {trouble}",
            "see OUTBOX_JWT_JWKS_URL (or OUTBOX_JWT_JWKS), and whether this machine may connect there",
        )
    elif trouble is not None:
        yield ok("issuer", "the keys that tokens are signed with are there")


AREA = Area(
    "dates",
    frozenset({"postgres"}),
    (
        Check("keys", keys, judge_keys),
        Check("certificates", certificates, judge_certificates),
        Check("issuer", issuer, judge_issuer),
    ),
)
