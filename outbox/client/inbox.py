"""The operations on a user's inbox: page by page, counted, read and archived. Generators, see steps.py."""

from collections.abc import Iterable
from typing import Literal

from outbox.client.models import InboxCount, InboxPage, InboxState
from outbox.client.retry import Retry
from outbox.client.steps import Call, Steps, ask, reading
from outbox.client.users import of

Verb = Literal["read", "unread", "archive", "unarchive"]


def page(
    retry: Retry,
    user_id: str,
    cursor: str | int | None = None,
    *,
    limit: int = 50,
    unread: bool | None = None,
    archived: bool = False,
) -> Steps[InboxPage]:
    """Items, newest first; `cursor` is the next_cursor of the page before. A page may hold fewer than `limit` items,
    or none, and still not be the last: that is one without a next_cursor."""
    wanted = {"limit": limit, "cursor": cursor, "unread": unread, "archived": archived}
    query = {name: str(value).lower() for name, value in wanted.items() if value is not None}
    return ask(Call("GET", of(user_id, "inbox"), query), reading(InboxPage), retry)


def count(retry: Retry, user_id: str) -> Steps[InboxCount]:
    """The exact counts. Of two, the one with the higher version is right."""
    return ask(Call("GET", of(user_id, "inbox/count")), reading(InboxCount), retry)


def mark(retry: Retry, user_id: str, verb: Verb, seqs: Iterable[int]) -> Steps[InboxState]:
    """Mark up to 500 items; safe to repeat. The user's open sockets are told."""
    call = Call("POST", of(user_id, f"inbox:{verb}"), body={"seqs": list(seqs)})
    return ask(call, reading(InboxState), retry)


def mark_all(
    retry: Retry, user_id: str, verb: Literal["read", "archive"], up_to: int | None = None
) -> Steps[InboxState]:
    """Mark everything up to this seq, so that what comes meanwhile stays as it is; left out, all there is."""
    body = {} if up_to is None else {"up_to": up_to}
    return ask(Call("POST", of(user_id, f"inbox:{verb}-all"), body=body), reading(InboxState), retry)
