"""The operations on templates, for administrators. Generators, see steps.py."""

from collections.abc import Mapping
from typing import Any, Unpack
from urllib.parse import quote

from outbox.client.admin_models import InForce, Previewed, TemplateList, TemplateVersion, TemplateVersions
from outbox.client.fields import TemplateFields
from outbox.client.models import Accepted
from outbox.client.query import if_match, query
from outbox.client.retry import Retry
from outbox.client.steps import Call, Steps, ask, reading

PATH = "/v1/templates"


def in_force(retry: Retry, channel: str | None = None) -> Steps[list[TemplateVersion]]:
    """Of one channel, or of all."""
    call = Call("GET", PATH, query(channel=channel))
    return ask(call, lambda answer: TemplateList.model_validate_json(answer.body).templates, retry)


def versions(retry: Retry, channel: str, name: str, locale: str = "") -> Steps[list[TemplateVersion]]:
    """The one in force first. Raises NotFoundError."""
    call = Call("GET", path(channel, name), query(locale=locale))
    return ask(call, lambda answer: TemplateVersions.model_validate_json(answer.body).versions, retry)


def publish(
    retry: Retry,
    channel: str,
    name: str,
    locale: str = "",
    on_top_of: int | None = None,
    **sources: Unpack[TemplateFields],
) -> Steps[InForce]:
    """A new version, in force at once; the same text again makes none. `on_top_of`: the version that it is to follow;
    None: whatever is there. Raises InvalidRequestError with part and line, ChangedMeanwhileError."""
    headers = if_match(on_top_of) if on_top_of is not None else {}
    call = Call("PUT", path(channel, name), query(locale=locale), dict(sources), headers, on_top_of is None)
    return ask(call, reading(InForce), retry)


def restore(retry: Retry, channel: str, name: str, version: int, locale: str = "") -> Steps[InForce]:
    """An earlier version's text, published anew. Raises NotFoundError."""
    call = Call("POST", f"{path(channel, name)}/versions/{version}:restore", query(locale=locale))
    return ask(call, reading(InForce), retry)


def preview(
    retry: Retry, channel: str, name: str, payload: Mapping[str, Any], locale: str = ""
) -> Steps[Previewed]:
    """The parts as they would be sent; sends nothing. Raises InvalidRequestError with part and line."""
    call = Call("POST", f"{path(channel, name)}:preview", query(locale=locale), {"payload": dict(payload)})
    return ask(call, reading(Previewed), retry)


def try_on(  # noqa: PLR0913 - the place, whom, and what
    retry: Retry,
    channel: str,
    name: str,
    to: str,
    payload: Mapping[str, Any] | None = None,
    locale: str = "",
    *,
    address: bool = False,
) -> Steps[Accepted]:
    """Really sends it, to the user `to`; with `address`, to that address or number, which need not be anybody's."""
    body = {"address" if address else "user_id": to, "payload": dict(payload or {})}
    call = Call("POST", f"{path(channel, name)}:test", query(locale=locale), body, repeatable=False)
    return ask(call, reading(Accepted), retry)


def path(channel: str, name: str) -> str:
    return f"{PATH}/{quote(channel, safe='')}/{quote(name, safe='')}"
