"""What an entry of a stream is to a person who is being erased. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from db.erasure import Reissue

Fields = Mapping[bytes, bytes]


@dataclass(slots=True)
class Sorted:
    """Of one page: what is to be taken out, and what of that goes into the log again."""

    out: list[bytes] = field(default_factory=list)
    reissued: list[Reissue] = field(default_factory=list)


class Person:
    """Knows the person's entries. Most are somebody else's, and are told apart by their bytes alone."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        # As Postgres writes it, and as any other JSON writer may.
        self.spellings = {json.dumps(user_id, ensure_ascii=False).encode(), json.dumps(user_id).encode()}

    def sort(self, page: list[tuple[bytes, dict[bytes, bytes]]]) -> Sorted:
        found = Sorted()
        for entry_id, fields in page:
            if not self.is_named_in(fields):
                continue
            document = parsed(fields)
            if document is None or document.get("user_id") == self.user_id:
                found.out.append(entry_id)
            elif document.get("actor_user_id") == self.user_id:
                found.out.append(entry_id)
                found.reissued += entry_of(document, fields)
        return found

    def owns(self, fields: Fields) -> bool:
        """Whether an entry that could not be decoded may be the person's."""
        document = parsed(fields) if (named := self.is_named_in(fields)) else None
        ours = document is None or self.user_id in {document.get("user_id"), document.get("actor_user_id")}
        return named and ours

    def is_named_in(self, fields: Fields) -> bool:
        """In the envelope as a JSON string, in other fields as a whole."""
        bare = self.user_id.encode()
        return any(value == bare or any(one in value for one in self.spellings) for value in fields.values())


def parsed(fields: Fields) -> dict[str, Any] | None:
    try:
        document = json.loads(fields.get(b"envelope", b""))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def entry_of(document: Mapping[str, Any], fields: Fields) -> list[Reissue]:
    """Nothing where it cannot be told: the worker would have called it undecodable."""
    try:
        attempt = int(fields.get(b"attempt", b""))
        return [Reissue(UUID(document["notification_id"]), attempt)] if 0 <= attempt < 2**15 else []
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def fields_of(raw: bytes) -> dict[bytes, bytes]:
    """Of a dead letter's bytes, as workers.entries.serialise has written them."""
    return {name.encode("latin-1"): value.encode("latin-1") for name, value in json.loads(raw).items()}
