"""The operations on dead letters, for administrators. Generators, see steps.py."""

from collections.abc import Iterable
from typing import Any, Literal, Unpack
from uuid import UUID

from outbox.client.admin_models import DeadLetterCount, DeadLetterPage, Treated
from outbox.client.fields import DeadLetterFilter
from outbox.client.query import query
from outbox.client.retry import Retry
from outbox.client.steps import Call, Steps, ask, reading

PATH = "/v1/dead-letters"


def page(
    retry: Retry,
    cursor: str | None = None,
    *,
    limit: int = 100,
    closed: bool = False,
    **which: Unpack[DeadLetterFilter],
) -> Steps[DeadLetterPage]:
    """The newest first; `closed`: redriven and discarded ones, too. `cursor`: the next_cursor of the page before."""
    call = Call("GET", PATH, query(cursor=cursor, limit=limit, closed=closed or None, **which))
    return ask(call, reading(DeadLetterPage), retry)


def count(retry: Retry, **which: Unpack[DeadLetterFilter]) -> Steps[DeadLetterCount]:
    """By channel and class of error."""
    return ask(Call("GET", f"{PATH}:count", query(**which)), reading(DeadLetterCount), retry)


def redrive(
    retry: Retry,
    ids: Iterable[UUID | str] | None = None,
    *,
    limit: int = 1000,
    dry_run: bool = False,
    per_second: float | None = None,
    **which: Unpack[DeadLetterFilter],
) -> Steps[Treated]:
    """Send them on their way again: by ids, or those that the filter finds, the oldest first; without either, all.
    By ids it is safe to repeat: what was redriven is told, and not redriven again. By a filter the next ones would be
    taken, so an answer that is lost is an UnreachableError, and not asked for again."""
    body = treatment(ids, which, limit=limit, dry_run=dry_run, per_second=per_second)
    return treat(retry, "redrive", body)


def discard(
    retry: Retry,
    ids: Iterable[UUID | str] | None = None,
    *,
    limit: int = 1000,
    dry_run: bool = False,
    **which: Unpack[DeadLetterFilter],
) -> Steps[Treated]:
    """Put them out of the lists; they are not sent. Which: as for `redrive`."""
    return treat(retry, "discard", treatment(ids, which, limit=limit, dry_run=dry_run))


def treat(retry: Retry, how: Literal["redrive", "discard"], body: dict[str, Any]) -> Steps[Treated]:
    repeatable = "ids" in body or body["dry_run"]
    return ask(Call("POST", f"{PATH}:{how}", body=body, repeatable=repeatable), reading(Treated), retry)


def treatment(ids: Iterable[UUID | str] | None, which: DeadLetterFilter, **order: Any) -> dict[str, Any]:
    """Raises ValueError where both ids and a filter are given."""
    if ids is not None and which:
        raise ValueError("give either ids or a filter")
    chosen = {"filter": query(**which)} if ids is None else {"ids": [str(each) for each in ids]}
    return chosen | {name: value for name, value in order.items() if value is not None}
