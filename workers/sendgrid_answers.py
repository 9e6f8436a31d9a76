"""What SendGrid's answer to a batch means for each letter in it. Pure.

Source: twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api (responses, rate limits) and
…/mail-send/errors: a refusal names its field, like personalizations.3.to.0.email.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.http_exchange import Answer
from workers.outcome import Delivered, Outcome, Permanent, Throttled, Transient, clean

PERSONALIZATION = re.compile(r"personalizations\.(\d{1,4})(\.to)?(?![\w])")
NOT_ALLOWED = frozenset({401, 403})
OF_THE_SENDER = NOT_ALLOWED | {404, 405, 415, 429}
# A key that is wrong is mended by a person; asking more often helps nobody.
MENDING_SECONDS = 900.0
RESET_CAP_SECONDS = 3600.0
# Fields of ours that are the same in every request, whatever the letters.
OF_THE_CHANNEL = ("from", "reply_to", "asm", "ip_pool_name", "mail_settings", "tracking_settings")


@dataclass(frozen=True, slots=True)
class Named:
    """Nothing was sent, and some letters are to blame, by their places; without them the others may be."""

    refused: Mapping[int, Permanent]


@dataclass(frozen=True, slots=True)
class Halve:
    """Nothing was sent, and it cannot be told whose fault that is, or it was too much at once."""


Verdict = Outcome | Named | Halve


def judge(answer: Answer, letters: int) -> Verdict:
    """An outcome is that of every letter."""
    status = answer.status
    if 200 <= status < 300:
        return Delivered(clean(answer.headers.get("x-message-id", "")) or None)
    errors = read_errors(answer.body)
    reason = clean(f"SendGrid {status}: {'; '.join(message for _, message in errors) or 'no reason given'}")
    if 400 <= status < 500:
        return of_request(status, errors, letters, reason) or of_sender(status, answer.headers, reason)
    if status >= 500:
        return Transient("http_5xx", reason, retry_after(answer.headers))
    return Transient("protocol", reason)  # 1xx, 3xx: not what this API answers, and nothing was sent


def of_sender(status: int, headers: Mapping[str, str], reason: str) -> Outcome:
    """It would be the same with any letter."""
    if status == 429:
        return Throttled(reason, retry_after(headers))
    if status in NOT_ALLOWED:
        return Transient("auth", f"{reason} (the key, its rights, or the sender identity)", MENDING_SECONDS)
    return Transient("config", f"{reason} (is the provider's url right?)", MENDING_SECONDS)


def of_request(status: int, errors: list[tuple[str, str]], letters: int, reason: str) -> Verdict | None:
    """It is about these letters."""
    if status == 413:
        return Halve() if letters > 1 else Permanent("too_large", reason)
    if status in OF_THE_SENDER:
        return None
    return refusal(errors, letters, reason)


def refusal(errors: list[tuple[str, str]], letters: int, reason: str) -> Verdict:
    """A request is taken whole or not at all."""
    if any(field.split(".")[0] in OF_THE_CHANNEL for field, _ in errors):
        return Transient("config", reason, MENDING_SECONDS)
    refused: dict[int, Permanent] = {}
    for field, message in errors:
        found = PERSONALIZATION.match(field)
        if found and int(found[1]) < letters:
            kind = "bad_address" if found[2] else "refused"
            refused.setdefault(int(found[1]), Permanent(kind, clean(f"SendGrid 400: {message}")))
    if refused:
        return Named(refused)
    return Halve() if letters > 1 else Permanent("refused", reason)


def read_errors(body: bytes) -> list[tuple[str, str]]:
    """(field, message) of each error; none where the body is something else."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return []
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        return []
    return [
        (text(error.get("field")), text(error.get("message"))) for error in errors if isinstance(error, dict)
    ]


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from Retry-After or from X-RateLimit-Reset, which is a moment in Unix time. None where neither says."""
    for name, base in (("retry-after", 0.0), ("x-ratelimit-reset", time.time())):
        value = headers.get(name, "")
        if re.fullmatch(r"\d{1,12}", value):
            return min(max(int(value) - base, 0.0), RESET_CAP_SECONDS)
    return None
