"""Which rule a notification breaks: pydantic's words and Postgres's, turned into field and rule. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError

from outbox.envelope import Notification
from outbox.errors import InvalidNotificationError

WHOLE = "notification"  # the field's name where no single one is to blame
FIELDS = tuple(Notification.model_fields)
INTEGRITY = "23"  # the class of SQLSTATEs that say: the row breaks a constraint


def of_model(error: ValidationError) -> list[InvalidNotificationError]:
    """Every rule that the model found broken."""
    return [
        InvalidNotificationError(
            ".".join(str(part) for part in problem["loc"]) or "notification", word(problem)
        )
        for problem in error.errors(include_url=False, include_input=False)
    ]


def word(problem: Any) -> str:
    match problem["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return f"is not a field of a notification; the fields are {', '.join(FIELDS)}"
        case _:
            return str(problem["msg"]).removeprefix("Value error, ")


def of_database(error: BaseException) -> InvalidNotificationError | None:
    """The rule that the database found broken, if that is what the driver's error is about."""
    said = next(verdicts(error), None)
    if said is None or said.schema != "notify" or not said.sqlstate.startswith(INTEGRITY):
        return None
    if said.constraint == "notifications_pkey":
        return InvalidNotificationError("notification_id", "is taken")
    if said.column:  # the trigger's own words, or a NOT NULL
        return InvalidNotificationError(said.column, ". ".join(filter(None, (said.message, said.hint))))
    return of_constraint(said.constraint)


def of_constraint(name: str) -> InvalidNotificationError | None:
    """The schema's constraints are named `<column>_is_<rule>` or `<column>_are_<rule>`."""
    for verb in ("_is_", "_are_"):
        field, found, rule = name.partition(verb)
        if found and field in FIELDS:
            return InvalidNotificationError(field, f"must be {rule.replace('_', ' ')}")
    return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Postgres said. Its DETAIL is left out on purpose: it quotes the row, payload and all."""

    sqlstate: str
    schema: str | None
    constraint: str
    column: str | None
    message: str
    hint: str | None

    @classmethod
    def of_asyncpg(cls, error: Any) -> Self:
        return cls(
            error.sqlstate,
            error.schema_name,
            error.constraint_name or "",
            error.column_name,
            error.message,
            error.hint,
        )

    @classmethod
    def of_psycopg(cls, diag: Any) -> Self:
        return cls(
            diag.sqlstate or "",
            diag.schema_name,
            diag.constraint_name or "",
            diag.column_name,
            diag.message_primary or "",
            diag.message_hint,
        )


def verdicts(error: BaseException | None) -> Iterator[Verdict]:
    """Down the chain: SQLAlchemy wraps the driver's error as `orig`, and its asyncpg adapter as the cause."""
    while error is not None:
        if (diag := getattr(error, "diag", None)) is not None:
            yield Verdict.of_psycopg(diag)
        elif hasattr(error, "constraint_name") and hasattr(error, "message"):
            yield Verdict.of_asyncpg(error)
        error = getattr(error, "orig", None) or error.__cause__
