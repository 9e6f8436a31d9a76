"""What the config of a channel may hold, by the channel's kind. Checked by the API before it is stored, and by the
worker when it reads it: a row may have been written by SQL. Secrets are never in it, only their names. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from limits import parse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from outbox.egress import EgressRefusedError, target
from outbox.errors import InvalidNotificationError

REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
# A config is written by an administrator of notifications, who is not thereby one of the database.
OWN = re.compile(r"env:(OUTBOX_\w*|DATABASE_URL|REDIS_URL|PG\w*|AWS_\w*)", re.IGNORECASE)
# Names whose values are secrets, wherever they stand in a config.
SECRET_NAME = re.compile(
    r"secret|passw|token|api.?key|private.?key|credential|authorization|cookie|signature|x-.*-key$",
    re.IGNORECASE,
)
# Values that are secrets by their looks: whsec_ (Standard Webhooks), SG. (SendGrid), PEM, logins in URLs.
SECRET_VALUE = re.compile(r"whsec_|SG\.[\w-]{10,}\.|-----BEGIN |\w+://[^/\s:@]*:[^/\s@]+@|(Bearer|Basic) \S")
HINT = "must not be written into a config; put it into the worker's environment and write env:NAME"
# Framing, and what the signature says, is not the config's business (RFC 9110 §7.6.1, Standard Webhooks).
OWN_HEADERS = frozenset(
    {
        *(
            "host",
            "content-length",
            "content-type",
            "content-encoding",
            "accept-encoding",
            "transfer-encoding",
        ),
        *("connection", "keep-alive", "te", "trailer", "upgrade", "expect", "proxy-authorization"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    }
)
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,4000}")


def reference(value: str) -> str:
    if not REFERENCE.fullmatch(value):
        raise ValueError(f"a secret {HINT}")
    return no_own(value)


def no_own(value: str) -> str:
    if OWN.fullmatch(value):
        raise ValueError("must not name what belongs to the service itself")
    return value


def web_address(value: str) -> str:
    """Like https://host/path, or a reference to one: an address may be a secret. Where it leads is judged later."""
    if value.startswith("env:"):
        return reference(value)
    try:
        target(value)
    except EgressRefusedError as error:
        raise ValueError(str(error)) from None
    return value


def sendable(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if name.lower() in OWN_HEADERS:
            raise ValueError(f"{name} is set by the service itself")
        if not HEADER_VALUE.fullmatch(text):
            raise ValueError(f"the value of {name} must be printable ASCII")
        no_own(text)
    return value


def rate(value: str) -> str:
    try:
        parse(value)
    except ValueError:
        raise ValueError("must be written like 50/second or 5/hour") from None
    return value


Reference = Annotated[str, AfterValidator(reference)]


class WebhookConfig(BaseModel):
    """Of a channel of kind webhook. Without `url` each recipient has an endpoint of their own
    (notify.webhook_endpoints)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(web_address)] | None = None
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    headers: Annotated[dict[str, str], Field(max_length=32), AfterValidator(sendable)] = {}
    # Each signs: during a rotation the old one and the new one.
    secrets: Annotated[list[Reference], Field(max_length=5)] = []
    content_type: str = Field("application/json", pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+(; ?charset=utf-8)?$")
    timeout_seconds: float = Field(15, ge=1, le=30)
    ordered: bool = False
    # How much one endpoint is sent in a time.
    recipient_rate: Annotated[str, AfterValidator(rate)] | None = None
    # How long after its creation a delivery may wait for an endpoint that is known to be down.
    give_up_after_hours: float = Field(72, ge=0.01, le=720)


class AnyConfig(BaseModel):
    """Of the other kinds: what they need is found out by their workers."""

    model_config = ConfigDict(extra="allow")


CONFIGS: dict[str, type[BaseModel]] = {"webhook": WebhookConfig}


def broken_rules(kind: str, config: Mapping[str, Any]) -> list[InvalidNotificationError]:
    """Every rule that this config breaks, with the field that does."""
    literal = [InvalidNotificationError(f"config.{path}", HINT) for path, _ in literal_secrets(config)]
    if literal:
        return literal
    model = CONFIGS.get(kind, AnyConfig)
    try:
        model.model_validate(config)
    except ValidationError as error:
        return [
            broken_rule(problem, model) for problem in error.errors(include_url=False, include_input=False)
        ]
    return []


def broken_rule(problem: Any, model: type[BaseModel]) -> InvalidNotificationError:
    """What pydantic says, as field and rule."""
    field = ".".join(("config", *(str(part) for part in problem["loc"])))
    if problem["type"] == "extra_forbidden":
        return InvalidNotificationError(field, f"is not known; known are {', '.join(model.model_fields)}")
    return InvalidNotificationError(field, str(problem["msg"]).removeprefix("Value error, "))


def literal_secrets(value: Any, path: str = "", name: str = "") -> Iterator[tuple[str, str]]:
    """Path and text of each value that is a secret, by its name or by its looks."""
    match value:
        case Mapping():
            for key, item in value.items():
                yield from literal_secrets(item, f"{path}.{key}" if path else str(key), str(key))
        case list():
            for place, item in enumerate(value):
                yield from literal_secrets(item, f"{path}.{place}", name)
        case str() if not value.startswith("env:") and (
            SECRET_NAME.search(name) or SECRET_VALUE.search(value)
        ):
            yield path, value


def without_secrets(value: Any, name: str = "") -> Any:
    """As it may be shown: what somebody wrote into the row by SQL against all advice is hidden."""
    match value:
        case Mapping():
            return {key: without_secrets(item, str(key)) for key, item in value.items()}
        case list():
            return [without_secrets(item, name) for item in value]
        case str() if any(literal_secrets(value, name, name)):
            return "(hidden)"
    return value
