"""The child process that renders templates (python -I sandbox.py). It holds no secrets and can be killed.

A template comes from the database, so whoever may write one must not reach the system or hang a worker. The jinja2
sandbox closes the way to Python's inside; it does not bound cost, so this process does: memory by rlimit, processor
time by timers (a machine that is busy, or was frozen, is no template's fault). Frames on both pipes: four bytes of
length, big endian, then JSON.
"""

import contextlib
import json
import re
import resource
import signal
import struct
import sys
import traceback
from collections.abc import Mapping
from functools import lru_cache
from types import FrameType
from typing import Any, BinaryIO

from jinja2 import (
    StrictUndefined,
    Template,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
    Undefined,
)
from jinja2 import filters as jinja_filters
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

SOURCE_BYTES = 65_536
OUTPUT_BYTES = 262_144
WIDTH = 1_000
ERROR_CHARACTERS = 1_000
DIGITS = 512  # bits of a whole number
MEMORY_BYTES = 512 * 1024 * 1024
PARTS = ("subject", "text", "html")
FILE = "<template>"
LAST_SECONDS = 2.0  # of processor time more, for one long operation in C, which no exception can end
WIDE = re.compile(r"\d{4,}|\*")
# Their cost follows a number the template gives, not the size of what it was given.
WIDENING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map"})


class TimeLimitError(Exception):
    """The template took more processor time than it may."""


class TooLargeError(Exception):
    """The template made more than it may. The message says of what."""


class Missing(StrictUndefined):
    """What a payload does not hold is false in a test, but must not be printed or walked over."""

    __bool__ = Undefined.__bool__  # type: ignore[assignment]  # StrictUndefined's never return
    __eq__ = Undefined.__eq__  # type: ignore[assignment]
    __ne__ = Undefined.__ne__  # type: ignore[assignment]
    __hash__ = Undefined.__hash__  # type: ignore[assignment]


class Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with the operators and methods that make much out of little bounded or shut."""

    intercepted_binops = frozenset({"*", "**", "%"})
    layouts: Mapping[str, str] = {}  # of this request and part: all that a template may extend or include

    def get_template(self, name: Any, parent: str | None = None, globals: Any = None) -> Template:  # noqa: A002
        """For extends, include and import."""
        if name not in self.layouts:
            raise TemplateNotFound(
                name, f"there is no template {name!r} of this channel to extend or include"
            )
        return compiled(self.layouts[name], self.autoescape is True, name)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            refuse(whole(left) and whole(right) and left.bit_length() * abs(right) > DIGITS, "a power")
        elif operator == "*":
            refuse_product(left, right)
        elif isinstance(left, str):
            refuse(bool(WIDE.search(left)), "a format")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr in WIDENING:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Jinja2 would let str.format through in a safe disguise; safe it is, but not cheap."""
        return


def whole(value: Any) -> bool:
    return isinstance(value, int)


def refuse(too_large: bool, what: str) -> None:
    if too_large:
        raise TooLargeError(f"{what} larger than a template may make")


def refuse_product(left: Any, right: Any) -> None:
    if whole(left) and whole(right):
        refuse(left.bit_length() + right.bit_length() > DIGITS, "a number")
    for value, times in ((left, right), (right, left)):
        if hasattr(value, "__len__") and whole(times):
            refuse(len(value) * times > SOURCE_BYTES, "a repetition")


def bounded_center(value: str, width: int = 80) -> str:
    refuse(width > WIDTH, "a width")
    return jinja_filters.do_center(value, width)


