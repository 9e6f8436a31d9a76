"""`python -m bench.capacity`: what a number of notifications a day asks for, reckoned from measured figures; the
tables of docs/scaling.md. Pure."""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

DAY = 86_400
BUSY = 0.7  # how far anything is meant to be used at the peak


@dataclass(frozen=True, slots=True)
class Measured:
    """On two cores of an AMD EPYC, entries of some 300 bytes. Where from: docs/scaling.md, "Measured"."""

    drain: int = 73_004  # entries/s that one relay moves
    inapp: int = 5_330  # notifications/s of one in-app worker process
    post: int = 3_447  # requests/s of one API process
    concurrency: int = 64  # OUTBOX_WORKER_CONCURRENCY, sends at once of a lane
    # Processor time, µs.
    insert: float = 249  # Postgres, one row a transaction, through the trigger
    relay_postgres: float = 6.0
    inapp_postgres: float = 68
    email_postgres: float = 64
    email_worker: float = 5_232
    redis: float = 26  # append, read, acknowledge, delete
    # Bytes.
    accepted: int = 544
    log: int = 440
    inapp_kept: int = 581
    email_kept: int = 540
    wal_accepted: int = 1_282
    wal_inapp: int = 1_740
    wal_email: int = 1_235
    entry: int = 550  # in Redis, in a worker's hands
    stream_max: int = 100_000  # OUTBOX_STREAM_MAX_LENGTH


@dataclass(frozen=True, slots=True)
class Need:
    """Every notification goes into the inbox, and some by mail as well."""

    a_day: float
    peak: float = 5  # the busiest hour's rate ÷ the day's
    mailed: float = 0.3
    latency: float = 0.2  # seconds that the mail server takes for one
    log_days: float = 3  # OUTBOX_RETENTION


@dataclass(frozen=True, slots=True)
class Plan:
    average: float
    at_peak: float
    relay_share: float
    redis_share: float
    redis_nodes: int
    api: int
    inapp: int
    email: int
    postgres_cores: float
    wal_mb_s: float
    wal_gb_day: float
    log_gb: float
    kept_gb_day: float
    redis_mb: float


def plan(need: Need, m: Measured) -> Plan:
    average = need.a_day / DAY
    peak = average * need.peak
    entries = peak * (1 + need.mailed)
    postgres = m.insert + m.relay_postgres * (1 + need.mailed)
    postgres += m.inapp_postgres + m.email_postgres * need.mailed
    wal = m.wal_accepted + m.wal_inapp + m.wal_email * need.mailed
    redis_share = entries * m.redis / 1e6
    return Plan(
        average=average,
        at_peak=peak,
        relay_share=entries / m.drain,
        redis_share=redis_share,
        redis_nodes=math.ceil(redis_share / BUSY),
        api=processes(peak, m.post),
        inapp=processes(peak, m.inapp),
        email=processes(peak * need.mailed, mails_a_second(need.latency, m)),
        postgres_cores=peak * postgres / 1e6 / BUSY,
        wal_mb_s=peak * wal / 1e6,
        wal_gb_day=need.a_day * wal / 1e9,
        log_gb=need.a_day * need.log_days * m.log / 1e9,
        kept_gb_day=need.a_day * (m.accepted + m.inapp_kept + m.email_kept * need.mailed) / 1e9,
        redis_mb=entries * 60 * m.entry / 1e6,
    )


def processes(rate: float, each: float) -> int:
    return max(1, math.ceil(rate / (each * BUSY)))


def mails_a_second(latency: float, m: Measured) -> float:
    """Of one process: by Little's law sends at once ÷ seconds each, but no more than its core can."""
    return min(m.concurrency / latency, 1e6 / m.email_worker)


def count(value: float) -> str:
    """Two or three digits that matter, and no more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 10 else f"{value:.2g}"


def share(value: float) -> str:
    return f"{value * 100:.0f} %" if value >= 0.01 else "< 1 %"


ROWS: Sequence[tuple[str, Callable[[Plan], str]]] = (
    ("notifications/s, the day's mean", lambda p: count(p.average)),
    ("notifications/s at the peak", lambda p: count(p.at_peak)),
    ("the relay, of what one can", lambda p: share(p.relay_share)),
    ("Redis, of one thread", lambda p: share(p.redis_share)),
    ("Redis nodes", lambda p: count(p.redis_nodes)),
    ("API processes", lambda p: count(p.api)),
    ("in-app workers", lambda p: count(p.inapp)),
    ("e-mail workers", lambda p: count(p.email)),
    ("Postgres, cores", lambda p: count(p.postgres_cores)),
    ("write-ahead log at the peak, MB/s", lambda p: count(p.wal_mb_s)),
    ("write-ahead log, GB a day", lambda p: count(p.wal_gb_day)),
    ("the relay's log, GB at 3 days", lambda p: count(p.log_gb)),
    ("what stays, GB a day", lambda p: count(p.kept_gb_day)),
    ("Redis for one minute's backlog, MB", lambda p: count(p.redis_mb)),
)


def table(needs: Iterable[Need], m: Measured) -> str:
    """As Markdown, a column for each need."""
    needs = list(needs)
    plans = [plan(need, m) for need in needs]
    head = ["notifications a day", *(f"{need.a_day / 1e6:,g} M" for need in needs)]
    lines = [head, ["---"] + ["--:"] * len(needs)]
    lines += [[name, *(show(each) for each in plans)] for name, show in ROWS]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_latency(m: Measured, latencies: Sequence[float] = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)) -> str:
    """How many a worker process sends, and how many processes a thousand a second ask for."""
    lines = [["the mail server takes", "a process sends", "processes for 1,000/s"], ["--:", "--:", "--:"]]
    for latency in latencies:
        each = mails_a_second(latency, m)
        lines.append([f"{latency * 1000:,.0f} ms", f"{count(each)}/s", count(processes(1_000, each))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("--per-day", type=float, nargs="+", default=[1e6, 10e6, 100e6, 1e9])
    parser.add_argument("--peak", type=float, default=5, help="the busiest hour's rate ÷ the day's")
    parser.add_argument("--mailed", type=float, default=0.3, help="the part that goes by mail, too")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds the mail server takes")
    asked = parser.parse_args()
    needs = [Need(each, asked.peak, asked.mailed, asked.latency) for each in asked.per_day]
    print(table(needs, Measured()), by_latency(Measured()), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
