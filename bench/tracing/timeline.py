"""Where spans stand in a picture: in the order of their tree, and on a scale that leaves out what nobody did. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.tracing.collector import Told

DESTINATION = "messaging.destination.name"
WAIT_SHARE = 0.05  # of all, from which on a pause is drawn as a break
BREAK_WIDTH = 46.0


@dataclass(frozen=True, slots=True)
class Row:
    span: Told
    depth: int


def rows(spans: Sequence[Told]) -> list[Row]:
    """Each beneath its parent, what belongs to one stream together; roots are what has no parent here."""
    here = {span.span_id for span in spans}
    beneath: dict[str, list[Told]] = {}
    for span in sorted(spans, key=lambda span: span.begins):
        beneath.setdefault(span.parent if span.parent in here else "", []).append(span)

    def walk(parent: str, depth: int) -> Iterable[Row]:
        for span in by_stream(beneath.get(parent, [])):
            yield Row(span, depth)
            yield from walk(span.span_id, depth + 1)

    return list(walk("", 0))


def by_stream(spans: Sequence[Told]) -> list[Told]:
    streams = list(dict.fromkeys(span.attributes.get(DESTINATION) for span in spans))
    return sorted(spans, key=lambda span: (streams.index(span.attributes.get(DESTINATION)), span.begins))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of time, in nanoseconds, and where it is drawn. Where nothing happened it is a break of one width."""

    begins: int
    ends: int
    left: float
    right: float
    idle: bool

    def place(self, moment: int) -> float:
        share = (moment - self.begins) / max(self.ends - self.begins, 1)
        return self.left + share * (self.right - self.left)


class Scale:
    """From moments to places between `left` and `right`."""

    def __init__(self, spans: Sequence[Told], left: float, right: float) -> None:
        busy = merged(spans)
        whole = busy[-1][1] - busy[0][0]
        parts = [busy[0]]
        for begins, ends in busy[1:]:
            if begins - parts[-1][1] < whole * WAIT_SHARE:
                parts[-1] = (parts[-1][0], ends)
            else:
                parts.append((begins, ends))
        room = right - left - BREAK_WIDTH * (len(parts) - 1)
        self.stretches = list(laid_out(parts, left, room / sum(ends - begins for begins, ends in parts)))

    def place(self, moment: int) -> float:
        for stretch in self.stretches:
            if moment <= stretch.ends:
                return stretch.place(max(moment, stretch.begins))
        return self.stretches[-1].right


def laid_out(parts: Sequence[tuple[int, int]], left: float, per_nanosecond: float) -> Iterable[Stretch]:
    before: int | None = None
    for begins, ends in parts:
        if before is not None:
            yield Stretch(before, begins, left, left + BREAK_WIDTH, idle=True)
            left += BREAK_WIDTH
        right = left + (ends - begins) * per_nanosecond
        yield Stretch(begins, ends, left, right, idle=False)
        before, left = ends, right


def merged(spans: Sequence[Told]) -> list[tuple[int, int]]:
    """When anything was under way."""
    busy: list[tuple[int, int]] = []
    for begins, ends in sorted((span.begins, span.ends) for span in spans):
        if busy and begins <= busy[-1][1]:
            busy[-1] = (busy[-1][0], max(busy[-1][1], ends))
        else:
            busy.append((begins, ends))
    return busy


def steps(nanoseconds: int, most: int) -> int:
    """Of 1, 2 or 5 times a power of ten: no more than so many fit."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if nanoseconds <= step * factor * most:
                return step * factor
        step *= 10
