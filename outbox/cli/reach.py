"""The look before a start: do Postgres and Redis answer, is the schema there, is the port free?"""

import asyncio
import socket
import time
from contextlib import closing

import asyncpg
from redis.exceptions import AuthenticationError, RedisError

from db import status
from db.dsn import TELL_OF_IT, place, untold
from db.pool import OUTAGES, Connection, connect
from outbox.errors import OutboxError, SettingsError
from outbox.log import get
from outbox.nodes import Nodes
from outbox.service import Stop, describe, wait
from outbox.settings import Settings

ANSWER_SECONDS = 5.0
RETRY_SECONDS = 0.3
# A server that starts, stops or recovers; anything else is wrong for good (a password, a name).
PASSING = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

WRONG = (ValueError, asyncpg.UnsupportedClientFeatureError)  # a URL that asks for what there is not

log = get("start")


class UnreachableError(OutboxError):
    """A server does not answer, or does not let us in. The message says which, where, and what to do.

    `passing`: it may be starting or restarting; a wrong password will not mend itself.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


async def postgres(url: str, name: str) -> Connection:
    """A connection, or UnreachableError."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await connect(url, name=name)
    except OUTAGES as error:
        raise unusable(url, error) from None


def unusable(url: str, error: Exception) -> UnreachableError:
    if untold(error):
        return UnreachableError(f"{place(url)} is a pooler: {TELL_OF_IT}")
    return UnreachableError(
        f"PostgreSQL at {place(url)} cannot be used: {plainly(error)}. "
        "Is it running, and is DATABASE_URL right? `outbox up` starts one.",
        passing=isinstance(error, PASSING) and not isinstance(error, WRONG),
    )


async def redis(url: str) -> Nodes:
    """Redis has answered; or UnreachableError, or SettingsError where a cluster is none or the other way round."""
    nodes = Nodes(url, socket_connect_timeout=ANSWER_SECONDS)
    try:
        await nodes.check()
    except SettingsError:
        await nodes.aclose()
        raise
    except (OSError, RedisError, RuntimeError) as error:  # the last is uvloop's, of a connection just reset
        await nodes.aclose()
        raise UnreachableError(
            f"Redis at {place(url)} cannot be used: {plainly(error)}. "
            "Is it running, and is REDIS_URL right? `outbox up` starts one.",
            passing=not isinstance(error, AuthenticationError),
        ) from None
    return nodes


async def patiently(settings: Settings, name: str, port: int, stop: Stop) -> None:
    """all_of, again and again for as long as the settings say: servers restart at any moment, this one too."""
    deadline = time.monotonic() + settings.start_patience
    told = False
    while not stop:
        try:
            await all_of(settings, name, port)
        except UnreachableError as error:
            if not error.passing or time.monotonic() >= deadline:
                raise
            if not told:
                log.warning("start.waiting", reason=str(error), at_most_seconds=settings.start_patience)
                told = True
        else:
            return
        await wait(stop.asked, RETRY_SECONDS)


async def all_of(settings: Settings, name: str, port: int) -> None:
    """Raises UnreachableError, or SettingsError where the port is taken."""
    connection = await postgres(settings.database, name)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            ready = await status.schema_is_there(connection)
    except OUTAGES as error:  # it went down between the two
        raise unusable(settings.database, error) from None
    finally:
        connection.terminate()
    if not ready:
        raise UnreachableError(
            f"the database {place(settings.database)} has no schema `notify`. Make it with: outbox migrate"
        )
    await (await redis(settings.redis)).aclose()
    refuse_taken_port(settings, name, port)


def refuse_taken_port(settings: Settings, name: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, port))
        except OSError as error:
            key = f"OUTBOX_{name.upper()}_PORT"
            raise SettingsError(
                f"{key}={port}: cannot listen on {settings.host}:{port}: {error.strerror}"
            ) from None


def plainly(error: BaseException) -> str:
    """The reason in the server's words, or the system's."""
    if isinstance(error, TimeoutError):
        return f"no answer in {ANSWER_SECONDS:.0f} s"
    if isinstance(error, ConnectionRefusedError) or "Connection refused" in str(error):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return "there is no such host"
    return str(error).partition("\n")[0].rstrip(".") or describe(error)
