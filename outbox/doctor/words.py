"""Amounts as people read them. Pure."""


def size(count: float) -> str:
    """Bytes: 812 B, 3.4 MB, 12 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def span(seconds: float) -> str:
    """Seconds: 12 ms, 4.2 s, 3 min, 5 h, 2 d."""
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, length, unit in ((10, 1, "s"), (120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if abs(seconds) < limit:
            return f"{seconds / length:.{1 if limit == 10 else 0}f} {unit}"
    return f"{seconds / 86_400:.0f} d"
