"""Schemathesis over the whole document, against the API on a real socket and a real database, with every check on.

It takes less than a minute here; `make fuzz ARGS="-n 200"` goes deeper, with a fresh seed and any other of its options.
"""

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
import uvicorn

from db.pool import Pool
from outbox.api.app import create_app
from outbox.local.doubles.sendgrid_events import Signer
from outbox.probes import Health, Server
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.conftest import SECRET

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
MORE = shlex.split(os.environ.get("OUTBOX_FUZZ", ""))
ALL = " ".join(Scope)
BRIEF = ("--phases", "examples,fuzzing", "-n", "2")  # what has a state is tried with all scopes
LIMIT_SECONDS = 400 if not MORE else 36_000  # a busy machine takes its time


@asynccontextmanager
async def served(settings: Settings, pool: Pool) -> AsyncIterator[str]:
    """The URL of the API, on a port of its own."""
    app = create_app(settings, pool, Health())
    server = Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(60):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


def token(settings: Settings, scopes: str) -> str:
    """Ada's, with all of these scopes at once."""
    claims = jwt.decode(
        issue(settings, "ada", Scope.USER, timedelta(hours=12)), options={"verify_signature": False}
    )
    return jwt.encode(claims | {"scope": scopes}, SECRET, "HS256")


@pytest.mark.timeout(LIMIT_SECONDS + 60)
@pytest.mark.parametrize(
    ("scopes", "options"),
    [
        pytest.param(ALL, ("-n", "3"), id="all scopes"),
        pytest.param(Scope.PRODUCER, BRIEF, id="a producer"),
        pytest.param(Scope.USER, BRIEF, id="a user"),
        pytest.param(Scope.ADMIN, BRIEF, id="an administrator"),
    ],
)
async def test_the_api_is_as_its_document_says(
    settings: Settings, pool: Pool, scopes: str, options: tuple[str, ...]
) -> None:
    """Of what a role may not do, it is told so as the document says."""
    keyed = settings.model_copy(update={"sendgrid_webhook_keys": [Signer().verification_key]})
    async with served(keyed, pool) as url:
        code, said = await schemathesis(f"{url}/openapi.json", token(settings, scopes), *(MORE or options))
    assert code == 0, said


async def schemathesis(url: str, bearer: str, *options: str) -> tuple[int | None, str]:
    run = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(HERE / "schemathesis.toml"),
        ),
        *("run", url, "-H", f"Authorization: Bearer {bearer}", "--no-color", *options),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            said, _ = await run.communicate()
    finally:
        if run.returncode is None:
            run.kill()
    return run.returncode, said.decode()