def bounded_indent(s: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    refuse((width if isinstance(width, int) else len(width)) > WIDTH, "an indent")
    return jinja_filters.do_indent(s, width, first, blank)


def bounded_format(value: str, *args: Any, **kwargs: Any) -> str:
    refuse(bool(WIDE.search(value)), "a format")
    return jinja_filters.do_format(value, *args, **kwargs)


def environment(autoescape: bool) -> Environment:
    made = Environment(autoescape=autoescape, undefined=Missing, cache_size=0, keep_trailing_newline=False)
    made.filters |= {"center": bounded_center, "indent": bounded_indent, "format": bounded_format}
    made.globals.pop("lipsum", None)
    return made


PLAIN, ESCAPING = environment(False), environment(True)


@lru_cache(maxsize=256)
def compiled(source: str, escaped: bool, name: str = "") -> Template:
    """By its source; the name of a layout is only for the message about a mistake in it."""
    if len(source.encode()) > SOURCE_BYTES:
        raise TooLargeError(f"its source is larger than {SOURCE_BYTES} bytes")
    made = ESCAPING if escaped else PLAIN
    code = made.compile(source, name or None, f"{FILE} {name}".strip())
    return Template.from_code(made, code, made.make_globals(None))


def on_time_over(_: int, __: FrameType | None) -> None:
    raise TimeLimitError


def render(request: dict[str, Any]) -> dict[str, Any]:
    """The parts rendered, or {"error", "part", "line", "layout"}; never an exception."""
    part = ""
    signal.setitimer(signal.ITIMER_PROF, request["seconds"])
    signal.setitimer(signal.ITIMER_VIRTUAL, request["seconds"] + LAST_SECONDS)  # ends the process
    try:
        rendered = {}
        for part in PARTS:
            layouts = {name: parts[part] for name, parts in request.get("layouts", {}).items()}
            rendered[part] = render_part(request[part], layouts, part == "html", request["variables"])
    except Exception as error:  # a foreign program may raise anything
        return {
            "error": explain(error),
            "part": part,
            "line": line_of(error),
            "layout": layout_of(error),
        }
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return rendered


def render_part(
    source: str, layouts: Mapping[str, str], escaped: bool, variables: dict[str, Any] | None
) -> str:
    """Without variables it is only compiled, to see whether that can be done."""
    (ESCAPING if escaped else PLAIN).layouts = layouts
    template = compiled(source, escaped)
    if variables is None:
        return ""
    pieces, size = [], 0
    for piece in template.generate(variables):
        size += len(piece.encode())
        if size > OUTPUT_BYTES:
            raise TooLargeError(f"its output is larger than {OUTPUT_BYTES} bytes")
        pieces.append(piece)
    return "".join(pieces)


def explain(error: BaseException) -> str:
    """What is wrong, for the template's author. Only errors whose text holds no value of the payload are quoted."""
    match error:
        case TimeLimitError():
            return "took too long"
        case MemoryError():
            return "used too much memory"
        case TooLargeError() | SecurityError() | TemplateError():
            return str(error)[:ERROR_CHARACTERS]
        case _:
            return type(error).__name__


def line_of(error: BaseException) -> int | None:
    place = place_of(error)
    return place.lineno if place else getattr(error, "lineno", None)


def layout_of(error: BaseException) -> str:
    """The name of the layout that the mistake is in, or nothing: it is in the template itself."""
    if isinstance(error, TemplateSyntaxError):
        return error.name or ""
    place = place_of(error)
    return place.filename.removeprefix(FILE).strip() if place else ""


def place_of(error: BaseException) -> traceback.FrameSummary | None:
    if isinstance(error, TemplateSyntaxError):
        return None  # it knows by itself
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(FILE)]
    return places[-1] if places else None


def frames(pipe: BinaryIO) -> Any:
    while len(head := pipe.read(4)) == 4:
        yield json.loads(pipe.read(struct.unpack("!I", head)[0]))


def limit() -> None:
    """By the kernel: memory, and no files written."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        # macOS does not take every limit; the timers and the cap on the output stand without it.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def main() -> None:
    limit()
    # The parent decides when this ends: its pipe is closed then, whatever becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, on_time_over)
    for request in frames(sys.stdin.buffer):
        answer = json.dumps(render(request)).encode()
        sys.stdout.buffer.write(struct.pack("!I", len(answer)) + answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
