"""What is said over a socket: the frames of both sides and the close codes (docs/realtime.md). Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from db.inbox_changes import MAX_SEQS, Change, Listed, Mark, UpTo
from outbox.inbox import InboxChange, InboxItem

SUBPROTOCOL = "outbox.v1"
MAX_FRAME_BYTES = 65_536
MAX_DETAIL = 200
MAX_REASON_BYTES = 123  # RFC 6455 §5.5: a control frame holds 125, the code takes two

Seq = Annotated[int, Field(ge=0, lt=2**63)]
Seqs = Annotated[list[Seq], Field(min_length=1, max_length=MAX_SEQS)]


class Close(IntEnum):
    """Why the gateway ends a socket, and so what the client does next. docs/realtime.md has the table."""

    RESTARTING = 1012  # come back after the pause that the reason names
    TRY_LATER = 1013  # the database does not answer: come back with back-off
    BAD_FRAMES = 4400  # the client does not speak this protocol: do not come back without a fix
    UNAUTHENTICATED = 4401  # the token does not hold: get another one first
    FORBIDDEN = 4403  # the token holds, but not for this
    AUTH_TIMEOUT = 4408  # no token within the deadline
    TOKEN_EXPIRED = 4419  # get a new token and come back with the cursor
    TOO_MANY = 4429  # connections of this user, or from this address: come back with back-off
    TOO_SLOW = 4508  # frames were not read fast enough: come back with the cursor

    @property
    def http_status(self) -> int:
        """The same said before a socket is accepted, or where events were asked for."""
        return HTTP_STATUS.get(self, 400)

    @property
    def title(self) -> str:
        return self.name.replace("_", " ").capitalize()


HTTP_STATUS = {
    Close.RESTARTING: 503,
    Close.TRY_LATER: 503,
    Close.UNAUTHENTICATED: 401,
    Close.FORBIDDEN: 403,
    Close.TOO_MANY: 429,
}


@dataclass(frozen=True, slots=True)
class Closing:
    """A close code, and the sentence that goes with it; or when to come back."""

    code: Close
    reason: str = ""
    retry_ms: int | None = None

    def short_reason(self) -> str:
        """As much of it as a close frame can hold."""
        reason = self.reason if self.retry_ms is None else f"retry_ms={self.retry_ms}"
        return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")


class FromClient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Auth(FromClient):
    """First on a socket, unless the token came as a subprotocol; later on, it renews the token."""

    type: Literal["auth"]
    token: str = Field(min_length=1, max_length=8192)
    cursor: Seq | None = None


class Items(FromClient):
    """A change of some items."""

    MARK: ClassVar[Mark]
    seqs: Seqs

    def change(self) -> Change:
        return Listed(self.MARK, self.seqs)


class Read(Items):
    MARK = Mark.READ
    type: Literal["read"]


class Unread(Items):
    MARK = Mark.UNREAD
    type: Literal["unread"]


class Archive(Items):
    MARK = Mark.ARCHIVED
    type: Literal["archive"]


class Unarchive(Items):
    MARK = Mark.UNARCHIVED
    type: Literal["unarchive"]


class All(FromClient):
    """A change of everything up to a seq, so that what arrives meanwhile stays as it is."""

    MARK: ClassVar[Literal[Mark.READ, Mark.ARCHIVED]]
    up_to: Seq

    def change(self) -> Change:
        return UpTo(self.MARK, self.up_to)


class ReadAll(All):
    MARK = Mark.READ
    type: Literal["read_all"]


class ArchiveAll(All):
    MARK = Mark.ARCHIVED
    type: Literal["archive_all"]


class Ping(FromClient):
    """For clients that cannot see WebSocket's own pings, as in a browser."""

    type: Literal["ping"]


ChangeFrame = Read | Unread | ReadAll | Archive | Unarchive | ArchiveAll
ClientFrame = Auth | ChangeFrame | Ping
CLIENT_FRAME: TypeAdapter[ClientFrame] = TypeAdapter(Annotated[ClientFrame, Field(discriminator="type")])
TYPES = ", ".join(get_args(frame.model_fields["type"].annotation)[0] for frame in get_args(ClientFrame))


