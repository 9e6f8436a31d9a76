"""What a self-test found: a bar for each hop, or JSON."""

import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from outbox.cli.selftest_outcome import Hop, Outcome, Trial

WIDTH = 30


def show(outcome: Outcome, test: Trial, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(document(outcome)) + "\n")
        return
    console = Console()
    if outcome.hops:
        console.print(chart(outcome.hops))
    for trouble in outcome.troubles:
        console.print(Text(f"✘ {trouble}", style="bold red"))
    if not outcome.troubles:
        said = (
            f"✔ {outcome.delivered} of {outcome.sent} delivered by {test.channel}, within {test.budget:g} s"
        )
        console.print(Text(said, style="green"))
    console.print(
        Text("What was sent is being erased; a running API does it within two minutes.", style="dim")
    )


def document(outcome: Outcome) -> dict[str, object]:
    hops = {hop.name: {"p50": hop.at(0.5), "p99": hop.at(0.99)} for hop in outcome.hops}
    return {
        "sent": outcome.sent,
        "delivered": outcome.delivered,
        "hops": hops,
        "troubles": list(outcome.troubles),
    }


def chart(hops: Sequence[Hop]) -> Table:
    table = Table.grid("hop", "p50", "p99", "bar", padding=(0, 2))
    table.columns[1].justify = table.columns[2].justify = "right"
    table.add_row("", Text("p50", style="dim"), Text("p99", style="dim"), "")
    longest = max((hop.at(0.99) for hop in hops), default=1.0)
    for hop in hops:
        table.add_row(hop.name, milliseconds(hop.at(0.5)), milliseconds(hop.at(0.99)), bar(hop, longest))
    return table


def bar(hop: Hop, longest: float) -> Text:
    """Full to the median, light to the 99th percentile."""
    median, high = (round(WIDTH * hop.at(share) / longest) for share in (0.5, 0.99))
    return Text("█" * max(1, median), style="cyan") + Text("░" * (high - max(1, median)), style="cyan")


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
