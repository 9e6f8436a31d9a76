"""Every foreseeable failure ends as one readable line on stderr and an exit code; never as a traceback."""

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from outbox.errors import InvalidNotificationError, OutboxError, SettingsError

# Exit codes: it did not work; it was asked wrongly; Ctrl-C and `| head` (128 + the signal, as shells count).
FAILED, WRONG, INTERRUPTED, PIPE_CLOSED = 1, 2, 130, 141
HINT = "Set it in the environment, or start everything on this machine with: outbox up"
# By name, because an import of their libraries would slow every command down.
FOREIGN = {
    "outbox.local.errors.EmbeddedError": "",
    "asyncpg.exceptions._base.PostgresError": "PostgreSQL: ",
    "asyncpg.exceptions._base.InterfaceError": "PostgreSQL: ",
    "redis.exceptions.RedisError": "Redis: ",
    "builtins.OSError": "",
}


class Readable(TyperGroup):
    """The group of all commands: runs one, and tells its failure."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer has its own Context
        try:
            return super().invoke(ctx)
        except BaseExceptionGroup as group:
            cause = first_of(group)
        except (Exception, KeyboardInterrupt) as error:
            cause = error
        told = tell(cause)
        if told is None:
            raise cause
        text, code = told
        if text:
            complain(text)
        raise typer.Exit(code) from cause


def complain(text: str) -> None:
    typer.secho(f"error: {text}", fg="red", err=True, color=None if sys.stderr.isatty() else False)


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a task group, however deep."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


def tell(error: BaseException) -> tuple[str, int] | None:
    """What to say, and the exit code. None for what nobody foresaw: that is a bug and keeps its traceback."""
    match error:
        case SettingsError() if "DATABASE_URL is not set" in str(error):
            return f"{error}\n{HINT}", WRONG
        case SettingsError() | InvalidNotificationError():
            return str(error), WRONG
        case KeyboardInterrupt():
            return "", INTERRUPTED
        case BrokenPipeError():
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - or the flush at exit fails again
            return "", PIPE_CLOSED
        case OutboxError():
            return str(error), FAILED
    foreign = (FOREIGN.get(f"{cls.__module__}.{cls.__name__}") for cls in type(error).__mro__)
    whose = next((whose for whose in foreign if whose is not None), None)
    return None if whose is None else (f"{whose}{words(error)}", FAILED)


def words(error: BaseException) -> str:
    """Without Postgres' DETAIL, which quotes the row: a person's address, a payload."""
    said = getattr(error, "message", None) or str(error)
    return said or type(error).__name__
