"""Where webhooks go: what a config makes, the endpoint of one delivery, and what is known of each endpoint's health."""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from standardwebhooks import Webhook as Signer

from db import webhooks
from db.pool import Pool
from outbox.channel_config import HEADER_VALUE, WebhookConfig, broken_rules
from outbox.errors import SettingsError
from outbox.log import get
from outbox.settings import resolve
from workers.circuit import Circuit, Limits
from workers.job import Job
from workers.outcome import Permanent, Transient, clean
from workers.rates import Rate, rate
from workers.signing import signer

log = get("worker")

# A probe may take as long as a request; everybody else looks again after that.
LIMITS = Limits(in_a_row=5, cool_down=5.0, cool_down_cap=300.0, probe_seconds=10.0)
CIRCUITS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Hook:
    """What a config makes, its references resolved. `trouble`: one that cannot be; the rest holds all the same, so that
    the order of an ordered channel outlives a secret that is not set."""

    config: WebhookConfig
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    signers: tuple[Signer, ...] = ()
    rate: Rate | None = None  # of one endpoint
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Of one delivery. `key` is '' for the channel's own, else the user's id; `stored` is the URL as the row has it."""

    key: str
    url: str
    signers: tuple[Signer, ...]
    stored: str = ""

    @property
    def host(self) -> str:
        """What the timeline calls it: the path may be a secret."""
        return urlsplit(self.url).hostname or "?"


def hook(config: Mapping[str, Any]) -> Hook:
    """Raises SettingsError where the config breaks a rule."""
    if broken := broken_rules("webhook", config):
        raise SettingsError(str(broken[0]))
    checked = WebhookConfig.model_validate(config)
    try:
        return Hook(
            checked,
            None if checked.url is None else resolved(checked.url),
            {name: header(name, value) for name, value in checked.headers.items()},
            tuple(map(signer, checked.secrets)),
            rate(checked.recipient_rate, exact=True) if checked.recipient_rate else None,
        )
    except SettingsError as error:
        return Hook(checked, url="" if checked.url else None, trouble=clean(str(error)))


def resolved(value: str) -> str:
    return resolve(value) if value.startswith("env:") else value


def header(name: str, value: str) -> str:
    """Out of the environment may come what no header holds: the end of a line. Raises SettingsError, without it."""
    text = resolved(value)
    if not HEADER_VALUE.fullmatch(text):
        raise SettingsError(f"the value of header {name}, {value!r}, is not printable ASCII of one line")
    return text


class Endpoints:
    """Of one channel in one process, for all its lanes."""

    def __init__(self, channel: str, pool: Pool) -> None:
        self.channel, self._pool = channel, pool
        self._circuits: OrderedDict[str, Circuit] = OrderedDict()
        self._at_hand: Counter[str] = Counter()

    async def of(self, made: Hook, job: Job) -> Endpoint | Transient | Permanent:
        if made.url is not None:
            return Endpoint("", made.url, made.signers)
        user = job.entry.envelope.user_id
        async with self._pool.acquire() as connection:
            row = await webhooks.endpoint(connection, self.channel, user)
        if row is None:
            return Permanent(
                "no_contact", f"no endpoint for channel {self.channel} is known of this recipient"
            )
        if not row.enabled:
            why = f": {clean(row.reason)}" if row.reason else ""
            return Permanent("endpoint_off", f"the recipient's endpoint is switched off{why}")
        try:
            signers = tuple(map(signer, row.secrets)) or made.signers
            return Endpoint(user, resolved(row.url), signers, row.url)
        except SettingsError as error:
            return Transient("config", clean(str(error)))

    async def switch_off(self, endpoint: Endpoint, job: Job, reason: str) -> None:
        """It answered that it is gone. Nothing goes there any more until somebody switches it on again."""
        log.error(
            "webhook.endpoint_gone",
            channel=self.channel,
            host=endpoint.host,
            of="channel" if endpoint.key == "" else "user",
            notification_id=str(job.entry.notification_id),
        )
        async with self._pool.acquire() as connection:
            if endpoint.key == "":
                await webhooks.switch_off_channel(connection, self.channel, job.claim.version or 0)
            else:
                await webhooks.switch_off_endpoint(
                    connection, self.channel, endpoint.key, endpoint.stored, reason
                )

    def circuit(self, endpoint: Endpoint) -> Circuit:
        """By URL, so that another one is found out anew. The least used are forgotten."""
        circuit = self._circuits.setdefault(endpoint.url, Circuit(LIMITS))
        self._circuits.move_to_end(endpoint.url)
        if len(self._circuits) > CIRCUITS_KEPT:
            self._circuits.popitem(last=False)
        return circuit

    @contextmanager
    def room(self, endpoint: Endpoint, most: int) -> Iterator[bool]:
        """Whether this endpoint has fewer than so many deliveries at hand: a slow one must not fill the lane that it
        shares with others. The channel's own endpoint has its lanes to itself."""
        if endpoint.key and self._at_hand[endpoint.key] >= most:
            yield False
            return
        self._at_hand[endpoint.key] += 1
        try:
            yield True
        finally:
            self._at_hand[endpoint.key] -= 1
            if not self._at_hand[endpoint.key]:
                del self._at_hand[endpoint.key]
