"""The envelope: the one contract that crosses every boundary, from a producer's row to a worker."""

import json
import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from outbox.errors import UndecodableEntryError

VERSION: Literal[1] = 1
PAYLOAD_BYTES = 65_536
PAYLOAD_DEPTH = 32
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# The same as a pattern for JSON Schema, whose texts hold no surrogates.
PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
SURROGATE = re.compile("[\ud800-\udfff]")
NUMBER = re.compile(r"\s*[-+]?[\d.]+\s*")

Channel = NewType("Channel", str)


class Priority(StrEnum):
    """The lane a notification travels in: a login code never waits behind a newsletter."""

    URGENT = "urgent"
    NORMAL = "normal"
    BULK = "bulk"


def printable(value: str) -> str:
    """No control characters (NUL among them, which Postgres cannot hold) and no lone surrogates.

    The line and paragraph separators are control characters to some of Postgres's locales.
    """
    if UNPRINTABLE.search(value):
        raise ValueError("must not contain control characters")
    return value


def no_number(value: Any) -> Any:
    """A bare number would be guessed to be seconds or milliseconds."""
    if isinstance(value, int | float) or (isinstance(value, str) and NUMBER.fullmatch(value)):
        raise ValueError("must be a time like 2026-01-31T12:00:00Z")
    return value


def whole(value: Any) -> Any:
    """7.0 is a whole number to JSON Schema; to pydantic's strict mode it is none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def in_calendar(value: datetime) -> datetime:
    if not EARLIEST <= value <= LATEST:
        raise ValueError("must lie between the years 2000 and 2200")
    return value


def distinct(value: list[str]) -> list[str]:
    if len(set(value)) != len(value):
        raise ValueError("must not name a channel twice")
    return value


def storable(value: dict[str, Any]) -> dict[str, Any]:
    """What jsonb can hold: finite numbers, no NUL, valid Unicode; and no deeper or larger than agreed."""
    if (
        bound(value, PAYLOAD_DEPTH) > PAYLOAD_BYTES
    ):  # few are anywhere near: most need not be written out for it
        # Postgres counts the same text: jsonb prints with the separators that json.dumps has by default.
        size = len(json.dumps(value, ensure_ascii=False).encode()) + further_digits(value)
        if size > PAYLOAD_BYTES:
            raise ValueError(f"must be at most {PAYLOAD_BYTES} bytes of JSON, is {size}")
    return value


def storable_text(value: str) -> str:
    bound_of_text(value)
    return value


def bound(value: Any, depth: int) -> int:
    """How many bytes of JSON it can be at most, as jsonb prints it. Raises ValueError for what is unstorable."""
    if depth < 0:
        raise ValueError(f"must not be nested deeper than {PAYLOAD_DEPTH} levels")
    match value:
        case str():
            return bound_of_text(value)
        case dict():
            return 2 + sum(
                bound_of_key(key) + bound(item, depth - 1) + 4  # ": " and ", "
                for key, item in value.items()
            )
        case list() | tuple():
            return 2 + sum(bound(item, depth - 1) + 2 for item in value)
        case float():
            if not math.isfinite(value):
                raise ValueError("must not contain NaN or Infinity")
            return 350  # 1e-308 written out
        case int():  # bool is one
            return 5 + value.bit_length() // 3
        case None:
            return 4
        case _:
            raise ValueError(f"must hold JSON values only, not a {type(value).__name__}")


def bound_of_text(value: str) -> int:
    if "\x00" in value:
        raise ValueError("must not contain NUL characters (\\u0000)")
    if not value.isascii() and SURROGATE.search(value):
        raise ValueError("must not contain unpaired surrogates")
    return 2 + 6 * len(value)  # as \u001f; no character takes more than four bytes otherwise


def bound_of_key(key: Any) -> int:
    if not isinstance(key, str):
        raise ValueError("must have text for keys")
    return bound_of_text(key)


def further_digits(value: Any) -> int:
    """By how many digits jsonb's text is longer: it writes 1e+300 out in full."""
    match value:
        case float():
            return len(f"{Decimal(repr(value)):f}") - len(repr(value))
        case dict():
            return sum(map(further_digits, value.values()))
        case list() | tuple():
            return sum(map(further_digits, value))
        case _:
            return 0


Printable = Annotated[
    str, Field(min_length=1, json_schema_extra={"pattern": PRINTABLE}), AfterValidator(printable)
]
Name = Annotated[Printable, Field(max_length=200)]
DEDUP_KEY_CHARACTERS = 255
Key = Annotated[Printable, Field(max_length=DEDUP_KEY_CHARACTERS)]
ChannelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Channels = Annotated[
    list[ChannelName],
    Field(min_length=1, max_length=16, json_schema_extra={"uniqueItems": True}),
    AfterValidator(distinct),
]
Moment = Annotated[AwareDatetime, BeforeValidator(no_number), AfterValidator(in_calendar)]
# For `read_strictly`, which refuses numbers itself, and takes no text for a time that a validator has looked at.
StrictMoment = Annotated[AwareDatetime, AfterValidator(in_calendar)]


