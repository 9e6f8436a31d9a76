"""Names in Redis: a stream per channel and lane, a pub/sub channel per user. Pure."""

from dataclasses import dataclass

from outbox.envelope import Priority

GROUP = "workers"
LANES = (Priority.URGENT, Priority.NORMAL, Priority.BULK)


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key this installation uses. `prefix` keeps several apart in one Redis."""

    prefix: str = ""

    def stream(self, channel: str, priority: str = Priority.NORMAL) -> str:
        """notifications.<channel>, with the lane behind it unless it is the normal one."""
        lane = "" if priority == Priority.NORMAL else f".{priority}"
        return f"{self.prefix}notifications.{channel}{lane}"

    def lane(self, stream: str) -> str:
        """What a tick calls a stream: without the prefix, which may change."""
        return stream.removeprefix(f"{self.prefix}notifications.")

    def of_lane(self, lane: str) -> str:
        """The stream that a tick calls so."""
        return f"{self.prefix}notifications.{lane}"

    def channel_and_priority(self, stream: str) -> tuple[str, Priority]:
        """stream() the other way round. Channel names hold no dots."""
        channel, _, priority = self.lane(stream).partition(".")
        return channel, Priority(priority or Priority.NORMAL)

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
