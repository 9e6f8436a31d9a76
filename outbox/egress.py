"""Where this service may connect to when somebody else names the address: not into the network it stands in. Pure.

An address is judged after it was resolved, never as it is spelled: `0`, `127.1`, `0x7f000001`, a name in another
script and a trailing dot all end as the same few bytes. Python's own `is_global` is not enough: it takes NAT64, 6to4,
multicast and the addresses of cloud metadata services for public ones.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Self
from urllib.parse import urlsplit

from outbox.errors import OutboxError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = {"https": 443, "http": 80}
URL_CHARACTERS = 2_000

# IANA's special-purpose registries for IPv4, and what clouds answer on besides.
CLOSED_4 = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "Azure's platform",
    "169.254.0.0/16": "link-local, cloud metadata among it",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved for protocols",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "AMT",
    "192.88.99.0/24": "6to4 relays",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
# The same for IPv6. Whatever lies outside 2000::/3 is closed, too: these only say why.
CLOSED_6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::/96": "IPv4-compatible",
    "64:ff9b::/96": "NAT64",
    "64:ff9b:1::/48": "NAT64",
    "100::/64": "discarded",
    "2001::/32": "Teredo",
    "2001::/23": "reserved for protocols",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing",
    "fc00::/7": "unique local, cloud metadata among it",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}
CLOSED: list[tuple[Network, str]] = [
    (ipaddress.ip_network(text), why) for text, why in (CLOSED_4 | CLOSED_6).items()
]
GLOBAL_6 = IPv6Network("2000::/3")
# Where an IPv6 address holds the IPv4 address that is reached in the end: the network, and how far from the right.
EMBEDDING = ((IPv6Network("64:ff9b::/96"), 0), (IPv6Network("::/96"), 0), (IPv6Network("2002::/16"), 80))


class EgressRefusedError(OutboxError):
    """This address is not to be connected to. The message says why, and what opens it."""


def closed(address: Address) -> str | None:
    """Why an address is not of the public Internet, or None where it is. No mapped ones: see `plain`."""
    for network, why in CLOSED:
        if address in network:
            return why
    if isinstance(address, IPv6Address) and address not in GLOBAL_6:
        return "no global unicast address"
    return None


def plain(text: str) -> Address:
    """The address that is reached: ::ffff:10.0.0.1 is 10.0.0.1. Raises ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that a gateway would reach for it."""
    if isinstance(address, IPv6Address):
        for network, shift in EMBEDDING:
            if address in network:
                return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart: where to connect, and how."""

    scheme: str
    host: str
    port: int


def target(url: str) -> Target:
    """Raises EgressRefusedError for a URL that is none, or carries a login. The host is not judged here."""
    if len(url) > URL_CHARACTERS or not url.isascii() or any(c <= " " or c in '\\"<>^`{|}' for c in url):
        raise EgressRefusedError("the URL must be ASCII, without blanks or backslashes (a name in punycode)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EgressRefusedError(f"the URL cannot be read: {error}") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise EgressRefusedError("the URL must be like https://host/path")
    if "@" in parts.netloc:
        raise EgressRefusedError("the URL must not hold a login; send it as a header")
    if "%" in parts.netloc or port == 0:
        raise EgressRefusedError("the URL's host or port is none")
    return Target(parts.scheme, parts.hostname, PORTS[parts.scheme] if port is None else port)


@dataclass(frozen=True, slots=True)
class Egress:
    """What is open besides the public Internet on ports 80 and 443: networks on every port, and hosts on theirs."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Self:
        """`10.1.0.0/16`, `10.1.2.3`, `fd00::/8`, `hooks.internal` (ports 80 and 443), `hooks.internal:8443`.

        Raises ValueError, naming the entry.
        """
        networks: list[Network] = []
        hosts: set[tuple[str, int]] = set()
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                hosts |= host_entry(entry)
        return cls(tuple(networks), frozenset(hosts))

    def check_target(self, where: Target) -> None:
        """What can be said before the host is resolved. Raises EgressRefusedError."""
        if where.port in PORTS.values() or self.networks or (name(where.host), where.port) in self.hosts:
            return  # with networks the addresses decide
        raise EgressRefusedError(f"port {where.port} is closed; OUTBOX_EGRESS_ALLOW opens it for a host")

    def check(self, where: Target, addresses: Iterable[str]) -> None:
        """Whether all that the host resolves to may be connected to. Raises EgressRefusedError."""
        for text in addresses:
            address = plain(text)
            if (name(where.host), where.port) in self.hosts:
                continue
            if self._inside(address):
                continue
            if (why := closed(address)) is not None:
                raise EgressRefusedError(
                    f"{where.host} resolves to an address that is closed ({why}); OUTBOX_EGRESS_ALLOW opens it"
                )
            if where.port not in PORTS.values():
                raise EgressRefusedError(
                    f"port {where.port} is closed; OUTBOX_EGRESS_ALLOW opens it for a host"
                )
            if where.scheme != "https":
                raise EgressRefusedError(
                    "only https is spoken to the Internet; OUTBOX_EGRESS_ALLOW opens a host"
                )

    def _inside(self, address: Address) -> bool:
        """In a network that is open, and so is what it holds: 64:ff9b::/96 opens no private IPv4 address."""
        if not any(address in network for network in self.networks):
            return False
        inner = embedded(address)
        return inner is None or closed(inner) is None or any(inner in network for network in self.networks)


def host_entry(entry: str) -> set[tuple[str, int]]:
    host, colon, port = entry.rpartition(":")
    if not colon:
        host, port = entry, ""
    if not host or not host.isascii() or "/" in host or ":" in host or (colon and not port.isdecimal()):
        raise ValueError(f"{entry!r} is no network (10.1.0.0/16) and no host (hooks.internal:8443)")
    return {(name(host), int(port))} if port else {(name(host), known) for known in PORTS.values()}


def name(host: str) -> str:
    return host.lower().rstrip(".")
