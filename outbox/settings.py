"""Settings: read once from the environment at start, validated whole. Nobody else reads os.environ."""

import os
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from db.dsn import without_parameter
from outbox import secret_files
from outbox.egress import Egress
from outbox.errors import SettingsError
from outbox.otel_settings import OtelSettings
from outbox.setting_values import (
    DatabaseUrl,
    Keep,
    Port,
    Rate,
    RecipientUrl,
    RedisUrl,
    Seconds,
    TraceUrl,
    WebUrl,
    refuse_odd_entries,
    split,
)
from outbox.signed_by import ASYMMETRIC, SHARED, Algorithm
from outbox.signing import derive
from outbox.streams import Keys

PROJECT = Path(__file__).resolve().parent.parent


def state_dir() -> Path:
    """Where `outbox up` keeps its data: beside the checkout, or in the user's state folder once installed."""
    if chosen := os.environ.get("OUTBOX_STATE"):
        return Path(chosen).resolve()
    if (PROJECT / "pyproject.toml").exists():
        return PROJECT / ".outbox"
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "outbox"


class Settings(OtelSettings, BaseSettings):
    """Every setting. The environment name is the field's in capitals, with OUTBOX_ before it unless noted; NAME_FILE
    is the path of a file that holds it.

    Durations are in seconds. A URL may hold a password, so URLs print as stars.
    """

    model_config = SettingsConfigDict(env_prefix="OUTBOX_", extra="ignore", frozen=True)

    # Named as every platform names them.
    database_url: DatabaseUrl = Field(validation_alias="DATABASE_URL")
    redis_url: RedisUrl = Field(validation_alias="REDIS_URL")
    # Where DATABASE_URL leads through a pooler in transaction mode (?pooler=transaction), this one must reach Postgres
    # itself: the relay goes here, as LISTEN and its session's settings pass no pooler; so do migrations.
    listen_database_url: DatabaseUrl | None = None
    # Who owns the schema; the services themselves need no such rights.
    migrate_database_url: DatabaseUrl | None = None
    redis_prefix: str = ""

    env: Literal["production", "development"] = "production"
    log: Literal["auto", "console", "json"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    # Where people look at traces: https://jaeger.example.com/trace/{trace_id}
    trace_url: TraceUrl | None = None
    shutdown_grace: Seconds = 20
    # How long API and gateway go on after a signal, unready, until balancers have noticed; then the grace begins.
    shutdown_delay: Annotated[float, Field(ge=0, le=300)] = 0
    # How long a process that starts waits for Postgres and Redis before it gives up.
    start_patience: Annotated[float, Field(ge=0)] = 15

    host: str = "127.0.0.1"
    api_port: Port = 8080
    gateway_port: Port = 8081
    relay_port: Port = 9101
    worker_port: Port = 9102
    # As people outside reach them; the defaults follow from host and port.
    api_url: str | None = None
    gateway_url: str | None = None

    jwt_secret: SecretStr = Field(min_length=32)
    jwt_issuer: str = "outbox"
    jwt_audience: str = "outbox"
    # By which algorithms tokens may be signed. Unset: HS256 with jwt_secret, or, where there is a JWKS, RS256, ES256
    # and EdDSA with its keys alone.
    jwt_algorithms: Annotated[list[Algorithm], NoDecode, BeforeValidator(split)] = []
    # The public keys of whoever issues the tokens (RFC 7517): where they are fetched, or the set itself, or its file.
    jwt_jwks_url: WebUrl | None = None
    jwt_jwks: str | None = None
    jwt_jwks_ttl: Seconds = 300  # fetched anew after that
    jwt_jwks_max_age: Seconds = 86_400  # believed for so long while they cannot be fetched
    jwt_leeway: Annotated[float, Field(ge=0, le=300)] = 10  # how far clocks may differ
    # Where scopes stand: a claim's name, as text or a list; unset, `scope` or `scp`. What they begin with, as api:
    jwt_scope_claim: str = ""
    jwt_scope_prefix: str = ""
    # What a token may do that names no scope of ours: nothing, or what users may.
    jwt_default_scope: Literal["", "user"] = ""
    # How many requests a producer and a user may make, over all processes: 600/minute. Empty: any.
    rate_producer: Rate = ""
    rate_user: Rate = ""
    audit_retention: Keep = timedelta(days=365)
    # In production, addresses of the service are https:// unless this is set.
    allow_plain_http: bool = False
    # What unsubscribe links and bounce addresses are signed with; unset, it follows from jwt_secret. Set it to the old
    # jwt_secret before you change that one, and the links in people's mailboxes go on working.
    link_secret: SecretStr | None = Field(default=None, min_length=32)
    # The verification keys of SendGrid's signed event webhook, as its settings page shows them, with commas.
    sendgrid_webhook_keys: Annotated[list[str], NoDecode, BeforeValidator(split)] = []

    relay_linger: Seconds = 0.1
    relay_poll: Seconds = 5
    relay_lease: Seconds = 10
    relay_verify: Seconds = 1
    stream_max_length: PositiveInt = 100_000
    retention: timedelta = timedelta(days=3)
    # How long notifications are kept that are at their end, inboxes among them. None: for good.
    notification_retention: Keep | None = None
    partition_rows: PositiveInt = 1_000_000

    worker_lease: Seconds = 60
    worker_concurrency: PositiveInt = 64
    retry_base: Seconds = 2
    retry_cap: Seconds = 3600
    # What rates do while Redis does not answer: let messages pass (open), or hold them back (closed).
    rates_without_redis: Literal["open", "closed"] = "open"

    # Recipients who are kept elsewhere than in notify.recipients, and for how long an answer about one serves.
    recipient_query: str | None = None
    recipient_url: RecipientUrl | None = None
    recipient_token: SecretStr | None = None
    recipient_cache: Annotated[float, Field(ge=0)] = 60
    # Where webhooks may go besides the public Internet: 10.1.0.0/16,hooks.internal:8443
    egress_allow: Annotated[
        list[str], NoDecode, BeforeValidator(split), AfterValidator(refuse_odd_entries)
    ] = []

    # Proxies whose X-Forwarded-For is believed, addresses or networks; without, the address is the connection's own.
    trusted_proxies: Annotated[list[str], NoDecode, BeforeValidator(split)] = []

    gateway_queue: PositiveInt = 256
    # Connections at once: of a user, from an address (for IPv6: a /64), and from one before they say who they are.
    gateway_connections_per_user: PositiveInt = 50
    gateway_connections_per_address: PositiveInt = 1000
    gateway_strangers_per_address: PositiveInt = 100
    # What one socket may ask for; a faster one is read more slowly.
    gateway_frames_per_second: PositiveInt = 50
    gateway_reconcile: Seconds = 30
    # Pages on other hosts that may open a socket and call the API for their user: https://app.example.com,https://…
    gateway_origins: Annotated[list[str], NoDecode, BeforeValidator(split)] = []

    @model_validator(mode="after")
    def postgres_itself_is_known(self) -> Self:
        if without_parameter(self.listen_database)[1]:
            raise ValueError(
                "OUTBOX_LISTEN_DATABASE_URL must be set to Postgres itself where DATABASE_URL leads through a pooler"
                " (pooler=transaction), and must not lead through one"
            )
        return self

    @model_validator(mode="after")
    def notifications_outlive_their_log(self) -> Self:
        if self.notification_retention is not None and self.notification_retention < self.retention:
            raise ValueError(
                f"OUTBOX_NOTIFICATION_RETENTION={self.notification_retention} is shorter than"
                f" OUTBOX_RETENTION={self.retention}: what Redis may be filled with again has to be known"
            )
        return self

    @model_validator(mode="after")
    def one_source_of_recipients(self) -> Self:
        if self.recipient_query and self.recipient_url:
            raise ValueError(
                "OUTBOX_RECIPIENT_QUERY and OUTBOX_RECIPIENT_URL exclude each other: set one of them"
            )
        return self

    @model_validator(mode="after")
    def algorithms_have_keys(self) -> Self:
        if self.jwt_jwks and self.jwt_jwks_url:
            raise ValueError("OUTBOX_JWT_JWKS and OUTBOX_JWT_JWKS_URL exclude each other: set one of them")
        if ASYMMETRIC.isdisjoint(self.algorithms) == self.has_jwks:
            raise ValueError(
                "OUTBOX_JWT_ALGORITHMS and OUTBOX_JWT_JWKS_URL do not fit: HS256 alone needs no JWKS, the others do"
            )
        return self

    @property
    def has_jwks(self) -> bool:
        return bool(self.jwt_jwks or self.jwt_jwks_url)

    @property
    def algorithms(self) -> frozenset[Algorithm]:
        """By which tokens may be signed."""
        by_default: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA") if self.has_jwks else (SHARED,)
        return frozenset(self.jwt_algorithms or by_default)

    @cached_property
    def keys(self) -> Keys:
        """The names used in Redis."""
        return Keys(self.redis_prefix)

    @cached_property
    def egress(self) -> Egress:
        """Where connections may go to whose address somebody else names."""
        return Egress.parse(self.egress_allow)

    @property
    def database(self) -> str:
        return self.database_url.get_secret_value()

    @property
    def listen_database(self) -> str:
        return (self.listen_database_url or self.database_url).get_secret_value()

    @property
    def own_database(self) -> str:
        """For what has a session of its own: never through a pooler."""
        return self.listen_database if without_parameter(self.database)[1] else self.database

    @property
    def migrate_database(self) -> str:
        return (
            self.migrate_database_url.get_secret_value() if self.migrate_database_url else self.own_database
        )

    @property
    def redis(self) -> str:
        return self.redis_url.get_secret_value()

    @property
    def public_api_url(self) -> str:
        return self.api_url or f"http://{self.host}:{self.api_port}"

    @property
    def public_gateway_url(self) -> str:
        return self.gateway_url or f"http://{self.host}:{self.gateway_port}"

    def link_key(self, purpose: str) -> bytes:
        """The key that signs what outsiders get, one for each purpose."""
        return derive((self.link_secret or self.jwt_secret).get_secret_value(), purpose)

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Every setting: its name in the environment, and what the model takes it by."""
        aliases = {field: info.validation_alias for field, info in cls.model_fields.items()}
        return {
            str(alias or f"OUTBOX_{field.upper()}"): str(alias or field) for field, alias in aliases.items()
        }

    @classmethod
    def load(cls) -> Self:
        """From the environment, and from a running `outbox up` for what the environment leaves open.

        Raises SettingsError with every wrong key, its value and what is asked.
        """
        names = cls.variables()
        files = secret_files.held(names, os.environ)
        given: dict[str, Any] = {names[name]: value for name, value in files.items()}
        try:
            return cls(_env_file=state_dir() / "local.env", **given)
        except ValidationError as error:
            raise SettingsError(describe(error)) from None


def describe(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = "_".join(str(part) for part in problem["loc"])
        key = key if key.isupper() else f"OUTBOX_{key.upper()}"
        if not problem["loc"]:  # of several keys, which it names
            lines.append(problem["msg"].removeprefix("Value error, "))
        elif problem["type"] == "missing":
            lines.append(f"{key} is not set")
        else:
            secret = isinstance(problem["input"], SecretStr) or key.endswith(("_URL", "_SECRET"))
            value = "(hidden)" if secret else repr(problem["input"])
            lines.append(f"{key}={value}: {problem['msg']}")
    return "\n".join(lines)


def resolve(reference: str) -> str:
    """The secret that a config names: `env:SMTP_URL` is the variable's value. Raises SettingsError."""
    kind, _, name = reference.partition(":")
    if kind != "env" or not name:
        raise SettingsError(f"{reference!r} is no reference to a secret; write env:NAME")
    if not (value := os.environ.get(name) or secret_files.held_value(name, os.environ)):
        raise SettingsError(f"{name} is not set, but a channel's config refers to it as {reference!r}")
    return value
