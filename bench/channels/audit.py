"""The audit: what producers committed, what the timelines say, what reached the providers. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from db.delivery import FINAL, Status

PUSH = ("apns", "fcm")
OUTWARD = {"sendgrid": "email", "smtp": "email", "twilio": "sms", "twilio-b": "sms"} | dict.fromkeys(
    PUSH, "push"
)
NEEDS_REASON = frozenset({Status.SUPPRESSED, Status.CANCELED, Status.EXPIRED})
NEEDS_CLASS = frozenset({Status.FAILED, Status.UNKNOWN})
AN_ATTEMPT = 2  # requests at most: two providers, or two devices


class Event(NamedTuple):
    """One line of a timeline."""

    event: str
    attempt: int
    detail: Mapping[str, Any]

    def sends(self) -> Counter[str]:
        """Requests by provider. Of a push that went to both platforms the name is that of both."""
        tried: Counter[str] = Counter()
        for one in self.detail.get("tried", ()):
            tried[one["provider"]] += one["sends"]
        own = self.detail.get("sends", 0) - tried.total()
        return tried + Counter({self.detail.get("provider", ""): own})


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification on one channel, as the database has it at the end."""

    notification: str
    channel: str
    status: str | None  # None: it was never claimed
    events: Sequence[Event] = ()
    platforms: str = ""  # of a push: those of the recipient's devices, as the timeline names several
    in_inbox: bool = False

    @property
    def sends(self) -> int:
        return sum(event.detail.get("sends", 0) for event in self.events)

    @property
    def doubtful(self) -> int:
        """Requests that had left, of which nobody on our side can know whether they arrived: they count as sent. An
        attempt on several devices may tell the trouble of another one."""
        return sum(
            event.detail.get("sends", 0)
            for event in self.events
            if event.detail.get("error_class") == "unknown"
            or (self.channel == "push" and event.event == Status.RETRYING)
        )

    @property
    def overtaken(self) -> int:
        """Requests that workers may have made who were too late to tell: the timeline says that another took over."""
        return AN_ATTEMPT * sum(event.event == "taken_over" for event in self.events)

    def __str__(self) -> str:
        told = (f"{each.event} {each.detail}" for each in self.events)
        return f"{self.channel} {self.notification} {self.status}: {'; '.join(told)}"


@dataclass(slots=True)
class Findings:
    """All but `lost` and `untold` must be empty. `lost`: requests that had left, of whom the double never saw the end:
    the connection they shared with others was reset. Their attempts are `unknown`, as nobody on our side can tell.
    `untold`: those of a worker whose lease was over before it could tell."""

    missing: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)  # requests of which no timeline knows
    lost: Counter[str] = field(default_factory=Counter)
    untold: Counter[str] = field(default_factory=Counter)

    @property
    def holds(self) -> bool:
        return not (self.missing or self.unfinished or self.unexplained or self.unequal or self.strangers)


class Line(NamedTuple):
    """Of one provider."""

    requests: int
    sends: int


def explained(delivery: Delivery) -> bool:
    """Whether the last line of its timeline is the state that it is in, and says why."""
    told = [event for event in delivery.events if event.event != "taken_over"]
    if not told or told[-1].event != delivery.status:
        return False
    detail = told[-1].detail
    if delivery.status in NEEDS_CLASS:
        return bool(detail.get("error_class") and detail.get("reason"))
    if delivery.status in NEEDS_REASON:
        return bool(detail.get("reason"))
    if delivery.channel == "inapp":
        return delivery.in_inbox
    return bool(delivery.sends or detail.get("found"))


def audit(
    committed: Iterable[tuple[str, str]],
    deliveries: Sequence[Delivery],
    arrivals: Mapping[tuple[str, str], int],
) -> Findings:
    """`committed` are (notification, channel), `arrivals` are counted by (provider, notification)."""
    found = Findings()
    known = {(each.notification, each.channel) for each in deliveries}
    found.missing = [f"{channel} {notification}" for notification, channel in set(committed) - known]
    arrived: Counter[tuple[str, str]] = Counter()
    for (provider, notification), count in arrivals.items():
        arrived[notification, OUTWARD.get(provider, "webhook")] += count
    for delivery in deliveries:
        judge(found, delivery, arrived[delivery.notification, delivery.channel])
    found.strangers = [f"{channel} {notification}" for notification, channel in arrived.keys() - known]
    return found


def judge(found: Findings, delivery: Delivery, arrived: int) -> None:
    if delivery.status not in FINAL:
        found.unfinished.append(str(delivery))
    elif not explained(delivery):
        found.unexplained.append(str(delivery))
    surplus = delivery.sends - arrived
    if 0 < surplus <= delivery.doubtful:
        found.lost[delivery.platforms or delivery.channel] += surplus
    elif 0 < -surplus <= delivery.overtaken:
        found.untold[delivery.channel] -= surplus
    elif surplus:
        found.unequal.append(f"{delivery.sends} sends, {arrived} requests: {delivery}")


def lines(deliveries: Iterable[Delivery], arrivals: Mapping[tuple[str, str], int]) -> dict[str, Line]:
    """By provider; pushes to people with devices of both platforms are a line of their own."""
    sent: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    platforms: dict[str, str] = {}
    for delivery in deliveries:
        if delivery.channel == "push":
            platforms[delivery.notification] = delivery.platforms
            sent[delivery.platforms] += delivery.sends
            continue
        for event in delivery.events:
            sent += event.sends()
    for (provider, notification), count in arrivals.items():
        reached[platforms.get(notification, provider) if provider in PUSH else provider] += count
    return {name: Line(reached[name], sent[name]) for name in sorted(sent.keys() | reached.keys()) if name}
