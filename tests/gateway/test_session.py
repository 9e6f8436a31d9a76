"""The protocol core: whatever becomes of the hints, a client ends with everything, in order, exactly once."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from db.inbox import Counters, Standing
from gateway.protocol import Arrived, Changed, Notification, Outgoing, ServerFrame, Synced, Welcome, arrived
from gateway.session import FIRST, HELD, PAGE, Session
from outbox.erasure.streams import LOOK_AGAIN
from outbox.inbox import InboxChange, InboxItem

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def item(seq: int, *, read: bool = False) -> InboxItem:
    return InboxItem(
        seq=seq,
        notification_id=UUID(int=seq),
        event_type="x",
        actor_user_id=None,
        payload={},
        created_at=NOW,
        delivered_at=NOW,
        read_at=NOW if read else None,
    )


class Inbox:
    """Postgres in a few lines: what was committed, and the hint for each version."""

    def __init__(self) -> None:
        self.last_seq = 0
        self.read: set[int] = set()
        self.erased: set[int] = set()
        self.hints: list[InboxChange] = []

    @property
    def counters(self) -> Counters:
        return Counters(self.last_seq, self.last_seq - len(self.read), len(self.hints))

    def arrive(self) -> None:
        self.last_seq += 1
        self._hint(item=item(self.last_seq))

    def mark_read(self, seq: int, *, listed: bool = True) -> None:
        if seq <= self.last_seq and seq not in self.read:
            self.read.add(seq)
            self._hint(read=[seq] if listed else [])

    def mark_unread(self, seq: int) -> None:
        if seq in self.read:
            self.read.remove(seq)
            self._hint(unread_again=[seq])

    def standing(self, low: int, high: int) -> list[Standing]:
        return [Standing(seq, seq in self.read, archived=False) for seq in range(low + 1, high + 1)]

    def _hint(self, item: InboxItem | None = None, **lists: list[int]) -> None:
        counters = self.counters
        self.hints.append(
            InboxChange(
                version=counters.version + 1,
                last_seq=counters.last_seq,
                unread=counters.unread,
                item=item,
                **lists,
            )
        )

    def items(self, low: int, high: int, limit: int) -> list[InboxItem]:
        return [
            item(seq, read=seq in self.read) for seq in range(low + 1, high + 1) if seq not in self.erased
        ][:limit]

    def latest(self, low: int, high: int, limit: int) -> list[InboxItem]:
        return self.items(low, high, high)[-limit:]


class Client:
    """Keeps a client's rules, and checks that the server keeps its own."""

    def __init__(self, cursor: int | None) -> None:
        self.seqs: list[int] = []
        self.told_read: set[int] = set()
        self.cursor = cursor
        self.floor = -1  # everything above must come
        self.version = self.unread = -1

    def take(self, frames: list[Outgoing]) -> None:
        for frame in frames:
            self._take(Notification.model_validate_json(frame.text) if isinstance(frame, Arrived) else frame)

    def _take(self, frame: ServerFrame) -> None:
        match frame:
            case Welcome():
                assert self.floor == -1, "welcomed once"
                assert frame.resumed == (self.cursor is not None and self.cursor <= frame.last_seq)
                self.cursor = self.cursor if frame.resumed else None
                self.floor = max(0, frame.last_seq - FIRST) if self.cursor is None else self.cursor
            case Notification():
                assert self.cursor is None or frame.seq > self.cursor, "in order, never twice"
                self.cursor = frame.seq
                self.seqs.append(frame.seq)
                self.told_read.update({frame.seq} if frame.read_at else ())
                self._count(frame)
            case Changed():
                self.told_read.update(frame.read)
                self.told_read.difference_update(frame.unread_again)
                self._count(frame)
            case Synced():
                assert self.cursor is None or frame.last_seq >= self.cursor
                self.cursor = frame.last_seq
                self._count(frame)

    def _count(self, frame: Notification | Changed | Synced) -> None:
        if frame.version >= self.version:
            self.version, self.unread = frame.version, frame.unread


class World:
    """An inbox, a session and a client, and the steps that chance may take with them."""

    def __init__(self, before: int, cursor: int | None) -> None:
        self.inbox = Inbox()
        for _ in range(before):
            self.inbox.arrive()
        self.session = Session("anna", cursor)
        self.client = Client(cursor)
        self.started = False

    def step(self, name: str, number: int) -> None:
        match name:
            case "arrive":
                self.inbox.arrive()
            case "read":
                self.inbox.mark_read(number)
            case "read_unlisted":
                self.inbox.mark_read(number, listed=False)
            case "unread":
                self.inbox.mark_unread(number)
            case "erase":
                self.inbox.erased.add(number)
            case "hint" if self.inbox.hints:  # any that there ever was, any number of times, in any order
                hints = self.inbox.hints
                self.client.take(self.session.hint(published(hints[-1 - number % len(hints)], number)))
            case "garbage":
                self.session.hint(None)
            case "reconcile":
                self.session.suspect(self.inbox.counters.version)
            case "shell":
                self.shell()

    def shell(self) -> None:
        """The next thing that a socket's writer does."""
        session, inbox = self.session, self.inbox
        if session.reading:
            low, high = session.items_span()
            read = inbox.latest if session.fresh else inbox.items
            self.client.take(session.page(read(low, high, FIRST if session.fresh else PAGE)))
        elif self.started:
            self.started = False
            self.client.take(session.begin(inbox.counters))
            low, high = session.marks_span()
            self.client.take(session.marked(inbox.standing(low, high)))
        elif session.behind:
            session.start()
            self.started = True

    def heal(self) -> int:
        """The reconciliation, then the shell until it has nothing to do. How many things it did."""
        self.step("reconcile", 0)
        done = 0
        while self.session.behind or self.session.reading:
            self.shell()
            done += 1
        return done


