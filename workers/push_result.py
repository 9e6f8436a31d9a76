"""What becomes of a push that went to several devices: one outcome for the delivery, one status for each. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from db.delivery import Tried
from db.push import Device, DeviceResult, DeviceStatus
from workers.outcome import (
    Deferred,
    Delivered,
    LeaseShort,
    Outcome,
    Permanent,
    RecipientGone,
    Throttled,
    Transient,
    Unknown,
    counted,
    requests,
)

NO_DEVICE = "the recipient has no device that could be written to"
STATUS: Mapping[type[Outcome], DeviceStatus] = {
    Delivered: DeviceStatus.DELIVERED,
    Transient: DeviceStatus.RETRYING,
    Throttled: DeviceStatus.RETRYING,
    LeaseShort: DeviceStatus.RETRYING,
    Deferred: DeviceStatus.RETRYING,
    Permanent: DeviceStatus.FAILED,
    RecipientGone: DeviceStatus.GONE,
    Unknown: DeviceStatus.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class OnDevice:
    """How the attempt on one device ended."""

    device: Device
    provider: str
    outcome: Outcome


def whole(results: Sequence[OnDevice], *, reached: bool, hold: bool) -> Outcome:
    """The delivery's outcome. `reached`: earlier attempts have brought it to some device. `hold`: the channel wants a
    person to look where nobody knows whether it arrived.

    What can be tried again is tried again; when it no longer is, one device that has it makes it delivered.
    """
    merged = merge(results, reached=reached, hold=hold)
    return counted(merged, sum(made(one.outcome) for one in results))


def merge(results: Sequence[OnDevice], *, reached: bool, hold: bool) -> Outcome:
    taken = [one for one in results if isinstance(one.outcome, Delivered)]
    open_ = [one for one in results if isinstance(one.outcome, Transient | Throttled | Unknown | Deferred)]
    if open_ and all(isinstance(one.outcome, Deferred) for one in results):
        return put_off(results, reached=reached)
    if open_:
        return waiting(open_, len(results), reached=reached or bool(taken), hold=hold)
    if taken:
        return Delivered(message_id(taken[0].outcome), names(taken))
    if reached:
        return Delivered()
    return refused(results)


def waiting(open_: Sequence[OnDevice], number: int, *, reached: bool, hold: bool) -> Outcome:
    """One for those that are to be tried again: the one that asks for most."""
    worst = max(open_, key=lambda one: weight(one.outcome, hold=hold)).outcome
    assert isinstance(worst, Transient | Throttled | Unknown | Deferred)
    reason = of_many(worst.reason, len(open_), number)
    if isinstance(worst, Unknown):
        return Unknown(reason, names(open_), reached=reached)
    # A provider that throttles is left alone by its circuit: the channel, and so the other platform, goes on.
    return Transient(str(error_class(worst)), reason, longest(open_), names(open_), reached=reached)


def put_off(results: Sequence[OnDevice], *, reached: bool) -> Deferred:
    """No provider was asked, but perhaps to find out that it is still ill: that counts as no attempt."""
    first = results[0].outcome
    assert isinstance(first, Deferred)
    reason = of_many(first.reason, len(results), len(results))
    probes = tuple(tried for one in results for tried in before(one.outcome) if tried.sends)
    return Deferred(
        first.error_class, reason, longest(results), provider=names(results), tried=probes, reached=reached
    )


def before(outcome: Outcome) -> tuple[Tried, ...]:
    return () if isinstance(outcome, LeaseShort) else outcome.tried


def made(outcome: Outcome) -> int:
    """How many requests it took, those that came to nothing among them."""
    return requests(outcome) + sum(tried.sends for tried in before(outcome))


def weight(outcome: Outcome, *, hold: bool) -> int:
    match outcome:
        case Unknown():
            return 3 if hold else 0
        case Throttled():
            return 2
    return 1


def longest(open_: Sequence[OnDevice]) -> float | None:
    kinds = Transient | Throttled | Deferred
    waits = [one.outcome.retry_after for one in open_ if isinstance(one.outcome, kinds)]
    return max((wait for wait in waits if wait is not None), default=None)


def refused(results: Sequence[OnDevice]) -> Outcome:
    """Nothing was taken, and nothing will be."""
    if not results:
        return Permanent("no_contact", NO_DEVICE)
    last = next((one for one in results if isinstance(one.outcome, Permanent)), results[0]).outcome
    assert isinstance(last, Permanent | RecipientGone)
    return replace(last, reason=of_many(last.reason, len(results), len(results)), provider=names(results))


def of_many(reason: str, some: int, number: int) -> str:
    return reason if number == 1 else f"{some} of {number} devices, one of them: {reason}"


def names(results: Sequence[OnDevice]) -> str:
    return ", ".join(sorted({one.provider for one in results}))


def message_id(outcome: Outcome) -> str | None:
    return outcome.message_id if isinstance(outcome, Delivered) else None


def row(one: OnDevice, notification_id: UUID, attempt: int) -> DeviceResult:
    """For `notify.push_attempts`."""
    return DeviceResult(
        notification_id,
        one.device.id,
        STATUS[type(one.outcome)],
        attempt,
        one.provider,
        message_id(one.outcome),
        error_class(one.outcome),
        None if isinstance(one.outcome, Delivered | LeaseShort) else one.outcome.reason,
    )


def error_class(outcome: Outcome) -> str | None:
    match outcome:
        case Transient() | Permanent() | Deferred():
            return outcome.error_class
        case Throttled():
            return "throttled"
        case RecipientGone():
            return "recipient_gone"
        case Unknown():
            return "unknown"
    return None
