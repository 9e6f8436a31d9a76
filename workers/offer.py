"""Which mails offer to unsubscribe, and from what. Pure.

`"unsubscribe": {"category": "event_type" | "*", "urgent": false, "never": ["password.*"]}` in the channel's config, or
false for none at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from outbox.envelope import Envelope, Priority
from outbox.errors import SettingsError
from outbox.unsubscribe import ALL, Wish

EVENT_TYPE = "event_type"


@dataclass(frozen=True, slots=True)
class Offer:
    """`category`: a link is for the mail's own event type, or for all. `never`: patterns of event types that people
    cannot do without."""

    category: str = EVENT_TYPE
    urgent: bool = False
    never: Sequence[str] = ()
    any: bool = True

    def wish(self, envelope: Envelope, channel: str) -> Wish | None:
        """What the link in this mail asks for; None: it has none."""
        if not self.any or (envelope.priority == Priority.URGENT and not self.urgent):
            return None
        if any_of(self.never, envelope.event_type):
            return None
        category = ALL if self.category == ALL else envelope.event_type
        return Wish(envelope.user_id, channel, category, envelope.notification_id)


def any_of(patterns: Sequence[str], event_type: str) -> bool:
    return any(fnmatchcase(event_type, pattern) for pattern in patterns)


def offer(config: Any) -> Offer:
    """Raises SettingsError."""
    if isinstance(config, bool):
        return Offer(any=config)
    if not isinstance(config, Mapping):
        raise SettingsError(f"unsubscribe={config!r} must be true, false or an object")
    if unknown := config.keys() - {"category", "urgent", "never"}:
        raise SettingsError(f"unsubscribe: {min(unknown)!r} is none of category, urgent, never")
    category, urgent, never = (
        config.get("category", EVENT_TYPE),
        config.get("urgent", False),
        config.get("never", []),
    )
    if category not in (EVENT_TYPE, ALL):
        raise SettingsError(f"unsubscribe: category={category!r} must be {EVENT_TYPE!r} or {ALL!r}")
    if not isinstance(urgent, bool):
        raise SettingsError(f"unsubscribe: urgent={urgent!r} must be true or false")
    if not isinstance(never, list) or not all(isinstance(pattern, str) for pattern in never):
        raise SettingsError('unsubscribe: never must be a list of event types, like ["password.*"]')
    return Offer(category, urgent, tuple(never))
