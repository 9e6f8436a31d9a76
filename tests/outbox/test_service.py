"""The one supervisor loop: no wake-up lost, errors backed off, a stop in two phases."""

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
import structlog
from prometheus_client import REGISTRY

from db.pool import OUTAGES
from outbox import service
from outbox.service import MAX_BACKOFF_SECONDS, Stop, backoff, describe, run, run_loop, unexpected

FOREVER = 3600.0


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_a_wake_during_the_step_is_not_lost() -> None:
    """It came after the step had looked: only clearing the flag before the look catches it."""
    wake, stop, steps = asyncio.Event(), Stop(), 0

    async def step() -> float:
        nonlocal steps
        steps += 1
        if steps == 1:
            wake.set()
        else:
            stop.ask()
        return FOREVER

    async with asyncio.timeout(60):
        await run_loop("test", step, wake, stop)
    assert steps == 2


async def test_a_wake_ends_the_pause() -> None:
    wake, stop, waiting = asyncio.Event(), Stop(), asyncio.Event()
    steps = 0

    async def step() -> float:
        nonlocal steps
        steps += 1
        waiting.set()
        return FOREVER

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(run_loop("test", step, wake, stop))
        for _ in range(3):
            await waiting.wait()
            waiting.clear()
            wake.set()
        await waiting.wait()
        stop.ask()
    assert steps == 4


async def test_more_work_is_done_without_a_pause_and_no_wake_is_no_work() -> None:
    stop, left = Stop(), [0.0, 0.0, 0.0, 0.02, FOREVER]

    async def step() -> float:
        pause = left.pop(0)
        if not left:
            stop.ask()
        return pause

    async with asyncio.timeout(60):
        await run_loop("test", step, asyncio.Event(), stop)
    assert left == []


async def test_an_error_is_logged_and_backed_off_and_the_loop_goes_on(
    logs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    stop, steps = Stop(), 0

    async def waited(_: asyncio.Event, seconds: float) -> bool:
        pauses.append(seconds)
        return False

    async def step() -> float:
        nonlocal steps
        steps += 1
        if steps == 4:
            return 7.0
        if steps == 6:
            stop.ask()
        raise ConnectionRefusedError("nobody there") if steps < 5 else ValueError("a bug")

    monkeypatch.setattr(service, "wait", waited)
    monkeypatch.setattr("random.uniform", lambda _low, _high: 1.0)
    await run_loop("test", step, asyncio.Event(), stop)
    assert pauses == [0.1, 0.2, 0.4, 7.0, 0.1, 0.2]  # doubled, and from the start again after a success
    errors = [line for line in logs if line["event"] == "loop.failed"]
    assert [line["failures"] for line in errors] == [1, 2, 3, 1, 2]
    assert [line["exc_info"] for line in errors] == [False, False, False, True, True]
    assert errors[0]["error"] == "ConnectionRefusedError: nobody there"


async def test_a_loop_that_is_cancelled_ends() -> None:
    async def step() -> float:
        return float(await asyncio.get_running_loop().create_future())

    task = asyncio.create_task(run_loop("test", step, asyncio.Event(), Stop()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_future_that_was_cancelled_elsewhere_ends_no_loop(logs: list[Any]) -> None:
    """As a library does it with what waits for a connection that has gone."""
    stop, steps = Stop(), 0

    async def step() -> float:
        nonlocal steps
        steps += 1
        if steps == 2:
            stop.ask()
            return 0
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        return float(await future)

    await run_loop("test", step, asyncio.Event(), stop)
    assert steps == 2
    assert [line["error"] for line in logs if line["event"] == "loop.failed"] == ["CancelledError"]


async def test_a_loop_that_is_already_asked_to_stop_takes_no_step() -> None:
    stop = Stop()
    stop.ask()
    await run_loop("test", pytest.fail, asyncio.Event(), stop)


@pytest.mark.parametrize("failures", [1, 5, 50, 10_000])
def test_the_back_off_stays_within_its_bounds(failures: int) -> None:
    wished = min(MAX_BACKOFF_SECONDS, 0.05 * 2 ** min(failures, 20))
    assert 0.75 * wished <= backoff(failures) <= 1.25 * wished


def test_an_error_is_described_in_one_phrase() -> None:
    assert describe(ValueError("x")) == "ValueError: x"
    assert describe(TimeoutError()) == "TimeoutError"


async def test_the_first_signal_lets_it_finish(logs: list[Any]) -> None:
    finished = []

    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.asked.wait()
        finished.append("what it held")

    async with asyncio.timeout(60):
        await run(main, grace=FOREVER)
    assert finished == ["what it held"]
    assert [line["event"] for line in logs] == ["service.stopping"]


async def test_with_a_delay_it_is_announced_first_and_work_goes_on(logs: list[Any]) -> None:
    told: list[str | None] = []

    async def main(stop: Stop) -> None:
        told.append(stop.check())
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.announced.wait()
        told.append(stop.check())
        assert not stop
        await stop.asked.wait()

    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(60):
        await run(main, grace=FOREVER, delay=0.05)
    assert asyncio.get_running_loop().time() - began >= 0.05
    assert told == [None, "the process is about to stop"]
    assert logs[0]["delay_seconds"] == 0.05


async def test_the_grace_begins_when_the_delay_is_over() -> None:
    asked = []

    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.asked.wait()
        asked.append(True)
        await asyncio.Event().wait()

    async with asyncio.timeout(60):
        await run(main, grace=0.01, delay=0.05)
    assert asked == [True]


async def test_a_second_signal_during_the_delay_cuts_it_short(logs: list[Any]) -> None:
    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.announced.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    async with asyncio.timeout(60):
        await run(main, grace=FOREVER, delay=FOREVER)
    assert logs[-1]["event"] == "service.cut_short"


@pytest.mark.parametrize(("signals", "grace"), [(1, 0.01), (2, FOREVER)], ids=["grace over", "second signal"])
async def test_then_it_is_cut_short(signals: int, grace: float, logs: list[Any]) -> None:
    cancelled = []

    async def main(stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await stop.asked.wait()
        try:
            if signals == 2:
                os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with asyncio.timeout(60):
        await run(main, grace=grace)
    assert cancelled == [True]
    assert logs[-1]["event"] == "service.cut_short"


async def test_an_error_of_main_comes_out_and_the_signals_are_given_back() -> None:
    async def main(_: Stop) -> None:
        raise ValueError("no")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="no"):
        await run(main, grace=1)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("kind", [kind for kind in OUTAGES if kind is not asyncpg.PostgresError])
def test_an_outage_is_logged_without_a_stack_trace(kind: type[Exception]) -> None:
    """Printing one with its locals can hold up every other task for seconds, and there are many in an outage."""
    assert not unexpected(kind("the connection is closed"))


def test_a_bug_is_logged_with_its_stack_trace() -> None:
    assert unexpected(KeyError("user_id"))


async def test_failed_steps_are_counted_by_loop(logs: list[Any]) -> None:
    stop = Stop()

    async def step() -> float:
        assert REGISTRY.get_sample_value("outbox_loop_failures_total", {"loop": "counted"}) == 0
        stop.ask()
        raise ConnectionResetError

    async with asyncio.timeout(60):
        await run_loop("counted", step, asyncio.Event(), stop)
    assert REGISTRY.get_sample_value("outbox_loop_failures_total", {"loop": "counted"}) == 1
