"""A deploy in small, on real processes; and its account, which must find what is wrong."""

import json
from pathlib import Path

import pytest

from bench.rollout.account import Account, Request, Sent, Step, appended_twice, line
from tests.bench.runs import ran

STEP = Step("api-0", 10.0, 20.0)


@pytest.fixture
def account() -> Account:
    made = Account(sent=[Sent("a", ["inapp", "email"], 11.0), Sent("b", ["inapp"], 25.0)])
    made.hear("inapp", "a", 11.5)
    made.hear("email", "a", 13.0)
    made.hear("inapp", "b", 25.2)
    return made


def test_all_is_well(account: Account) -> None:
    assert (account.missing(), account.twice(), account.uninvited(), account.failed()) == ([], [], [], [])


def test_whatever_is_wrong_is_found(account: Account) -> None:
    account.sent.append(Sent("c", ["sms"], 12.0))
    account.hear("email", "a", 14.0)
    account.hear("push", "x", 14.0)
    account.requests.append(Request("create", 12.0, 0.5, "UnreachableError: no answer"))
    account.inserts.append(Request("insert", 12.0, 0.5, "LockNotAvailableError: no"))
    assert account.missing() == [("sms", "c")]
    assert account.twice() == [("email", "a")]
    assert account.uninvited() == [("push", "x")]
    assert [each.what for each in account.failed()] == ["create", "insert"]


def test_a_step_is_told_by_what_began_in_it(account: Account) -> None:
    account.requests = [Request("get", 12.0, 0.25), Request("create", 19.0, 2.0), Request("get", 20.0, 9.0)]
    account.inserts = [Request("insert", 13.0, 0.125)]
    account.repeats, account.reconnects = [9.0, 15.0], [19.5]
    told = line(account, STEP)
    assert (told.requests, told.repeated, told.reconnected) == (2, 1, 1)
    assert (told.slowest_request, told.slowest_insert) == (2.0, 0.125)
    assert told.waits == {"inapp": 0.5, "email": 2.0}


def test_an_entry_too_many_or_too_few_is_found() -> None:
    logged = {"inapp": 3, "email": 2, "sms": 1}
    assert appended_twice(logged, {"inapp": 3, "email": 3}) == {"email": 1, "sms": -1}
    assert appended_twice(logged, dict(logged)) == {}


@pytest.mark.timeout(600)
async def test_every_process_is_replaced_and_nobody_loses_anything(tmp_path: Path) -> None:
    """How long each wait may be is a question for a quiet machine: `make rollout`."""
    out = tmp_path / "rollout.json"
    words = ["--people", "10", "--seconds", "1", "--rate", "10", "--most-wait", "60", "--out", str(out)]
    await ran("bench.rollout", *words)
    report = json.loads(out.read_text())
    assert report["holds"]
    steps = [each["step"] for each in report["lines"]]
    assert steps[:2] == ["before", "migration"]
    assert len(steps) == 2 + 8 + 1
    assert report["deliveries"] == 2 * report["notifications"] > 20
