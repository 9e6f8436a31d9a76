"""The protocol core of one socket: what to send, what to drop, when to read Postgres again. Never awaits.

Postgres is the truth, a published change is a hint. While the session is `behind`, its shell reads:

    start → (counters) → begin → (marks) → marked → (a page of items) → page … until it is no longer `reading`

and hints that come meanwhile are held back and then passed through the same sieve as live ones. Safe to repeat:
an item goes out only if its seq is above the last one sent, a count only with a higher version.
"""

from db.inbox import Counters, Standing
from gateway.protocol import Arrived, Changed, Outgoing, Synced, Welcome, changed, notification
from outbox.inbox import InboxChange, InboxItem

PAGE = 50
FIRST = 50  # what a client without a cursor gets
FIRST_LOOK = 500  # how far back it is looked for among archived ones
MARKS = 200  # how many items below its cursor a client may expect to be told of
HELD = 128

Span = tuple[int, int]


class Session:
    """One socket's place in its user's inbox. `seq` and `version` are those of the last frames made."""

    __slots__ = (
        "_from",
        "_goal",
        "_held",
        "_lost",
        "behind",
        "fresh",
        "reading",
        "seq",
        "user_id",
        "version",
    )

    def __init__(self, user_id: str, cursor: int | None) -> None:
        self.user_id = user_id
        self.seq = -1 if cursor is None else cursor
        self.version = -1
        self.fresh = cursor is None  # the newest items only, instead of all above seq
        self.behind = True
        self.reading = False
        self._goal = Counters()
        self._from = 0
        self._held: list[InboxChange | Arrived] = []
        self._lost = False

    def hint(self, change: InboxChange | Arrived | None) -> list[Outgoing]:
        """What to send on a published change. None: one that could not be read, so look."""
        if change is None:
            self._fall_behind()
            return []
        if not self.behind:
            return self._live(change)
        if len(self._held) < HELD:
            self._held.append(change)
        else:
            self._lost = True
        return []

    def suspect(self, version: int, *, anew: bool = False) -> bool:
        """The inbox had this version at some moment: fall behind if that is news, and say whether it is. `anew`: it had
        a higher one before, so it was erased."""
        news = anew or version > (self._goal.version if self.reading else self.version)
        if news:
            self._fall_behind()
        return news

    def start(self) -> None:
        """Before the counters are read: what was published until now, they will show."""
        self._held.clear()
        self._lost = False

    def begin(self, counters: Counters) -> list[Outgoing]:
        """The counters were read: from here to there."""
        first = self.version < 0
        self._goal = counters
        self.reading = True
        erased = counters.version < self.version
        known = 0 <= self.seq <= counters.last_seq and not erased
        if known and not first:
            self._from = self.seq
            return []
        self.fresh = not known
        self.seq = self._from = self.seq if known else 0
        self.version = 0
        return [
            Welcome(
                user_id=self.user_id,
                unread=counters.unread,
                version=counters.version,
                last_seq=counters.last_seq,
                resumed=known,
            )
        ]

    def marks_span(self) -> Span:
        """Items that the client may hold, and of whose reading it may not have been told. Empty on a fresh start."""
        return max(0, self._from - MARKS), self._from

    def marked(self, items: list[Standing]) -> list[Outgoing]:
        """All that the client needs to put right what it holds, whatever that is. What is gone leaves its list as what
        is archived does."""
        low, high = self.marks_span()
        if low == high:
            return []
        gone = sorted(set(range(low + 1, high + 1)).difference(item.seq for item in items))
        return [
            Changed(
                read=[item.seq for item in items if item.read],
                unread_again=[item.seq for item in items if not item.read],
                archived=[item.seq for item in items if item.archived] + gone,
                unarchived=[item.seq for item in items if not item.archived],
                unread=self._goal.unread,
                version=self._goal.version,
            )
        ]

    def items_span(self) -> Span:
        """Where the next page is to be read."""
        goal = self._goal.last_seq
        return max(0, goal - FIRST_LOOK) if self.fresh else self.seq, goal

    def page(self, items: list[InboxItem]) -> list[Outgoing]:
        """A page of items, oldest first. A short one was the last."""
        goal = self._goal
        frames: list[Outgoing] = [notification(item, goal.unread, goal.version) for item in items]
        if not self.fresh and len(items) == PAGE:
            self.seq = items[-1].seq
            return frames
        return frames + self._finish()

    def _finish(self) -> list[Outgoing]:
        goal, held = self._goal, sorted(self._held, key=lambda change: change.version)
        # Where rows were deleted there is no item for a seq, so the counters say how far we are, not the items.
        self.seq, self.version = goal.last_seq, goal.version
        self.fresh, self.reading, self.behind = False, False, self._lost
        self._held.clear()
        frames: list[Outgoing] = [Synced(last_seq=self.seq, unread=goal.unread, version=self.version)]
        for change in held:
            if not self.behind:
                frames += self._live(change)
        return frames

    def _live(self, change: InboxChange | Arrived) -> list[Outgoing]:
        if change.version <= self.version:
            return []  # seen: a repeat, or one that Postgres told first
        if change.version > self.version + 1 or not self._follows(change):
            self._fall_behind()
            return []
        self.version = change.version
        if isinstance(change, Arrived):
            self.seq = change.seq
            return [change]
        if change.item:
            self.seq = change.item.seq
            return [notification(change.item, change.unread, change.version)]
        return [changed(change)]

    def _follows(self, change: InboxChange | Arrived) -> bool:
        """Whether the change says all that happened. One too big to list its items says nothing but its version."""
        if isinstance(change, Arrived):
            return change.seq == self.seq + 1
        if change.item:
            return change.item.seq == self.seq + 1
        return bool(change.read or change.unread_again or change.archived or change.unarchived)

    def _fall_behind(self) -> None:
        # While a read is under way it may have looked before this happened, so another must follow.
        self.behind = self._lost = True
