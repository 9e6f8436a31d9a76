"""When to try again: exponential back-off with jitter, and the far side's own wish. Pure."""

from dataclasses import dataclass

# The spread keeps the retries of one outage from coming back as one wave.
JITTER = 0.25
# What is deferred waits for so much of its age: often while it is young, seldom in an outage of hours.
OF_AGE = 0.125


@dataclass(frozen=True, slots=True)
class Backoff:
    """In seconds. No delay is longer than the cap, jitter and a far side's Retry-After included."""

    base: float
    cap: float
    jitter: float = JITTER

    def delay(self, attempt: int, chance: float, retry_after: float | None = None) -> float:
        """Seconds to wait after the attempt-th attempt failed (the first is 1). `chance` lies in [0, 1)."""
        doubled = self.base * 2.0 ** min(max(attempt - 1, 0), 40)
        jittered = min(doubled, self.cap) * (1 - self.jitter + 2 * self.jitter * chance)
        return min(self.cap, max(jittered, retry_after or 0.0))

    def deferral(self, age: float, chance: float, retry_after: float | None = None) -> float:
        """Seconds until somebody may be asked again, for a delivery that is `age` seconds old."""
        wait = max(retry_after or self.base, OF_AGE * age)
        return min(self.cap, wait * (1 + JITTER * chance))
