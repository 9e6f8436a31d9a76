"""What may hold a notification back, as people write it: quiet hours, caps, digests. One reading of it for the API,
which refuses what cannot be read, and for the workers."""

import re
from datetime import time
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from outbox.envelope import whole

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
UNITS = {"s": 1, "second": 1, "m": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86_400, "day": 86_400}
UNITS |= {"w": 604_800, "week": 604_800}
DURATION = re.compile(r"([0-9]{1,9})\s*([a-z]+?)s?")
# The same for JSON Schema, as far as it is told: longer ones are rather given in another unit.
SPOKEN = r"^([1-9][0-9]? ?([smhd]|(second|minute|hour|day)s?)|[1-9] ?(w|weeks?))$"
CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
YEAR_SECONDS = 366 * 86_400


def seconds(value: Any) -> Any:
    """`600`, `"10 minutes"`, `"10m"`."""
    if isinstance(value, str):
        found = DURATION.fullmatch(value.strip())
        if found is None or found[2] not in UNITS:
            raise ValueError('must be seconds, or like "10 minutes", "2 hours", "1 day"')
        return int(found[1]) * UNITS[found[2]]
    if isinstance(value, bool):
        raise ValueError("must be seconds")
    return whole(value)


def clock(value: Any) -> Any:
    if isinstance(value, time):
        return value
    if not isinstance(value, str) or not CLOCK.fullmatch(value):
        raise ValueError("must be a time like 22:00")
    return time.fromisoformat(value)


def known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone like Europe/Berlin") from None
    return name


Seconds = Annotated[
    int,
    Field(ge=1, le=YEAR_SECONDS),
    BeforeValidator(seconds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": YEAR_SECONDS},
                {"type": "string", "pattern": SPOKEN, "examples": ["10 minutes"]},
            ]
        }
    ),
]
Clock = Annotated[
    time,
    BeforeValidator(clock),
    WithJsonSchema({"type": "string", "pattern": f"^{CLOCK.pattern}$", "examples": ["22:00"]}),
]
Zone = Annotated[str, AfterValidator(known_zone)]
# An event type, all that begin with "order." or "order:", or all there are. As notify.user_channel_prefs has it.
Pattern = Annotated[
    str,
    Field(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.:-]{0,127}|[A-Za-z0-9][A-Za-z0-9_.:-]{0,125}[.:]\*|\*)$",
        description="an event type, or the beginning of some, as order.*, or * for all",
    ),
]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuietHours(Part):
    """By the clock on the recipient's wall, on the days on which they begin. `to` at or before `from` is of the
    next day."""

    begin: Clock = Field(alias="from")
    end: Clock = Field(alias="to")
    # A day that stands twice does no harm.
    days: frozenset[Day] = Field(frozenset(DAYS), min_length=1, json_schema_extra={"uniqueItems": False})

    @model_validator(mode="after")
    def leaves_some_time(self) -> Self:
        if self.begin == self.end and len(self.days) == len(DAYS):
            raise ValueError("must leave some time that is not quiet; to have nothing sent, switch it off")
        return self


class Cap(Part):
    """At most `count` in a window of `per` seconds, which begins with the first. What is more waits for its end, or is
    told in one digest then."""

    count: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(whole)]
    per: Seconds
    then: Literal["defer", "digest"] = "defer"


class Constraints(Part):
    """Of a preference. A part given as null: none, whatever a wider preference or the channel says."""

    quiet_hours: QuietHours | None = None
    cap: Cap | None = None


class ChannelRules(Constraints):
    """Of a channel, for whoever has no preference of his own."""

    time_zone: Zone = "UTC"  # of recipients whose own is not known
    digest: dict[Pattern, Seconds] = Field(
        default_factory=dict
    )  # event types, and how long they are collected
    # Urgent ones that are sent even where the recipient has switched them off: security codes.
    urgent_overrides_preferences: list[Pattern] = Field(default_factory=list)

    @cached_property
    def restrain(self) -> bool:
        """Whether they hold back anything at all. Asked for every delivery."""
        return bool(self.digest) or self.quiet_hours is not None or self.cap is not None


UNRESTRAINED = ChannelRules()


def matches(pattern: str, event_type: str) -> bool:
    return event_type == pattern or (pattern.endswith("*") and event_type.startswith(pattern[:-1]))


def nearest(patterns: Any, event_type: str) -> str | None:
    """The pattern that says most about this event type."""
    fitting = [pattern for pattern in patterns if matches(pattern, event_type)]
    return max(fitting, key=lambda pattern: len(pattern.rstrip("*")), default=None)
