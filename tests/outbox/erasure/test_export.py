"""An export holds all that an erasure takes away."""

import json

from db.pool import Pool
from outbox.erasure import export
from tests.db.personal import PERSONAL
from tests.outbox.erasure.conftest import ADA, EMAIL, MARK, History

# Copies of what the export holds already, what Redis or a turn holds for a moment, and what only the service reads.
NOT_EXPORTED = {"outbox", "endpoint_queue", "endpoint_turns", "erasures", "audit_log", "api_keys"}


async def test_all_of_it(history: History, pool: Pool) -> None:
    await history.in_every_table()
    document = json.loads("".join([part async for part in export.document(pool, ADA)]))
    assert document["recipient"]["email"] == EMAIL
    assert {each["channel"] for each in document["suppressions"]} == {"email", "sms"}
    parts = {
        "caps": document["caps"],
        "device_tokens": document["devices"],
        "digests": document["open_digests"],
        "inbox_counters": document["inbox_counters"],
        "recipients": document["recipient"],
        "suppressions": document["suppressions"],
        "user_channel_prefs": document["preferences"],
        "webhook_endpoints": document["webhook_endpoints"],
        "notifications": document["notifications"],
    }
    [one] = [each for each in document["notifications"] if each["dedup_key"]]
    parts |= {
        "deliveries": one["deliveries"],
        "delivery_events": one["events"],
        "inbox": one["inbox"],
        "notifications_failed": one["dead_letters"],
        "provider_events": one["reports"],
        "push_attempts": one["push_attempts"],
        "sms_messages": one["sms_messages"],
    }
    assert parts.keys() == PERSONAL.keys() - NOT_EXPORTED
    assert [name for name, part in parts.items() if not part] == []
    assert MARK in json.dumps(one["events"])


async def test_those_veiled_by_an_earlier_erasure_are_told(history: History, pool: Pool) -> None:
    """Somebody comes back, under the same address."""
    await history.admin.execute("INSERT INTO notify.recipients (user_id, email) VALUES ($1, $2)", ADA, EMAIL)
    await history.admin.execute(
        "INSERT INTO notify.veiled_suppressions SELECT 'email', notify.veil(key, 'email', $1), 'complaint', now()"
        " FROM notify.veil_key",
        EMAIL,
    )
    document = json.loads("".join([part async for part in export.document(pool, ADA)]))
    assert [(each["address"], each["reason"]) for each in document["suppressions"]] == [(EMAIL, "complaint")]
