"""What the demo of `outbox up` needs in the database: somebody to write to, and channels that write to the doubles."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.pool import Executor
from db.statements import load

SQL = load("demo")

USER = "alice"
EMAIL, PHONE = "alice@example.com", "+12025550143"  # both kept free for examples
DEVICES = {"fcm": "alice-android", "apns": "a11ce" + "0" * 59}


@dataclass(frozen=True, slots=True)
class Change:
    """Of a channel's config, where it is still as the migrations have left it."""

    seeded: Mapping[str, Any]
    demo: Mapping[str, Any]


FCM = {"type": "fcm", "credentials": "env:FCM_CREDENTIALS"}
APNS = {
    "type": "apns",
    "key": "env:APNS_KEY",
    "key_id": "env:APNS_KEY_ID",
    "team_id": "env:APNS_TEAM_ID",
    "topic": "env:APNS_TOPIC",
    "sandbox": True,
}
# SMS has none: its seeded config names a URL that the environment may set.
CHANGES = {
    "push": Change(
        {"providers": [FCM, APNS]},
        {
            "providers": [
                {**FCM, "url": "env:FCM_URL", "ca": "env:PUSH_CA"},
                {**APNS, "url": "env:APNS_URL", "ca": "env:PUSH_CA"},
            ]
        },
    ),
    "webhook": Change({}, {"url": "env:DEMO_WEBHOOK_URL", "secrets": ["env:DEMO_WEBHOOK_SECRET"]}),
}


async def add(connection: Executor, doubled: Sequence[str] = ()) -> None:
    """What is missing of the recipient, and the doubles' configs of these channels. Safe to repeat."""
    await connection.execute(SQL["add_recipient"], USER, EMAIL, PHONE)
    await connection.execute(SQL["add_devices"], USER, list(DEVICES), list(DEVICES.values()))
    for channel in doubled:
        change = CHANGES[channel]
        await connection.execute(
            SQL["lead_to_double"], channel, json.dumps(change.seeded), json.dumps(change.demo)
        )
