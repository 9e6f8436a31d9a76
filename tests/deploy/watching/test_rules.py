"""Rules and alerts: valid, each with a test that fires it and a section of the runbook, over metrics that there are."""

import re
from functools import cache
from typing import Any

import pytest
import yaml

from bench.watching.queries import metrics_in
from tests.deploy.watching.exported import samples
from tests.deploy.watching.tools import PROMETHEUS, ROOT, promtool

RULES, TESTS = sorted(PROMETHEUS.glob("rules/*.yml")), sorted(PROMETHEUS.glob("tests/*.yml"))
SEVERITIES = {"critical", "warning", "info"}
RUNBOOK = (
    "https://git.example.com/outbox/docs/runbook.md"  # whoever installs it writes an address of their own
)
RECORD = re.compile(r"outbox:[a-z_]+:[a-z0-9_]+")
ASKED = (
    "OutboxRelayLag", "OutboxNoRelayLeader", "OutboxListenDead", "OutboxDeadLettersGrowing", "OutboxPendingOld",
    "OutboxErrorRate", "OutboxQueueLong", "OutboxRedisLossHealed", "OutboxPartitionUpkeepBehind",
    "OutboxCertificateExpires", "OutboxApiKeyExpires", "OutboxTargetDown", "OutboxNotifyQueueFilling",
    "OutboxRedisMemoryHigh", "OutboxCircuitOpen",
)  # fmt: skip


@cache
def rules() -> list[dict[str, Any]]:
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES]
    return [rule for file in read for group in file["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in rules() if "record" in rule}


def expectations() -> list[dict[str, Any]]:
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in TESTS]
    return [one for file in read for test in file["tests"] for one in test.get("alert_rule_test", ())]


def test_config_and_rules_are_valid() -> None:
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", *(str(path) for path in RULES))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Any) -> None:
    promtool("test", "rules", str(path))


def test_there_is_an_alert_for_each_thing_that_was_asked_for() -> None:
    assert set(ASKED) <= set(ALERTS)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_is_tried_both_ways(name: str) -> None:
    tried = [one["exp_alerts"] for one in expectations() if one["alertname"] == name]
    assert any(tried), "no test lets it fire"
    assert not all(tried), "no test sees it silent"


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(name: str) -> None:
    alert = ALERTS[name]
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert alert["labels"]["severity"] in SEVERITIES
    assert notes["runbook_url"] == f"{RUNBOOK}#{name.lower()}"


def sections() -> dict[str, str]:
    """Of the runbook, by what GitHub makes their anchors of."""
    parts = re.split(
        r"^## (.+)\n", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_alert_has_a_section_of_the_runbook_and_every_section_an_alert() -> None:
    assert {name for name in sections() if name.startswith("Outbox")} == set(ALERTS)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_a_section_says_what_it_means_who_notices_where_to_look_and_what_to_do(name: str) -> None:
    text = sections()[name]
    for part in ("**Means:**", "**Users:**", "**Look:**", "**Do:**"):
        assert part in text


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_only_for_what_there_is(rule: dict[str, Any]) -> None:
    asked = metrics_in(rule["expr"])
    assert asked
    assert asked <= samples() | set(RECORDED)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_recording_rule_is_named_by_level_metric_and_operation(name: str) -> None:
    assert RECORD.fullmatch(name)


def test_names_in_queries_are_found() -> None:
    query = """sum by (a, le) (rate(b_total{c="d", e=~"f.+"}[5m] offset 5m)) / on (job) group_left (x) max(g:h:i) > 0.5
               or label_replace(j, "k", "$1", "l", "m\\\\.(.*)") unless n offset 15m"""
    assert metrics_in(query) == {"b_total", "g:h:i", "j", "n"}
