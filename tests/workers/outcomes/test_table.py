"""The table of docs/channels.md is whole, and every test that it names exists."""

import ast
import re
from pathlib import Path

import pytest

from tests.workers.outcomes.table import OUTAGE, Row, rows
from tests.workers.outcomes.test_outcomes import WORLDS

TESTS = Path(__file__).parents[2]
WORKERS = TESTS.parent / "workers"
EVERYWHERE = {
    "success",
    "timeout before sending",
    "timeout after sending",
    "malformed answer",
    "slow",
    OUTAGE,
    "connection",
    "tls",
    "throttled",
}
# Outcomes begin with their class, which is a word in most places.
CLASSED = {"Transient", "Permanent", "Deferred"}
ROWS = rows()


@pytest.mark.parametrize("provider", WORLDS)
def test_no_case_is_missing(provider: str) -> None:
    assert {row.case for row in ROWS if row.provider == provider} >= EVERYWHERE


def test_no_row_is_there_twice_or_of_nobody() -> None:
    names = [(row.provider, row.case) for row in ROWS]
    assert len(names) == len(set(names))
    assert {row.provider for row in ROWS} == {*WORLDS, "any channel"}


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.tests], ids=lambda row: f"{row.provider}-{row.case}"
)
def test_every_test_that_is_named_exists(row: Row) -> None:
    for named in row.tests:
        file, _, name = named.partition("::")
        written = "".join(path.read_text() for path in TESTS.rglob(file))
        assert re.search(rf"def {name}\(", written), f"{named} is not there"


def test_no_class_of_errors_is_missing() -> None:
    told = {kind for row in ROWS for kind in (*row.seen.timeline[1:], row.case)}
    assert {kind for path in WORKERS.glob("*.py") for kind in classes(path)} <= told


def classes(path: Path) -> set[str]:
    """The classes that this module gives to outcomes, as far as it writes them there."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    first = [
        node.args[0]
        for node in calls
        if isinstance(node.func, ast.Name) and node.func.id in CLASSED and node.args
    ]
    named = [word.value for node in calls for word in node.keywords if word.arg == "error_class"]
    found = [part for node in (*first, *named) for part in ast.walk(node)]
    return {node.value for node in found if isinstance(node, ast.Constant) and isinstance(node.value, str)}
