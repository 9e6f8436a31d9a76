"""Which mails offer to unsubscribe, and from what."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from outbox.envelope import Envelope, Priority
from outbox.errors import SettingsError
from outbox.unsubscribe import ALL, Wish
from workers.offer import Offer, offer


def mail(event_type: str = "order.paid", priority: Priority = Priority.NORMAL) -> Envelope:
    return Envelope(
        notification_id=UUID(int=3),
        event_type=event_type,
        user_id="ada",
        channels=["email"],
        priority=priority,
        created_at=datetime.now(UTC),
    )


def test_by_default_from_the_kind_of_mail_it_is() -> None:
    assert offer(True).wish(mail(), "email") == Wish("ada", "email", "order.paid", UUID(int=3))


def test_from_all() -> None:
    wish = offer({"category": ALL}).wish(mail(), "email")
    assert wish is not None
    assert wish.event_type == ALL


@pytest.mark.parametrize(
    ("config", "envelope", "offered"),
    [
        (False, mail(), False),
        (True, mail(priority=Priority.URGENT), False),
        (True, mail(priority=Priority.BULK), True),
        ({"urgent": True}, mail(priority=Priority.URGENT), True),
        ({"never": ["password.*", "login"]}, mail("password.reset"), False),
        ({"never": ["password.*", "login"]}, mail("login"), False),
        ({"never": ["password.*", "login"]}, mail("login.new"), True),
    ],
)
def test_which(config: Any, envelope: Envelope, offered: bool) -> None:
    assert (offer(config).wish(envelope, "email") is not None) == offered


@pytest.mark.parametrize(
    "config", [5, "yes", None, {"category": "x"}, {"urgent": 1}, {"never": "x"}, {"never": [5]}, {"nevr": []}]
)
def test_a_bad_config_is_told(config: Any) -> None:
    with pytest.raises(SettingsError, match="unsubscribe"):
        offer(config)


def test_the_empty_config_is_the_default() -> None:
    assert offer({}) == Offer() == offer(True)
