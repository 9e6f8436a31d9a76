"""The usual handler: FastAPI, SQLAlchemy's asyncio ORM on asyncpg, one insert and a commit of its own, then XADD by
redis-py. As their manuals have it for speed: uvloop and httptools, hiredis, a pool for the load, no expiry on commit.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, Field
from redis.asyncio import Redis
from sqlalchemy import ARRAY, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DATABASE_URL = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1)
engine = create_async_engine(DATABASE_URL, pool_size=20, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)
redis = Redis.from_url(os.environ["REDIS_URL"])
STREAM = "bench.usual"


class Base(DeclarativeBase):
    pass


class Posted(Base):
    __tablename__ = "posted"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_type: Mapped[str]
    user_id: Mapped[str]
    channels: Mapped[list[str]] = mapped_column(ARRAY(Text))
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class New(BaseModel):
    event_type: str = Field(min_length=1, max_length=128)
    user_id: str = Field(min_length=1, max_length=200)
    channels: list[str] = ["inapp"]
    payload: dict[str, Any] = {}


class Taken(BaseModel):
    id: int


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    print("ready", flush=True)
    yield
    await redis.aclose()
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/v1/notifications", status_code=202)  # type: ignore[untyped-decorator]  # fastapi is in bench/.venv only
async def create(new: New) -> Taken:
    row = Posted(event_type=new.event_type, user_id=new.user_id, channels=new.channels, payload=new.payload)
    async with sessions() as session:
        session.add(row)
        await session.commit()
    await redis.xadd(STREAM, {"id": row.id, "envelope": json.dumps(new.model_dump())})
    return Taken(id=row.id)


uvicorn.run(app, port=int(os.environ["PORT"]), loop="uvloop", http="httptools", log_level="warning")
