"""What the database holds at the end, and how far it is meanwhile."""

import json
from collections import defaultdict

from bench.channels.audit import Delivery, Event
from db.pool import Connection

# A delivery has a row from its claim on.
DELIVERIES = """
SELECT n.id::text, c.channel, d.status,
       (SELECT string_agg(DISTINCT t.platform, ', ' ORDER BY t.platform) FROM notify.device_tokens t
        WHERE c.channel = 'push' AND t.user_id = n.user_id) AS platforms,
       EXISTS (SELECT FROM notify.inbox i WHERE i.notification_id = n.id) AS in_inbox
FROM notify.notifications n CROSS JOIN unnest(n.channels) AS c (channel)
LEFT JOIN notify.deliveries d ON d.notification_id = n.id AND d.channel = c.channel
"""
EVENTS = (
    "SELECT notification_id::text, channel, event, attempt, detail FROM notify.delivery_events ORDER BY at"
)
FINAL = """
SELECT count(*) FROM notify.deliveries WHERE status NOT IN ('pending', 'sending', 'retrying', 'deferred')
"""


async def deliveries(conn: Connection) -> list[Delivery]:
    told: defaultdict[tuple[str, str], list[Event]] = defaultdict(list)
    for notification, channel, event, attempt, detail in await conn.fetch(EVENTS):
        told[notification, channel].append(Event(event, attempt, json.loads(detail)))
    return [
        Delivery(notification, channel, status, told[notification, channel], platforms or "", in_inbox)
        for notification, channel, status, platforms, in_inbox in await conn.fetch(DELIVERIES)
    ]


async def final(conn: Connection) -> int:
    """How many deliveries are."""
    return int(await conn.fetchval(FINAL))
