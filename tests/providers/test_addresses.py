"""Which addresses count as the public internet; each row is one that some library lets pass, or a neighbour of it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from providers.egress.addresses import ANYWHERE, PUBLIC, Reach, is_public

SPECIAL = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.254
169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.8 192.0.0.192 192.0.2.1
192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1 192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255
198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::10.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1
64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b:1::a00:1 100::1 100:0:0:1::1 2001::1 2001:0:7f00:1:: 2001:10::1 2001:20::1
2001:db8::1 2002:7f00:1:: 2002:a00:1:: 3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fd00::1 fd00:ec2::254 fe80::1
fec0::1 ff02::1 ffff::1
"""
ON_THE_INTERNET = """
1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 169.253.255.255 169.255.0.1
172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.255
::ffff:1.1.1.1 2001:200::1 2003::1 2606:4700::1111 2a00:1450::1 3ffe::1 3fff:1000::1
"""


@pytest.mark.parametrize("address", SPECIAL.split())
def test_a_special_address_is_not_public(address):
    assert not is_public(ip_address(address))
    assert not PUBLIC.permits(address, 443)


@pytest.mark.parametrize("address", ON_THE_INTERNET.split())
def test_an_address_beside_the_special_ones_is_public(address):
    assert is_public(ip_address(address))
    assert PUBLIC.permits(address, 443)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "2130706433", "1.1.1.1 ", "example.com", "::ffff:1.1.1"])
def test_what_is_no_address_is_not_permitted(text):
    assert not PUBLIC.permits(text, 443)
    assert not ANYWHERE.permits(text, 443)


def test_a_reach_of_networks_permits_them_and_nothing_else():
    reach = Reach((ip_network("10.1.2.0/24"), ip_network("fd12::/64")), frozenset({11434}))

    assert reach.permits("10.1.2.3", 11434)
    assert reach.permits("::ffff:10.1.2.3", 11434)
    assert reach.permits("fd12::5", 11434)
    assert not reach.permits("10.1.2.3", 22)
    assert not reach.permits("10.1.3.3", 11434)
    assert not reach.permits("1.1.1.1", 11434)


@pytest.mark.parametrize("host", ["169.254.169.254", "100.100.100.200", "192.0.0.192"])
@pytest.mark.parametrize("wrapped", ["{}", "::ffff:{}", "64:ff9b::{}", "64:ff9b:1::{}"])
def test_where_clouds_keep_credentials_nobody_may_connect(host, wrapped):
    assert not ANYWHERE.permits(wrapped.format(host), 80)
    assert not Reach((ip_network("0.0.0.0/0"), ip_network("64:ff9b::/32"))).permits(wrapped.format(host), 80)


@pytest.mark.parametrize("address", ["fd00:ec2::254", "2002:a9fe:a9fe::", "fe80::1", "fe80::1%eth0", "::"])
def test_nor_by_addresses_that_are_ipv6_alone(address):
    assert not ANYWHERE.permits(address, 80)


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "::1", "64:ff9b::10.1.2.3", "2002:a01:203::", "fd12::1"])
def test_what_an_operator_allowed_is_reached(address):
    assert ANYWHERE.permits(address, 80)
