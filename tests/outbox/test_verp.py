"""Bounce addresses: whose bounce it is, told only to who got the mail."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.verp import envelope_sender, find, holds

KEY = b"k" * 32
ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def made(address: str = "ada@example.com", notification_id: UUID = ID) -> str:
    return envelope_sender(KEY, "bounce@bounces.example.com", (notification_id, "email", address))


def test_it_fits_into_a_local_part() -> None:
    local, _, domain = made().partition("@")
    assert (len(local), domain) == (49, "bounces.example.com")
    longest = envelope_sender(KEY, f"{'b' * 21}@example.com", (ID, "email", "ada@example.com"))
    assert len(longest.partition("@")[0]) == 64


@pytest.mark.parametrize("spelling", [str.lower, str.upper, "To: <{}>".format, "rfc822; {}".format])
def test_it_is_found_in_any_spelling(spelling: Callable[[str], str]) -> None:
    token = find(spelling(made("Ada@Example.com")))
    assert token is not None
    assert token.notification_id == ID
    assert holds(KEY, token, "email", "ada@example.COM")


def test_it_speaks_of_one_mail_to_one_address() -> None:
    token = find(made())
    assert token is not None
    assert not holds(KEY, token, "email", "eve@example.com")
    assert not holds(KEY, token, "mail-2", "ada@example.com")
    assert not holds(b"x" * 32, token, "email", "ada@example.com")
    other = find(made(notification_id=uuid4()))
    assert other is not None
    assert other.tag != token.tag


@given(st.text(max_size=200))
def test_hostile_text_holds_none(text: str) -> None:
    assert find(text) is None
