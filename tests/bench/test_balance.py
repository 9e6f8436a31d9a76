"""The soak in small, on real processes; and its audit, which must find what is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.balance.audit import Findings, Kept, Told, audit
from tests.bench.runs import ran

KEPT = {"anna": Kept(ids=["a", "b", "c"], read=[2], unread=2, version=4), "ben": Kept()}
ANNA = Told("anna", seqs=[1, 2, 3], ids=["a", "b", "c"], unread=2, version=4, read=[2], oddities=[])
BEN = Told("ben", [], [], 0, 0, [], [])


def test_all_is_well() -> None:
    assert audit([ANNA, BEN], KEPT).holds


@pytest.mark.parametrize(
    ("told", "kinds"),
    [
        (replace(ANNA, seqs=[1, 3], ids=["a", "c"]), {"missing"}),
        (replace(ANNA, seqs=[1, 2, 2, 3], ids=["a", "b", "b", "c"]), {"twice"}),
        (replace(ANNA, seqs=[2, 1, 3], ids=["b", "a", "c"]), {"out_of_order"}),
        (replace(ANNA, ids=["a", "b", "x"]), {"missing", "others"}),
        (replace(ANNA, seqs=[1, 2, 3, 4], ids=["a", "b", "c", "d"]), {"others"}),
        (replace(ANNA, unread=3), {"miscounted"}),
        (replace(ANNA, version=3), {"miscounted"}),
        (replace(ANNA, read=[]), {"misread"}),
        (replace(ANNA, oddities=["seq 9 after 1"]), {"odd"}),
    ],
)
def test_whatever_is_wrong_is_found(told: Told, kinds: set[str]) -> None:
    found = audit([told, BEN], KEPT)
    assert not found.holds
    assert found.shown().keys() == kinds


def test_a_client_that_says_nothing_is_found() -> None:
    found: Findings = audit([ANNA], KEPT)
    assert found.shown().keys() == {"silent"}


def test_a_count_that_does_not_fit_the_items_is_found_though_the_client_agrees() -> None:
    kept = {"anna": Kept(ids=["a", "b", "c"], read=[2], unread=3, version=4)}
    assert audit([replace(ANNA, unread=3)], kept).shown().keys() == {"miscounted"}


@pytest.mark.timeout(600)
async def test_fifty_clients_end_with_exactly_what_is_theirs(tmp_path: Path) -> None:
    out = tmp_path / "balance.json"
    words = [
        "--seconds",
        "6",
        "--clients",
        "50",
        "--rate",
        "100",
        "--kill-every",
        "2",
        "--redis-restarts",
        "1",
    ]
    await ran("bench.balance", *words, "--out", str(out))
    report = json.loads(out.read_text())
    assert report["holds"]
    assert report["committed"] > 200
    assert report["faults"]["gateway killed"] >= 1
    assert report["faults"]["Redis restarted"] == 1
    assert report["crowd"]["connections"] > 50
