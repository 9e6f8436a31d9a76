"""The operations on recipients: how somebody is reached. Generators, see steps.py."""

from typing import Unpack
from urllib.parse import quote

from outbox.client.fields import ContactFields
from outbox.client.models import Recipient
from outbox.client.retry import Retry
from outbox.client.steps import Call, Steps, ask, nothing, reading


def path(user_id: str) -> str:
    return f"/v1/recipients/{quote(user_id, safe='')}"


def get(retry: Retry, user_id: str) -> Steps[Recipient]:
    """Raises NotFoundError where nothing is known."""
    return ask(Call("GET", path(user_id)), reading(Recipient), retry)


def put(retry: Retry, user_id: str, **contact: Unpack[ContactFields]) -> Steps[Recipient]:
    """All that is known from now on; what is left out is not known any more. Raises InvalidRequestError."""
    return ask(Call("PUT", path(user_id), body=dict(contact)), reading(Recipient), retry)


def remove(retry: Retry, user_id: str) -> Steps[None]:
    """Whether it was there or not. Preferences, devices and the inbox stay."""
    return ask(Call("DELETE", path(user_id)), nothing, retry)
