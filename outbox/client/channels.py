"""The operations on channels, for administrators. Generators, see steps.py."""

from typing import Unpack
from urllib.parse import quote

from outbox.client.admin_models import Channel, ChannelList
from outbox.client.fields import ChannelFields
from outbox.client.query import if_match
from outbox.client.retry import Retry
from outbox.client.steps import Call, Steps, ask, nothing, reading

PATH = "/v1/channels"


def all_(retry: Retry) -> Steps[list[Channel]]:
    return ask(Call("GET", PATH), lambda answer: ChannelList.model_validate_json(answer.body).channels, retry)


def get(retry: Retry, name: str) -> Steps[Channel]:
    """Raises NotFoundError."""
    return ask(Call("GET", path(name)), reading(Channel), retry)


def add(retry: Retry, name: str, **fields: Unpack[ChannelFields]) -> Steps[Channel]:
    """A channel of kind webhook. Raises ConflictError where there is one of that name."""
    call = Call("POST", PATH, body={"name": name, **fields}, repeatable=False)
    return ask(call, reading(Channel), retry)


def change(retry: Retry, name: str, version: int | None, **fields: Unpack[ChannelFields]) -> Steps[Channel]:
    """What is left out stays; a config is given whole. `version`: the one that was looked at; None: whatever is there.
    Raises ChangedMeanwhileError."""
    call = Call("PATCH", path(name), body=dict(fields), headers=if_match(version), repeatable=version is None)
    return ask(call, reading(Channel), retry)


def remove(retry: Retry, name: str, version: int | None = None) -> Steps[None]:
    """One that nothing was sent to. Raises ConflictError, ChangedMeanwhileError."""
    return ask(Call("DELETE", path(name), headers=if_match(version), repeatable=False), nothing, retry)


def path(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"
