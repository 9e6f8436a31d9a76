"""How much of the gateway one user, one address and one client may have. Pure."""

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from time import monotonic

IPV6_PREFIX = 64  # what one customer has at least, RFC 6177 §2


class Cap:
    """At most so many at once for each key."""

    __slots__ = ("_held", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, int] = {}

    def take(self, key: str) -> bool:
        """Whether there was room. Only then it is to be given back."""
        held = self._held.get(key, 0)
        if held >= self._most:
            return False
        self._held[key] = held + 1
        return True

    def give_back(self, key: str) -> None:
        left = self._held[key] - 1
        if left:
            self._held[key] = left
        else:
            del self._held[key]

    def held(self) -> int:
        return sum(self._held.values())


class Pace:
    """A token bucket that holds two seconds' worth: who is too fast waits, which slows the client down by TCP."""

    __slots__ = ("_clock", "_left", "_per_second", "_seen_at")

    def __init__(self, per_second: float, clock: Callable[[], float] = monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = per_second * 2
        self._seen_at = clock()

    def wait(self) -> float:
        """Take one, and say how many seconds to wait before it is used; 0 at an ordinary pace."""
        now = self._clock()
        self._left = min(self._per_second * 2, self._left + (now - self._seen_at) * self._per_second) - 1
        self._seen_at = now
        return max(0.0, -self._left / self._per_second)


def address(client: tuple[str, int] | None) -> str:
    """Who counts as one: an IPv4 address, an IPv6 network. Empty where there is none, as on a Unix socket."""
    host = client[0] if client else ""
    try:
        parsed = ip_address(host)
    except ValueError:
        return host
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)))
    return str(parsed)
