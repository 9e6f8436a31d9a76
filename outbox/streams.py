"""Names in Redis: a stream per channel, lane and shard, a pub/sub channel per user. Pure."""

from dataclasses import dataclass
from typing import NamedTuple

from outbox.envelope import Priority

GROUP = "workers"
LANES = (Priority.URGENT, Priority.NORMAL, Priority.BULK)


class Place(NamedTuple):
    """What a stream is for. A channel's shards share its users out; most channels have one, number 0."""

    channel: str
    priority: Priority
    shard: int


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key this installation uses. `prefix` keeps several apart in one Redis."""

    prefix: str = ""

    def stream(self, channel: str, priority: str = Priority.NORMAL, shard: int = 0) -> str:
        """notifications.<channel>, behind it the lane unless it is the normal one, and the shard unless it is 0."""
        lane = "" if priority == Priority.NORMAL else f".{priority}"
        return f"{self.prefix}notifications.{channel}{lane}{f'.{shard}' if shard else ''}"

    def streams(self, channel: str, shards: int) -> list[str]:
        """Every stream that a channel of so many shards has."""
        return [self.stream(channel, lane, shard) for shard in range(shards) for lane in LANES]

    def lane(self, stream: str) -> str:
        """What a tick calls a stream: without the prefix, which may change."""
        return stream.removeprefix(f"{self.prefix}notifications.")

    def of_lane(self, lane: str) -> str:
        """The stream that a tick calls so."""
        return f"{self.prefix}notifications.{lane}"

    def place(self, stream: str) -> Place:
        """stream() the other way round. Channel names hold no dots, and no lane is called as a number is."""
        channel, *rest = self.lane(stream).split(".")
        shard = int(rest.pop()) if rest and rest[-1].isdigit() else 0
        return Place(channel, Priority(rest[0]) if rest else Priority.NORMAL, shard)

    @property
    def dead_letters(self) -> str:
        """Where dead letters are mirrored. No channel may be called dlq."""
        return self.of_lane("dlq")

    def user(self, user_id: str) -> str:
        """Where the in-app worker says that a user's inbox has changed."""
        return f"{self.prefix}user:{user_id}:notifications"

    def user_id(self, channel: str) -> str:
        """The user of a pub/sub channel: user() the other way round."""
        return channel.removeprefix(f"{self.prefix}user:").removesuffix(":notifications")
