"""The mail's bytes: headers that cannot be broken out of, and both parts."""

import email
from email.message import EmailMessage
from email.policy import default
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.errors import SettingsError
from outbox.rendering.renderers import Rendered
from workers.message import BadAddressError, Letter, address, compose, sender, unsubscribe_headers

ORIGIN = sender("Outbox <noreply@example.com>")


def mail(subject: str = "s", text: str = "t", html: str = "", to: str = "ada@example.com") -> EmailMessage:
    return email.message_from_bytes(compose(letter(Rendered(subject, text, html), to)), policy=default)


def letter(rendered: Rendered, to: str = "ada@example.com", **fields: Any) -> Letter:
    return Letter(UUID(int=5), "email", ORIGIN, address(to), rendered, **fields)


def test_message_id_is_the_same_at_every_attempt() -> None:
    message_id = "<00000000-0000-0000-0000-000000000005.email@example.com>"
    assert letter(Rendered("", "", "")).message_id == mail()["Message-ID"] == message_id


def test_a_link_to_unsubscribe_is_one_line_as_it_is() -> None:
    url = "https://notify.example.com/v1/unsubscribe/" + "A" * 400
    content = compose(letter(Rendered("s", "t", ""), headers=unsubscribe_headers(url)))
    lines = content.split(b"\r\n")
    assert lines[0] == f"List-Unsubscribe: <{url}>".encode()
    assert lines[1] == b"List-Unsubscribe-Post: List-Unsubscribe=One-Click"


def test_one_click_needs_https() -> None:
    assert unsubscribe_headers("http://127.0.0.1:8080/x") == {"List-Unsubscribe": "<http://127.0.0.1:8080/x>"}


@pytest.mark.parametrize(
    "url", ["https://x/\r\nBcc: a@b.c", "https://x/>,<y", "https://x/é", "ftp://x", "https://x/" + "a" * 999]
)
def test_what_is_no_link_is_no_header(url: str) -> None:
    with pytest.raises(ValueError, match="unsubscribe link"):
        unsubscribe_headers(url)


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
    content = compose(letter(Rendered("s", text, f"<p>{text}</p>")))
    assert content.isascii()
    assert max(len(line) for line in content.split(b"\n")) <= 998
