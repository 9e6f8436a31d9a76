"""SendGrid (Web API v3): letters that are ready within a few milliseconds travel in one request."""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from outbox.errors import SettingsError
from outbox.settings import resolve
from workers import metrics
from workers.gathering import LONGEST_SECONDS, Coming, Gathering
from workers.http_exchange import Answer, client, post
from workers.message import Letter
from workers.outcome import Outcome, Transient, counted, requests
from workers.sendgrid_answers import Halve, Named, Verdict, judge
from workers.sendgrid_request import MOST, batches, body

REGIONS = {"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"}
# Should the answer not come, it is unknown of every letter of the request whether it was sent: so not a thousand.
BATCH = 100
CONNECTIONS = 8
# Less than this is left of the time: another request is not begun.
LEAST_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Account:
    """Where, as whom, and how many letters a request."""

    url: str
    key: str
    batch: int = BATCH
    ca: str | None = None

    def __repr__(self) -> str:
        return f"Account({self.url})"


def account(part: Mapping[str, Any]) -> Account:
    """From `{"type": "sendgrid", "key": "env:…", "region": "eu" or "url": …, "batch": …}`. Raises SettingsError."""
    if not isinstance(part.get("key"), str):
        raise SettingsError('a sendgrid provider needs its key, like "key": "env:SENDGRID_API_KEY"')
    region = part.get("region", "global")
    if not isinstance(region, str) or region not in REGIONS:
        raise SettingsError(f"sendgrid: region={region!r} must be one of {', '.join(REGIONS)}")
    url = part.get("url", REGIONS[region])
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"sendgrid: url={url!r} must be like {REGIONS['global']}")
    batch = part.get("batch", BATCH)
    if not isinstance(batch, int) or isinstance(batch, bool) or not 1 <= batch <= MOST:
        raise SettingsError(f"sendgrid: batch={batch!r} must be 1 to {MOST}")
    key = resolve(part["key"])
    if not (key.isascii() and key.isprintable()):
        raise SettingsError("sendgrid: the key holds what cannot stand in a header")
    return Account(url.rstrip("/"), key, batch, certificates(part.get("ca")))


def certificates(path: object) -> str | None:
    """Raises SettingsError."""
    if path is None:
        return None
    try:
        ssl.create_default_context(cafile=str(path))
    except (OSError, ValueError):
        raise SettingsError(f"sendgrid: ca={path!r} is no file of certificates") from None
    return str(path)


class SendGrid:
    """`budget`: the seconds that a letter may take, the wait for its batch included."""

    def __init__(
        self, account: Account, budget: float, name: str = "sendgrid", coming: Coming | None = None
    ) -> None:
        self.account, self.budget, self.name = account, budget, name
        verify = ssl.create_default_context(cafile=account.ca) if account.ca else None
        headers = {"Authorization": f"Bearer {account.key}", "Content-Type": "application/json"}
        self._client = client(headers, CONNECTIONS, verify)
        self._gathering: Gathering[Letter, Outcome] = Gathering(self._send_all, account.batch, coming)

    async def send(self, letter: Letter) -> Outcome:
        return await self._gathering.add(letter)

    async def _send_all(self, letters: Sequence[Letter]) -> Sequence[Outcome]:
        ends = asyncio.get_running_loop().time() + self.budget - LONGEST_SECONDS
        outcomes: dict[int, Outcome] = {}
        requests = batches(enumerate(letters))
        results = await asyncio.gather(
            *(self._settle([letter for _, letter in request], ends) for request in requests)
        )
        for request, result in zip(requests, results, strict=True):
            outcomes |= {place: outcome for (place, _), outcome in zip(request, result, strict=True)}
        return [outcomes[place] for place in range(len(letters))]

    async def _settle(self, letters: Sequence[Letter], ends: float, before: int = 0) -> list[Outcome]:
        """The outcome of each. A request that was refused was not sent at all, so its letters may be sent again: those
        that are to blame get their outcome, and the others go without them, as long as there is time. `before`: how
        many requests with these letters were refused already."""
        count = before + 1
        match await self._ask(letters, ends):
            case Named(refused):
                others = [letter for at, letter in enumerate(letters) if at not in refused]
                rest = iter(await self._settle(others, ends, count) if others else [])
                return [
                    replace(refused[at], sends=count) if at in refused else next(rest)
                    for at in range(len(letters))
                ]
            case Halve():
                middle = len(letters) // 2
                return [
                    *await self._settle(letters[:middle], ends, count),
                    *await self._settle(letters[middle:], ends, count),
                ]
            case outcome:
                return [counted(outcome, before + requests(outcome))] * len(letters)

    async def _ask(self, letters: Sequence[Letter], ends: float) -> Verdict:
        seconds = ends - asyncio.get_running_loop().time()
        if seconds < LEAST_SECONDS:
            return Transient("timeout", "another letter of the batch was refused, and the time was over then")
        content = json.dumps(body(letters), ensure_ascii=False).encode("utf-8", "replace")
        metrics.BATCHES.labels(self.name).observe(len(letters))
        answer = await post(self._client, f"{self.account.url}/v3/mail/send", content, seconds)
        if not isinstance(answer, Answer):
            return answer
        verdict = judge(answer, len(letters))
        return verdict if isinstance(verdict, Named | Halve) else counted(verdict, 1)

    async def close(self) -> None:
        await self._gathering.close()
        await self._client.aclose()
