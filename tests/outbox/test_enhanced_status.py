"""Which codes are about the address: those that suppress it, and those that must not."""

import pytest

from outbox.enhanced_status import find, no_such_address


@pytest.mark.parametrize(
    "code", ["5.0.0", "5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.4"]
)
def test_gone(code: str) -> None:
    assert no_such_address(code)


@pytest.mark.parametrize(
    "code",
    [
        "4.1.1",  # not for ever
        "5.1.8",  # our own address
        "5.2.2",  # mailbox full
        "5.2.3",  # message too large for it
        "5.3.4",  # message too large for the system
        "5.4.1",  # no answer from host
        "5.6.0",  # the content
        "5.7.1",  # refused by policy: ours, not theirs
        "5.7.26",  # not authenticated
    ],
)
def test_not_gone(code: str) -> None:
    assert not no_such_address(code)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("550 5.1.1 <x>: no such user", "5.1.1"),
        ("5.1.10", "5.1.10"),
        ("550-5.7.26 x", "5.7.26"),
        ("550 10.5.1.1 is listed", None),
        ("host 5.1.1.4 said", None),
        ("550 no", None),
        ("3.1.1", None),
    ],
)
def test_find(text: str, code: str | None) -> None:
    assert find(text) == code
