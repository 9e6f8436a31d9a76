"""What a template sees when it is only tried out: the names that workers give it, with made-up facts."""

from typing import Any


def sample(payload: dict[str, Any], locale: str | None, **given: Any) -> dict[str, Any]:
    """`given` stands in place of the made-up facts of the same names."""
    return {
        "notification_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "event_type": "template.preview",
        "user_id": "alice",
        "actor_user_id": None,
        "payload": payload,
        "items": payload.get("items", []),
        "more": payload.get("more", 0),
        "locale": locale or None,
        "created_at": "2030-01-31T12:00:00+00:00",
        "unsubscribe_url": "https://notify.example.com/v1/unsubscribe/sample",
        **given,
    }
