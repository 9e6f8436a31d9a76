"""An in-app inbox: its items, and the hint that it changed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class InboxItem(BaseModel):
    """One notification in a user's inbox. `seq` is dense per user: seq n seen means all up to n seen."""

    model_config = ConfigDict(frozen=True)

    seq: int
    notification_id: UUID
    event_type: str
    actor_user_id: str | None
    payload: dict[str, Any]
    created_at: datetime
    delivered_at: datetime
    read_at: datetime | None = None
    archived_at: datetime | None = None


class InboxChange(BaseModel):
    """What is published on `user:<id>:notifications` after a commit. A hint: it may get lost or come twice.

    `version` grows by one with every change of the user's inbox, `unread` is the exact count at that version.
    """

    model_config = ConfigDict(frozen=True)

    version: int
    last_seq: int
    unread: int
    traceparent: str | None = None  # of what led to it, where that is traced
    item: InboxItem | None = None  # a new one
    read: list[int] = Field(default_factory=list)  # items now read, by seq
    unread_again: list[int] = Field(default_factory=list)
    archived: list[int] = Field(default_factory=list)
    unarchived: list[int] = Field(default_factory=list)
