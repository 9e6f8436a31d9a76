"""Logs are events: a fixed name (`relay.shipped`) and fields. Readable on a terminal, JSON elsewhere."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from outbox import trace_context

Event = MutableMapping[str, Any]
Log = FilteringBoundLogger

# Personal data and secrets never reach a log, whoever passes them by mistake.
HIDDEN = frozenset(
    {"address", "authorization", "body", "email", "password", "payload", "phone", "secret", "subject"}
    | {"to", "token", "url"}
)
# What a far side answers may be long and odd: each pattern's cost grows with the text's length, not its square.
LONGEST = 20_000
PASSWORD_IN_URL = re.compile(r"(?<=://)([^:/@\s]*):[^@\s]{1,500}@")
# Postgres quotes the offending row or key in an error's DETAIL.
DETAIL = re.compile(r"(?<=DETAIL:)(\s+)[^\n]*")
# The lookbehind lets a match begin only where a word does, so that a long word is walked over once.
ADDRESS = re.compile(r"(?<![^\s<>@\"'])[^\s<>@\"']+@[^\s<>@\"']+\.[^\s<>@\"',;]+")


def redact(_: Any, __: str, event: Event) -> Event:
    """Hide fields by name, and addresses, URL passwords and quoted rows inside any text, however deep."""
    for key, value in event.items():
        event[key] = "***" if key in HIDDEN else redacted(value)
    return event


def redacted(value: Any) -> Any:
    match value:
        case str():
            text = PASSWORD_IN_URL.sub(r"\1:***@", DETAIL.sub(r"\1***", shortened(value)))
            return ADDRESS.sub("***@***", text)
        case dict():
            return {key: "***" if key in HIDDEN else redacted(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [redacted(item) for item in value]
        case _:
            return value


def shortened(text: str) -> str:
    """Cut between two words: half an address or password would not be known for one."""
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(maxsplit=1)[0] + " …"


def configure(process: str, mode: Literal["auto", "console", "json"] = "auto", level: str = "info") -> None:
    """Set up logging for this process, once, at start. Libraries' own logs come through it from WARNING."""
    console = mode == "console" or (mode == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        trace_context.named,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if console else "iso", utc=not console),
    ]
    if console:
        shared.append(brief)
        renderer: Processor = structlog.dev.ConsoleRenderer(colors=True, pad_event_to=26)
    else:
        renderer = structlog.processors.JSONRenderer()
    # The stack trace becomes text before redact looks, and plain text: rich would show every local variable.
    tail: list[Processor] = [structlog.processors.format_exc_info, redact, renderer]
    structlog.configure(
        processors=[*shared, *tail],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    if not console:
        structlog.contextvars.bind_contextvars(process=process)
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[strip, *tail])
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def brief(_: Any, __: str, event: Event) -> Event:
    """For the eye: milliseconds will do, the event's name says the component, and a trace's id will be searched for."""
    event.pop("component", None)
    event.pop("span_id", None)
    event["timestamp"] = event["timestamp"][:12]
    return event


def strip(_: Any, __: str, event: Event) -> Event:
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(None, "", event)


def get(name: str) -> Log:
    """A logger whose lines carry the component's name."""
    logger: Log = structlog.get_logger(component=name)
    return logger