class ToClient(BaseModel):
    model_config = ConfigDict(frozen=True)


class Welcome(ToClient):
    """First from the server. Where `resumed` is false, the client forgets the items that it holds."""

    type: Literal["welcome"] = "welcome"
    user_id: str
    unread: int
    version: int
    last_seq: int
    resumed: bool


class Notification(InboxItem):
    """One item. The counters are newer than the client's if `version` is higher; otherwise they are stale."""

    type: Literal["notification"] = "notification"
    unread: int
    version: int


class Changed(ToClient):
    """How items stand now, by seq. Saying so twice does no harm."""

    type: Literal["changed"] = "changed"
    read: list[int] = []
    unread_again: list[int] = []
    archived: list[int] = []
    unarchived: list[int] = []
    unread: int  # the count
    version: int


class Synced(ToClient):
    """The client has everything up to `last_seq`, which is its cursor now."""

    type: Literal["synced"] = "synced"
    last_seq: int
    unread: int
    version: int


class Renewed(ToClient):
    type: Literal["renewed"] = "renewed"
    expires_at: datetime


class Pong(ToClient):
    type: Literal["pong"] = "pong"


class Error(ToClient):
    """The last frame was not carried out; the socket stays open."""

    type: Literal["error"] = "error"
    code: Literal["bad_frame", "unauthenticated", "unavailable"]
    detail: str


class Closed(ToClient):
    """The last of an event stream; a socket has a close code instead."""

    type: Literal["closed"] = "closed"
    code: Close
    reason: str
    retry_ms: int | None


@dataclass(frozen=True, slots=True)
class Arrived:
    """A Notification as it was published: its text goes out as it came in, which costs a tenth of taking it apart."""

    version: int
    seq: int
    text: bytes
    traceparent: str | None = None

    @property
    def type(self) -> str:
        return "notification"


# What the in-app worker publishes of a new item. Anything else that is an InboxChange is read as one.
ARRIVAL = re.compile(
    rb'\{"version":(\d{1,18}),"last_seq":(\d{1,18}),"unread":(\d{1,10}),'
    rb'(?:"traceparent":(?:null|"([0-9a-f-]{55})"),)?"item":(\{"seq":\2,.*)\}(?:,"[a-z_]+":\[\])*\}',
    re.DOTALL,
)


def arrived(published: bytes) -> Arrived | None:
    """None where it is something else than one new item."""
    if not (found := ARRIVAL.fullmatch(published)):
        return None
    version, seq, unread, traceparent, item = found.groups()
    text = b'%b,"type":"notification","unread":%b,"version":%b}' % (item, unread, version)
    return Arrived(int(version), int(seq), text, traceparent.decode() if traceparent else None)


ServerFrame = Welcome | Notification | Changed | Synced | Renewed | Pong | Error | Closed
Outgoing = ServerFrame | Arrived


def encode(frame: Outgoing) -> bytes:
    """As JSON."""
    return frame.text if isinstance(frame, Arrived) else frame.model_dump_json().encode()


class BadFrameError(Exception):
    """The client sent what is no frame. The message says why, in a line."""


def parse(text: str | None) -> ClientFrame:
    """A client's frame; None stands for a binary one. Raises BadFrameError."""
    if text is None:
        raise BadFrameError("frames are JSON text, not binary")
    try:
        return CLIENT_FRAME.validate_json(text)
    except ValidationError as error:
        raise BadFrameError(describe(error)) from None


def describe(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        return f"type: must be one of {TYPES}"
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"[:MAX_DETAIL] if where else first["msg"]


def notification(item: InboxItem, unread: int, version: int) -> Notification:
    # The item was validated where it came in; this runs once a frame.
    return Notification.model_construct(**item.__dict__, unread=unread, version=version)


def changed(change: InboxChange) -> Changed:
    return Changed(
        read=change.read,
        unread_again=change.unread_again,
        archived=change.archived,
        unarchived=change.unarchived,
        unread=change.unread,
        version=change.version,
    )
