"""The audit: what producers were told, what Postgres kept, what the streams held, what arrived. Pure."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.chaos.account import Fate, Wish
from bench.chaos.driver import Struck
from bench.chaos.history import History, Id
from bench.chaos.stage import WORKER_LEASE_SECONDS, Lag

ANSWER_SECONDS = 15  # how long a COMMIT, or a settlement, may take of which nobody knows what became of it
PASSING_SECONDS = 1  # how long an answer that did come may have been on its way
RELAYED_SECONDS = 30  # how long a row may have waited for its tick


class Mail(NamedTuple):
    notification: str
    at: float  # Unix seconds


@dataclass(frozen=True, slots=True)
class Kept:
    """What the database holds at the end."""

    notifications: Mapping[str, str]  # title → id
    control: frozenset[str]  # titles of control rows
    inbox: frozenset[str]  # notification ids
    told: Counter[str]  # notification → how often its timeline says that a mail may come again
    # Of entries that came back under other ids: the former id and the notification, where a tick does hold them.
    ticked: frozenset[tuple[Id, str]]


@dataclass(slots=True)
class Findings:
    """Titles or ids behind every figure. All but the last three must be empty."""

    missing_in_database: set[str] = field(default_factory=set)
    missing_in_stream: set[str] = field(default_factory=set)
    missing_in_inbox: set[str] = field(default_factory=set)
    missing_in_mail: set[str] = field(default_factory=set)
    twice_in_stream: list[str] = field(default_factory=list)
    moved_in_stream: list[str] = field(default_factory=list)  # came back under another id
    twice_in_mail: list[str] = field(default_factory=list)
    uncommitted: set[str] = field(default_factory=set)
    out_of_order: list[str] = field(default_factory=list)
    lost_by_postgres: set[str] = field(default_factory=set)
    mails_again_as_told: list[str] = field(default_factory=list)
    # Sent, and the note of it was lost with a lagging standby's promotion: Postgres no longer knew.
    mails_again_lost_by_postgres: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        parts = (
            self.missing_in_database,
            self.missing_in_stream,
            self.missing_in_inbox,
            self.missing_in_mail,
        )
        return sum(map(len, parts))

    @property
    def duplicated(self) -> int:
        return len(self.twice_in_stream) + len(self.moved_in_stream) + len(self.twice_in_mail)

    @property
    def holds(self) -> bool:
        return not (self.missing or self.duplicated or self.uncommitted or self.out_of_order)


def lost(wish: Wish | None, lags: Sequence[Lag]) -> bool:
    """Whether this is what a lagging standby may have lacked: it was committed, or meant to be, while nothing
    reached the one that was promoted."""
    if wish is None or wish.fate not in {Fate.COMMITTED, Fate.UNKNOWN}:
        return False
    early, late = (ANSWER_SECONDS,) * 2 if wish.fate is Fate.UNKNOWN else (0, PASSING_SECONDS)
    return any(lag.since - early <= wish.at <= lag.until + late for lag in lags)


def settlement_lost(sent_at: float, lag: Lag) -> bool:
    """Whether what a worker wrote about this mail may be lost, or the claim that it was sent under: it may send until
    its lease is over, wherever its claim has gone."""
    return lag.since - ANSWER_SECONDS <= sent_at <= lag.until + WORKER_LEASE_SECONDS + PASSING_SECONDS


def tick_lost(wish: Wish | None, lags: Sequence[Lag]) -> bool:
    """Whether the tick that held this may be what a lagging standby lacked."""
    return wish is not None and any(
        lag.since - RELAYED_SECONDS <= wish.at <= lag.until + ANSWER_SECONDS for lag in lags
    )


def audit(
    wishes: Mapping[str, Wish],
    kept: Kept,
    histories: Mapping[str, History],
    mails: Iterable[Mail],
    titles: Mapping[str, str],
    lags: Sequence[Lag],
) -> Findings:
    found = Findings()
    by_producers(found, wishes, kept, lags)
    by_streams(found, wishes, kept, histories, lags)
    by_arrival(found, wishes, kept, list(mails), lags)
    seen = {titles[key.partition(":")[0]] for history in histories.values() for key in history.ids}
    sent = {titles.get(mail.notification, mail.notification) for mail in mails}
    for title in (seen | sent) - kept.notifications.keys():
        (found.lost_by_postgres if lost(wishes.get(title), lags) else found.uncommitted).add(title)
    return found


def by_producers(found: Findings, wishes: Mapping[str, Wish], kept: Kept, lags: Sequence[Lag]) -> None:
    """What each producer was told, against the notifications and the control rows."""
    for title, wish in wishes.items():
        there = title in kept.notifications
        if not wish.by_http and there != (title in kept.control):
            (found.uncommitted if there else found.missing_in_database).add(title)
        elif there and wish.fate in {Fate.OPEN, Fate.ROLLED_BACK}:
            found.uncommitted.add(title)
        elif not there and wish.fate is Fate.COMMITTED:
            (found.lost_by_postgres if lost(wish, lags) else found.missing_in_database).add(title)
    found.uncommitted |= kept.notifications.keys() - wishes.keys()


def by_streams(
    found: Findings,
    wishes: Mapping[str, Wish],
    kept: Kept,
    histories: Mapping[str, History],
    lags: Sequence[Lag],
) -> None:
    seen: dict[str, set[str]] = {}
    titles = {notification: title for title, notification in kept.notifications.items()}
    for name, history in histories.items():
        channel = name.split(".")[1]
        seen.setdefault(channel, set()).update(key.partition(":")[0] for key in history.ids)
        found.twice_in_stream += [f"{name} {entry.id} {entry.key}" for entry in history.twice]
        found.out_of_order += [f"{name} {entry.id} {entry.key}" for entry in history.out_of_order]
        found.moved_in_stream += [
            f"{name} {before} -> {entry.id} {entry.key}"
            for before, entry in history.moved
            # Else Postgres lost the tick, and the row is in a new one.
            if (before, entry.notification) in kept.ticked
            or not tick_lost(wishes.get(titles.get(entry.notification, "")), lags)
        ]
    for title, notification in kept.notifications.items():
        for channel in wishes[title].channels if title in wishes else ():
            if notification not in seen.get(channel, ()):
                found.missing_in_stream.add(f"{channel} {title}")


def by_arrival(
    found: Findings, wishes: Mapping[str, Wish], kept: Kept, mails: Sequence[Mail], lags: Sequence[Lag]
) -> None:
    sent: dict[str, list[float]] = {}
    for mail in mails:
        sent.setdefault(mail.notification, []).append(mail.at)
    for title, notification in kept.notifications.items():
        channels = wishes[title].channels if title in wishes else ()
        if notification not in kept.inbox:
            found.missing_in_inbox.add(title)
        if "email" in channels and notification not in sent:
            found.missing_in_mail.add(title)
    for notification, times in sent.items():
        again = [notification] * (len(times) - 1)
        told = kept.told[notification]
        found.mails_again_as_told += again[:told]
        before = sorted(times)[:-1]
        if any(settlement_lost(at, lag) for lag in lags for at in before):
            found.mails_again_lost_by_postgres += again[told:]
        else:
            found.twice_in_mail += again[told:]


def recovery_ms(struck: Sequence[Struck], rows: Iterable[tuple[float, float]]) -> dict[str, dict[str, float]]:
    """By kind: from a fault to when the next row committed after it was readable in its stream. `rows` are
    (committed at, seen at)."""
    ordered = sorted(rows)
    committed = [at for at, _ in ordered]
    soonest = [seen for _, seen in ordered]
    for number in range(len(soonest) - 2, -1, -1):
        soonest[number] = min(soonest[number], soonest[number + 1])
    by_kind: dict[str, list[float]] = {}
    for fault in struck:
        place = bisect_right(committed, fault.at)
        if place < len(soonest):
            by_kind.setdefault(fault.kind, []).append(1000 * (soonest[place] - fault.at))
    return {
        kind: {"p50": round(sorted(times)[len(times) // 2], 1), "max": round(max(times), 1)}
        for kind, times in sorted(by_kind.items())
    }
