"""The mail's bytes: headers that cannot be broken out of, and both parts."""

import email
from email.message import EmailMessage
from email.policy import default
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.errors import SettingsError
from outbox.rendering.renderers import Rendered
from workers.message import BadAddressError, compose, message_id, sender

ORIGIN = sender("Outbox <noreply@example.com>")


def mail(subject: str = "s", text: str = "t", html: str = "", to: str = "ada@example.com") -> EmailMessage:
    letter = compose(Rendered(subject, text, html), ORIGIN, to, "<1@example.com>")
    return email.message_from_bytes(letter.content, policy=default)


def test_message_id_is_the_same_at_every_attempt() -> None:
    assert message_id(UUID(int=5), "email", "x.org") == "<00000000-0000-0000-0000-000000000005.email@x.org>"


@given(st.text())
def test_a_subject_is_one_header_whatever_it_holds(subject: str) -> None:
    message = mail(subject.encode("utf-8", "replace").decode())
    assert message.keys() == [
        "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "Content-Type",
        "Content-Transfer-Encoding", "MIME-Version",
    ]  # fmt: skip


def test_a_subject_cannot_begin_a_header() -> None:
    message = mail("Hello\r\nBcc: eve@example.com\r\n\r\nbody")
    assert message["Bcc"] is None
    assert message["Subject"] == "Hello Bcc: eve@example.com body"


@pytest.mark.parametrize(
    "to",
    ["a@b.c\r\nBcc: x@y.z", "a,b@example.com", "<a@example.com>", "", "a@b, c@d", "ä@example.com", '"a b"'],
)
def test_a_bad_address_is_refused(to: str) -> None:
    with pytest.raises(BadAddressError):
        mail(to=to)


@pytest.mark.parametrize("value", ["", "nobody", "a@", "Eve <a@b.c>\r\nBcc: x@y.z", "@b.c"])
def test_a_bad_from_is_a_setting_to_mend(value: str) -> None:
    with pytest.raises(SettingsError, match="from="):
        sender(value)


def test_parts() -> None:
    both = mail(text="plain", html="<p>rich</p>")
    assert both.get_content_type() == "multipart/alternative"
    assert mail(text="plain").get_content_type() == "text/plain"
    assert mail(text="", html="<p>rich</p>").get_content_type() == "text/html"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=3000))
def test_content_is_seven_bit_with_short_lines(text: str) -> None:
    letter = compose(Rendered("s", text, f"<p>{text}</p>"), ORIGIN, "ada@example.com", "<1@example.com>")
    assert letter.content.isascii()
    assert max(len(line) for line in letter.content.split(b"\n")) <= 998
