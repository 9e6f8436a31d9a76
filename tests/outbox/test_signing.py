"""Keys that follow from a secret, and tags that cannot be borrowed."""

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from outbox.signing import derive, tag, to_bytes, to_text


def test_derive_is_hkdf() -> None:
    known = HKDF(SHA256(), 32, salt=None, info=b"outbox bounce").derive(b"a secret")
    assert derive("a secret", "bounce") == known
    assert derive("a secret", "unsubscribe") != known


def test_parts_cannot_borrow_from_each_other() -> None:
    assert tag(b"key", b"ab", b"c") != tag(b"key", b"a", b"bc") != tag(b"key", b"abc")


@given(st.binary(max_size=60))
def test_text_has_one_spelling(data: bytes) -> None:
    assert to_bytes(to_text(data)) == data


@pytest.mark.parametrize("text", ["a", "AB", "A===", "é", "AA\n", "AA=="])
def test_other_spellings_are_refused(text: str) -> None:
    assert to_bytes(text) is None
