"""A notification over the API's public door: created, and followed along its timeline."""

import json
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import typer

from outbox.api.status import CLOSED
from outbox.cli.reach import UnreachableError
from outbox.errors import InvalidNotificationError, OutboxError
from outbox.settings import Settings
from outbox.tokens import Scope, issue

ARRIVED = {"delivered", "suppressed", "digested"}
YELLOW = ("suppressed", "retrying", "deferred", "digested")
COLOURS = (
    {"delivered": "green"}
    | dict.fromkeys(YELLOW, "yellow")
    | dict.fromkeys(("failed", "unknown", "expired", "canceled"), "red")
)
QUICK_SECONDS, SLOW_SECONDS, QUICK_FOR_SECONDS = 0.05, 0.5, 2.0
TOKEN_LIFETIME = timedelta(hours=1)
ANSWER_SECONDS = 15


class RefusedError(OutboxError):
    """The API said no; its problem document (RFC 9457) in plain lines."""


def merge(payload: str | None, **texts: str | None) -> dict[str, Any]:
    """The payload's object with title and body in it. Raises InvalidNotificationError."""
    try:
        given = json.loads(payload) if payload else {}
    except ValueError as error:
        raise InvalidNotificationError("--payload", f"is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise InvalidNotificationError("--payload", 'must be a JSON object, as {"title": "Hello"}')
    return given | {name: text for name, text in texts.items() if text is not None}


def open_api(settings: Settings) -> httpx.Client:
    token = issue(settings, "outbox-cli", Scope.PRODUCER, TOKEN_LIFETIME)
    url = settings.public_api_url
    nearby = urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}
    return httpx.Client(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=ANSWER_SECONDS,
        trust_env=not nearby,  # no proxy leads to this machine
    )


def create(api: httpx.Client, document: Mapping[str, Any]) -> str:
    """The id, once the notification is committed."""
    answer = ask(api, "POST", "/v1/notifications", document)
    typer.echo(f"accepted  {answer['id']}")
    return str(answer["id"])


def show_trace(api: httpx.Client, notification_id: str, url: str) -> None:
    """Where to look at its trace, if it has one. `url` is OUTBOX_TRACE_URL."""
    state = ask(api, "GET", f"/v1/notifications/{notification_id}")
    if state["trace_id"]:
        typer.echo(f"trace     {url.replace('{trace_id}', state['trace_id'])}")


def follow(api: httpx.Client, notification_id: str, timeout: float) -> bool:
    """Print the timeline as it grows. Whether every channel has it; False after `timeout` seconds, too."""
    began = time.monotonic()
    printed: set[tuple[Any, ...]] = set()
    while True:
        state = ask(api, "GET", f"/v1/notifications/{notification_id}")
        created = datetime.fromisoformat(state["created_at"])
        for event in unprinted(state["timeline"], printed):
            typer.echo(line(event, created))
        statuses = {delivery["channel"]: delivery["status"] for delivery in state["deliveries"]}
        if all(status in CLOSED for status in statuses.values()):
            return conclude(state["deliveries"])
        if waits_longer(state, timeout):
            typer.secho(f"waits for {state['deliver_at']}; not following until then", fg="yellow")
            return True
        waited = time.monotonic() - began
        if waited > timeout:
            still = ", ".join(
                f"{name}: {status}" for name, status in statuses.items() if status not in CLOSED
            )
            typer.secho(f"not there after {timeout:g} s; {still}", fg="red", err=True)
            return False
        time.sleep(QUICK_SECONDS if waited < QUICK_FOR_SECONDS else SLOW_SECONDS)


def unprinted(
    timeline: Iterable[Mapping[str, Any]], printed: set[tuple[Any, ...]]
) -> list[Mapping[str, Any]]:
    """Those not seen before; remembers them. By content: an event may come in before one that was seen."""
    fresh = []
    for event in timeline:
        key = (event["at"], event["channel"], event["event"], event["attempt"])
        if key not in printed:
            printed.add(key)
            fresh.append(event)
    return fresh


def line(event: Mapping[str, Any], created: datetime) -> str:
    """`+12 ms  email    delivered  …`"""
    since = datetime.fromisoformat(event["at"]) - created
    what = typer.style(f"{event['event']:<10}", fg=COLOURS.get(event["event"]), bold=event["event"] in CLOSED)
    detail = "  ".join(f"{name}={value}" for name, value in event["detail"].items() if value is not None)
    return f"{elapsed(since.total_seconds()):>9}  {event['channel'] or '':<8} {what} {detail}".rstrip()


def elapsed(seconds: float) -> str:
    return f"+{seconds * 1000:.0f} ms" if seconds < 1 else f"+{seconds:.2f} s"


def conclude(deliveries: Iterable[Mapping[str, Any]]) -> bool:
    """Say what did not arrive, and why. Whether all did; a channel the user has turned off counts as done."""
    arrived = True
    for delivery in deliveries:
        if delivery["status"] == "delivered":
            continue
        arrived = arrived and delivery["status"] in ARRIVED
        why = delivery.get("reason") or delivery.get("error_class") or "no reason is given"
        colour = COLOURS.get(delivery["status"])
        typer.secho(
            f"{delivery['channel']}: {delivery['status']}, {why}",
            fg=colour,
            err=delivery["status"] not in ARRIVED,
        )
    return arrived


def waits_longer(state: Mapping[str, Any], timeout: float) -> bool:
    if state["status"] != "scheduled" or not state["deliver_at"]:
        return False
    return datetime.fromisoformat(state["deliver_at"]) > datetime.now(UTC) + timedelta(seconds=timeout)


def ask(
    api: httpx.Client, method: str, path: str, document: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The answer's JSON. Raises UnreachableError, InvalidNotificationError for 422, RefusedError."""
    try:
        answer = api.request(method, path, json=document)
    except httpx.TransportError as error:
        why = "connection refused" if isinstance(error, httpx.ConnectError) else type(error).__name__
        raise UnreachableError(
            f"the API at {api.base_url} does not answer: {why}. Is it running? Start everything with: outbox up"
        ) from None
    if answer.is_success:
        found: dict[str, Any] = answer.json()
        return found
    raise refusal(answer)


def refusal(answer: httpx.Response) -> OutboxError:
    try:
        problem = answer.json()
        detail, errors = str(problem["detail"]), problem.get("errors", [])
    except (ValueError, KeyError, TypeError):
        return RefusedError(f"the API answered {answer.status_code} {answer.reason_phrase}")
    if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY and errors:
        first, *others = errors
        rules = "".join(f"\n       {error['field']}: {error['detail']}" for error in others)
        return InvalidNotificationError(first["field"], first["detail"] + rules)
    return RefusedError(f"the API refused ({answer.status_code}): {detail}")
