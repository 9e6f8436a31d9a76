"""Numbers as Grafana writes them, and the marks of an axis. Pure."""

from collections.abc import Sequence
from math import ceil, floor, log10

SI = ((1e9, "B"), (1e6, "M"), (1e3, "K"))
BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
SECONDS = ((86400.0, "d"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def text(value: float, unit: str) -> str:
    """The units of our dashboard; any other is a plain number."""
    match unit:
        case "s":
            return duration(value)
        case "decbytes":
            return scaled(value, BYTES)
        case "percentunit":
            return f"{short(value * 100)}%"
        case "ops":
            return f"{short(value)}/s"
        case "d":
            return f"{short(value)} days"
    return short(value)


def duration(seconds: float) -> str:
    """100 s is 1m40s."""
    if not 60 <= seconds < 86_400:
        return scaled(seconds, SECONDS) if seconds else "0 s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number}{name}" for number, name in parts if number)


def scaled(value: float, steps: Sequence[tuple[float, str]]) -> str:
    for size, name in steps:
        if abs(value) >= size:
            return f"{digits(value / size)} {name}"
    return f"{digits(value / steps[-1][0])} {steps[-1][1]}"


def short(value: float) -> str:
    for size, name in SI:
        if abs(value) >= size:
            return f"{digits(value / size)}{name}"
    return digits(value)


def digits(value: float) -> str:
    """Three that count, without needless zeros."""
    if value == 0:
        return "0"
    places = max(0, 2 - floor(log10(abs(value)))) if abs(value) < 100 else 0
    return f"{value:.{min(places, 4)}f}".rstrip("0").rstrip(".") if places else f"{value:.0f}"


def marks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from `low` up to the first one from `high` on."""
    span = max(high - low, 1e-12)
    size = 10 ** floor(log10(span / most))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10, 20) if span / (size * factor) <= most)
    return [step * at for at in range(floor(low / step), ceil(high / step - 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """For a logarithmic axis: powers of ten around what is shown."""
    return [10.0**power for power in range(floor(log10(low)), ceil(log10(high)) + 1)]
