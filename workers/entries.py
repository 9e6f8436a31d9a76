"""Decoding: from the bytes of a stream entry to a job, or to a dead letter that keeps those bytes. Pure."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from db.delivery import Undecodable
from outbox.envelope import Envelope, from_entry
from outbox.errors import UndecodableEntryError
from workers.outcome import clean

# Far more than any number of redrives makes, far less than a smallint holds.
MAX_ATTEMPT = 10_000
NOTIFICATION_ID = re.compile(rb'"notification_id"\s*:\s*"([0-9a-fA-F-]{36})"')


@dataclass(frozen=True, slots=True)
class RawEntry:
    """As it comes from Redis. No fields: the entry itself is gone, only its mark as pending was left."""

    id: bytes
    fields: dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """A decoded entry."""

    id: bytes
    envelope: Envelope
    attempt: int

    @property
    def notification_id(self) -> UUID:
        return self.envelope.notification_id


def decode(raw: RawEntry) -> Entry | Undecodable:
    try:
        envelope, attempt = from_entry(raw.fields)
        if not 0 <= attempt <= MAX_ATTEMPT:
            raise UndecodableEntryError(f"attempt: must be 0 to {MAX_ATTEMPT}")
    except UndecodableEntryError as error:
        return Undecodable(
            raw.id.decode(),
            clean(str(error)),
            serialise(raw.fields),
            salvaged_id(raw.fields.get(b"envelope", b"")),
            salvaged_attempt(raw.fields.get(b"attempt", b"")),
        )
    return Entry(raw.id, envelope, attempt)


def salvaged_id(envelope: bytes) -> UUID | None:
    """Whose envelope this is, where that can be told though the rest cannot be read."""
    try:
        document = json.loads(envelope, parse_int=str, parse_float=str)  # of any number of digits
        return UUID(document["notification_id"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass  # no JSON, or nested too deep to parse
    # The relay writes the id before the payload, in which anybody may write anything.
    found = NOTIFICATION_ID.search(envelope.partition(b'"payload"')[0])
    try:
        return UUID(found[1].decode()) if found else None
    except ValueError:
        return None


def salvaged_attempt(attempt: bytes) -> int:
    try:
        number = int(attempt)
    except ValueError:
        return 0
    return number if 0 <= number <= MAX_ATTEMPT else 0


def serialise(fields: dict[bytes, bytes]) -> bytes:
    """Every field, as a JSON object. Latin-1 maps each byte to one character and back, so nothing is lost."""
    text = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields.items()}
    return json.dumps(text).encode()


def deserialise(raw: bytes) -> dict[bytes, bytes]:
    """serialise() the other way round."""
    return {name.encode("latin-1"): value.encode("latin-1") for name, value in json.loads(raw).items()}


def once_each(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The entries with distinct notifications, and the repeats: one claim must not name a row twice."""
    first: dict[UUID, Entry] = {}
    repeats = []
    for entry in entries:
        if entry.notification_id in first:
            repeats.append(entry)
        else:
            first[entry.notification_id] = entry
    return list(first.values()), repeats