class Notification(BaseModel):
    """What a producer gives, by HTTP or by `enqueue()`. The rules are those of `notify.notifications`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_type: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$",
        description="What happened, in the producer's words.",
        examples=["order.paid"],
    )
    user_id: Name = Field(description="Who is told: the producer's own id of the user.")
    actor_user_id: Name | None = Field(None, description="Who did it, where it was a person.")
    channels: Channels = Field(["inapp"], description="By which channels, each once.")
    payload: Annotated[dict[str, Any], AfterValidator(storable)] = Field(
        default_factory=dict,
        description="Whatever the templates and the clients need; at most 64 KiB.",
    )
    template_name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
    dedup_key: Key | None = Field(None, description="A repeat of the same key is dropped.")
    priority: Priority = Priority.NORMAL
    deliver_at: Moment | None = Field(None, description="Not before this moment.")
    expires_at: Moment | None = Field(None, description="Not after this moment.")
    traceparent: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        description="W3C trace context of the cause.",
    )
    digest_key: Key | None = Field(
        None, description="What has the same key for the same user is collected and told in one message."
    )
    digest_window: Annotated[int, Field(ge=1, le=604_800, strict=True), BeforeValidator(whole)] | None = (
        Field(None, description="For how many seconds, from the first on. With digest_key only.")
    )
    escalate_after: Annotated[int, Field(ge=1, le=2_592_000, strict=True), BeforeValidator(whole)] | None = (
        Field(
            None,
            description="In-app first; the other channels so many seconds later, and only if it is unread then.",
        )
    )
    escalate_channels: Channels | None = Field(
        None, description="Which ones wait; left out, all but in-app. With escalate_after only."
    )

    @field_validator("expires_at")
    @classmethod
    def ends_after_it_begins(cls, value: datetime | None, fields: ValidationInfo) -> datetime | None:
        begins = fields.data.get("deliver_at")
        if value and begins and value <= begins:
            raise ValueError("must be after deliver_at")
        return value

    @field_validator("digest_window")
    @classmethod
    def has_a_key(cls, value: int | None, fields: ValidationInfo) -> int | None:
        if value is not None and "digest_key" in fields.data and fields.data["digest_key"] is None:
            raise ValueError("must come with digest_key")
        return value


class Envelope(Notification):
    """A notification on its way: what an entry of a stream holds.

    The relay writes it from the outbox row inside Postgres (`db/sql/relay.sql`, envelope);
    every worker reads it back through this model.
    """

    v: Literal[1] = VERSION
    notification_id: UUID
    created_at: AwareDatetime

    @property
    def wanted_at(self) -> datetime:
        """When it was to be sent first."""
        return max(self.created_at, self.deliver_at or self.created_at)

    def to_entry(self, attempt: int = 0) -> dict[str, str]:
        """The fields of a stream entry."""
        return {"envelope": self.model_dump_json(exclude_none=True), "attempt": str(attempt)}


class Arrived(BaseModel):
    """The envelope as a worker reads it: types and version must be right, but Postgres's rules alone decide what is
    sent (they are a little wider than a Notification's), and what a newer relay adds is passed over."""

    model_config = ConfigDict(extra="ignore")

    event_type: str
    user_id: str
    actor_user_id: str | None = None
    channels: list[str] = ["inapp"]
    payload: dict[str, Any] = {}
    template_name: str | None = None
    dedup_key: str | None = None
    priority: Priority = Priority.NORMAL
    deliver_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    traceparent: str | None = None
    digest_key: str | None = None
    digest_window: int | None = None
    escalate_after: int | None = None
    escalate_channels: list[str] | None = None
    v: Literal[1] = VERSION
    notification_id: UUID
    created_at: AwareDatetime


def from_entry(fields: dict[bytes, bytes]) -> tuple[Envelope, int]:
    """Envelope and attempt number of a stream entry. Raises UndecodableEntryError, which names the field."""
    try:
        arrived = Arrived.model_validate_json(fields[b"envelope"])
        attempt = int(fields[b"attempt"])
    except KeyError as error:
        raise UndecodableEntryError(f"the entry has no field {error.args[0].decode()}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "envelope"
        raise UndecodableEntryError(f"{where}: {first['msg']}") from None
    except ValueError:
        raise UndecodableEntryError("attempt: is no whole number") from None
    return accepted(arrived), attempt


def accepted(arrived: Arrived) -> Envelope:
    """The same fields as an Envelope, by the way that copying and unpickling take: model_construct goes through all
    fields once more, which for every entry was a tenth of what the in-app worker did."""
    envelope = Envelope.__new__(Envelope)
    envelope.__setstate__(arrived.__getstate__())
    return envelope
