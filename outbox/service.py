"""One process: signals, its loops in a task group, a two-phase stop. Every loop is just a `step()`."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable

from prometheus_client import Counter

from outbox import supervised
from outbox.log import get

log = get("service")

# A step does one bounded piece of work and says how many seconds it can wait; 0 means "there is more".
Step = Callable[[], Awaitable[float]]
MAX_BACKOFF_SECONDS = 5.0
FAILURES = Counter("outbox_loop_failures_total", "Steps that failed and are tried again, by loop.", ["loop"])


class Stop:
    """Asks everyone to finish. `asked` is awaited by whoever waits for something else, too.

    `announced`: it will be asked for; work goes on, and probes already say that nobody new should come.
    """

    def __init__(self) -> None:
        self.announced = asyncio.Event()
        self.asked = asyncio.Event()
        self._wakes: list[asyncio.Event] = []

    def announce(self) -> None:
        self.announced.set()

    def ask(self) -> None:
        self.announce()
        self.asked.set()
        for wake in self._wakes:
            wake.set()

    def wakes(self, event: asyncio.Event) -> None:
        """Also set `event` when asked, so that a wait on it ends."""
        self._wakes.append(event)

    def check(self) -> str | None:
        """For /readyz."""
        return "the process is about to stop" if self.announced.is_set() else None

    def __bool__(self) -> bool:
        return self.asked.is_set()


def backoff(failures: int, base: float = 0.05, cap: float = MAX_BACKOFF_SECONDS) -> float:
    """Seconds to wait after so many failures in a row: doubling, capped, with jitter of ±25 %."""
    return float(min(cap, base * 2 ** min(failures, 20)) * random.uniform(0.75, 1.25))


async def run_loop(name: str, step: Step, wake: asyncio.Event, stop: Stop) -> None:
    """Clear the wake flag → step → busy? again : wait for the wake or the pause.

    The flag is cleared *before* the look: what comes during the look wakes the next wait, so no
    wake-up is lost. An error is logged and backed off, and the loop goes on.
    """
    stop.wakes(wake)
    FAILURES.labels(name)
    failures = 0
    while not stop:
        wake.clear()
        if stop:
            return
        try:
            pause = await step()
            failures = 0
        except (Exception, asyncio.CancelledError) as error:
            if asked_to_end(error):
                raise
            failures += 1
            FAILURES.labels(name).inc()
            pause = backoff(failures)
            log.error(
                "loop.failed", loop=name, error=describe(error), failures=failures, exc_info=unexpected(error)
            )
        if pause > 0:
            await wait(wake, pause)


def asked_to_end(error: BaseException) -> bool:
    """Whether it is a cancellation of this task, and not one that came out of a future it waited for: a library's own
    must not end a loop in silence."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def unexpected(error: BaseException) -> bool:
    """Whether a stack trace helps: an outage of Postgres or Redis is no surprise, a bug is."""
    outages = {"ConnectionError", "TimeoutError", "BusyLoadingError", "CannotConnectNowError", "OSError"}
    outages |= {"InterfaceError", "InternalClientError"}  # asyncpg's, of a connection that was cut in between
    names = {cls.__name__ for cls in type(error).__mro__}
    return not names.intersection(outages) and "Connection" not in type(error).__name__


async def wait(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def run(main: Callable[[Stop], Awaitable[None]], *, grace: float, delay: float = 0) -> None:
    """Run `main` until it returns or a signal asks to stop. Two phases: SIGTERM or SIGINT lets it finish what
    it holds within `grace` seconds; after that, or at a second signal, it is cancelled. With a `delay`, the first
    signal is announced so many seconds before, while work goes on as ever."""
    stop = Stop()
    task = asyncio.ensure_future(main(stop))
    alive = asyncio.ensure_future(supervised.stay_alive())
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.announced.is_set():
            task.cancel()
            return
        log.info("service.stopping", grace_seconds=grace, delay_seconds=delay)
        supervised.tell(supervised.STOPPING)
        stop.announce()
        loop.call_later(delay, stop.ask)
        loop.call_later(delay + grace, task.cancel)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await task
    except asyncio.CancelledError:
        log.warning("service.cut_short", reason="the grace time was over, or a second signal came")
    finally:
        alive.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
