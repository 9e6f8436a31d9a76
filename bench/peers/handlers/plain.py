"""The plain handler: Starlette and asyncpg, one insert with a commit of its own, and nothing else – no validation, no
login, no stream."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

INSERT = "INSERT INTO posted (event_type, user_id, channels, payload) VALUES ($1, $2, $3, $4) RETURNING id"


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=20, max_size=20) as pool:
        app.state.pool = pool
        print("ready", flush=True)
        yield


async def create(request: Request) -> Response:
    new = await request.json()
    identity = await request.app.state.pool.fetchval(
        INSERT, new["event_type"], new["user_id"], new["channels"], json.dumps(new["payload"])
    )
    return JSONResponse({"id": identity}, 202)


app = Starlette(routes=[Route("/v1/notifications", create, methods=["POST"])], lifespan=lifespan)
uvicorn.run(app, port=int(os.environ["PORT"]), loop="uvloop", http="httptools", log_level="warning")
