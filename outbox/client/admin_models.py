"""What the API answers administrators: channels, templates, dead letters, suppressions, statistics."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime

from outbox.client.models import Told


class Channel(Told):
    """`config` comes without its secrets. `version` is what a change is made on top of."""

    name: str
    kind: str
    enabled: bool
    config: dict[str, Any]
    max_attempts: int
    on_unknown: str
    version: int
    updated_at: AwareDatetime


class ChannelList(Told):
    channels: list[Channel]


class TemplateVersion(Told):
    """`locale` "" serves every language that has none of its own."""

    channel: str
    name: str
    locale: str
    version: int
    subject: str
    body_text: str
    body_html: str
    created_at: AwareDatetime


class TemplateList(Told):
    templates: list[TemplateVersion]


class TemplateVersions(Told):
    versions: list[TemplateVersion]


class InForce(Told):
    channel: str
    name: str
    locale: str
    version: int


class Previewed(Told):
    subject: str
    text: str
    html: str


class DeadLetter(Told):
    """What could not be delivered. `undecodable`: an entry that was no envelope; it has no notification."""

    id: UUID
    notification_id: UUID | None
    event_type: str | None
    channel: str
    error_class: str
    reason: str
    attempts: int
    undecodable: bool
    payload: dict[str, Any] | None
    failed_at: AwareDatetime
    redriven_at: AwareDatetime | None = None
    discarded_at: AwareDatetime | None = None


class DeadLetterPage(Told):
    """`next_cursor`: null on the last page."""

    dead_letters: list[DeadLetter]
    next_cursor: str | None


class DeadLetterKind(Told):
    channel: str
    error_class: str
    letters: int


class DeadLetterCount(Told):
    total: int
    kinds: list[DeadLetterKind]


class Answered(Told):
    """What became of one letter; in a dry run, what would."""

    id: UUID
    channel: str
    answer: str
    detail: str


class Treated(Told):
    dry_run: bool
    dead_letters: list[Answered]


class Suppression(Told):
    """An address that nothing is sent to, in lower case."""

    channel: str
    address: str
    reason: str
    created_at: AwareDatetime


class SuppressionPage(Told):
    """`next_cursor`: null on the last page."""

    suppressions: list[Suppression]
    next_cursor: str | None


class Removed(Told):
    """What was there; None where nothing was."""

    removed: Suppression | None


class Seconds(Told):
    """From creation, or `deliver_at`, to delivery."""

    p50: float
    p95: float
    p99: float


class Figures(Told):
    """Deliveries by what became of them, and those by which they were grouped."""

    deliveries: int
    statuses: dict[str, int]
    seconds_to_delivered: Seconds | None
    channel: str | None = None
    event_type: str | None = None
    priority: str | None = None
    hour: AwareDatetime | None = None
    day: AwareDatetime | None = None


class Statistics(Told):
    """`complete` false: only those from `counted_since` on are in."""

    since: AwareDatetime
    until: AwareDatetime
    complete: bool
    counted_since: AwareDatetime
    notifications: int
    total: Figures
    groups: list[Figures]
    groups_complete: bool


class RelayNow(Told):
    """`lease_seconds` null or negative: nobody leads."""

    holder: str | None
    lease_seconds: float | None
    lag_rows: int
    lag_seconds: float


class StreamNow(Told):
    name: str
    length: int
    pending: int
    consumers: int
    oldest_seconds: float | None


class WaitingNow(Told):
    name: str
    count: int
    seconds: float


class Now(Told):
    """`streams` None: Redis does not answer."""

    at: AwareDatetime
    relay: RelayNow
    streams: list[StreamNow] | None
    scheduled: list[WaitingNow]
    dead_letters: list[WaitingNow]
