"""When to look: the flag that spares producers their NOTIFY, and the sleep that relies on it. Pure.

A producer notifies only while the flag says *asleep*. So the relay may rely on a notification only for
transactions that tested the flag after it said so: having set it, the relay takes a transaction id and keeps
looking until every transaction with a lower one has ended (invariant I6). A producer has its id before it tests
the flag, for its row bears it.
"""

from enum import Enum, auto

from relay.snapshot import Snapshot, Xid

AWAKE_FLAG, ASLEEP_FLAG = 2, 1
# Between two looks while awake. A look, a tick and an append cost about as much for one row as for fifty, and
# producers pay for them where they share the machine: so what comes close together goes out together.
AWAKE_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.02
FALLING_PAUSE_SECONDS, LONGEST_FALLING_PAUSE_SECONDS = 0.001, 0.1


class Mode(Enum):
    AWAKE = auto()  # producers do not notify; the relay looks by itself, again and again
    FALLING = auto()  # they do notify, but some may have tested the flag too early
    ASLEEP = auto()  # whoever commits, notifies


class Sleep:
    """Told what each look found, says what the flag should be and how long to wait. Times in seconds."""

    def __init__(self, linger: float, poll: float) -> None:
        self.linger = linger
        self.poll = poll
        self.mode = Mode.AWAKE
        self.flag_is_awake = False  # as far as this relay knows
        self.found_at = 0.0
        self.pause = AWAKE_PAUSE_SECONDS
        self.set_at = Xid(0)  # transactions below this one may have tested the flag too early

    def found(self, now: float) -> bool:
        """A look found rows. Whether the flag must be set to awake."""
        self.found_at = now
        self.pause = AWAKE_PAUSE_SECONDS
        self.mode = Mode.AWAKE
        was, self.flag_is_awake = self.flag_is_awake, True
        return not was

    def found_nothing(self, now: float, seen: Snapshot) -> bool:
        """A look with this snapshot found no rows. Whether the flag must be set to asleep."""
        if self.mode is Mode.FALLING and seen.xmin > self.set_at:
            self.mode = Mode.ASLEEP
        return self.mode is Mode.AWAKE and now - self.found_at >= self.linger

    def fell(self, at: Xid) -> None:
        """The flag has said asleep since before this transaction began."""
        self.mode = Mode.FALLING
        self.flag_is_awake = False
        self.pause = FALLING_PAUSE_SECONDS
        self.set_at = at

    def next_pause(self) -> float:
        """How long to wait for a wake-up before the next look."""
        if self.mode is Mode.ASLEEP:
            return self.poll
        pause = self.pause
        longest = LONGEST_PAUSE_SECONDS if self.mode is Mode.AWAKE else LONGEST_FALLING_PAUSE_SECONDS
        self.pause = min(pause * 1.5, longest)
        return pause

    def forget(self) -> None:
        """The connection, or the lead, was lost: what the flag says is unknown. It is set anew at the next
        rows, or at the next rest: left at asleep, a busy system would notify with every commit."""
        self.mode = Mode.AWAKE
        self.flag_is_awake = False
        self.found_at = 0.0
