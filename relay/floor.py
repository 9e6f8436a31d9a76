"""Up to which id the log needs no look: partitions below it are passed over. Pure.

A row draws its id after its transaction has got its own (the column's default sees to that). So of the ids drawn up to
some moment, all belong to transactions that were numbered by then; once those have ended, none of their rows can
still come to light.
"""

from dataclasses import dataclass

from relay.snapshot import Snapshot, Xid


@dataclass(slots=True)
class Floor:
    """Told what was drawn, and when which transactions have ended."""

    id: int = 0  # proven: every row up to here is in a tick, or was rolled back
    drawn: int = 0
    below: Xid | None = None  # transactions below this one may have drawn up to `drawn`

    def note(self, drawn: int, below: Xid) -> None:
        """The last id given out, and a transaction id taken after that was read."""
        self.drawn, self.below = drawn, below

    def prove(self, ticked: Snapshot) -> int:
        """`ticked` sees no row that is not in a tick. Returns the floor."""
        if self.below is not None and ticked.xmin >= self.below:
            self.id, self.below = self.drawn, None
        return self.id
