"""The relay's lease: one at a time, and none outlives a clock that is set back."""

from db import relay
from db.pool import Connection

SET_AHEAD = "UPDATE notify.relay_lease SET expires_at = clock_timestamp() + make_interval(secs => $1)"


async def test_a_lease_is_one_relays_until_it_runs_out(admin: Connection) -> None:
    assert await relay.take_lease(admin, "a", 10) == 1
    assert await relay.take_lease(admin, "b", 10) is None
    assert await relay.take_lease(admin, "a", 10) == 1
    await admin.execute(SET_AHEAD, -0.001)
    assert await relay.take_lease(admin, "b", 10) == 2


async def test_a_lease_from_before_the_clock_was_set_back_binds_nobody(admin: Connection) -> None:
    """Found by `make chaos`: its holder killed, nobody led until the clock was there again, hours later."""
    await relay.take_lease(admin, "a", 10)
    await admin.execute(SET_AHEAD, 15)
    assert await relay.take_lease(admin, "b", 10) is None, "as another relay's longer lease might end"
    await admin.execute(SET_AHEAD, 3600)
    assert await relay.take_lease(admin, "b", 10) == 2
