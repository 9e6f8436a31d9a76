"""Recipients who are kept elsewhere: by a query on the producer's own tables, or by an HTTP service.

They are asked for just before a batch is claimed and remembered in notify.recipients, so all that comes after – the
claim's contact, language and time zone – is the same wherever they come from. Asking twice is harmless.
"""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import asyncpg
import httpx

from db import recipients
from db.pool import Executor, Pool
from db.recipients import Recipient
from outbox.errors import SettingsError
from outbox.log import get
from outbox.settings import Settings

log = get("worker")

COLUMNS = ("email", "phone", "locale", "time_zone")
# As notify.recipients has them: what breaks a rule there would break the whole batch.
RULES = {
    "email": re.compile("@".join([r"[^\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff@]+"] * 2)),
    "phone": re.compile(r"\+[1-9][0-9]{6,14}"),
    "locale": re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*"),
    "time_zone": re.compile(r"[A-Za-z0-9_+/-]{1,64}"),
}
EMAIL_CHARACTERS = 320
# What a query may take the ids of users as.
IDS = (["text[]"], ["varchar[]"])
TIMEOUT_SECONDS = 5.0
AT_ONCE = 16
ANSWER_BYTES = 64 * 1024


class UnansweredError(Exception):
    """Somebody could not be asked for. Holds no personal data."""


class Answers(NamedTuple):
    """What the source says of those asked for: facts of those it knows, and why of those it could not say."""

    found: Mapping[str, Mapping[str, Any]]
    unanswered: Mapping[str, str]


class Source(Protocol):
    """Where recipients are kept."""

    async def ask(self, pool: Pool, user_ids: Sequence[str]) -> Answers:
        """Within TIMEOUT_SECONDS for all of them. Holds a connection of the pool only where it asks Postgres."""
        ...

    async def close(self) -> None: ...


class Query:
    """The producer's own tables, in the same database, with the rights of the service's login."""

    def __init__(self, query: str) -> None:
        self.query = query

    async def ask(self, pool: Pool, user_ids: Sequence[str]) -> Answers:
        try:
            async with pool.acquire() as connection:
                rows = await connection.fetch(self.query, list(user_ids), timeout=TIMEOUT_SECONDS)
        except (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError):
            raise  # Postgres itself goes away: the step is made again
        except (TimeoutError, asyncpg.PostgresError) as error:
            why = f"OUTBOX_RECIPIENT_QUERY failed: {type(error).__name__}"
            return Answers({}, dict.fromkeys(user_ids, why))
        return Answers({str(row["user_id"]): dict(row) for row in rows}, {})

    async def close(self) -> None:
        """Nothing is held."""


class Service:
    """GET of one URL for each user: 200 with a JSON object, 404 for somebody who is not known."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._client = httpx.AsyncClient(headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._room = asyncio.Semaphore(AT_ONCE)

    async def ask(self, pool: Pool, user_ids: Sequence[str]) -> Answers:
        """Whoever cannot be asked for harms nobody else."""
        late = asyncio.get_running_loop().time() + TIMEOUT_SECONDS
        answers = await asyncio.gather(*(self._one(user, late) for user in user_ids), return_exceptions=True)
        found, unanswered = {}, {}
        for user, answer in zip(user_ids, answers, strict=True):
            if isinstance(answer, UnansweredError):
                unanswered[user] = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            elif answer is not None:
                found[user] = answer
        return Answers(found, unanswered)

    async def _one(self, user_id: str, late: float) -> Mapping[str, Any] | None:
        try:
            async with asyncio.timeout_at(late), self._room:
                answer = await self._client.get(self.url.replace("{user_id}", quote(user_id, safe="")))
        except (httpx.HTTPError, TimeoutError) as error:
            raise UnansweredError(f"the user service does not answer: {type(error).__name__}") from None
        return None if answer.status_code in {404, 410} else document(answer)

    async def close(self) -> None:
        await self._client.aclose()


def document(answer: httpx.Response) -> Mapping[str, Any]:
    """Raises UnansweredError for what is no JSON object."""
    if answer.status_code != 200:
        raise UnansweredError(f"the user service answers {answer.status_code}")
    try:
        found = answer.json() if len(answer.content) <= ANSWER_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UnansweredError("the user service answers with what is no JSON object")
    return found


class Recipients:
    """Of a worker process. Without a source every call does nothing: notify.recipients is the truth then."""

    def __init__(self, source: Source | None, fresh_seconds: float) -> None:
        self.source, self.fresh_seconds = source, fresh_seconds

    async def refresh(self, pool: Pool, user_ids: Collection[str]) -> Mapping[str, str]:
        """Bring what is known of these users up to date. Gives those of whom nothing is known because they could not
        be asked for, each with the reason; where something older is known, it serves."""
        if self.source is None:
            return {}
        async with pool.acquire() as connection:
            asked = await recipients.to_ask_for(connection, sorted(user_ids), self.fresh_seconds)
        if not asked:
            return {}
        found, unanswered = await self.source.ask(pool, list(asked))
        if unanswered:
            reasons = sorted(set(unanswered.values()))
            log.warning("worker.recipients_unanswered", users=len(unanswered), reasons=reasons)
        told = [recipient(user, found.get(user, {})) for user in asked if user not in unanswered]
        if told:
            async with pool.acquire() as connection:
                await recipients.remember(connection, told)
        return {user: why for user, why in unanswered.items() if not asked[user]}

    async def close(self) -> None:
        if self.source:
            await self.source.close()


def recipient(user_id: str, facts: Mapping[str, Any]) -> Recipient:
    """What breaks a rule is as if it were not there, and is logged without the value."""
    kept: dict[str, str] = {}
    for column in COLUMNS:
        value = facts.get(column)
        if isinstance(value, str) and value and fits(column, value):
            kept[column] = value
        elif value not in (None, ""):
            log.warning("worker.recipient_unusable", column=column)
    return Recipient(user_id, **kept)


def fits(column: str, value: str) -> bool:
    return len(value) <= EMAIL_CHARACTERS and RULES[column].fullmatch(value) is not None


async def from_settings(settings: Settings, pool: Pool) -> Recipients:
    """Raises SettingsError where the query cannot be used."""
    if settings.recipient_query:
        async with pool.acquire() as connection:
            await try_query(connection, settings.recipient_query)
        return Recipients(Query(settings.recipient_query), settings.recipient_cache)
    if settings.recipient_url:
        token = settings.recipient_token
        service = Service(settings.recipient_url, token.get_secret_value() if token else None)
        return Recipients(service, settings.recipient_cache)
    return Recipients(None, 0)


async def try_query(executor: Executor, query: str) -> None:
    """With no users: it says whether Postgres takes it, and the columns must be there."""
    wrapped = f"SELECT * FROM ({query.rstrip().rstrip(';')}) AS found LIMIT 0"  # noqa: S608 - the operator's own
    key = f"OUTBOX_RECIPIENT_QUERY={query!r}"
    try:
        statement = await executor.prepare(wrapped)
    except asyncpg.PostgresError as error:
        raise SettingsError(f"{key}: PostgreSQL says: {error}") from None
    names = {attribute.name for attribute in statement.get_attributes()}
    if [parameter.name for parameter in statement.get_parameters()] not in IDS:
        raise SettingsError(f"{key}: must have one parameter, $1::text[]: the ids of users")
    if "user_id" not in names or not names & set(COLUMNS):
        raise SettingsError(f"{key}: must give user_id and some of {', '.join(COLUMNS)}")
