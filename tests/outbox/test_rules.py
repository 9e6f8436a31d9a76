"""Broken rules by field: every constraint of the schema that a producer can meet has a name that tells its field."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from db.pool import Connection
from outbox import rules
from outbox.envelope import UNPRINTABLE, Notification

# The code points that Postgres can hold: no NUL, no surrogates.
ALL = [*range(1, 0xD800), *range(0xE000, 0x10000)]
ONE: dict[str, Any] = {"event_type": "order.paid", "user_id": "u-1"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
# A text is one character again and again, about as long as a rule allows, with others here and there in it.
MARKS = "aZ09_.:-/* \t\n\x7f\x85\u2028\u00e9\u0661\U0001f370"
LENGTHS = [0, 1, 2, 54, 55, 56, 127, 128, 129, 199, 200, 201, 254, 255, 256]
EDITS = st.lists(st.tuples(st.integers(0, 256), st.integers(0, 2), st.sampled_from(MARKS)), max_size=3)


def broken(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Notification.model_validate(fields)
    return [(error.field, error.rule) for error in rules.of_model(caught.value)]


def test_the_model_s_words_become_field_and_rule() -> None:
    listed = broken(user_id="", channels=["inapp", "-"], payload={"a": "\0"}, colour="red")
    assert [field for field, _ in listed] == ["event_type", "user_id", "channels.1", "payload", "colour"]
    words = dict(listed)
    assert words["event_type"] == "is required"
    assert words["payload"] == r"must not contain NUL characters (\u0000)"
    assert words["colour"].startswith("is not a field of a notification; the fields are event_type, ")


def test_what_is_no_object_has_no_field_to_blame() -> None:
    with pytest.raises(ValidationError) as caught:
        Notification.model_validate("x")
    [error] = rules.of_model(caught.value)
    assert error.field == rules.WHOLE


@pytest.mark.parametrize(
    ("constraint", "field", "rule"),
    [
        ("payload_is_at_most_65536_bytes", "payload", "must be at most 65536 bytes"),
        ("channels_are_1_to_16", "channels", "must be 1 to 16"),
        ("expires_at_is_after_deliver_at", "expires_at", "must be after deliver at"),
    ],
)
def test_a_constraint_s_name_is_its_rule(constraint: str, field: str, rule: str) -> None:
    error = rules.of_constraint(constraint)
    assert error is not None
    assert (error.field, error.rule) == (field, rule)


async def test_every_constraint_of_a_notification_names_its_field(admin: Connection) -> None:
    names = await admin.fetch(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 'notify.notifications'::regclass"
    )
    assert names
    assert [row["conname"] for row in names if rules.of_constraint(row["conname"]) is None] == []


@pytest.mark.parametrize("collation", ["default", "C"])
async def test_model_and_database_call_the_same_characters_printable(
    admin: Connection, collation: str
) -> None:
    """Of all that is in the Basic Multilingual Plane, and in any locale."""
    checks = await admin.fetch(
        """
        SELECT pg_get_constraintdef(c.oid) AS said, attname
        FROM pg_constraint c JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
        WHERE conname LIKE '%printable_characters'
        """
    )
    assert len(checks) >= 6
    expected = [point for point in ALL if UNPRINTABLE.search(chr(point))]
    for check in checks:
        rule = check["said"].removeprefix("CHECK ").removesuffix(" NOT VALID")
        refused = await admin.fetch(
            f'SELECT point FROM (SELECT point, chr(point) COLLATE "{collation}" AS {check["attname"]} '
            f"FROM unnest($1::int[]) AS point) AS x WHERE NOT {rule}",
            ALL,
        )
        assert [row["point"] for row in refused] == expected, check["attname"]


def edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """At each place that many characters give way to this one."""
    for place, gone, mark in edits:
        at = place % (len(text) + 1)
        text = text[:at] + mark + text[at + gone :]
    return text


def odd_texts(begins: st.SearchStrategy[str], examples: int) -> list[str]:
    """Collected beforehand, so that Postgres judges all of them in one statement."""
    seen: list[str] = []

    @settings(max_examples=examples, database=None)
    @given(begins, EDITS)
    def collect(text: str, edits: list[tuple[int, int, str]]) -> None:
        seen.extend((text, edited(text, edits)))

    collect()
    return sorted(set(seen))


def taken(field: str, value: str) -> bool:
    try:
        Notification.model_validate(ONE | {field: value})
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    "field",
    ["event_type", "user_id", "actor_user_id", "template_name", "dedup_key", "digest_key", "traceparent"],
)
async def test_model_and_database_take_the_same_texts(admin: Connection, field: str) -> None:
    repeated = st.tuples(st.sampled_from(MARKS), st.sampled_from(LENGTHS)).map(lambda one: one[0] * one[1])
    texts = odd_texts(st.just(TRACE) if field == "traceparent" else repeated, 400)
    [rule] = await admin.fetch(
        """
        SELECT substring(pg_get_constraintdef(c.oid) FROM '^CHECK (.*?)(?: NOT VALID)?$') AS said
        FROM pg_constraint c JOIN pg_attribute ON attrelid = conrelid AND conkey = ARRAY[attnum]
        WHERE contype = 'c' AND conrelid = 'notify.notifications'::regclass AND attname = $1
        """,
        field,
    )
    rows = await admin.fetch(f"SELECT {field} FROM unnest($1::text[]) AS {field} WHERE {rule['said']}", texts)
    expected = [text for text in texts if taken(field, text)]
    assert 0 < len(expected) < len(texts)
    assert [row[0] for row in rows] == expected


@pytest.mark.parametrize("name", ["", "shop_total_is_positive", "notifications_dedup_key"])
def test_other_constraints_are_not_ours(name: str) -> None:
    assert rules.of_constraint(name) is None


def test_errors_that_are_none_of_the_database_are_not_ours() -> None:
    assert rules.of_database(ValueError("x")) is None
    assert rules.of_database(ConnectionRefusedError()) is None


async def test_a_foreign_table_s_constraint_is_not_ours(admin: Connection) -> None:
    await admin.execute("CREATE TABLE public.orders (user_id text CONSTRAINT user_id_is_known CHECK (false))")
    with pytest.raises(Exception, match="user_id_is_known") as caught:
        await admin.execute("INSERT INTO public.orders VALUES ('u')")
    assert rules.of_database(caught.value) is None
