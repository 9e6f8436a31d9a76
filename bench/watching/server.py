"""A Prometheus of a run's own, with the rules of deploy/prometheus, and what it is asked."""

import asyncio
import json
import math
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.processes import ROOT, Running, running
from bench.watching.queries import RULES
from outbox.local.ports import any_free

OURS = ROOT / ".tools" / "prometheus" / "usr" / "bin" / "prometheus"
START_SECONDS = 30


class NoPrometheusError(Exception):
    """There is none on this machine."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values by moment, in Unix seconds; without those that are no number."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str

    async def range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        asked = {"query": expr, "start": start, "end": end, "step": step}
        found = await self._ask("query_range", asked)
        return [series(one["metric"], one["values"]) for one in found]

    async def now(self, expr: str, at: float) -> list[Series]:
        return [
            series(one["metric"], [one["value"]])
            for one in await self._ask("query", {"query": expr, "time": at})
        ]

    async def _ask(self, what: str, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Raises httpx.HTTPStatusError with what it complains of."""
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            answer = await client.post(f"{self.url}/api/v1/{what}", data=dict(asked))
        if answer.status_code != 200:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


def series(labels: Mapping[str, str], values: Sequence[tuple[float, str]]) -> Series:
    points = [(at, float(value)) for at, value in values]
    return Series(labels, [(at, value) for at, value in points if math.isfinite(value)])


def program() -> str:
    """Raises NoPrometheusError."""
    found = str(OURS) if OURS.exists() else shutil.which("prometheus")
    if not found:
        raise NoPrometheusError("there is no Prometheus here: make promtool")
    return found


def config(targets: Mapping[str, Sequence[str]]) -> str:
    """As JSON, which is YAML, too. `targets` by job."""
    scraped = [{"job_name": job, "static_configs": [{"targets": list(at)}]} for job, at in targets.items()]
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    return json.dumps({"global": every, "rule_files": [f"{RULES}/*.yml"], "scrape_configs": scraped})


@asynccontextmanager
async def watching(folder: Path, targets: Mapping[str, Sequence[str]]) -> AsyncIterator[Prometheus]:
    """Until the block ends; it scrapes and evaluates every second."""
    file, port = write(folder, config(targets)), any_free()
    command = [program(), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    async with running(command, {}, folder / "prometheus.log") as process:
        made = Prometheus(f"http://127.0.0.1:{port}")
        await ready(made, process)
        yield made


def write(folder: Path, text: str) -> Path:
    folder.mkdir()
    file = folder / "prometheus.yml"
    file.write_text(text, encoding="utf-8")
    return file


async def ready(made: Prometheus, process: Running) -> None:
    """Raises NotReadyError if it has ended, and TimeoutError."""
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(START_SECONDS):
        while True:
            process.check()
            with suppress(httpx.TransportError):
                if (await client.get(f"{made.url}/-/ready")).is_success:
                    return
            await asyncio.sleep(0.1)
