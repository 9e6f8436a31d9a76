"""What an administrator does is written down in the transaction that does it: who, what, on what, before and after.

No secret is written, and no personal data: a person or an address is named by `pseudonym`, so that whoever knows the
name can look for it, and an erasure has nothing to look for here.
"""

import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import db.audit
from db.audit import Act
from db.pool import Executor
from outbox.channel_config import without_secrets
from outbox.envelope import UNPRINTABLE
from outbox.errors import OutboxError
from outbox.settings import Settings
from outbox.signing import tag, to_text
from outbox.tokens import Identity

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # in jsonb; line ends in a template's text are nothing odd
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
DETAIL_BYTES = 32 * 1024
ACTOR_CHARACTERS, TARGET_CHARACTERS = 200, 300


class UnwrittenError(OutboxError):
    """Somebody did something as an administrator, and no entry says so."""


@dataclass(slots=True)
class Entry:
    """Of the request under way: what it is called, and whether it has written down what it did."""

    request_id: str
    written: bool = False


UNDER_WAY: ContextVar[Entry | None] = ContextVar("audit_entry", default=None)


def begin(request_id: str | None) -> Entry:
    """Of this request, before its handler runs. `request_id`: what the caller named it, if that can be stored."""
    entry = Entry(request_id if request_id and REQUEST_ID.fullmatch(request_id) else uuid4().hex)
    UNDER_WAY.set(entry)
    return entry


async def record(
    conn: Executor, caller: Identity, action: str, target: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Write down that `caller` did `action` ("channel.change") on `target` ("email"). `detail`: what changed, as
    {"before": …, "after": …} where that tells more than the action does. On the connection, and in the transaction,
    of the act: neither is there without the other. A route of administrators that forgets this is refused by
    outbox.api.guard, in development."""
    entry = UNDER_WAY.get()
    await db.audit.record(
        conn,
        Act(
            printable(caller.subject, ACTOR_CHARACTERS),
            caller.via,
            action,
            printable(target, TARGET_CHARACTERS),
            as_json(detail or {}),
            entry.request_id if entry else None,
        ),
    )
    if entry:
        entry.written = True


def as_json(detail: Mapping[str, Any]) -> str:
    """As JSON that Postgres can hold. What is too long is left out, and its length told."""
    text = json.dumps(without_secrets(clean(detail)), default=str)
    return text if len(text) <= DETAIL_BYTES else json.dumps({"left_out_bytes": len(text)})


def clean(value: Any) -> Any:
    match value:
        case str():
            return UNSTORABLE.sub("\ufffd", value)
        case Mapping():
            return {clean(str(key)): clean(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [clean(item) for item in value]
    return value


def printable(text: str, most: int) -> str:
    return UNPRINTABLE.sub("\ufffd", text)[:most] or "?"


def pseudonym(settings: Settings, name: str) -> str:
    """Stands for a user or an address: the same for the same name, and only this installation can make it."""
    return "p_" + to_text(tag(settings.link_key("audit"), name.encode("utf-8", "replace")))
