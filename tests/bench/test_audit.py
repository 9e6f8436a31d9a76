"""The audit finds what is planted, names it, and excuses only what Postgres itself lost."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from bench.chaos.account import Fate, Wish
from bench.chaos.audit import Findings, Kept, Mail, audit, recovery_ms
from bench.chaos.driver import KINDS, Struck, planned
from bench.chaos.history import Entry, History, Id
from bench.chaos.stage import Lag


class Scene:
    """Two notifications, by both channels, and all is well."""

    def __init__(self) -> None:
        both = ("inapp", "email")
        self.wishes = {title: Wish(title, both, fate=Fate.COMMITTED, at=100.0) for title in ("t1", "t2")}
        ids = {"t1": "id1", "t2": "id2"}
        self.kept = Kept(ids, frozenset(ids), frozenset(ids.values()), Counter(), frozenset())
        self.histories = {f"notifications.{channel}": History() for channel in both}
        self.mails = [Mail("id1", 100.0), Mail("id2", 100.0)]
        self.lags: list[Lag] = []
        self.titles = {"id1": "t1", "id2": "t2"}
        for history in self.histories.values():
            history.add(self.entry(1, "id1"))
            history.add(self.entry(2, "id2"))

    def entry(self, ms: int, notification: str) -> Entry:
        return Entry(Id(ms, 1), notification, 0, self.titles[notification], "", 0)

    def findings(self) -> Findings:
        return audit(self.wishes, self.kept, self.histories, self.mails, self.titles, self.lags)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_all_is_well(scene: Scene) -> None:
    assert scene.findings() == Findings()


def test_one_that_is_in_no_stream_is_missing(scene: Scene) -> None:
    del scene.histories["notifications.email"].ids["id2:0"]
    found = scene.findings()
    assert found.missing_in_stream == {"email t2"}
    assert found.missing == 1
    assert not found.holds


def test_one_that_did_not_arrive_is_missing(scene: Scene) -> None:
    scene.kept = replace(scene.kept, inbox=frozenset({"id1"}))
    del scene.mails[0]
    found = scene.findings()
    assert (found.missing_in_inbox, found.missing_in_mail) == ({"t2"}, {"t1"})


def test_one_that_was_committed_and_is_gone_is_missing(scene: Scene) -> None:
    scene.wishes["t3"] = Wish("t3", ("inapp",), fate=Fate.COMMITTED, at=100.0)
    assert scene.findings().missing_in_database == {"t3"}


def test_a_control_row_without_its_notification_is_missing(scene: Scene) -> None:
    scene.wishes["t3"] = Wish("t3", ("inapp",), fate=Fate.UNKNOWN, at=100.0)
    scene.kept = replace(scene.kept, control=frozenset({"t1", "t2", "t3"}))
    assert scene.findings().missing_in_database == {"t3"}


def test_one_twice_in_a_stream_is_duplicated(scene: Scene) -> None:
    scene.histories["notifications.inapp"].add(scene.entry(3, "id1"))
    scene.kept = replace(scene.kept, ticked=frozenset({(Id(1, 1), "id1")}))
    found = scene.findings()
    assert len(found.twice_in_stream) == 1
    assert found.duplicated == 2, "twice, and under another id"
    assert not found.holds


def test_one_out_of_order_is_told(scene: Scene) -> None:
    history = History()
    for ms, notification, n in ((1, "id1", 2), (2, "id2", 1)):
        history.add(scene.entry(ms, notification)._replace(writer="w", n=n))
    scene.histories["notifications.inapp"] = history
    found = scene.findings()
    assert len(found.out_of_order) == 1
    assert not found.holds


def test_another_id_is_excused_only_where_its_tick_was_lost(scene: Scene) -> None:
    scene.kept = replace(scene.kept, ticked=frozenset())
    scene.histories["notifications.inapp"].clear()
    scene.histories["notifications.inapp"].add(scene.entry(3, "id1"))
    assert len(scene.findings().moved_in_stream) == 1, "Postgres has lost nothing"
    scene.lags = [Lag(99.0, 101.0)]
    assert scene.findings().holds
    scene.kept = replace(scene.kept, ticked=frozenset({(Id(1, 1), "id1")}))
    assert len(scene.findings().moved_in_stream) == 1


@pytest.mark.parametrize("fate", [Fate.OPEN, Fate.ROLLED_BACK])
def test_one_that_was_never_committed_is_told(scene: Scene, fate: Fate) -> None:
    scene.wishes["t2"].fate = fate
    assert scene.findings().uncommitted == {"t2"}


def test_one_that_nobody_wrote_is_told(scene: Scene) -> None:
    del scene.wishes["t2"]
    assert scene.findings().uncommitted == {"t2"}


def test_a_mail_again_is_excused_only_as_often_as_the_timeline_says(scene: Scene) -> None:
    scene.mails += [Mail("id1", 101.0), Mail("id1", 102.0)]
    scene.kept.told["id1"] = 1
    found = scene.findings()
    assert (found.mails_again_as_told, found.twice_in_mail) == (["id1"], ["id1"])
    assert found.duplicated == 1


def test_what_a_lagging_standby_lacked_was_lost_by_postgres(scene: Scene) -> None:
    ids = {"t1": "id1"}
    scene.kept = Kept(ids, frozenset(ids), frozenset({"id1"}), Counter(), frozenset())
    assert scene.findings().missing_in_database == {"t2"}, "no standby was lagging then"
    scene.lags = [Lag(99.0, 101.0)]
    found = scene.findings()
    assert found.lost_by_postgres == {"t2"}
    assert found.holds
    scene.wishes["t2"].fate = Fate.ROLLED_BACK
    assert scene.findings().uncommitted == {"t2"}, "what was rolled back can never be lost"


def test_recovery_is_from_the_fault_to_the_next_row_seen() -> None:
    rows = [(1.0, 1.1), (2.0, 9.0), (3.0, 3.5)]
    struck = [Struck("kill", 1.5, 1.6), Struck("kill", 2.5, 2.6), Struck("cut", 5.0, 5.0)]
    assert recovery_ms(struck, rows) == {"kill": {"p50": 2000.0, "max": 2000.0}}


def test_a_plan_has_every_kind_and_its_number() -> None:

    plan = planned(KINDS, 1050, random.Random(1))
    assert len(plan) >= 1000
    assert set(plan) == set(KINDS)
    assert plan == planned(KINDS, 1050, random.Random(1)), "a seed is a plan"
