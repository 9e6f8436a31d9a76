"""Entries that were read and not begun: which of them the next claim takes, and under which token. Pure.

A batch that cannot be begun is halved, and its halves again, until the entry that is to blame is alone and out of its
neighbours' way. A token holds for the whole batch that it was made for: a claim that came before the failure may have
been made for all of it, and only with the same token does it count as one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from workers.entries import Entry, once_each


@dataclass(slots=True)
class Unclaimed:
    """Of one lane."""

    _batch: list[Entry] = field(default_factory=list)  # of the token
    _after: list[Entry] = field(default_factory=list)
    _token: UUID | None = None  # of a claim that may have been made
    _most: int | None = None  # how many are claimed at once, after a failure

    def __bool__(self) -> bool:
        return bool(self._batch or self._after)

    def add(self, entries: Iterable[Entry]) -> None:
        self._after += entries

    def take(self) -> tuple[Sequence[Entry], UUID]:
        """The next ones, each notification once, and their claim's token: the same until they are begun or given
        up."""
        if not self._batch:
            self._batch, self._after = once_each(self._after)
            self._token, self._most = None, None
        self._token = self._token or uuid4()
        return self._batch[: self._most], self._token

    def begun(self, taken: Sequence[Entry]) -> None:
        del self._batch[: len(taken)]
        if not self._batch:
            self._token = None

    def failed(self, taken: Sequence[Entry]) -> Entry | None:
        """Next time fewer of them. The entry that has failed alone, and is not among them any more."""
        if len(taken) > 1:
            self._most = len(taken) // 2
            return None
        self.begun(taken)
        return taken[0]

    def forgo(self) -> tuple[list[Entry], list[Entry], UUID | None]:
        """All of them, and no more: those that nobody has claimed, those that a claim may have been made for, and its
        token."""
        batch, after, token = self._batch, self._after, self._token
        self._batch, self._after, self._token = [], [], None
        return ([*batch, *after], [], None) if token is None else (after, batch, token)
