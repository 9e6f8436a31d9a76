"""Which letters travel in one request to SendGrid, and its body. Pure.

A request holds one content for many recipients, but each of our letters was rendered for its own. So what all letters
of a request have in common at their beginning and end travels once, and what lies between travels as a substitution
of each personalization: SendGrid puts it in place of a tag. The tag is random, so that no letter can hold it. A letter
whose own part is too long for a substitution travels alone.

Source: twilio.com/docs/sendgrid/api-reference/mail-send, its OpenAPI document, and its page of limits.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from workers.message import NO_SUBJECT, Letter

MOST = 1_000  # personalizations in a request
# The API takes 10,000 bytes of substitutions a personalization; the rest is for what it may count besides.
SUBSTITUTION_BYTES = 9_500
Placed = tuple[int, Letter]
PARTS = (("text", "text/plain"), ("html", "text/html"))


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the content, as all letters of a request have it, and what each puts in place of the tag."""

    media_type: str
    shared: str
    tag: str
    own: Sequence[str]  # empty where they are all the same


def batches(letters: Iterable[tuple[int, Letter]]) -> list[list[Placed]]:
    """Letters with their places, parted into requests: the same sender, the same kind, the same parts, and no address
    twice in one, which the API refuses."""
    groups: dict[tuple[Any, ...], list[dict[str, Placed]]] = {}
    for placed in letters:
        letter, rendered = placed[1], placed[1].rendered
        key = (str(letter.sender), letter.kind, bool(rendered.text.strip()), bool(rendered.html.strip()))
        join(groups.setdefault(key, []), placed)
    requests = [list(request.values()) for group in groups.values() for request in group]
    return [part for request in requests for part in split(request)]


def join(requests: list[dict[str, Placed]], placed: Placed) -> None:
    """Into the first request that has room and not this address."""
    address = placed[1].recipient.lower()
    for request in requests:
        if len(request) < MOST and address not in request:
            request[address] = placed
            return
    requests.append({address: placed})


def split(request: list[Placed]) -> list[list[Placed]]:
    """Those whose own part is too long go alone. What the others have in common only grows by that."""
    parts = content([letter for _, letter in request])
    fits, alone = [], []
    for at, placed in enumerate(request):
        size = sum(len(part.tag) + len(part.own[at].encode("utf-8", "replace")) for part in parts if part.own)
        if size > SUBSTITUTION_BYTES and len(request) > 1:
            alone.append([placed])
        else:
            fits.append(placed)
    return [*alone, fits] if fits else alone


def body(letters: Sequence[Letter]) -> dict[str, Any]:
    """The JSON of POST /v3/mail/send. It names no address but the recipients' own."""
    parts = content(letters)
    return {
        "from": person(letters[0]),
        "personalizations": [personalization(letter, at, parts) for at, letter in enumerate(letters)],
        "content": [{"type": part.media_type, "value": part.shared} for part in parts],
    }


def personalization(letter: Letter, at: int, parts: Sequence[Part]) -> dict[str, Any]:
    own = {part.tag: part.own[at] for part in parts if part.own}
    headers = {"Message-ID": letter.message_id, "Auto-Submitted": "auto-generated", **letter.headers}
    return {
        "to": [{"email": letter.recipient}],
        "subject": letter.subject or NO_SUBJECT,  # the API takes no empty one
        "headers": headers,
        # Events bear these, so that they find their way back.
        "custom_args": {"notification_id": str(letter.notification_id), "channel": letter.channel},
    } | ({"substitutions": own} if own else {})


def person(letter: Letter) -> dict[str, str]:
    name = letter.sender.display_name
    return {"email": letter.sender.addr_spec} | ({"name": name} if name else {})


def content(letters: Sequence[Letter]) -> list[Part]:
    """The parts that are there, plain text first, as the API asks. A letter without any has an empty line."""
    made = [
        share(media_type, [getattr(letter.rendered, name) for letter in letters])
        for name, media_type in PARTS
        if letters[0].rendered.text.strip() or letters[0].rendered.html.strip()
        if getattr(letters[0].rendered, name).strip()
    ]
    return made or [Part("text/plain", "\n", "", ())]


def share(media_type: str, values: Sequence[str]) -> Part:
    first = beginning(values)
    if all(len(value) == len(first) for value in values):
        return Part(media_type, first, "", ())
    rests = [value[len(first) :] for value in values]
    last = beginning([rest[::-1] for rest in rests])[::-1]
    own = [rest[: len(rest) - len(last)] for rest in rests]
    tag = f"-{secrets.token_hex(12)}-"
    return Part(media_type, f"{first}{tag}{last}", tag, own)


def beginning(values: Sequence[str]) -> str:
    """What all of them begin with: it is what the first and the last in order begin with."""
    low, high = min(values), max(values)
    differs = (at for at, (one, other) in enumerate(zip(low, high, strict=False)) if one != other)
    return low[: next(differs, len(low))]
