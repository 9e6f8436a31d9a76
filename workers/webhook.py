"""The webhook channel: endpoint → its turn → body → signatures → request. Any number of channels are of this kind."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from redis.exceptions import RedisError

from db.delivery import Claim, Status, Tried
from db.pool import OUTAGES as DATABASE_OUTAGES
from db.pool import Executor, Pool
from db.webhooks import Place
from outbox import tracing
from outbox.egress import Egress
from outbox.log import get
from outbox.nodes import Nodes
from outbox.rendering.renderers import Rendered
from outbox.service import describe
from outbox.streams import Keys
from outbox.trace_context import here
from outbox.tracing import Kind, Span
from workers import traced
from workers.circuit import Admission, Circuit, Sign, State
from workers.concurrency import Concurrency, paced
from workers.configured import Configured
from workers.dialing import Resolver, resolve
from workers.endpoints import Endpoint, Endpoints, Hook, hook
from workers.hooks import default_body, is_json, outcome_of, sign_of
from workers.job import Hint, Job, Settled
from workers.outcome import (
    Deferred,
    Delivered,
    LeaseShort,
    Outcome,
    Permanent,
    RecipientGone,
    Transient,
    requests,
)
from workers.posting import Answer, Post, Poster
from workers.rates import Rates
from workers.recipient_rate import RecipientRate
from workers.rendering import Rendering
from workers.signing import sign
from workers.turns import BEHIND, Turns

log = get("worker")

OUTAGES = (*DATABASE_OUTAGES, RedisError)
BUDGET_SECONDS = 32.0  # the longest time-out that a config may ask for, and what comes before the request
CROWDED_SECONDS = 1.0
# What one user's endpoint may hold of a lane that many share.
SHARE = 4
THROTTLE_SECONDS = 1.0
WAITING = frozenset({Status.RETRYING, Status.DEFERRED})


@dataclass(frozen=True, slots=True)
class Ground:
    """What a webhook channel stands on. `resolver` is the system's, but for tests."""

    pool: Pool
    nodes: Nodes
    keys: Keys
    egress: Egress
    concurrency: int
    lease_seconds: float
    resolver: Resolver = resolve
    rates: Rates | None = None


class Site:
    """What the lanes of one channel share within a process: what is known of endpoints, and whose turn it is."""

    def __init__(self, channel: str, ground: Ground) -> None:
        self.channel, self.ground = channel, ground
        self.endpoints = Endpoints(channel, ground.pool)
        self.turns = Turns(channel, ground.pool, ground.nodes)


