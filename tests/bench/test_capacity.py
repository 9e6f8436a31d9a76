"""What is reckoned from the measured figures, and that the document says the same."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.capacity import BUSY, Measured, Need, by_latency, mails_a_second, plan, processes, table
from outbox.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
MEASURED = Measured()


def between(name: str) -> str:
    found = re.search(rf"<!-- {name}: .*?-->\n(.*)\n<!-- end of {name} -->", PAGE, re.DOTALL)
    assert found
    return found[1]


def test_the_document_has_the_tables_as_they_are_reckoned() -> None:
    assert between("capacity") == table([Need(millions * 1e6) for millions in (1, 10, 100, 1_000)], MEASURED)
    assert between("latency") == by_latency(MEASURED)


def test_the_settings_it_reckons_with_are_the_defaults() -> None:
    fields = Settings.model_fields
    assert fields["worker_concurrency"].default == MEASURED.concurrency
    assert fields["stream_max_length"].default == MEASURED.stream_max
    assert fields["retention"].default.days == Need(1).log_days


def test_ten_times_as_much_takes_ten_times_as_much() -> None:
    one, ten = plan(Need(1e7), MEASURED), plan(Need(1e8), MEASURED)
    assert ten.at_peak == pytest.approx(10 * one.at_peak)
    assert ten.wal_gb_day == pytest.approx(10 * one.wal_gb_day)
    assert ten.kept_gb_day == pytest.approx(10 * one.kept_gb_day)
    assert ten.email >= one.email * 5


def test_the_peak_decides_what_must_keep_up_and_the_mean_what_is_kept() -> None:
    even, hilly = plan(Need(1e9, peak=1), MEASURED), plan(Need(1e9, peak=5), MEASURED)
    assert hilly.api == pytest.approx(5 * even.api, rel=0.2)
    assert hilly.relay_share == pytest.approx(5 * even.relay_share)
    assert hilly.kept_gb_day == even.kept_gb_day


def test_nothing_is_busier_than_it_is_meant_to_be() -> None:
    found = plan(Need(1e9), MEASURED)
    assert found.at_peak / found.api <= MEASURED.post * BUSY
    assert found.at_peak / found.inapp <= MEASURED.inapp * BUSY
    assert found.redis_share / found.redis_nodes <= BUSY


def test_a_worker_sends_what_its_places_and_its_core_allow() -> None:
    slow = replace(MEASURED, email_worker=500)
    assert mails_a_second(0.2, slow) == 320
    assert mails_a_second(0.001, slow) == 2_000


@pytest.mark.parametrize(("rate", "wanted"), [(0.0, 1), (69.9, 1), (70.1, 2), (700.0, 10)])
def test_there_is_always_one_process_and_as_many_as_it_takes(rate: float, wanted: int) -> None:
    assert processes(rate, 100) == wanted
