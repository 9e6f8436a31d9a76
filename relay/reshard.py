"""A channel's number of shards has changed: the next tick is made by it; and what nobody will use again is forgotten.

A relay hears of it up to a second late, and two relays at different moments: no matter, since each tick names what it
was made by.
"""

from db import shards as sql
from db.pool import Connection
from outbox.log import get
from relay import metrics
from relay.ledger import Ledger
from relay.placement import outlived, wanted
from relay.ship import Shipper

log = get("relay")


async def heed(conn: Connection, shipper: Shipper, ledger: Ledger) -> None:
    """The ledger is loaded anew where channels want something else than the next tick would be made by: before a stream
    is used again, what Postgres has lost must not be in it (relay.catch_up.disown)."""
    channels = await sql.of_channels(conn)
    if (shards := wanted(channels)) != ledger.placement.shards:
        log.info("relay.shards_changed", before=dict(ledger.placement.shards), after=dict(shards))
        ledger.stale = True
        return
    for stream in outlived(shipper.keys, [*ledger.tops, *ledger.behind], channels):
        await forget(shipper, ledger, stream)


async def forget(shipper: Shipper, ledger: Ledger, stream: str) -> None:
    """The partitions of all that was ever in it are gone, so it is empty (I7). Its key goes first: a stream that is
    known and not there is refilled, with nothing; one that is there and not known would be in the way one day."""
    await shipper.streams.delete(stream)
    ledger.tops.pop(stream, None)
    ledger.behind.pop(stream, None)
    shipper.lengths.pop(stream, None)
    metrics.BEHIND.labels(stream).set(0)
    log.info("relay.stream_forgotten", stream=stream)
