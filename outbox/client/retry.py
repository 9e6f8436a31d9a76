"""When a request is sent again, and after how long. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# 502 and 504 are a proxy's; 500 is a bug, and a bug again the next time.
REFUSED = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retry:
    """`attempts` in all; pauses double from `base` to `cap` seconds, each time a random half of it.

    A Retry-After is kept; one longer than `patience` seconds ends the attempts instead.
    """

    attempts: int = 5
    base: float = 0.25
    cap: float = 20.0
    patience: float = 60.0

    def pause(self, attempt: int, asked: float | None) -> float | None:
        """Seconds before the attempt after this one (1 is the first); None where it was the last."""
        if attempt >= self.attempts or (asked is not None and asked > self.patience):
            return None
        backoff: float = min(self.cap, self.base * 2 ** min(attempt - 1, 16))
        jitter = random.uniform(0.5, 1) * backoff
        # Those who were all told the same moment must not come back in the same one.
        return jitter if asked is None else asked + jitter / 2


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from either form of the header (RFC 9110 §10.2.3); None where there is none that can be read."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
