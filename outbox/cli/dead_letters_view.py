"""Dead letters as a table, and what became of those that were sent on their way again."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from db import dead
from db.pool import Executor
from outbox.audit import record
from outbox.cli import reach
from outbox.cli.commander import commander
from outbox.settings import Settings


async def show(settings: Settings, which: dead.Filter, limit: int) -> None:
    connection = await reach.postgres(settings.database, "dlq")
    try:
        kinds = await dead.count_dead(connection, which)
        letters = await dead.list_dead(connection, which, limit=limit)
    finally:
        await connection.close()
    if not letters:
        typer.echo("There are no dead letters.")
        return
    Console().print(table(letters))
    total = sum(kind.letters for kind in kinds)
    parts = ", ".join(f"{kind.channel} {kind.error_class}: {kind.letters:,}" for kind in kinds)
    typer.echo(f"\n{total:,} in all ({parts}); {len(letters):,} shown. Try again: outbox dlq redrive ID…")


def table(letters: Sequence[dead.DeadLetter]) -> Table:
    made = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for column in ("id", "failed (UTC)", "channel", "class", "attempts"):
        made.add_column(column, no_wrap=True)
    made.add_column("reason", overflow="fold")
    for letter in letters:
        made.add_row(
            str(letter.id),
            f"{letter.failed_at:%m-%d %H:%M:%S}",
            letter.channel,
            letter.error_class,
            str(letter.attempts),
            Text(letter.reason),  # as it is: a reason may hold square brackets
        )
    return made


Which = dead.Filter | Sequence[UUID]


async def send_again(settings: Settings, which: Which, order: dead.Order) -> None:
    await treat(settings, Act(dead.redrive, "dead_letters.redrive", "on their way again"), which, order)


async def discard(settings: Settings, which: Which, order: dead.Order) -> None:
    await treat(settings, Act(dead.discard, "dead_letters.discard", "discarded"), which, order)


@dataclass(frozen=True, slots=True)
class Act:
    """What is done, as the audit log names it, and as people are told."""

    how: Callable[[Executor, Which, dead.Order], Awaitable[list[dead.Treated]]]
    action: str
    done: str


async def treat(settings: Settings, act: Act, which: Which, order: dead.Order) -> None:
    connection = await reach.postgres(settings.database, "dlq")
    try:
        async with connection.transaction():
            answers = await act.how(connection, which, order)
            detail = {
                "asked": asked(which) | asdict(order),
                "answers": Counter(each.answer.name.lower() for each in answers),
            }
            await record(connection, commander(), act.action, "dead letters", detail)
    finally:
        await connection.close()
    for line in told(answers, order, act.done):
        typer.echo(line)


def asked(which: Which) -> dict[str, Any]:
    return asdict(which) if isinstance(which, dead.Filter) else {"ids": [str(each) for each in which]}


def told(answers: Sequence[dead.Treated], order: dead.Order, done: str) -> list[str]:
    """What happened, or would happen: the good ones as a number, the others each with the reason."""
    counts = Counter(answer.answer for answer in answers)
    good = counts.pop(dead.Answer.REDRIVEN, 0) + counts.pop(dead.Answer.DISCARDED, 0)
    lines = [f"{good:,} {'would be' if order.dry_run else 'are'} {done}."]
    lines += [f"{count:,} left alone: {answer}" for answer, count in counts.items()]
    if not answers:
        return ["There are no such dead letters."]
    if len(answers) == order.limit:
        lines.append(f"That was the limit of {order.limit:,}; there may be more.")
    return lines
