"""Reading RFC 3464 reports: what real ones say, and that nothing written to break the reader does."""

import random
import time
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outbox.api.delivery_reports import DeliveryReport, read
from outbox.verp import envelope_sender
from tests.outbox.api.reports import Bounced

ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
VERP = envelope_sender(b"k" * 32, "bounce@bounces.example.com", (ID, "email", "ada@example.com"))


def test_a_report_in_full() -> None:
    raw = Bounced(VERP, "Ada@New.example", "Ada@Example.com", message_id=f"<{ID}.email@shop.example>").raw()
    report = read(raw)
    assert report is not None
    assert (report.action, report.status, report.event) == ("failed", "5.1.1", "bounced")
    assert report.token is not None
    assert report.token.notification_id == ID
    assert report.message_id == (ID, "email")
    assert report.addresses == {"ada@new.example", "ada@example.com"}
    assert report.no_such_address


def test_the_token_may_come_from_the_mail_server() -> None:
    raw = Bounced().raw()
    report = read(raw, envelope_to=VERP.upper())
    assert report is not None
    assert report.token is not None
    assert (read(raw) or report).token is None


def test_the_original_may_be_sent_back_whole() -> None:
    raw = Bounced(message_id=f"<{ID}.email@shop.example>").raw()
    report = read(raw.replace(b"text/rfc822-headers", b"message/rfc822"))
    assert report is not None
    assert report.message_id == (ID, "email")


@pytest.mark.parametrize(
    ("action", "status", "event", "gone"),
    [
        ("failed", "5.1.1", "bounced", True),
        ("Failed", "5.2.2", "bounced", False),
        ("failed", "4.4.7", "bounced", False),
        ("failed", "5.7.1", "bounced", False),
        ("delayed", "4.4.1", "delayed", False),
        ("delayed", "5.1.1", "delayed", False),
        ("delivered", "2.0.0", "arrived", False),
        ("relayed", "2.1.9", "arrived", False),
    ],
)
def test_actions(action: str, status: str, event: str, gone: bool) -> None:
    report = read(Bounced(action=action, status=status).raw())
    assert report is not None
    assert (report.event, report.no_such_address) == (event, gone)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 1000,
        b"Subject: I am on holiday\r\n\r\nback on Monday",
        Bounced(action="exploded").raw(),
        Bounced(status="often").raw(),
        Bounced().raw().replace(b"message/delivery-status", b"text/plain"),
        b"Content-Type: message/delivery-status\r\n\r\nStatus: 5.1.1\r\n",
        b"Content-Type: multipart/report\r\n\r\n--x",  # no boundary
    ],
)
def test_what_is_no_report(raw: bytes) -> None:
    assert read(raw) is None


def nested(depth: int) -> bytes:
    opened = "".join(
        f'Content-Type: multipart/mixed; boundary="b{at}"\r\n\r\n--b{at}\r\n' for at in range(depth)
    )
    return opened.encode() + b"x\r\n" * 50_000


@pytest.mark.parametrize(
    "raw",
    [
        nested(29),
        nested(400),
        b"Content-Type: message/rfc822\r\n\r\n" * 2000,
        b"a" * 300_000,
        b"X: " + b"(" * 200_000,
        Bounced(final="=?utf-8?q?" + "=" * 5000).raw(),
        Bounced(to="+" * 100_000).raw(),
        Bounced(to="a" * 50_000 + "@").raw(),
        Bounced(original="@" * 50_000).raw(),
    ],
    ids=["deep", "deeper", "mails-in-mails", "one-line", "comments", "encoded", "plus", "local", "ats"],
)
def test_mails_made_to_break_or_to_stall_the_reader(raw: bytes) -> None:
    began = time.thread_time()
    found = read(raw)
    assert time.thread_time() - began < 10
    assert found is None or isinstance(found, DeliveryReport)


@given(st.randoms(use_true_random=False), st.integers(1, 60))
@settings(max_examples=150)
def test_a_real_report_with_bytes_changed_at_random(chance: random.Random, changes: int) -> None:
    raw = bytearray(Bounced(VERP, message_id=f"<{ID}.email@shop.example>").raw())
    for _ in range(changes):
        at = chance.randrange(len(raw))
        piece = chance.choice(
            [b"", b"\x00", b"\xff\xfe", b"\r\n", b"\n\n", b"--", b'"', b"=?utf-8?b?", b";", b":"]
        )
        raw[at : at + chance.randrange(3)] = piece
    found = read(bytes(raw))
    assert found is None or found.status


@given(st.binary(max_size=500))
def test_any_bytes(raw: bytes) -> None:
    assert read(raw) is None
    head = b'Content-Type: multipart/report; boundary="b"\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n'
    read(head + raw)