class Webhook:
    """For one lane: its connections, its renderers, its copies of config and templates."""

    outward = True

    def __init__(self, site: Site) -> None:
        self.name, self._site = site.channel, site
        ground = site.ground
        self.capacity = ground.concurrency
        self._pace = Concurrency(self.capacity)
        self.budget = min(BUDGET_SECONDS, ground.lease_seconds / 2)
        self._config = Configured(self.name, hook, closed)
        self._rendering = Rendering(self.name)
        self._poster = Poster(ground.egress, self.capacity, resolver=ground.resolver)

    @property
    def pace(self) -> Concurrency | None:
        """Of the channel's own endpoint. Where each user has one, none of them must slow down the others; and what goes
        in order goes one by one."""
        made = self._config.get()
        counted = isinstance(made, Transient) or (made.url is not None and not made.config.ordered)
        return self._pace if counted else None

    async def prepare(self, executor: Executor, claims: Sequence[Claim]) -> None:
        await self._config.refresh(executor, claims)
        await self._rendering.fetch(executor, claims)

    async def attempt(self, job: Job) -> Outcome:
        made = self._config.get()
        if isinstance(made, Transient):
            return made
        endpoint = await self._site.endpoints.of(made, job)
        if not isinstance(endpoint, Endpoint):
            return endpoint
        with self._site.endpoints.room(endpoint, max(self.capacity // SHARE, 1)) as room:
            if made.config.ordered:
                return await self._in_order(made, endpoint, job, room)
            return await self._deliver(made, endpoint, job) if room else crowded()

    async def _in_order(self, made: Hook, endpoint: Endpoint, job: Job, room: bool) -> Outcome:
        """Its place first, whatever comes then: nothing later may overtake it."""
        turns = self._site.turns
        try:
            place = await turns.place(job, endpoint.key)
            if not room:
                return crowded()
            async with turns.queue(endpoint.key):
                return await self._when_due(made, endpoint, job, place)
        except OUTAGES as error:
            # Nothing was sent. The entry stays where it is, so the order is kept.
            log.warning("webhook.turn_unknown", channel=self.name, error=describe(error))
            return LeaseShort()

    async def _when_due(self, made: Hook, endpoint: Endpoint, job: Job, place: Place) -> Outcome:
        """Raises what is in OUTAGES, and then nothing was sent."""
        turns = self._site.turns
        if not job.lasts(self.budget):  # it waited here for too long
            return Deferred("waits_its_turn", BEHIND, 0.0, exact=True)
        stream = self._site.ground.keys.stream(self.name, job.entry.envelope.priority)
        if (wait := await turns.take(place, stream, job.ends - time.monotonic())) is not None:
            return wait
        outcome: Outcome = LeaseShort()
        try:
            outcome = await self._deliver(made, endpoint, job)
        finally:
            await turns.leave(place, job, delivered=isinstance(outcome, Delivered))
        return outcome

    async def _deliver(self, made: Hook, endpoint: Endpoint, job: Job) -> Outcome:
        if made.trouble:
            return Transient("config", made.trouble)
        body = await self._body(made, job)
        if not isinstance(body, str):
            return body
        allowed = RecipientRate(self.name, self._site.ground.rates, made.rate)
        return await allowed.send(job, endpoint.url, lambda: self._try(made, endpoint, job, body))

    async def _try(self, made: Hook, endpoint: Endpoint, job: Job, body: str) -> Outcome:
        circuit = self._site.endpoints.circuit(endpoint)
        admission = circuit.admit(time.monotonic())
        if admission is Admission.REFUSED:
            return put_off(circuit, made, job)
        outcome: Outcome = LeaseShort()
        try:
            if job.lasts(self.budget):
                outcome = await self._post(made, endpoint, job, body)
        finally:
            learn(circuit, admission, outcome)
        if isinstance(outcome, RecipientGone):
            await self._switch_off(endpoint, job, outcome.reason)
        if admission is Admission.PROBE and isinstance(outcome, Transient) and sign_of(outcome) is Sign.ILL:
            return in_vain(outcome, put_off(circuit, made, job))
        return outcome

    async def _body(self, made: Hook, job: Job) -> str | Outcome:
        """By the channel's template if it has one for this, else as Standard Webhooks advises."""
        if job.claim.template is None:
            return default_body(job.entry.envelope)
        rendered = await self._rendering.render(job)
        if not isinstance(rendered, Rendered):
            return rendered
        if "json" in made.config.content_type and not is_json(rendered.text):
            return Permanent("template", "the template's text is no JSON; use the filter tojson for values")
        return rendered.text

    async def _post(self, made: Hook, endpoint: Endpoint, job: Job, body: str) -> Outcome:
        method = made.config.method
        about = {"http.request.method": method, "server.address": endpoint.host}
        with tracing.span(f"{method} {self.name}", Kind.CLIENT, about) as span:
            outcome = await self._exchange(made, endpoint, job, body, span)
            traced.answered(span, outcome)
        return outcome

    async def _exchange(self, made: Hook, endpoint: Endpoint, job: Job, body: str, span: Span) -> Outcome:
        now, traceparent = datetime.now(UTC), here()
        headers = {
            "user-agent": "Outbox",
            # So that the receiver's spans hang beneath.
            **({"traceparent": traceparent} if traceparent else {}),
            **{name.lower(): value for name, value in made.headers.items()},
            "content-type": made.config.content_type,
            "accept-encoding": "identity",
            **sign(endpoint.signers, str(job.entry.notification_id), now, body),
        }
        post = Post(made.config.method, endpoint.url, headers, body.encode())
        seconds = min(made.config.timeout_seconds, self.budget)
        outcome = await paced(self.pace, self._answer(post, seconds, now, span))
        return outcome if isinstance(outcome, LeaseShort) else replace(outcome, provider=endpoint.host)

    async def _answer(self, post: Post, seconds: float, now: datetime, span: Span) -> Outcome:
        answer = await self._poster.send(post, seconds)
        if not isinstance(answer, Answer):
            return answer
        span.note({"http.response.status_code": answer.status})
        return outcome_of(answer, now)

    async def _switch_off(self, endpoint: Endpoint, job: Job, reason: str) -> None:
        """Where that fails, the next delivery is told the same."""
        try:
            await self._site.endpoints.switch_off(endpoint, job, reason)
        except DATABASE_OUTAGES as error:
            log.warning("webhook.not_switched_off", channel=self.name, error=describe(error))

    async def record(self, executor: Executor, settled: Sequence[Settled]) -> None:
        """Of an ordered endpoint what waits keeps its place, whoever has put it off."""
        made = self._config.get()
        if isinstance(made, Transient) or not made.config.ordered:
            return
        waiting = [each.job for each in settled if each.settlement.status in WAITING]
        keys = ["" if made.url is not None else job.entry.envelope.user_id for job in waiting]
        await self._site.turns.keep(executor, zip(waiting, keys, strict=True))

    async def again(self, executor: Executor, user_ids: Sequence[str]) -> Sequence[Hint]:
        return ()

    async def close(self) -> None:
        await self._rendering.close()
        await self._config.close()
        await self._poster.close()


async def closed(_: Hook) -> None:
    """A config holds nothing open: connections belong to the lane."""


def crowded() -> Deferred:
    return Deferred("crowded", "this endpoint has as much under way as it may", CROWDED_SECONDS, exact=True)


def put_off(circuit: Circuit, made: Hook, job: Job) -> Permanent | Deferred:
    """Not now. That counts as no attempt, so there is another end to it: the age of the delivery."""
    hours = made.config.give_up_after_hours
    # Not while a probe is on its way: it may be well again.
    if circuit.state is State.OPEN and job.age() > hours * 3600:
        return Permanent("endpoint_down", f"the endpoint fails, and {hours:g} hours are over")
    now = time.monotonic()
    why = "asked to be left alone" if circuit.resting(now) else "fails, and is left alone"
    wait = max(circuit.wait(now), CROWDED_SECONDS)
    # Spread, so that those who wait do not come back as one wave.
    return Deferred(
        "circuit_open", f"the endpoint {why} for a while", wait * random.uniform(1.0, 1.5), exact=True
    )


def in_vain(probe: Transient, outcome: Permanent | Deferred) -> Outcome:
    """An outage costs a delivery no attempts, not even the one whose lot it was to be the probe."""
    tried = Tried(probe.provider or "?", probe.error_class, probe.reason, requests(probe))
    return replace(outcome, tried=(tried,))


def learn(circuit: Circuit, admission: Admission, outcome: Outcome) -> None:
    """What an attempt says about the endpoint, for all that come after it."""
    now = time.monotonic()
    sign_given = Sign.NONE if isinstance(outcome, LeaseShort) else sign_of(outcome)
    circuit.record(admission, sign_given, now, random.random())
    if isinstance(outcome, Transient) and outcome.error_class == "throttled":
        circuit.rest(now, outcome.retry_after or THROTTLE_SECONDS)
