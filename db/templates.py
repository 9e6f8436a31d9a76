"""Templates: what a message is made from. Rows are versions; the highest of a name, channel and locale is in force."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from db.pool import Executor
from db.statements import load

SQL = load("templates")


@dataclass(frozen=True, slots=True)
class Template:
    """A template's sources as they stand in the database. `key` changes with each of them."""

    key: str
    name: str
    version: int
    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Published:
    """A version, as people see it. `locale` '' serves every language that has none of its own."""

    channel: str
    name: str
    locale: str
    version: int
    subject: str
    body_text: str
    body_html: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to become a version. `on_top_of`: only if that is the newest; 0: only if there is none."""

    channel: str
    name: str
    locale: str = ""
    subject: str = ""
    body_text: str = ""
    body_html: str = ""
    on_top_of: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """What other templates extend or include."""

    name: str
    locale: str
    template: Template


class OutdatedError(Exception):
    """Somebody else has published meanwhile. `newest`: the version in force, or 0."""

    def __init__(self, newest: int) -> None:
        super().__init__(newest)
        self.newest = newest


async def sources(executor: Executor, keys: Iterable[str]) -> list[Template]:
    """By the keys that claims gave, and under them: a row changed since is what they stand for now. One deleted
    since is left out."""
    ids = {key: UUID(key.partition("/")[0]) for key in keys}
    rows = await executor.fetch(SQL["sources"], list(ids.values()))
    found = {row["id"]: tuple(row)[1:] for row in rows}
    return [Template(key, *found[id_]) for key, id_ in ids.items() if id_ in found]


async def layouts(executor: Executor, channel: str, names: Iterable[str]) -> list[Layout]:
    rows = await executor.fetch(SQL["layouts"], channel, list(names))
    return [Layout(row["name"], row["locale"], Template("", row["name"], *tuple(row)[2:])) for row in rows]


async def in_force(executor: Executor, channel: str | None = None) -> list[Published]:
    return [Published(*row) for row in await executor.fetch(SQL["in_force"], channel)]


async def versions(executor: Executor, channel: str, name: str, locale: str = "") -> Sequence[Published]:
    return [Published(*row) for row in await executor.fetch(SQL["versions"], name, channel, locale)]


async def publish(executor: Executor, draft: Draft) -> tuple[int, bool]:
    """The version in force now, and whether this call made it: publishing the same again changes nothing. Raises
    OutdatedError, and asyncpg's UniqueViolationError where another publisher was faster by a hair."""
    row = await executor.fetchrow(
        SQL["publish"],
        draft.name,
        draft.channel,
        draft.locale,
        draft.subject,
        draft.body_text,
        draft.body_html,
        draft.on_top_of,
    )
    assert row
    if row["added"]:
        return row["added"], True
    if row["same"]:
        return row["newest"], False
    raise OutdatedError(row["newest"] or 0)


async def version(executor: Executor, place: Draft, number: int) -> Published | None:
    """One version of the template that stands there."""
    row = await executor.fetchrow(SQL["version"], place.name, place.channel, place.locale, number)
    return Published(*row) if row else None
