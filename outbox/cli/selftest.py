"""`outbox selftest`: a few notifications to nobody, through the whole road, timed."""

import re
from typing import Annotated

import typer

# What the command needs is imported when it runs (see the package).
# ruff: noqa: PLC0415


def add_to(app: typer.Typer) -> None:
    app.command(
        rich_help_panel="Look after it", short_help="Send a few through the whole road, and time them."
    )(selftest)


ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")


def address(given: str | None) -> str | None:
    """Raises BadParameter."""
    if given is not None and not ADDRESS.fullmatch(given):
        raise typer.BadParameter(f"{given!r} is no address; it must be like me@example.com")
    return given


def selftest(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many.")] = 20,
    rate: Annotated[float, typer.Option(min=0.1, max=100, help="So many a second, at most.")] = 20,
    budget: Annotated[
        float, typer.Option(min=0.001, help="Seconds that the slowest but one in a hundred may take.")
    ] = 1,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which one is lost.")] = 30,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="ADDRESS", callback=address, help="Send e-mail there instead; five at most."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")] = False,
) -> None:
    """Send notifications to a person who does not exist, on every lane, and time each hop.

    Safe in production: in-app only (unless an address is given), few, not fast,
    and erased afterwards as a person is. Ends with 1 where one is lost, or
    where they take longer than the budget.

    [bold]Examples[/bold]
      outbox selftest
      outbox selftest -n 100 --budget 0.5 --json
      outbox selftest --to me@example.com -n 1
    """
    from outbox.cli.processes import in_loop
    from outbox.cli.selftest_outcome import Trial
    from outbox.cli.selftest_work import run
    from outbox.settings import Settings

    test = Trial(min(count, 5) if to else count, rate, budget, timeout, to)
    raise typer.Exit(in_loop(run(Settings.load(), test, as_json=as_json)))
