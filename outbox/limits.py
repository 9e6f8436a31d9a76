"""What a producer's key is limited to: event types by pattern, and channels. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from outbox.restraints import matches


@dataclass(frozen=True, slots=True)
class Limits:
    """None: any."""

    event_types: tuple[str, ...] | None = None
    channels: frozenset[str] | None = None

    def __bool__(self) -> bool:
        return self.event_types is not None or self.channels is not None

    def broken(self, event_type: str, channels: Iterable[str]) -> list[tuple[str, str]]:
        """Each field that is outside, with what would be inside."""
        found = []
        if self.event_types is not None and not any(matches(each, event_type) for each in self.event_types):
            found.append(("event_type", f"the key is for {', '.join(self.event_types)} only"))
        if self.channels is not None and not self.channels.issuperset(channels):
            found.append(("channels", f"the key is for {', '.join(sorted(self.channels))} only"))
        return found


NONE = Limits()
