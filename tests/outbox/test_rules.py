"""Broken rules by field: every constraint of the schema that a producer can meet has a name that tells its field."""

from typing import Any

import pytest
from pydantic import ValidationError

from db.pool import Connection
from outbox import rules
from outbox.envelope import UNPRINTABLE, Notification

# The code points that Postgres can hold: no NUL, no surrogates.
ALL = [*range(1, 0xD800), *range(0xE000, 0x10000)]


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
    assert len(checks) == 6
    expected = [point for point in ALL if UNPRINTABLE.search(chr(point))]
    for check in checks:
        rule = check["said"].removeprefix("CHECK ").removesuffix(" NOT VALID")
        refused = await admin.fetch(
            f'SELECT point FROM (SELECT point, chr(point) COLLATE "{collation}" AS {check["attname"]} '
            f"FROM unnest($1::int[]) AS point) AS x WHERE NOT {rule}",
            ALL,
        )
        assert [row["point"] for row in refused] == expected, check["attname"]


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
