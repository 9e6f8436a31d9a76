"""Medians, ratios, goals and the file of results: values in, values out."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.cases.steady import growth
from bench.limits import packed
from bench.measure import NUMBER, rate_of
from bench.run import (
    Result,
    Rounds,
    ahead,
    at_least,
    at_most,
    in_ms,
    keep,
    of_rounds,
    order,
    percentile,
    read,
)
from bench.stream import TIMED, Reader
from bench.table import table


def rounds(**values: list[float]) -> Rounds:
    return Rounds(dict(values))


def test_a_ratio_is_taken_pair_by_pair_and_not_of_medians() -> None:
    found = rounds(ours=[10, 100, 40], theirs=[5, 10, 80])
    assert found.ratios("ours", "theirs") == [2, 10, 0.5]
    assert found.ratio("theirs") == 2
    assert found.median("ours") / found.median("theirs") == 4


def test_a_result_tells_ours_beside_what_was_measured_and_leaves_out_what_failed() -> None:
    found = rounds(ours=[10, 12, 11], textbook=[5, 4, 5], xadd=[20, 20, 20])
    result = of_rounds(found, "rows/s", ["textbook", "failed"], ["xadd"])
    assert (result.figure, result.runs) == (11, 3)
    assert result.alternatives == {"textbook": 5}
    assert result.limits == {"xadd": 20}
    assert result.ratios == {"textbook": 2.2, "xadd": 0.55}
    assert result.detail["min_max"]["ours/textbook"] == [2, 3]


def test_every_other_round_goes_backwards() -> None:
    assert [order("abc", number) for number in range(3)] == [list("abc"), list("cba"), list("abc")]


def test_a_rate_counts_from_the_first_entry_seen_to_the_last() -> None:
    assert rate_of([(0.0, 0), (1.0, 0), (2.0, 100), (3.0, 300), (4.0, 500)]) == 200


def test_a_rate_of_entries_that_all_came_between_two_looks_is_not_infinite() -> None:
    assert rate_of([(0.0, 0), (1.0, 0), (1.5, 50)]) == 100


def test_percentiles_of_one_and_of_many() -> None:
    assert percentile([3.0], 99) == 3.0
    assert in_ms([n / 1000 for n in range(101)]) == pytest.approx(
        {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "max_ms": 100}
    )


def test_goals_know_their_direction_and_what_was_not_measured() -> None:
    assert at_least("textbook", 3.0, 3).reached is True
    assert at_least("textbook", 2.9, 3).reached is False
    assert at_most("p50 ms", 2.1, 2).reached is False
    assert at_most("growth", None, 1.25).reached is None
    assert ahead({"a": 1.1, "b": 0.9}, ["a", "b", "absent"]).reached is False
    assert ahead({"a": 0.5, "b": 0.9}, ["a", "b"], lower_is_better=True).value == 0.9
    assert ahead({"textbook": 4}, []).reached is None


def test_a_case_that_ran_alone_keeps_the_results_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "out" / "results.json"
    keep(
        path,
        "drain",
        Result(1.23456, "rows/s", 5, ratios={"textbook": 3.14159}),
        [at_least("textbook", 3.14159, 3)],
    )
    keep(path, "tax", Result(1000.4, "inserts/s", 5), [])
    kept = read(path)
    assert list(kept) == ["drain", "tax"]
    assert kept["drain"]["ratios"] == {"textbook": 3.142}
    assert kept["drain"]["detail"]["goals"] == [{"goal": "textbook ≥ 3", "value": 3.142, "reached": True}]
    assert set(json.loads(path.read_text())["tax"]) == {
        "figure", "unit", "runs", "alternatives", "limits", "ratios", "detail",
    }  # fmt: skip


def test_growth_is_the_last_thirds_highest_to_the_middle_thirds() -> None:
    level = [{"outbox": size} for size in (0, 5, 10, 20, 10, 20, 10, 20, 15)]
    assert growth(level) == 1
    assert growth([{"outbox": size} for size in range(1, 10)]) == 1.5


def test_commands_are_packed_as_redis_reads_them() -> None:
    assert packed([(b"1-2", {b"f": b"vv"})]) == (
        b"*5\r\n$4\r\nXADD\r\n$11\r\nbench.limit\r\n$3\r\n1-2\r\n$1\r\nf\r\n$2\r\nvv\r\n"
    )


def test_a_rows_number_is_found_however_its_json_is_written() -> None:
    for text in (b'{"n": 7}', b'{"n":7}', b'{"payload":"{\\"n\\": 7}"}'):
        assert NUMBER.findall(text) == [b"7"]
    assert NUMBER.findall(b'{"on": 7}') == []


def test_timed_rows_are_not_counted_as_load() -> None:
    reader = Reader(redis=None, stream="s")  # type: ignore[arg-type]  # nothing is read here
    reader.committed_at = {TIMED + 1: 1.0}
    reader.see(2.5, [(b"1-1", {b"p": b'{"n": 5}'}), (b"1-2", {b"p": b'{"n": %d}' % (TIMED + 1)})])
    assert reader.seen == [(2.5, 1)]
    assert reader.missing(rows=1) == 0
    assert reader.missing(rows=3) == 2


def test_the_table_says_in_words_what_was_missed_and_what_is_absent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    detail = {
        "goals": [{"goal": "textbook ≥ 3", "value": 2.5, "reached": False}],
        "absent": {"debezium": "Java is missing"},
        "size": "normal",
        "machine": {
            "cpu": "a CPU",
            "cores": 2,
            "postgres": "18.6",
            "redis": "Redis 8",
            "python": "3.11.7",
            "load_1m": [0.1, 2.0],
        },
    }
    case = {
        "figure": 50_000,
        "unit": "rows/s",
        "alternatives": {"textbook": 20_000.0},
        "limits": {},
        "ratios": {"textbook": 2.5},
        "detail": detail,
    }
    console = Console(width=150)
    for part in table({"drain": case}):
        console.print(part)
    shown = capsys.readouterr().out
    for words in (
        "NO (2.5)",
        "goals missed: drain (textbook ≥ 3)",
        "debezium: Java is missing",
        "textbook 20,000",
        "load up to 2.0",
    ):
        assert words in shown
