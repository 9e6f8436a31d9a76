"""Quiet hours: the dates on which clocks jump by hand, and any zone at any instant by property."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from outbox.restraints import DAYS, QuietHours
from workers.quiet import is_quiet, quiet_until, zone_of

NIGHT = {"from": "22:00", "to": "07:00"}
ZONES = [
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Chatham", "UTC"),
    *("America/St_Johns", "Africa/Casablanca", "America/Sao_Paulo", "Pacific/Apia", "Asia/Tehran"),
]
MINUTE = timedelta(minutes=1)


def until(hours: dict[str, Any], zone: str, moment: str) -> str | None:
    found = quiet_until(QuietHours.model_validate(hours), ZoneInfo(zone), datetime.fromisoformat(moment))
    return found.astimezone(ZoneInfo(zone)).isoformat() if found else None


@pytest.mark.parametrize(
    ("hours", "zone", "moment", "expected"),
    [
        (NIGHT, "Europe/Berlin", "2026-01-15T12:00+01:00", None),
        (NIGHT, "Europe/Berlin", "2026-01-15T21:59:59+01:00", None),
        (NIGHT, "Europe/Berlin", "2026-01-15T22:00+01:00", "2026-01-16T07:00:00+01:00"),
        (NIGHT, "Europe/Berlin", "2026-01-16T06:59:59.5+01:00", "2026-01-16T07:00:00+01:00"),
        (NIGHT, "Europe/Berlin", "2026-01-16T07:00+01:00", None),
        # The night in which an hour is missing, and the one that has an hour twice.
        (NIGHT, "Europe/Berlin", "2026-03-28T23:00+01:00", "2026-03-29T07:00:00+02:00"),
        (NIGHT, "Europe/Berlin", "2026-10-24T23:00+02:00", "2026-10-25T07:00:00+01:00"),
        (NIGHT, "America/New_York", "2026-03-07T23:00-05:00", "2026-03-08T07:00:00-04:00"),
        (NIGHT, "America/New_York", "2026-10-31T23:00-04:00", "2026-11-01T07:00:00-05:00"),
        (NIGHT, "Australia/Lord_Howe", "2026-04-04T23:00+11:00", "2026-04-05T07:00:00+10:30"),
        (NIGHT, "Australia/Lord_Howe", "2026-10-03T23:00+10:30", "2026-10-04T07:00:00+11:00"),
        # Their end lies in the gap: it is over with the jump.
        (
            {"from": "22:00", "to": "02:30"},
            "Europe/Berlin",
            "2026-03-29T01:00+01:00",
            "2026-03-29T03:00:00+02:00",
        ),
        (
            {"from": "22:00", "to": "02:30"},
            "America/New_York",
            "2026-03-08T01:00-05:00",
            "2026-03-08T03:00:00-04:00",
        ),
        (
            {"from": "22:00", "to": "02:15"},
            "Australia/Lord_Howe",
            "2026-10-04T01:00+10:30",
            "2026-10-04T02:30:00+11:00",
        ),
        # Their end is shown twice: quiet until the first, and again between the setting back and the second.
        (
            {"from": "22:00", "to": "02:30"},
            "Europe/Berlin",
            "2026-10-25T01:00+02:00",
            "2026-10-25T02:30:00+02:00",
        ),
        ({"from": "22:00", "to": "02:30"}, "Europe/Berlin", "2026-10-25T02:45+02:00", None),
        (
            {"from": "22:00", "to": "02:30"},
            "Europe/Berlin",
            "2026-10-25T02:10+01:00",
            "2026-10-25T02:30:00+01:00",
        ),
        (
            {"from": "22:00", "to": "01:30"},
            "America/New_York",
            "2026-11-01T01:10-05:00",
            "2026-11-01T01:30:00-05:00",
        ),
        (
            {"from": "22:00", "to": "01:45"},
            "Australia/Lord_Howe",
            "2026-04-05T01:40+10:30",
            "2026-04-05T01:45:00+10:30",
        ),
        # They begin in the gap: with the jump.
        (
            {"from": "02:30", "to": "04:00"},
            "Europe/Berlin",
            "2026-03-29T03:00+02:00",
            "2026-03-29T04:00:00+02:00",
        ),
        # On the days on which they begin.
        (NIGHT | {"days": ["fri"]}, "UTC", "2026-01-17T03:00Z", "2026-01-17T07:00:00+00:00"),
        (NIGHT | {"days": ["fri"]}, "UTC", "2026-01-16T03:00Z", None),
        (NIGHT | {"days": ["fri"]}, "UTC", "2026-01-17T23:00Z", None),
        # Whole days in a row.
        (
            {"from": "00:00", "to": "00:00", "days": ["sat", "sun"]},
            "UTC",
            "2026-01-17T03:00Z",
            "2026-01-19T00:00:00+00:00",
        ),
        # The date line crossed: Samoa had no 30 December 2011.
        (NIGHT, "Pacific/Apia", "2011-12-29T23:00-10:00", "2011-12-31T07:00:00+14:00"),
    ],
)
def test_until_when_it_is_quiet(hours: dict[str, Any], zone: str, moment: str, expected: str | None) -> None:
    assert until(hours, zone, moment) == expected


clocks = st.integers(0, 24 * 60 - 1).map(lambda m: f"{m // 60:02}:{m % 60:02}")
days = st.sets(st.sampled_from(DAYS), min_size=1).map(sorted)
moments = st.datetimes(datetime(2005, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
# Near a change of clocks, where it matters.
JUMPS = """2026-03-29T01:00Z 2026-10-25T01:00Z 2026-03-08T07:00Z 2026-11-01T06:00Z 2026-04-04T15:00Z 2026-10-03T15:30Z
2011-12-30T10:00Z 2026-02-15T02:00Z 2026-03-22T02:00Z"""
jumps = st.sampled_from(JUMPS.split()).map(datetime.fromisoformat)
near = st.builds(lambda at, off: at + timedelta(seconds=off), jumps, st.integers(-100_000, 100_000))


@given(clocks, clocks, days, st.sampled_from(ZONES), moments | near)
def test_the_first_moment_that_is_not_quiet(
    begin: str, end: str, on: list[str], zone: str, now: datetime
) -> None:
    """It is outside the quiet hours, never in the past, and nothing allowed lies before it."""
    assume(begin != end or len(on) < 7)
    hours, place = QuietHours.model_validate({"from": begin, "to": end, "days": on}), ZoneInfo(zone)
    found = quiet_until(hours, place, now)
    if found is None:
        assert not is_quiet(hours, place, now)
        return
    assert found > now
    assert not is_quiet(hours, place, found)
    assert is_quiet(hours, place, found - timedelta(microseconds=1))
    steps = min(int((found - now) / MINUTE), 8 * 24 * 60)
    assert all(is_quiet(hours, place, now + MINUTE * step) for step in range(0, steps, 7))


@pytest.mark.parametrize("name", [None, "Mars/Olympus", "../etc/passwd", ""])
def test_a_zone_that_nobody_knows_is_the_other_one(name: str | None) -> None:
    assert zone_of(name, "Europe/Berlin").key == "Europe/Berlin"


@pytest.mark.parametrize(
    "hours",
    [
        {"from": "22:00", "to": "22:00"},
        {"from": "22", "to": "07:00"},
        {"from": "24:00", "to": "07:00"},
        {"from": 22, "to": "07:00"},
        {"from": "22:00"},
        NIGHT | {"days": []},
        NIGHT | {"days": ["someday"]},
        NIGHT | {"zone": "UTC"},
    ],
)
def test_what_is_no_quiet_time_is_refused(hours: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's own, which is one
        QuietHours.model_validate(hours)
