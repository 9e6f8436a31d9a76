"""The stages of an erasure, in their order. A step does one bounded piece of its stage and says where the next begins.

Each is safe to repeat from any point: what is gone is not found again. First the rows that all else follows from, so
that whoever still holds an entry finds no notification for it; then the copies.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from db import erasure as sql
from db.erasure import Erasure
from db.pool import Executor
from db.shards import of_channels
from outbox.erasure.entries import Person, fields_of
from outbox.erasure.streams import Streams, Stretch, letter_of

NOTIFICATIONS = 200  # a transaction; each has a dozen tables hang on it
ACTED = 1_000
LETTERS = 50  # of up to some hundred KiB each
LOG_ROWS = 20_000
ENTRIES = 500


@dataclass(frozen=True, slots=True)
class Piece:
    """What a step has erased, and where its stage goes on. None: the stage is through."""

    erased: Counter[str]
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """One step: in the transaction of `executor`, which the caller owns."""

    executor: Executor
    streams: Streams
    erasure: Erasure
    user_id: str


async def notifications(work: Work) -> Piece:
    found = await sql.erase_notifications(work.executor, work.user_id, NOTIFICATIONS)
    return Piece(found, "more" if found["notifications"] else None)


async def person(work: Work) -> Piece:
    erased = await sql.erase_person(work.executor, work.erasure)
    acts = await sql.forget_in_audit_log(work.executor, work.user_id, work.erasure.subject)
    return Piece(erased + Counter(audit_log=acts))


async def actor(work: Work) -> Piece:
    """Other people's notifications stay; who did it is left out of them."""
    named = await sql.forget_actor(work.executor, work.user_id, ACTED)
    return Piece(Counter(actor_user_id=named), "more" if named else None)


async def letters(work: Work) -> Piece:
    """Dead letters of which only bytes are known."""
    after = UUID(work.erasure.place) if work.erasure.place else None
    page = await sql.undecodable(work.executor, after, LETTERS)
    whose = Person(work.user_id)
    ours = [letter.id for letter in page if whose.owns(fields_of(letter.raw))]
    if ours:
        await sql.erase_letters(work.executor, ours)
    return Piece(Counter(notifications_failed=len(ours)), str(page[-1].id) if len(page) == LETTERS else None)


async def log(work: Work) -> Piece:
    first = int(work.erasure.place or 0)
    edge = await sql.log_edge(work.executor, first, LOG_ROWS)
    rows = await sql.erase_log(work.executor, work.user_id, first, edge)
    named = await sql.forget_actor_in_log(work.executor, work.user_id, first, edge)
    return Piece(Counter(outbox=rows, actor_user_id=named), str(edge) if edge != sql.END_OF_LOG else None)


async def streams(work: Work) -> Piece:
    """The streams of all channels and lanes, one page after another.

    A page with entries to be reissued takes two steps: none may leave the stream before the log has it, which is
    certain only once its step is committed.
    """
    names = sorted(
        stream
        for channel, shards in (await of_channels(work.executor)).items()
        for stream in work.streams.keys.streams(channel, shards.readable)
    )
    if (place := work.erasure.place) is None:
        await work.streams.tell_sockets(work.user_id)
        return await begun(work, names)
    stretch = Stretch.parse(place)
    page = await work.streams.page(stretch, ENTRIES)
    found = Person(work.user_id).sort(page)
    if found.reissued and stretch.reissued == "-":
        channel, *_ = work.streams.keys.place(stretch.stream)
        await sql.reissue(work.executor, channel, found.reissued)
        return Piece(Counter(), str(replace(stretch, reissued=page[-1][0].decode())))
    await work.streams.take_out(stretch.stream, found.out)
    erased = Counter(stream_entries=len(found.out))
    if stretch.reissued != "-":
        return Piece(erased, str(Stretch(stretch.stream, stretch.reissued, stretch.end)))
    if len(page) == ENTRIES:
        return Piece(erased, str(Stretch(stretch.stream, page[-1][0].decode(), stretch.end)))
    following = await begun(work, [name for name in names if name > stretch.stream])
    return Piece(erased, following.place)


async def begun(work: Work, names: list[str]) -> Piece:
    """At the beginning of the first of these streams that holds anything."""
    for name in names:
        if stretch := await work.streams.whole(name):
            return Piece(Counter(), str(stretch))
    return Piece(Counter())


async def mirror(work: Work) -> Piece:
    """The stream of dead letters tells of no letter that is gone."""
    name = work.streams.keys.dead_letters
    place = work.erasure.place
    stretch = Stretch.parse(place) if place else await work.streams.whole(name)
    if stretch is None:
        return Piece(Counter())
    page = await work.streams.page(stretch, ENTRIES)
    gone = await sql.gone(work.executor, [letter_of(fields) for _, fields in page])
    await work.streams.take_out(name, [page[at][0] for at in gone])
    more = str(Stretch(name, page[-1][0].decode(), stretch.end)) if len(page) == ENTRIES else None
    return Piece(Counter(stream_entries=len(gone)), more)


class Stage(StrEnum):
    NOTIFICATIONS = "notifications"
    PERSON = "person"
    ACTOR = "actor"
    LETTERS = "letters"
    LOG = "log"
    STREAMS = "streams"
    MIRROR = "mirror"


STAGES: dict[Stage, Callable[[Work], Awaitable[Piece]]] = {
    Stage.NOTIFICATIONS: notifications,
    Stage.PERSON: person,
    Stage.ACTOR: actor,
    Stage.LETTERS: letters,
    Stage.LOG: log,
    Stage.STREAMS: streams,
    Stage.MIRROR: mirror,
}


def after(stage: Stage) -> Stage | None:
    """None: that was the last one of a round."""
    order = list(STAGES)
    following = order[order.index(stage) + 1 :]
    return following[0] if following else None