def published(change: InboxChange, number: int) -> InboxChange | Arrived:
    """As the hub reads it: every other item in the short way."""
    return (number % 2 and arrived(change.model_dump_json().encode())) or change


STEP = st.one_of(
    st.tuples(st.sampled_from(["hint", "read", "read_unlisted", "unread", "erase"]), st.integers(0, 80)),
    st.tuples(st.sampled_from(["arrive", "arrive", "shell", "shell", "reconcile", "garbage"]), st.just(0)),
)


@settings(max_examples=400, deadline=None)
@given(before=st.integers(0, 120), cursor=st.none() | st.integers(0, 130), steps=st.lists(STEP, max_size=100))
def test_any_interleaving_repeat_and_loss_of_hints_heals(
    before: int, cursor: int | None, steps: list[tuple[str, int]]
) -> None:
    world = World(before, cursor)
    for name, number in steps:
        world.step(name, number)
    assert world.heal() < 20

    client, inbox = world.client, world.inbox
    now = inbox.counters
    assert (client.cursor, client.unread, client.version) == (now.last_seq, now.unread, now.version)
    assert client.seqs == sorted(set(client.seqs))
    assert set(range(client.floor + 1, now.last_seq + 1)) - inbox.erased <= set(client.seqs)
    assert client.told_read.intersection(client.seqs) == inbox.read.intersection(client.seqs)


@settings(max_examples=100, deadline=None)
@given(order=st.permutations(range(12)))
def test_shuffled_hints_then_healed(order: list[int]) -> None:
    world = World(0, 0)
    world.heal()
    for number in range(12):
        world.inbox.arrive()
        if number % 3 == 2:
            world.inbox.mark_read(number)
    for number in order:
        world.client.take(world.session.hint(world.inbox.hints[number]))
    world.heal()
    assert world.client.seqs == list(range(1, 13))
    assert world.client.told_read == world.inbox.read


def live(world: World) -> Session:
    world.heal()
    assert not world.session.behind
    return world.session


def test_next_goes_out_repeat_is_dropped_gap_makes_it_look() -> None:
    world = World(2, 2)
    session = live(world)
    world.inbox.arrive()
    world.inbox.arrive()
    third, fourth = world.inbox.hints[2:]
    assert [type(frame) for frame in session.hint(third)] == [Notification]
    assert session.hint(third) == []
    assert not session.behind
    world.inbox.arrive()
    assert session.hint(world.inbox.hints[-1]) == []  # the fourth is missing
    assert session.behind
    assert session.hint(fourth) == []


def test_a_lost_reading_is_noticed_by_the_item_that_follows() -> None:
    world = World(3, 3)
    session = live(world)
    world.inbox.mark_read(2)  # its hint is lost
    world.inbox.arrive()
    assert session.hint(world.inbox.hints[-1]) == []  # the next seq, but not the next version
    world.heal()
    assert world.client.told_read == {2}
    assert world.client.seqs == [4]


def test_an_item_with_the_right_version_and_the_wrong_seq_is_not_trusted() -> None:
    session = live(World(2, 2))
    odd = InboxChange(version=3, last_seq=9, unread=3, item=item(9))
    assert session.hint(odd) == []
    assert session.behind


def test_what_comes_while_reading_is_held_and_then_sieved() -> None:
    world = World(PAGE, 0)  # a full page, so that a second one has to be read
    session = world.session
    world.shell()
    world.shell()
    world.shell()
    assert session.reading
    for _ in range(2):
        world.inbox.arrive()
    for hint in world.inbox.hints[-4:]:
        assert session.hint(hint) == []
    world.shell()
    assert not session.behind
    assert world.client.seqs == list(range(1, PAGE + 3))


def test_too_many_to_hold_make_another_round() -> None:
    world = World(0, 0)
    world.shell()
    world.shell()
    for _ in range(HELD + 5):
        world.inbox.arrive()
        world.session.hint(world.inbox.hints[-1])
    world.shell()
    assert world.session.behind
    world.heal()
    assert world.client.seqs == list(range(1, HELD + 6))


def test_an_inbox_that_went_back_in_time_starts_afresh() -> None:
    """A database restored from a backup under a living socket."""
    session = live(World(9, 9))
    session.hint(None)
    session.start()
    [welcome] = session.begin(Counters(last_seq=4, unread=4, version=4))
    assert isinstance(welcome, Welcome)
    assert not welcome.resumed


def test_a_client_of_an_inbox_that_was_erased_begins_anew() -> None:
    """Its counters are gone: whoever comes back under the same id starts at the first item of a new one."""
    session = Session("ada", 9)
    session.begin(Counters(9, 3, 40))
    session.page([])
    assert session.hint(LOOK_AGAIN) == []
    assert session.behind
    session.start()
    assert session.begin(Counters()) == [
        Welcome(user_id="ada", unread=0, version=0, last_seq=0, resumed=False)
    ]
    assert session.page([]) == [Synced(last_seq=0, unread=0, version=0)]
    change = InboxChange(version=1, last_seq=1, unread=1, item=item(1))
    [told] = session.hint(change)
    assert isinstance(told, Notification)
