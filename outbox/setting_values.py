"""The kinds of values that settings have, and what each must look like. Pure."""

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from db.dsn import without_parameter
from outbox.egress import Egress
from outbox.nodes import is_cluster

RATE = r"^([1-9][0-9]{0,8}/(second|minute|hour|day))?$"


def scheme(*allowed: str) -> AfterValidator:
    """A check that a URL has one of these schemes and a host."""

    def check(value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in allowed or not parts.hostname:
            raise ValueError(f"must be a URL like {allowed[0]}://host:port")
        return value

    return AfterValidator(check)


def known_pooler(value: SecretStr) -> SecretStr:
    without_parameter(value.get_secret_value())
    return value


def refuse_database_in_cluster(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if is_cluster(url) and urlsplit(url).path not in {"", "/", "/0"}:
        raise ValueError("a cluster has no other database than 0")
    return value


def refuse_other_placeholders(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "{user_id}" not in value:
        raise ValueError("must be a URL with {user_id} in it, like https://users.internal/{user_id}/contact")
    return value


def refuse_other_traces(value: str) -> str:
    if urlsplit(value).scheme not in {"http", "https"} or "{trace_id}" not in value:
        raise ValueError(
            "must be a URL with {trace_id} in it, like https://jaeger.example.com/trace/{trace_id}"
        )
    return value


def web(value: str) -> str:
    if urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname:
        raise ValueError("must be a URL like https://id.example.com/.well-known/jwks.json")
    return value


def a_day_at_least(value: timedelta) -> timedelta:
    if value < timedelta(days=1):
        raise ValueError("must be a day at least, like P90D")
    return value


def split(value: object) -> object:
    """A list as people write it in an environment: with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def refuse_odd_entries(value: list[str]) -> list[str]:
    Egress.parse(value)
    return value


DatabaseUrl = Annotated[SecretStr, scheme("postgresql", "postgres"), AfterValidator(known_pooler)]
RedisUrl = Annotated[
    SecretStr,
    scheme("redis", "rediss", "redis+cluster", "rediss+cluster"),
    AfterValidator(refuse_database_in_cluster),
]
RecipientUrl = Annotated[str, AfterValidator(refuse_other_placeholders)]
WebUrl = Annotated[str, AfterValidator(web)]
TraceUrl = Annotated[str, AfterValidator(refuse_other_traces)]
Keep = Annotated[timedelta, AfterValidator(a_day_at_least)]
Rate = Annotated[str, Field(pattern=RATE)]
Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
