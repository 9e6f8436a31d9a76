"""The settings themselves: whether they suit production."""

from collections.abc import Iterator

from outbox.doctor.desk import Area, Check, Desk
from outbox.doctor.finding import Finding, fail, note, ok
from outbox.production import refusals
from outbox.settings import Settings

NAME = "settings"


async def own(desk: Desk) -> Settings:
    return desk.settings


def judge(settings: Settings) -> Iterator[Finding]:
    yield ok("settings.valid", "every key is valid")
    if settings.env != "production":
        yield note(
            "settings.env",
            f"OUTBOX_ENV={settings.env}: secrets and addresses are not judged",
            "OUTBOX_ENV=production",
        )
        return
    found = list(refusals(settings))
    for refusal in found:
        key, _, rule = refusal.partition(": ")
        yield fail("settings.production", refusal, f"set {key.partition('=')[0]}: {rule}")
    if not found:
        yield ok("settings.production", "secrets are random, addresses are https")


AREA = Area(NAME, frozenset(), (Check("settings.production", own, judge),))
