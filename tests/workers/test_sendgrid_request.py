"""Batches: whatever travels together arrives as it was rendered, for each recipient."""

from email.headerregistry import Address
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from outbox.local.doubles.sendgrid import check, received
from outbox.rendering.renderers import Rendered
from workers.message import Letter
from workers.sendgrid_request import MOST, SUBSTITUTION_BYTES, batches, body

SHOP = Address("Shop", addr_spec="no-reply@shop.example")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def letter(
    to: str = "ada@example.com", text: str = "Hello\n", html: str = "", kind: str = "t1", subject: str = "Hi"
) -> Letter:
    return Letter(uuid4(), "email", SHOP, to, Rendered(subject, text, html), kind=kind)


def requests(*letters: Letter) -> list[list[Letter]]:
    return [[each for _, each in request] for request in batches(enumerate(letters))]


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=8), TEXT, TEXT)
def test_each_gets_the_own_mail(own: list[tuple[str, str, str]], first: str, last: str) -> None:
    letters = [
        letter(f"u{at}@example.com", f"{first}x{text}{last}", f"<p>{first}{html}{last}</p>", subject=subject)
        for at, (text, html, subject) in enumerate(own)
    ]
    for request in requests(*letters):
        mail = body(request)
        assert not check(mail)
        for at, each in enumerate(request):
            arrived = received(mail, mail["personalizations"][at], "1")
            assert (arrived.to, arrived.text, arrived.details["html"]) == (
                each.recipient,
                each.rendered.text,
                each.rendered.html,
            )
            assert arrived.title == (each.subject or "(no subject)")
            assert arrived.details["custom_args"]["notification_id"] == str(each.notification_id)


def test_what_is_the_same_travels_once() -> None:
    same = "<html>" + "x" * 50_000
    [request] = requests(*(letter(f"u{at}@example.com", html=f"{same} {at} {same}") for at in range(50)))
    mail = body(request)
    assert len(mail["content"][1]["value"]) < 100_100
    [own] = mail["personalizations"][7]["substitutions"].values()
    assert own == "7"


def test_the_same_for_all_needs_no_substitution() -> None:
    [request] = requests(letter("a@x.org"), letter("b@x.org"))
    mail = body(request)
    assert mail["content"] == [{"type": "text/plain", "value": "Hello\n"}]
    assert all("substitutions" not in part for part in mail["personalizations"])


def test_a_tag_cannot_be_known_by_a_letter() -> None:
    [request] = requests(letter("a@x.org", "a"), letter("b@x.org", "b"))
    tags = {tag for _ in range(2) for tag in body(request)["personalizations"][0]["substitutions"]}
    assert len(tags) == 2


def test_too_much_of_its_own_travels_alone() -> None:
    long = "y" * SUBSTITUTION_BYTES
    letters = [letter("a@x.org", f"A{long}"), letter("b@x.org", "B"), letter("c@x.org", "C")]
    assert requests(*letters) == [[letters[0]], [letters[1], letters[2]]]
    alone = body([letters[0]])
    assert alone["content"][0]["value"] == f"A{long}"


def test_apart_by_template_sender_and_parts() -> None:
    other = Letter(
        uuid4(), "email", Address("", addr_spec="b@shop.example"), "d@x.org", Rendered("s", "t", "")
    )
    letters = [letter("a@x.org"), letter("b@x.org", kind="t2"), letter("c@x.org", html="<p>"), other]
    assert requests(*letters) == [[each] for each in letters]


def test_no_address_twice_in_one() -> None:
    first, second, third = letter("a@x.org"), letter("A@x.org"), letter("b@x.org")
    assert requests(first, second, third) == [[first, third], [second]]


def test_at_most_a_thousand() -> None:
    sizes = [len(request) for request in requests(*(letter(f"u{at}@x.org") for at in range(MOST + 5)))]
    assert sizes == [MOST, 5]


def test_a_mail_without_any_text_is_still_one() -> None:
    mail = body([letter(text="  ", html="", subject="\r\n")])
    assert not check(mail)
    assert mail["content"] == [{"type": "text/plain", "value": "\n"}]
