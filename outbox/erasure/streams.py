"""The streams, gone through page by page: a person's entries are taken out, pending or not.

Repeating a page is safe. A worker that has an entry in hand finds no notification for it, and drops it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from redis.exceptions import ResponseError

from outbox.inbox import InboxChange
from outbox.inbox_hints import publish
from outbox.nodes import Nodes
from outbox.streams import GROUP, Keys

Page = list[tuple[bytes, dict[bytes, bytes]]]
# Above every version: whoever hears it looks into Postgres, where the inbox is empty (docs/realtime.md).
LOOK_AGAIN = InboxChange(version=2**53 - 1, last_seq=0, unread=0)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of a stream: what lies behind `after`, up to `end`. As text it is an erasure's place.

    `reissued`: the entry up to which what goes on without the person is in the log again, for sure; "-" for none.
    """

    stream: str
    after: str
    end: str
    reissued: str = "-"

    @classmethod
    def parse(cls, text: str) -> "Stretch":
        return cls(*text.rsplit(" ", 3))

    def __str__(self) -> str:
        return f"{self.stream} {self.after} {self.end} {self.reissued}"

    @property
    def page_end(self) -> str:
        return self.end if self.reissued == "-" else self.reissued


class Streams:
    def __init__(self, nodes: Nodes, keys: Keys) -> None:
        self.nodes, self.keys = nodes, keys

    async def whole(self, stream: str) -> Stretch | None:
        """As it is now; None where there is nothing in it. What comes later is not the person's: the rows are gone."""
        async with self.nodes.at(stream) as redis:
            try:
                newest: Any = await redis.xrevrange(stream, count=1)
            except ResponseError as error:
                if "WRONGTYPE" not in str(error):
                    raise
                return None
        return Stretch(stream, "0-0", newest[0][0].decode()) if newest else None

    async def page(self, stretch: Stretch, size: int) -> Page:
        async with self.nodes.at(stretch.stream) as redis:
            rows: Any = await redis.xrange(
                stretch.stream, min=f"({stretch.after}", max=stretch.page_end, count=size
            )
        return [(entry_id, fields or {}) for entry_id, fields in rows]

    async def take_out(self, stream: str, ids: Sequence[bytes]) -> None:
        if not ids:
            return
        async with self.nodes.at(stream) as redis:
            pipe = redis.pipeline(transaction=False)
            pipe.xack(stream, GROUP, *ids)
            pipe.xdel(stream, *ids)
            await pipe.execute()

    async def tell_sockets(self, user_id: str) -> None:
        """The person's open sockets: what they show is no more."""
        await publish(self.nodes, self.keys, user_id, LOOK_AGAIN)


def letter_of(fields: dict[bytes, bytes]) -> tuple[UUID | None, UUID | None]:
    """The ids in an entry of the stream of dead letters: its own and its notification's."""
    return identity(fields.get(b"id")), identity(fields.get(b"notification_id"))


def identity(text: bytes | None) -> UUID | None:
    try:
        return UUID(text.decode()) if text else None
    except ValueError:
        return None
