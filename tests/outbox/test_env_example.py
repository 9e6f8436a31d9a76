""".env.example names every setting with its default, explains each, and names nothing that nobody reads."""

import re
from typing import NamedTuple

import pytest
from pydantic_core import PydanticUndefined

from outbox.settings import PROJECT, Settings

LINE = re.compile(r"(?P<off># )?(?P<name>[A-Z][A-Z0-9_]+)=(?P<value>.*)")
# What the seeded channel configs name (db/migrations), and their kin in the documents.
OF_CHANNELS = {"SMTP_URL", "SENDGRID_API_KEY"} | {
    f"TWILIO_{end}" for end in ("ACCOUNT_SID", "AUTH_TOKEN", "FROM")
}
OF_CHANNELS |= {"FCM_CREDENTIALS", "APNS_KEY", "APNS_KEY_ID", "APNS_TEAM_ID", "APNS_TOPIC"}
# Read by Docker Compose itself.
OF_COMPOSE = {"COMPOSE_PROFILES"}


class Shown(NamedTuple):
    name: str
    value: str
    off: bool
    above: str


def shown() -> list[Shown]:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    found = []
    for number, line in enumerate(lines):
        if match := LINE.fullmatch(line):
            found.append(Shown(match["name"], match["value"], bool(match["off"]), lines[number - 1]))
    return found


def interpolated() -> dict[str, str]:
    """What compose.production.yml asks .env for, and takes without."""
    text = (PROJECT / "compose.production.yml").read_text()
    return dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))


def test_every_setting_is_there_once_and_nothing_else() -> None:
    names = [each.name for each in shown()]
    assert sorted(names) == sorted(set(names))
    assert set(names) == {*Settings.variables(), *OF_CHANNELS, *OF_COMPOSE, *interpolated()}


def test_each_has_its_explanation_above_it() -> None:
    for each in shown():
        assert re.match(r"# (?![A-Z0-9_]+=).*[a-z].*", each.above), f"{each.name} is not explained"


def test_those_that_are_commented_out_show_the_default_if_there_is_one() -> None:
    """A setting that is read from what is shown is the setting without it."""
    asked = Settings.variables()
    needed = {"DATABASE_URL": "postgresql://a:b@c/d", "REDIS_URL": "redis://c", "jwt_secret": "x" * 40}
    for each in shown():
        field = asked.get(each.name)
        info = Settings.model_fields.get(each.name.removeprefix("OUTBOX_").lower())
        if not each.off or field is None or info is None or info.default in (None, "", [], PydanticUndefined):
            continue  # there is none; an example is shown
        read = getattr(Settings.model_validate(needed | {field: each.value}), field)
        assert read == info.default, each.name


@pytest.mark.parametrize(("name", "default"), sorted(interpolated().items()))
def test_composes_own_show_their_default(name: str, default: str) -> None:
    value = next(each.value for each in shown() if each.name == name)
    assert default in {value, "outbox"}  # our own image has another name at everybody's
