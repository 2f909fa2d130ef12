"""
Which resolved addresses a call may connect to.

Only an address tells where a connection ends: names rebind, "127.1" and "①②⑦.0.0.1" are loopback. So a name is
never judged here, and every connection attempt is judged on the address it was resolved to. `ipaddress.is_global`
is no judge of that: it lets NAT64, 6to4, IPv4-compatible and site-local addresses pass (measured on 3.11.7).
Ranges after the IANA special-purpose address registries, read 2026-11-21.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

IPV4_SPECIAL = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carriers' NAT; 100.100.100.200 is a cloud's metadata
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; 169.254.169.254 is most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is a cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
IPV6_PUBLIC = IPv6Network("2000::/3")
IPV6_SPECIAL = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments, Teredo and ORCHID among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address, private ones too
        "3fff::/20",  # documentation
    )
)
NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))  # both end in an IPv4 address
# Where no server of anybody's stands, but clouds keep the credentials of the machine: refused to everyone.
NEVER: tuple[Network, ...] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("100.100.100.200/32"),
    IPv4Network("168.63.129.16/32"),
    IPv4Network("169.254.0.0/16"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("224.0.0.0/4"),
    IPv4Network("240.0.0.0/4"),
    IPv6Network("::/128"),
    IPv6Network("fe80::/10"),
    IPv6Network("fd00:ec2::/32"),
    IPv6Network("ff00::/8"),
)


@dataclass(frozen=True, slots=True)
class Reach:
    """
    The addresses and ports one call may connect to; decided where the call is made, from whose server it is.

    `networks` are what the operator allowed for this destination; without any, the public internet.
    `is_custom` marks a server that an organization named: what fails there must not tell what is inside our
    network. Connections are kept for calls of the same reach only.
    `proxy` is the URL of the operator's forward proxy, to which calls then connect instead: it looks names up and so
    decides on addresses, wherefore it is for constant names over TLS only.
    """

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] | None = None
    is_custom: bool = False
    proxy: str = field(default="", repr=False)  # may hold a password

    def permits(self, host: str, port: int) -> bool:
        """Whether to connect to the address `host`; anything that is no address is not permitted."""
        if self.ports is not None and port not in self.ports:
            return False
        try:
            address = unpacked(ip_address(host.partition("%")[0]))
        except ValueError:
            return False
        if any(ending in network for ending in (address, *translated(address)) for network in NEVER):
            return False
        if self.networks:
            return any(address in network for network in self.networks)
        return is_public(address)


PUBLIC = Reach()
# For destinations that the operator's environment names: the simulator, or a gateway of their own.
ANYWHERE = Reach(networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))


def is_public(address: Address) -> bool:
    """Whether `address` is of the public internet, reached over no translator or tunnel."""
    address = unpacked(address)
    if isinstance(address, IPv4Address):
        return not any(address in block for block in IPV4_SPECIAL)
    return address in IPV6_PUBLIC and not any(address in block for block in IPV6_SPECIAL)


def translated(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses to which translators and tunnels would take a connection to `address`."""
    if isinstance(address, IPv4Address):
        return ()
    if any(address in network for network in NAT64):
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return (address.sixtofour,) if address.sixtofour else ()


def unpacked(address: Address) -> Address:
    """The IPv4 address inside a mapped one ("::ffff:10.0.0.1"), which is where a connection would end."""
    return getattr(address, "ipv4_mapped", None) or address
