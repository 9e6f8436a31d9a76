"""The operations on what belongs to a user: preferences, devices. Generators, see steps.py."""

from collections.abc import Iterable
from typing import Literal
from urllib.parse import quote

from outbox.client.models import Device, Devices, Preference, Preferences
from outbox.client.retry import Retry
from outbox.client.steps import Call, Steps, ask, nothing, reading


def of(user_id: str, part: str) -> str:
    """A path below a user, whose id may hold anything."""
    return f"/v1/users/{quote(user_id, safe='')}/{part}"


def preferences(retry: Retry, user_id: str) -> Steps[list[Preference]]:
    """What the user wishes to hear of, and by which channels."""
    call = Call("GET", of(user_id, "preferences"))
    return ask(call, lambda answer: Preferences.model_validate_json(answer.body).preferences, retry)


def set_preferences(retry: Retry, user_id: str, wishes: Iterable[Preference]) -> Steps[list[Preference]]:
    """Replace all of the user's preferences. Raises InvalidRequestError."""
    body = {"preferences": [wish.model_dump(mode="json", exclude={"updated_at"}) for wish in wishes]}
    call = Call("PUT", of(user_id, "preferences"), body=body)
    return ask(call, lambda answer: Preferences.model_validate_json(answer.body).preferences, retry)


def devices(retry: Retry, user_id: str) -> Steps[list[Device]]:
    """The devices that push reaches."""
    call = Call("GET", of(user_id, "devices"))
    return ask(call, lambda answer: Devices.model_validate_json(answer.body).devices, retry)


def register_device(
    retry: Retry, user_id: str, platform: Literal["apns", "fcm"], token: str
) -> Steps[Device]:
    """Known or new: the device is this user's now."""
    call = Call("PUT", of(user_id, "devices"), body={"platform": platform, "token": token})
    return ask(call, reading(Device), retry)


def remove_device(retry: Retry, user_id: str, token: str) -> Steps[None]:
    """Whether it was there or not."""
    return ask(Call("DELETE", of(user_id, f"devices/{quote(token, safe='')}")), nothing, retry)
