"""The dashboard's file: each panel explained, in its place, over metrics that there are, with a way to the runbook."""

import json
from functools import cache
from itertools import combinations
from typing import Any

import pytest
import yaml

from bench.watching.chart import Frame
from bench.watching.page import page
from bench.watching.queries import every, filled, metrics_in, panels
from bench.watching.server import Series
from tests.deploy.watching.exported import samples
from tests.deploy.watching.test_rules import ALERTS, RECORDED, RUNBOOK
from tests.deploy.watching.tools import ROOT, promtool

GRAFANA = ROOT / "deploy" / "grafana"
KINDS = {"row", "stat", "timeseries", "heatmap", "table"}
OF_PYTHON = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
OF_PROMETHEUS = {"ALERTS", "up"}
WITHOUT = {"row"}
ROWS = ["Overview", "Relay", "Streams and workers", "Providers", "Gateway", "API", "Stores", "Processes"]


@cache
def board() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "outbox.json").read_text(encoding="utf-8"))
    return read


SHOWN = [panel for panel in board()["panels"] if panel["type"] not in WITHOUT]


def queries(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def test_relay_lag_comes_first() -> None:
    assert SHOWN[0]["title"] == "Relay lag"
    assert [panel["title"] for panel in board()["panels"] if panel["type"] == "row"] == ROWS


def test_ids_are_distinct_and_panels_stand_beside_each_other() -> None:
    ids = [panel["id"] for panel in board()["panels"]]
    assert len(set(ids)) == len(ids)
    for one, other in combinations([panel["gridPos"] for panel in board()["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or apart
        assert one["x"] + one["w"] <= 24


@pytest.mark.parametrize("panel", SHOWN, ids=lambda panel: f"{panel['id']}-{panel['title']}")
def test_a_panel_is_explained_has_a_unit_and_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    assert panel["type"] in KINDS
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    unit = panel["options"]["yAxis"] if panel["type"] == "heatmap" else panel["fieldConfig"]["defaults"]
    assert unit["unit"]
    for query in queries(panel):
        assert (
            metrics_in(query.replace("$__rate_interval", "1m"))
            <= samples() | set(RECORDED) | OF_PYTHON | OF_PROMETHEUS
        )
    for link in panel.get("links", ()):
        book, _, section = link["url"].partition("#")
        assert book == "${runbook}"
        assert section in {name.lower() for name in ALERTS}


def test_what_has_an_alert_is_linked_to_its_section() -> None:
    linked = {link["url"].partition("#")[2] for panel in SHOWN for link in panel.get("links", ())}
    assert linked == {name.lower() for name in ALERTS}


def test_variables_are_those_that_queries_use() -> None:
    listed = {one["name"]: one for one in board()["templating"]["list"]}
    assert list(listed) == ["datasource", "channel", "instance", "runbook"]
    assert listed["runbook"]["query"] == RUNBOOK
    text = json.dumps(board()["panels"])
    for name in listed:
        assert f"${name}" in text or f"${{{name}}}" in text


def test_queries_are_promql(tmp_path: Any) -> None:
    """As rules of a file, since promtool parses those."""
    rules = [{"record": f"q:{number}:q", "expr": filled(one.expr)} for number, one in enumerate(every())]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", "--lint=none", str(file))


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    read = [
        yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted(GRAFANA.glob("provisioning/*/*.yml"))
    ]
    dashboards, sources = read
    assert {file["apiVersion"] for file in read} == {1}
    assert dashboards["providers"][0]["options"]["path"] == "/etc/grafana/dashboards"
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"


def test_the_picture_has_every_panel_with_its_title() -> None:
    points = [(float(at), float(at)) for at in range(1, 60)]
    answers = {
        target.expr: [Series({"le": "1", "channel": "sms"}, points)]
        for one in panels()
        for target in one.targets
    }
    drawn = page("Outbox", panels(), answers, Frame(0, 0, 1, 60, [(30.0, "FLUSHALL")]))
    for panel in panels():
        assert panel.title.replace("'", "&#x27;") in drawn
    assert drawn.count("<section") == len(SHOWN)
