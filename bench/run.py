"""What a case gives: rounds of runs beside each other, their medians and ratios, and the file they are kept in. Pure
but for the file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROUNDS = 5  # pairs that a ratio needs at least
OURS = "ours"


@dataclass(slots=True)
class Rounds:
    """What was measured, by name, a value a round: values with the same index were measured side by side."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return bool(self.values.get(name))

    def median(self, name: str) -> float:
        return median(self.values[name])

    def medians(self, names: Iterable[str]) -> dict[str, float]:
        return {name: self.median(name) for name in names if name in self}

    def ratios(self, over: str, under: str) -> list[float]:
        """One to the other, pair by pair; a round in which one is missing gives none."""
        return [a / b for a, b in zip(self.values[over], self.values[under], strict=False) if b]

    def ratio(self, under: str, over: str = OURS) -> float:
        return median(self.ratios(over, under))

    def spread(self) -> dict[str, list[float]]:
        """Lowest and highest of each, and of each ratio to ours: how far the medians may be trusted."""
        spread = {name: bounds(values) for name, values in self.values.items() if values}
        for name in self.values:
            if name != OURS and OURS in self and name in self:
                spread[f"{OURS}/{name}"] = bounds(self.ratios(OURS, name))
        return spread


def bounds(values: Sequence[float]) -> list[float]:
    return [min(values), max(values)]


def order(names: Sequence[str], number: int) -> list[str]:
    """A B C, then C B A: a machine that grows slower favours neither."""
    return list(names) if number % 2 == 0 else list(reversed(names))


def percentile(values: Sequence[float], percent: int) -> float:
    """By the nearest of a hundred cuts; of few values, their highest stands for the highest cuts."""
    if len(values) < 2:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def in_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and the highest, in milliseconds."""
    found = {f"p{percent}_ms": percentile(seconds, percent) * 1000 for percent in (50, 90, 99)}
    return found | {"max_ms": max(seconds) * 1000}


@dataclass(frozen=True, slots=True)
class Goal:
    """What a case is to reach. No value: it could not be measured here."""

    goal: str
    value: float | None
    reached: bool | None


def at_least(what: str, value: float | None, bound: float) -> Goal:
    return Goal(f"{what} ≥ {bound:g}", value, None if value is None else value >= bound)


def at_most(what: str, value: float | None, bound: float) -> Goal:
    return Goal(f"{what} ≤ {bound:g}", value, None if value is None else value <= bound)


def ahead(ratios: Mapping[str, float], names: Iterable[str], *, lower_is_better: bool = False) -> Goal:
    """Ahead of every alternative that ran; the value is the closest one's ratio."""
    found = [ratios[name] for name in names if name in ratios]
    if not found:
        return Goal("ahead of every peer", None, None)
    closest = max(found) if lower_is_better else min(found)
    return Goal("ahead of every peer", closest, closest < 1 if lower_is_better else closest > 1)


@dataclass(slots=True)
class Result:
    """One case, as results.json has it. A ratio is ours ÷ the other's, pair by pair, median."""

    figure: float
    unit: str
    runs: int
    alternatives: dict[str, float] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)


def of_rounds(rounds: Rounds, unit: str, alternatives: Iterable[str], limits: Iterable[str]) -> Result:
    """The result of rounds in which OURS was one."""
    beside, bounding = rounds.medians(alternatives), rounds.medians(limits)
    return Result(
        figure=rounds.median(OURS),
        unit=unit,
        runs=len(rounds.values[OURS]),
        alternatives=beside,
        limits=bounding,
        ratios={name: rounds.ratio(name) for name in (*beside, *bounding)},
        detail={"min_max": rounds.spread()},
    )


def rounded(value: Any) -> Any:
    """Four significant digits are more than any of these measurements has."""
    match value:
        case float():
            return float(f"{value:.4g}") if abs(value) < 1000 else round(value)
        case dict():
            return {key: rounded(each) for key, each in value.items()}
        case list() | tuple():
            return [rounded(each) for each in value]
        case _:
            return value


def keep(path: Path, case: str, result: Result, goals: Sequence[Goal]) -> dict[str, Any]:
    """Put the case into the file, beside what it has of others. The whole file is returned."""
    kept = read(path)
    kept[case] = rounded(asdict(result))
    kept[case]["detail"]["goals"] = [rounded(asdict(goal)) for goal in goals]
    path.parent.mkdir(exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    scratch.replace(path)
    return kept


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
