"""The Python client of the API: `AsyncClient` for async code, `Client` for plain code."""

from outbox.client.async_client import AsyncClient
from outbox.client.errors import (
    ChangedMeanwhileError,
    ClientError,
    ConflictError,
    FieldError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    NotSettledError,
    ProblemError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
)
from outbox.client.live import Event, Marked, New, Reset, Synced
from outbox.client.models import (
    Accepted,
    AcceptedOfMany,
    Delivery,
    Device,
    InboxCount,
    InboxItem,
    InboxPage,
    InboxState,
    Preference,
    Recipient,
    Seen,
)
from outbox.client.retry import Retry
from outbox.client.sync_client import Client
from outbox.client.wire import Options

__all__ = [
    "Accepted",
    "AcceptedOfMany",
    "AsyncClient",
    "ChangedMeanwhileError",
    "Client",
    "ClientError",
    "ConflictError",
    "Delivery",
    "Device",
    "Event",
    "FieldError",
    "ForbiddenError",
    "InboxCount",
    "InboxItem",
    "InboxPage",
    "InboxState",
    "InvalidRequestError",
    "Marked",
    "New",
    "NotFoundError",
    "NotSettledError",
    "Options",
    "Preference",
    "ProblemError",
    "Recipient",
    "Reset",
    "Retry",
    "Seen",
    "Synced",
    "ThrottledError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnreachableError",
]
