"""Unsubscribe links: what is signed is read, and nothing else is."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from outbox.unsubscribe import ALL, PATH, Wish, link, read, sign

KEY = b"k" * 32
WISH = Wish("ada", "email", "order.paid", UUID(int=7))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


def test_a_link_is_a_url_of_the_api() -> None:
    url = link("https://notify.example.com/", KEY, WISH)
    assert url.startswith(f"https://notify.example.com{PATH}/")
    assert url.isascii()
    assert read(KEY, url.rpartition("/")[2]) == WISH


@given(TEXT, st.sampled_from(["order.paid", ALL]))
def test_what_is_signed_is_read(user_id: str, event_type: str) -> None:
    wish = Wish(user_id, "email", event_type, UUID(int=1))
    assert read(KEY, sign(KEY, wish)) == wish


def test_another_key_signs_in_vain() -> None:
    assert read(b"x" * 32, sign(KEY, WISH)) is None


def test_no_character_can_be_changed() -> None:
    token = sign(KEY, WISH)
    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert read(KEY, changed) is None, f"character {at} may be changed"


@given(st.text(max_size=300))
def test_hostile_tokens_are_nothing(token: str) -> None:
    assert read(KEY, token) is None
