"""When quiet hours end: by the clock on the recipient's wall, whatever daylight saving does to it. Pure.

An instant is quiet if the wall clock then shows a time within the quiet hours. So hours that begin or end in a gap
begin or end with the jump; and times that the wall shows twice, when the clocks are set back, count both times.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from outbox.restraints import DAYS, QuietHours

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@lru_cache(maxsize=1024)
def zone_of(name: str | None, otherwise: str = "UTC") -> ZoneInfo:
    """A zone that nobody knows is as none."""
    try:
        return ZoneInfo(name or otherwise)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(otherwise)


def is_quiet(hours: QuietHours, zone: ZoneInfo, moment: datetime) -> bool:
    wall = moment.astimezone(zone)
    shown = wall.time().replace(fold=0)
    begun = DAYS[wall.weekday()] in hours.days
    if hours.begin < hours.end:
        return begun and hours.begin <= shown < hours.end
    yesterday = DAYS[wall.weekday() - 1] in hours.days
    return (begun and shown >= hours.begin) or (yesterday and shown < hours.end)


def quiet_until(hours: QuietHours, zone: ZoneInfo, now: datetime) -> datetime | None:
    """The first moment from now on that is not quiet, or None where that is now. `now` must be aware."""
    moment = now.astimezone(UTC)
    if not is_quiet(hours, zone, moment):
        return None
    while is_quiet(hours, zone, moment):  # ends within a week: some time is never quiet
        moment = next(later for later in changes(hours, zone, moment) if later > moment)
    return moment


def changes(hours: QuietHours, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """The moments within two days, in order, at which quiet hours may end: when the wall shows their end, or jumps."""
    today = moment.astimezone(zone).date()
    shown = [datetime.combine(today + DAY * ahead, hours.end, zone) for ahead in (-1, 0, 1, 2)]
    ends = [at.replace(fold=fold).astimezone(UTC) for at in shown for fold in (0, 1)]
    yield from sorted([*ends, *jumps(zone, moment, moment + 2 * DAY)])


def jumps(zone: ZoneInfo, start: datetime, stop: datetime) -> Iterator[datetime]:
    """When the zone's offset changes, to the second. Looked for hour by hour: none changes twice in one."""
    at = start
    while at < stop:
        if offset(zone, at) != offset(zone, at + timedelta(hours=1)):
            yield first_with_new_offset(zone, at, at + timedelta(hours=1))
        at += timedelta(hours=1)


def first_with_new_offset(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Zones change on whole seconds."""
    low, high = before.replace(microsecond=0), after
    while high - low > SECOND:
        middle = low + timedelta(seconds=(high - low) // SECOND // 2)
        low, high = (middle, high) if offset(zone, middle) == offset(zone, before) else (low, middle)
    return high.replace(microsecond=0) if high.microsecond else high


def offset(zone: ZoneInfo, moment: datetime) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
