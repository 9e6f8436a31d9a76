"""A collector that is away, or says no, costs spans and one line in the log; nothing else."""

import asyncio
import logging
import time
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

from bench.tracing.collector import Collector
from outbox import tracing
from outbox.local.ports import any_free
from outbox.otel import CLOSE_SECONDS, ENDED, EXPORTED
from outbox.settings import Settings
from outbox.tracing import Kind
from tests.tracing.conftest import context


def ended() -> float:
    return float(ENDED._value.get())


def exported() -> float:
    return float(EXPORTED._value.get())


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[MutableMapping[str, Any]]]:
    """What this process logs."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    structlog.configure(cache_logger_on_first_use=False)
    with structlog.testing.capture_logs() as lines:
        yield lines


def start(settings: Settings, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    tracing.start(settings.model_copy(update={"otlp_endpoint": url}), "test")


def make(number: int) -> None:
    for _ in range(number):
        tracing.begin("work", Kind.INTERNAL, context()).end()


async def test_nobody_listens(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    told: list[MutableMapping[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = ended(), exported()
    start(settings, monkeypatch, f"http://127.0.0.1:{any_free()}")
    began = time.monotonic()
    make(10_000)  # five times what its queue holds
    assert time.monotonic() - began < 15, "a span waits for nobody: twenty batches would take a second each"
    async with asyncio.timeout(60):
        while not any(line["event"] == "tracing.not_exported" for line in told):
            make(1)
            await asyncio.sleep(0.01)
    began = time.monotonic()
    tracing.stop()
    assert time.monotonic() - began < CLOSE_SECONDS + 20
    assert [line["event"] for line in told if line["log_level"] == "warning"] == ["tracing.not_exported"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert ended() - before[0] >= 10_000
    assert exported() == before[1]


async def test_it_is_told_once_and_so_is_its_end(
    collector: Collector,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    told: list[MutableMapping[str, Any]],
) -> None:
    collector.status = 400  # what it says to a request that it will never take: not tried again
    start(settings, monkeypatch, collector.url)
    for number in range(1, 4):
        make(1)
        await collector.until(lambda c, least=number: c.requests >= least)  # type: ignore[misc]
    collector.status = 200
    make(1)
    await collector.until(lambda c: len(c.spans) > 0)
    await asyncio.to_thread(tracing.stop)
    events = [line["event"] for line in told]
    assert events == ["tracing.started", "tracing.not_exported", "tracing.exported_again"]
