"""What valid requests keep to beside the schema: rules between two fields, names that the database has to know.

Schemathesis loads this; it is told nothing else. A request that is meant to be wrong is left as it is.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext
from schemathesis.openapi import format as text_format

CHANNELS = ["inapp", "email", "sms", "push", "webhook"]
Request = Case[Any]
MOMENTS = st.datetimes(datetime(2000, 1, 2), datetime(2199, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - as asked

text_format("date-time", MOMENTS.map(datetime.isoformat))


@schemathesis.hook
def before_call(_: HookContext, case: Request, __: dict[str, Any]) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    case.query.pop("cursor", None)  # made by the list itself
    case.query.pop("since", None)  # before `until`, and both not too far apart
    if isinstance(case.body, dict):
        case.body = without_nul(case.body)
    if mend := MEND.get(case.operation.definition.raw["operationId"]):
        mend(case)


def without_nul(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "")
        case dict():
            return {without_nul(key): without_nul(item) for key, item in value.items()}
        case list():
            return [without_nul(item) for item in value]
        case _:
            return value


def one_notification(case: Request) -> None:
    item: Any = case.body
    mend_notification(item)
    if item.get("dedup_key") is not None:
        case.headers.pop("Idempotency-Key", None)


def batch(case: Request) -> None:
    body: Any = case.body
    for item in body["notifications"]:
        mend_notification(item)


def mend_notification(item: dict[str, Any]) -> None:
    item["channels"] = known(item.get("channels", ["inapp"]))
    item.pop("template_name", None)
    if item.get("expires_at") is not None:
        item.pop("deliver_at", None)  # which must be before
    if item.get("digest_key") is None:
        item.pop("digest_window", None)
    if item.get("escalate_after") is None:
        item.pop("escalate_channels", None)
    else:
        item |= {"channels": ["inapp", "email"], "escalate_channels": ["email"]}


def known(names: list[str]) -> list[str]:
    return CHANNELS[: max(1, min(len(names), len(CHANNELS)))]


def preferences(case: Request) -> None:
    """Each channel once, and some time that is not quiet."""
    body: Any = case.body
    del body["preferences"][len(CHANNELS) :]
    for wish, channel in zip(body["preferences"], CHANNELS, strict=False):
        wish["channel"] = channel
        hours = wish.get("constraints", {}).get("quiet_hours")
        if hours and hours["from"] == hours["to"]:
            hours |= {"from": "22:00", "to": "07:00"}


def channel(case: Request) -> None:
    """What a config may hold depends on the channel's kind, and so does whether somebody can be asked."""
    body: Any = case.body
    if "config" in body:
        body["config"] = {}
    if body.get("on_unknown") == "ask":
        body["on_unknown"] = "hold"


def browsed(case: Request) -> None:
    if case.query.get("payload"):
        case.query.pop("limit", None)


def statistics(case: Request) -> None:
    case.query["by"] = "channel"


def treatment(case: Request) -> None:
    """Either ids or a filter."""
    body: Any = case.body
    if body.get("ids") is None:
        body.pop("ids", None)
        body["filter"] = body.get("filter") or {}
    else:
        body.pop("filter", None)


def trial(case: Request) -> None:
    """Either a user or an address."""
    body: Any = case.body
    body.pop("address", None)
    body["user_id"] = body.get("user_id") or "ada"


def marked(case: Request) -> None:
    """Either seqs or ids."""
    body: Any = case.body
    if body.get("ids") is not None:
        body.pop("seqs", None)
    else:
        body.pop("ids", None)
        body["seqs"] = body.get("seqs") or [1]


def suppression(case: Request) -> None:
    """Of a channel that has addresses."""
    body: Any = case.body
    body |= {"channel": "email", "address": "ada@example.com"}


def suppressed(case: Request) -> None:
    """Of nothing but spaces, nothing is left."""
    if "address" in case.query:
        case.query["address"] = "ada@example.com"


def contact(case: Request) -> None:
    body: Any = case.body
    if body.get("email") is not None:
        body["email"] = "ada@example.com"
    if body.get("time_zone") is not None:
        body["time_zone"] = "Europe/Vienna"
    hours = body.get("quiet_hours")
    if hours and hours["from"] == hours["to"]:
        hours |= {"from": "22:00", "to": "07:00"}


def api_key(case: Request) -> None:
    """Limits are a producer's, rates are written in one way, and the end is still to come."""
    body: Any = case.body
    body["scopes"] = ["producer"]
    body.pop("rate", None)
    body.pop("expires_at", None)
    for name in ("event_types", "channels"):
        if body.get(name):
            body[name] = body[name][:1]


MEND: dict[str, Callable[[Request], None]] = {
    "create_notification": one_notification,
    "create_notifications": batch,
    "replace_preferences": preferences,
    "add_channel": channel,
    "change_channel": channel,
    "list_notifications": browsed,
    "show_statistics": statistics,
    "redrive_dead_letters": treatment,
    "discard_dead_letters": treatment,
    "test_template": trial,
    "mark_read": marked,
    "mark_unread": marked,
    "archive": marked,
    "unarchive": marked,
    "list_suppressions": suppressed,
    "add_suppression": suppression,
    "remove_suppression": suppression,
    "put_recipient": contact,
    "change_recipient": contact,
    "make_api_key": api_key,
    "change_api_key": api_key,
}


@schemathesis.serializer("message/rfc822")
def mail(_: object, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")
