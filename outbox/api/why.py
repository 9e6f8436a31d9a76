"""Why a delivery was not sent, or not yet, in a sentence; and what cancelling came to. Pure."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from db.notifications import Canceled, Stopped

# What waits before any worker has had it.
WAITS = {
    "deliver_at": "its deliver_at is still to come",
    "escalation": "it is sent only if it is unread in-app then",
    "digest": "it is collecting what it will tell",
    "redrive": "it was redriven, and its turn is still to come",
}
UNCLAIMED = "no worker has had it yet"
TOO_LATE = {
    "sending": "an attempt is under way; if it fails, no other is made",
    "delivered": "it was delivered before; in-app, it stays in the inbox",
    "digested": "it is in a digest that is being sent",
}


class Outcome(BaseModel):
    """Whether a channel was stopped in time."""

    channel: str
    stopped: bool
    status: str
    detail: str


class Withdrawn(BaseModel):
    """What cancelling came to."""

    id: UUID
    canceled_at: AwareDatetime
    deliveries: list[Outcome]


def unsent(delivery: Mapping[str, Any], waits: Mapping[str, Any] | None) -> str | None:
    """None for what was delivered, and for nothing else."""
    match delivery["status"]:
        case "delivered":
            return None
        case "sending":
            return "an attempt is under way"
        case "digested":
            return f"{delivery['reason']}: digest {delivery['digest_id']}"
        case "pending":
            return WAITS[waits["reason"]] if waits and waits["reason"] in WAITS else UNCLAIMED
        case status:
            return delivery.get("reason") or f"{status}; no reason was given"


def withdrawn(identity: UUID, canceled: Canceled) -> dict[str, Any]:
    """The answer to DELETE /v1/notifications/{id}."""
    return {
        "id": str(identity),
        "canceled_at": canceled.at.isoformat(),
        "deliveries": [
            {"channel": item.channel, "stopped": item.stopped, "status": item.status, "detail": told(item)}
            for item in canceled.deliveries
        ],
    }


def told(item: Stopped) -> str:
    if item.stopped:
        return "nothing is sent"
    return TOO_LATE.get(item.status, f"it had ended before: {item.status}")
