"""What each client was told against what Postgres holds. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Told:
    """What a client heard, from its first connection to its end."""

    user_id: str
    seqs: list[int]
    ids: list[str]
    unread: int
    version: int
    read: list[int]
    oddities: list[str]


@dataclass(slots=True)
class Kept:
    """A user's inbox in Postgres."""

    ids: list[str] = field(default_factory=list)  # by seq, from 1 on
    read: list[int] = field(default_factory=list)
    unread: int = 0  # as inbox_counters has it
    version: int = 0


@dataclass(slots=True)
class Findings:
    """Users by what is wrong with them."""

    missing: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    others: list[str] = field(
        default_factory=list
    )  # told of notifications that are not theirs, or in wrong places
    miscounted: list[str] = field(default_factory=list)
    misread: list[str] = field(default_factory=list)  # items shown read that are not, or the other way round
    odd: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)  # nothing was heard of these clients

    @property
    def holds(self) -> bool:
        return not any(asdict(self).values())

    def shown(self) -> dict[str, Any]:
        lists = asdict(self)
        return {
            name: {"number": len(users), "first": users[:SHOWN]} for name, users in lists.items() if users
        }


def audit(told: Iterable[Told], kept: Mapping[str, Kept]) -> Findings:
    found, heard = Findings(), set[str]()
    for client in told:
        heard.add(client.user_id)
        check(found, client, kept.get(client.user_id, Kept()))
    found.silent = sorted(kept.keys() - heard)
    return found


def check(found: Findings, client: Told, kept: Kept) -> None:
    user = client.user_id
    if set(kept.ids) - set(client.ids):
        found.missing.append(user)
    if len(set(client.seqs)) < len(client.seqs) or len(set(client.ids)) < len(client.ids):
        found.twice.append(user)
    if client.seqs != sorted(client.seqs):
        found.out_of_order.append(user)
    if [kept.ids[seq - 1] if 0 < seq <= len(kept.ids) else None for seq in client.seqs] != client.ids:
        found.others.append(user)
    really_unread = len(kept.ids) - len(kept.read)
    if not client.unread == kept.unread == really_unread or client.version != kept.version:
        found.miscounted.append(user)
    if client.read != kept.read:
        found.misread.append(user)
    if client.oddities:
        found.odd.append(f"{user}: {client.oddities[0]}")
