"""Where connections may go: every form of an address that is not of the public Internet, and what opens it."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.egress import CLOSED, Egress, EgressRefusedError, Target, closed, plain, target

PUBLIC = ["93.184.216.34", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1"]
# One or more of every family, facts of RFC 6890 and its registries, and the clouds' own.
INSIDE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.8",
    "192.0.0.192", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.1.1", "192.175.48.1",
    "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255",
    "::", "::1", "::7f00:1", "::10.0.0.1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::a9fe:a9fe", "100::1", "2001::1", "2001:0:4136:e378::1",
    "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::", "2620:4f:8000::1",
    "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%eth0",
    "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip
HTTPS = Target("https", "hooks.example.com", 443)


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_open(address: str) -> None:
    Egress().check(HTTPS, [address])


@pytest.mark.parametrize("address", INSIDE)
def test_nothing_else_is(address: str) -> None:
    with pytest.raises(EgressRefusedError, match="OUTBOX_EGRESS_ALLOW"):
        Egress().check(HTTPS, [address])


@pytest.mark.parametrize("address", INSIDE)
def test_one_of_several_addresses_is_enough_to_refuse(address: str) -> None:
    with pytest.raises(EgressRefusedError):
        Egress().check(HTTPS, [*PUBLIC, address])


@given(st.ip_addresses())
def test_what_python_calls_private_is_closed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    judged = plain(str(address))
    if not judged.is_global or judged.is_multicast or judged.is_reserved or judged.is_link_local:
        assert closed(judged)


@given(st.sampled_from(CLOSED), st.data())
def test_every_address_of_a_closed_network_is_closed(
    entry: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str], data: st.DataObject
) -> None:
    network, _ = entry
    offset = data.draw(st.integers(0, network.num_addresses - 1))
    assert closed(network.network_address + offset)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_the_one_it_is(address: ipaddress.IPv4Address) -> None:
    assert plain(f"::ffff:{address}") == address


@pytest.mark.parametrize(
    ("entries", "where", "address"),
    [
        (["10.1.0.0/16"], Target("https", "a", 443), "10.1.2.3"),
        (["10.1.0.0/16"], Target("http", "a", 9000), "10.1.2.3"),
        (["10.1.0.0/16"], Target("http", "a", 9000), "::ffff:10.1.2.3"),
        (["fd00:1::/32"], Target("http", "a", 80), "fd00:1::5"),
        (["127.0.0.1"], Target("http", "a", 1), "127.0.0.1"),
        (["hooks.internal"], Target("http", "hooks.internal", 80), "192.168.0.9"),
        (["Hooks.Internal."], Target("https", "hooks.internal", 443), "192.168.0.9"),
        (["hooks.internal:8443"], Target("https", "HOOKS.internal.", 8443), "192.168.0.9"),
        (["64:ff9b::/96"], Target("https", "a", 443), "64:ff9b::8.8.8.8"),
    ],
)
def test_the_allow_list_opens(entries: list[str], where: Target, address: str) -> None:
    egress = Egress.parse(entries)
    egress.check_target(where)
    egress.check(where, [address])


@pytest.mark.parametrize(
    ("entries", "where", "address"),
    [
        (["10.1.0.0/16"], Target("https", "a", 443), "10.2.0.1"),
        (["10.1.0.0/16"], Target("https", "a", 8443), "1.1.1.1"),
        (["10.1.0.0/16"], Target("http", "a", 80), "1.1.1.1"),
        (["hooks.internal:8443"], Target("https", "hooks.internal", 443), "192.168.0.9"),
        (["hooks.internal"], Target("https", "hooks.internal", 8443), "192.168.0.9"),
        (["hooks.internal"], Target("https", "evil.hooks.internal", 443), "192.168.0.9"),
        (["64:ff9b::/96"], Target("https", "a", 443), "64:ff9b::169.254.169.254"),
        (["2002::/16"], Target("https", "a", 443), "2002:7f00:1::"),
        ([], Target("http", "a", 80), "1.1.1.1"),
    ],
)
def test_and_nothing_beside(entries: list[str], where: Target, address: str) -> None:
    egress = Egress.parse(entries)
    with pytest.raises(EgressRefusedError):
        both(egress, where, address)


def both(egress: Egress, where: Target, address: str) -> None:
    egress.check_target(where)
    egress.check(where, [address])


@pytest.mark.parametrize("port", [22, 25, 6379, 8080])
def test_other_ports_are_closed_before_anything_is_resolved(port: int) -> None:
    with pytest.raises(EgressRefusedError, match=f"port {port} is closed"):
        Egress().check_target(Target("https", "a", port))


@pytest.mark.parametrize(
    "entry", ["10.1.0.0/33", "10.1.0.1/16", "a/b", "host:port", ":80", "https://x", "é.example", "[::1]:80"]
)
def test_an_entry_that_is_none_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="no network"):
        Egress.parse([entry])


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.com", "ftp://x/", "file:///etc/passwd", "https:///x", "https://", "gopher://x:70/_",
        "https://user@x/", "https://user:pw@x/", "https://@x/", "https://x\\@y/", "https://x/ y", "https://x/\n",
        "https://é.example/", "https://x:0/", "https://x:99999/", "https://x:a/", "https://[::1/", "https://x%00/",
        "https://[fe80::1%25eth0]/", f"https://{'x' * 3000}/", "//x/", "https://x/\x00", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_what_is_no_url_for_us_is_refused(url: str) -> None:
    with pytest.raises(EgressRefusedError):
        target(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://x.example/a?b#c", Target("https", "x.example", 443)),
        ("HTTP://X.example:8080", Target("http", "x.example", 8080)),
        ("https://[2606:4700::1111]:443/", Target("https", "2606:4700::1111", 443)),
        ("https://0x7f.1/", Target("https", "0x7f.1", 443)),  # judged once resolved
    ],
)
def test_a_url_is_taken_apart(url: str, expected: Target) -> None:
    assert target(url) == expected
