"""Every query of the dashboard and of the rules, with the dashboard's variables filled in. Pure but for the files."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "outbox.json"
RULES = DEPLOY / "prometheus" / "rules"
RATE_SECONDS = 15  # a run scrapes every second; Grafana would take four scrapes
STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
INSIDE = re.compile(
    r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|offset\s+\w+"
)
NAME = re.compile(r"(?<![\w:.])([a-z_:][a-zA-Z0-9_:]*)\b(?!\s*\()")
WORDS = {"and", "or", "unless", "bool"}


@dataclass(frozen=True, slots=True)
class Target:
    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """`at`: x, y, width and height on a grid of 24 columns."""

    kind: str
    title: str
    at: tuple[int, int, int, int]
    targets: list[Target] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()  # a table's columns


@dataclass(frozen=True, slots=True)
class Query:
    """`where` says whose it is."""

    where: str
    expr: str


def filled(expr: str) -> str:
    """As Grafana sends it where everything is chosen."""
    return (
        expr.replace("$__rate_interval", f"{RATE_SECONDS}s")
        .replace("$channel", ".+")
        .replace("$instance", ".+")
    )


def panels(path: Path = DASHBOARD) -> list[Panel]:
    return [panel(one) for one in json.loads(path.read_text(encoding="utf-8"))["panels"]]


def panel(made: dict[str, Any]) -> Panel:
    at = made["gridPos"]
    targets = [Target(filled(one["expr"]), one.get("legendFormat", "")) for one in made.get("targets", ())]
    defaults = made.get("fieldConfig", {}).get("defaults", {})
    place = at["x"], at["y"], at["w"], at["h"]
    hidden = frozenset(
        name for one in made.get("transformations", ()) for name in one["options"]["excludeByName"]
    )
    return Panel(made["type"], made["title"], place, targets, defaults, made.get("options", {}), hidden)


def annotations(path: Path = DASHBOARD) -> dict[str, str]:
    """Queries by what they mark."""
    listed = json.loads(path.read_text(encoding="utf-8"))["annotations"]["list"]
    return {one["name"]: filled(one["expr"]) for one in listed}


def every() -> list[Query]:
    """Of the dashboard each as it is; of an alert what it looks at, as it is meant to find nothing wrong."""
    shown = [Query(f"panel {one.title}", target.expr) for one in panels() for target in one.targets]
    shown += [Query(f"annotation {name}", expr) for name, expr in annotations().items()]
    return shown + list(of_rules())


def of_rules() -> Iterator[Query]:
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    yield Query(f"rule {rule['record']}", rule["record"])
                else:
                    for name in sorted(metrics_in(rule["expr"])):
                        yield Query(f"alert {rule['alert']}", name)


def metrics_in(expr: str) -> set[str]:
    """The names of metrics that a query asks for."""
    bare = INSIDE.sub("", STRINGS.sub("", expr))
    return {name for name in NAME.findall(bare) if name not in WORDS}
