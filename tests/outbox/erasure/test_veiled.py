"""Suppressions of those who were erased: found and taken back by who knows the address, and by nobody else."""

from dataclasses import astuple

import pytest

from db import sms, suppressions
from db.pool import Connection, Pool
from db.sms import UNSUBSCRIBED

VEIL = (
    "INSERT INTO notify.veiled_suppressions (channel, veil, reason, created_at)"
    " SELECT $1, notify.veil(key, $1, $2), $3, now() FROM notify.veil_key"
)


async def veil(admin: Connection, channel: str, address: str, reason: str) -> None:
    await admin.execute(VEIL, channel, address, reason)


async def test_found_by_the_address_alone(admin: Connection, pool: Pool) -> None:
    await veil(admin, "email", "ada@example.com", "complaint")
    async with pool.acquire() as conn:
        assert await suppressions.page(conn, None, ("", ""), 10) == []
        [found] = await suppressions.of_address(conn, "Ada@example.com", None)
        assert astuple(found)[:3] == ("email", "ada@example.com", "complaint")
        assert await suppressions.of_address(conn, "ada@example.com", "sms") == []


async def test_taken_back(admin: Connection, pool: Pool) -> None:
    await veil(admin, "email", "ada@example.com", "complaint")
    async with pool.acquire() as conn:
        gone = await suppressions.remove(conn, "email", "ADA@example.com")
        assert gone is not None
        assert astuple(gone)[:3] == ("email", "ada@example.com", "complaint")
        assert await suppressions.remove(conn, "email", "ada@example.com") is None


@pytest.mark.parametrize(("reason", "left"), [(UNSUBSCRIBED, 0), ("unreachable", 1)])
async def test_a_text_with_start_takes_back_what_stop_has_put_there(
    admin: Connection, pool: Pool, reason: str, left: int
) -> None:
    await veil(admin, "sms", "+15550107777", reason)
    async with pool.acquire() as conn:
        await sms.welcome_number(conn, "sms", "+15550107777")
    assert await admin.fetchval("SELECT count(*) FROM notify.veiled_suppressions") == left


async def test_another_installation_s_veil_is_another(admin: Connection) -> None:
    one, other = [
        await admin.fetchval("SELECT notify.veil($1, 'email', 'ada@example.com')", key)
        for key in (b"a" * 32, b"b" * 32)
    ]
    assert one != other
    assert len(one) == 32
