"""What reaches a log: events with fields, and neither secrets nor personal data."""

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
import structlog

from outbox import log
from outbox.service import describe
from tests.conftest import Database

LEAKS = ("ann@example.org", "s3cret", "+4917012345678")


Stderr = pytest.CaptureFixture[str]


@pytest.fixture
def stderr(capsys: Stderr) -> Iterator[Stderr]:
    """Where the logs go; afterwards logging is set up as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, structlog.get_config()
    yield capsys
    root.handlers[:], root.level = before[0], before[1]
    structlog.configure(**before[2])
    structlog.contextvars.clear_contextvars()


def lines(stderr: Stderr) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.readouterr().err.splitlines()]


def redacted(**fields: Any) -> Any:
    return log.redact(None, "info", fields)


@pytest.mark.parametrize("name", sorted(log.HIDDEN))
def test_fields_are_hidden_by_name(name: str) -> None:
    assert redacted(**{name: "s3cret", "attempt": 3}) == {name: "***", "attempt": 3}
    assert redacted(outer={name: "s3cret"}) == {"outer": {name: "***"}}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("550 <ann@example.org> unknown", "550 <***@***> unknown"),
        ("postgresql://app:s3cret@db:5432/x", "postgresql://app:***@db:5432/x"),
        ("redis://:s3cret@cache:6379/0", "redis://:***@cache:6379/0"),
        (
            "check failed\nDETAIL:  Failing row contains (1, s3cret).\nHINT:  x",
            "check failed\nDETAIL:  ***\nHINT:  x",
        ),
        ("relay.shipped", "relay.shipped"),
        ("12 rows in 3 ms @ 50 %", "12 rows in 3 ms @ 50 %"),
    ],
)
def test_text_is_cleaned(text: str, shown: str) -> None:
    assert redacted(error=text)["error"] == shown
    assert redacted(errors=[text, {"why": (text,)}])["errors"] == [shown, {"why": [shown]}]


@pytest.mark.parametrize("mode", ["json", "console"])
def test_a_stack_trace_is_cleaned_and_shows_no_variables(mode: Any, stderr: Stderr) -> None:
    log.configure("test", mode)
    phone = LEAKS[2]
    try:
        assert phone
        raise ValueError(f"cannot write to {LEAKS[0]} by smtp://me:{LEAKS[1]}@mail")
    except ValueError:
        log.get("worker").exception("worker.failed")
    text = stderr.readouterr().err
    assert "worker.failed" in text
    assert "ValueError" in text
    assert not [leak for leak in LEAKS if leak in text]


async def test_the_row_that_postgres_quotes_stays_out(database: Database, stderr: Stderr) -> None:
    log.configure("test", "json")
    conn = await asyncpg.connect(database.admin)
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await conn.execute(
            "INSERT INTO notify.notifications (event_type, user_id, channels, payload, priority, created_at)"
            " VALUES ('a', '', '{inapp}', '{\"pin\": \"s3cret\"}', 'normal', now())"
        )
    await conn.close()
    assert "s3cret" in str(caught.value)  # asyncpg's text does hold it
    log.get("x").error("x.failed", error=describe(caught.value), exc_info=caught.value)
    text = stderr.readouterr().err
    assert text.count("user_id_is_1_to_200_printable_characters") == 2  # in the phrase and in the trace
    assert "s3cret" not in text


def test_a_line_is_one_json_object_with_its_component(stderr: Stderr) -> None:
    log.configure("relay", "json")
    log.get("tick").info("relay.shipped", rows=3, note="a\nb")
    log.get("tick").debug("relay.detail")
    logging.getLogger("uvicorn.error").warning("to %s", "ann@example.org")
    logging.getLogger("httpx").info("not shown")
    ours, theirs = lines(stderr)
    assert {
        "event": "relay.shipped",
        "component": "tick",
        "process": "relay",
        "rows": 3,
    }.items() <= ours.items()
    assert (theirs["event"], theirs["level"]) == ("to ***@***", "warning")


def test_a_terminal_gets_readable_lines(stderr: Stderr) -> None:
    log.configure("relay", "console")
    log.get("tick").info("relay.shipped", rows=3)
    text = stderr.readouterr().err
    assert "relay.shipped" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("part", ["a", "a@", "://a:", "a@b.", "DETAIL: "])
def test_a_long_text_holds_nobody_up(part: str) -> None:
    """The event loop waits for a log line: its cost must not grow with the square of a far side's answer."""
    began = time.thread_time()
    shown = redacted(error=part * (100_000 // len(part)) + " ann@example.org")["error"]
    assert time.thread_time() - began < 1
    assert len(shown) <= log.LONGEST + 100


def test_a_long_text_is_cut_between_words() -> None:
    text = "x" * (log.LONGEST - 10) + " smtp://me:s3cret@mail failed"
    assert redacted(error=text)["error"] == "x" * (log.LONGEST - 10) + " …"
