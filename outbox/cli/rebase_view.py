"""A rebase as a person meets it: what there is, what would be done, a question, what was done."""

import typer

from db.dsn import place
from db.pool import Connection
from outbox.cli import reach
from outbox.settings import Settings
from relay.rebase import Plan, carry_out, plan
from relay.streams import Streams


async def run(settings: Settings, *, dry_run: bool, sure: bool) -> None:
    conn = await reach.postgres(settings.migrate_database, "rebase")
    nodes = await reach.redis(settings.redis)
    try:
        await go(conn, Streams(nodes), settings, dry_run=dry_run, sure=sure)
    finally:
        conn.terminate()
        await nodes.aclose()


async def go(conn: Connection, streams: Streams, settings: Settings, *, dry_run: bool, sure: bool) -> None:
    planned = await plan(conn, streams, settings.keys)
    if planned.history.foreign is None:
        typer.echo("This log was written in this cluster: there is nothing to do.")
        return
    tell(planned, place(settings.migrate_database))
    if dry_run:
        return
    if not (sure or planned.leader):
        typer.confirm("Are all relays, workers and producers stopped? Begin anew?", abort=True)
    done = await carry_out(conn, streams, planned)
    typer.echo(
        f"done: {done.opened} open rows are new here, {done.settled} settled ones are gone "
        f"({done.dropped} partitions dropped), {done.streams} streams deleted. Start the relays."
    )


def tell(planned: Plan, place: str) -> None:
    history = planned.history
    typer.echo(f"{place} holds a log of another cluster: {history.foreign}.")
    rows = [
        ("open rows, to be new ones", planned.open),
        ("settled rows, to be deleted", planned.rows - planned.open),
        ("of partitions dropped whole", len(planned.droppable())),
        ("entries in streams, to be deleted", sum(planned.streams.values())),
        ("ids go on from", max(history.drawn, history.top_id)),
    ]
    for word, number in rows:
        typer.echo(f"{number:>14,}  {word}")
    if planned.leader:
        typer.echo(f"The relay {planned.leader} leads here: stop it first.", err=True)
