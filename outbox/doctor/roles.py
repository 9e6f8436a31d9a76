"""Least privilege, both ways: what the service's login lacks, and what it or others have too much of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asyncpg import Record

from db import doctor as sql
from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, ok, warn

POWERS = ("superuser", "createrole", "createdb", "replication", "bypassrls")


@dataclass(frozen=True, slots=True)
class Roles:
    login: Record
    lacking: Sequence[Record]
    excess: Sequence[Record]
    rewritable: bool


async def roles(desk: Desk) -> Roles:
    async with desk.pool.acquire() as conn:
        return Roles(
            await sql.login(conn), await sql.lacking(conn), await sql.excess(conn), await sql.rewritable(conn)
        )


def judge(seen: Roles) -> Iterator[Finding]:
    found = [*too_little(seen), *too_much(seen), *others(seen.excess)]
    yield from found or [ok("roles", f"{seen.login['name']} may do what the service does, and nothing more")]


def too_little(seen: Roles) -> Iterator[Finding]:
    name = seen.login["name"]
    if seen.lacking:
        tables = "; ".join(f"{row['privileges']} on {row['name']}" for row in seen.lacking[:3])
        more = f" and {len(seen.lacking) - 3} more" if len(seen.lacking) > 3 else ""
        yield fail("roles.lacking", f"{name} lacks {tables}{more}", f"GRANT outbox_app TO {name}")


def too_much(seen: Roles) -> Iterator[Finding]:
    """A leaked login should not be worth more than it needs to be."""
    name = seen.login["name"]
    advice = (
        f"CREATE ROLE outbox_service LOGIN IN ROLE outbox_app, and let DATABASE_URL name it instead of {name}"
    )
    powers = [power.upper() for power in POWERS if seen.login[power]]
    if powers:
        yield warn("roles.powers", f"{name} has {', '.join(powers)}, which the service does not need", advice)
    elif seen.login["owns"]:
        yield warn("roles.owner", f"{name} owns the schema: it could change every table", advice)
    elif seen.rewritable:
        yield warn(
            "roles.log",
            f"{name} may rewrite the log",
            f"REVOKE UPDATE, TRUNCATE ON notify.outbox FROM {name}, outbox_app",
        )


def others(excess: Sequence[Record]) -> Iterator[Finding]:
    for row in excess:
        who = "everybody (PUBLIC)" if row["role"] == "public" else f"producers ({row['role']})"
        yield warn(
            "roles.excess",
            f"{who} may {row['privileges']} on notify.{row['name']}",
            f"REVOKE {row['privileges']} ON notify.{row['name']} FROM {row['role']}",
        )


AREA = Area("roles", frozenset({"postgres"}), (Check("roles", roles, judge),))
