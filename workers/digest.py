"""What a digest says: a payload made of those that it holds. Pure."""

from dataclasses import replace
from typing import Any

from db.delivery import FINAL, Settlement, Status
from db.rules import Listed
from workers.job import Job

ITEMS = 100
ITEMS_BYTES = (
    38_912  # title and body beside them, at six bytes a character, stay below the 64 KiB of a payload
)
TITLE_CHARACTERS = 300
LINE_CHARACTERS = 200
BODY_CHARACTERS = 4_000
# How a digest may end without having told what it holds.
UNTOLD = FINAL - {Status.DELIVERED, Status.DIGESTED}


def payload(listed: Listed, event_type: str) -> dict[str, Any]:
    """`items` are the payloads, in order; `more` is how many are not among them. Title and body are for templates and
    inboxes that know nothing of digests."""
    heading = title(listed.first, event_type)
    lines = [line(item, event_type) for item in listed.payloads]
    more = listed.total - len(listed.payloads)
    made: dict[str, Any] = {"items": listed.payloads, "more": more, "count": listed.total}
    if listed.total == 1:
        return made | {"title": heading, "body": text(listed.first.get("body"), BODY_CHARACTERS)}
    if more:
        lines.append(f"and {more} more")
    return made | {"title": f"{listed.total} × {heading}", "body": "\n".join(lines)[:BODY_CHARACTERS]}


def title(item: dict[str, Any], event_type: str) -> str:
    return text(item.get("title"), TITLE_CHARACTERS) or event_type


def line(item: dict[str, Any], event_type: str) -> str:
    parts = (text(item.get(name), LINE_CHARACTERS) for name in ("title", "body"))
    return " – ".join(part for part in parts if part)[:LINE_CHARACTERS] or event_type


def text(value: Any, most: int) -> str:
    return value[:most] if isinstance(value, str) else ""


def untold(digest: Settlement) -> str:
    """Why what is in this digest was not told."""
    return f"the digest it is in ended as {digest.status}: {digest.reason or digest.error_class}"


def carrying(job: Job, said: dict[str, Any]) -> Job:
    """The digest's job, with what it says."""
    envelope = job.entry.envelope.model_copy(update={"payload": said})
    return replace(job, entry=replace(job.entry, envelope=envelope))
