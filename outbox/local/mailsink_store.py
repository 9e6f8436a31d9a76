"""Caught mails: a file each, and a small index of them in memory that is rebuilt from the files at start."""

import os
import re
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from itertools import islice
from pathlib import Path

HEAD_BYTES = 32_768
KEEP = 50_000
END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")  # the parser would go on through the body
SUFFIX = ".eml"


@dataclass(frozen=True, slots=True)
class Mail:
    """What a list of mails shows. Ids grow with time."""

    id: str
    at: float  # Unix seconds
    message_id: str
    sender: str
    to: str
    subject: str
    size: int


class Store:
    """The newest `keep` mails in one folder. Safe to kill: a mail is there whole or not at all."""

    def __init__(self, folder: Path, keep: int = KEEP) -> None:
        self.folder = folder
        self.keep = keep
        self.mails: list[Mail] = []
        self.message_ids: Counter[str] = Counter()
        self.last = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read_folder(self) -> None:
        for left in self.folder.glob("*.tmp"):
            left.unlink()  # never acknowledged, so the sender still has it
        for name in sorted(entry.name for entry in os.scandir(self.folder) if entry.name.endswith(SUFFIX)):
            path = self.folder / name
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
            self.index(described(path.stem, head, path.stat().st_size))
        self.last = int(self.mails[-1].id) if self.mails else 0

    def add(self, content: bytes) -> Mail:
        """Returns when the mail has its place in the folder: it outlives this process from then on."""
        self.last = max(time.time_ns(), self.last + 1)
        path = self.path(str(self.last))
        scratch = path.with_suffix(".tmp")
        scratch.write_bytes(content)
        scratch.rename(path)
        mail = described(path.stem, content[:HEAD_BYTES], len(content))
        self.index(mail)
        return mail

    def index(self, mail: Mail) -> None:
        self.mails.append(mail)
        self.message_ids[mail.message_id] += 1
        while len(self.mails) > self.keep:
            self.forget(self.mails.pop(0))

    def forget(self, mail: Mail) -> None:
        self.path(mail.id).unlink(missing_ok=True)
        self.message_ids[mail.message_id] -= 1
        if not self.message_ids[mail.message_id]:
            del self.message_ids[mail.message_id]

    def clear(self) -> None:
        for mail in self.mails:
            self.forget(mail)
        self.mails.clear()

    def newest(self, limit: int, query: str = "", before: str | None = None) -> list[Mail]:
        """The newest first; those before an id, to go on from there."""
        end = self.place(before) - self.holds(before) if before else len(self.mails)
        found = (mail for mail in reversed(self.mails[:end]) if matches(mail, query))
        return list(islice(found, limit))

    def after(self, mail_id: str, limit: int, query: str = "") -> list[Mail]:
        """Those that came after an id, the oldest first."""
        found = (mail for mail in self.mails[self.place(mail_id) :] if matches(mail, query))
        return list(islice(found, limit))

    def content(self, mail_id: str) -> bytes | None:
        return self.path(mail_id).read_bytes() if self.holds(mail_id) else None

    def holds(self, mail_id: str) -> bool:
        place = self.place(mail_id)
        return place > 0 and self.mails[place - 1].id == mail_id

    def place(self, mail_id: str) -> int:
        """How many mails are not newer than this one."""
        return bisect_right(self.mails, (len(mail_id), mail_id), key=lambda mail: (len(mail.id), mail.id))

    def path(self, mail_id: str) -> Path:
        return self.folder / f"{mail_id}{SUFFIX}"


def described(mail_id: str, head: bytes, size: int) -> Mail:
    headers = BytesHeaderParser().parsebytes(END_OF_HEADERS.split(head, maxsplit=1)[0])
    return Mail(
        id=mail_id,
        at=int(mail_id) / 1e9,
        message_id=str(headers.get("Message-ID", "")).strip(),
        sender=readable(headers, "From") or readable(headers, "Return-Path"),
        to=", ".join(delivered_to(headers)) or readable(headers, "To"),
        subject=readable(headers, "Subject"),
        size=size,
    )


def delivered_to(headers: Message) -> Iterator[str]:
    """The envelope's recipients: what counts, whatever To says."""
    return (str(value) for value in headers.get_all("Delivered-To", []))


def readable(headers: Message, name: str) -> str:
    """A header in plain words (RFC 2047), on one line."""
    value = headers.get(name, "")
    try:
        text = str(make_header(decode_header(value)))
    except (LookupError, ValueError):
        text = str(value)
    return " ".join(text.split())


def matches(mail: Mail, query: str) -> bool:
    wanted = query.lower()
    return not wanted or any(
        wanted in text.lower() for text in (mail.to, mail.subject, mail.sender, mail.message_id)
    )
