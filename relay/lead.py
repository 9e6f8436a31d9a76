"""Who leads. A short lease, for economy only: two relays that both believe they lead collide on a tick's key or
append the same ids, and are refused. So a frozen leader costs seconds, never a notification."""

from time import monotonic

from db import relay as sql
from db.pool import Connection
from outbox.log import get

log = get("relay")


class Lead:
    """The lease as this relay holds it. Renewed when a third of it is over."""

    def __init__(self, holder: str, seconds: float) -> None:
        self.holder = holder
        self.seconds = seconds
        self.epoch: int | None = None
        self.renew_at = 0.0
        self.ends_at = 0.0

    def leads(self) -> bool:
        """Whether the lease lasts, as far as this relay knows: without Postgres it runs out."""
        return self.epoch is not None and monotonic() < self.ends_at

    @property
    def interval(self) -> float:
        """Seconds between two renewals, or between two tries of a standby."""
        return self.seconds / 3

    async def held(self, conn: Connection) -> bool:
        """Whether this relay may work. Raises what the database raises; the lease then runs out by itself."""
        if self.epoch is not None and monotonic() < self.renew_at:
            return True
        asked_at = monotonic()
        before, self.epoch = self.epoch, await sql.take_lease(conn, self.holder, self.seconds)
        self.renew_at = asked_at + self.interval
        self.ends_at = asked_at + self.seconds
        if before != self.epoch:
            log.info("relay.leads" if self.epoch else "relay.stands_by", epoch=self.epoch, holder=self.holder)
        return self.epoch is not None

    async def release(self, conn: Connection) -> None:
        if self.epoch is not None:
            await sql.release_lease(conn, self.holder)
            self.epoch = None
