"""Which servers in private networks an organization may use: staff allow and withdraw them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from django.db import IntegrityError, transaction

from organizations.audit import record
from organizations.models import Organization, User
from providers.egress.addresses import NEVER, Network
from providers.keys.destinations import BaseUrlRefused, normalized_host
from providers.models import PrivateEndpoint


class EndpointRefused(Exception):
    """What staff typed is no endpoint, or one that nobody may use; `field` is the one to correct."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


def normalized_endpoint(host: str, network: str) -> tuple[str, str]:
    """Host and network in their one form. Raises EndpointRefused."""
    try:
        host = normalized_host(host.strip())
    except BaseUrlRefused as refused:
        raise EndpointRefused("host", str(refused)) from None
    try:
        block = ip_network(network.strip())
    except ValueError:
        raise EndpointRefused("network", "Write a network as 10.1.2.3/32 or fd12:3456::/64.") from None
    if any(_is_inside(block, never) for never in NEVER):
        raise EndpointRefused("network", "Nobody may use this network: clouds keep their machines' credentials there.")
    try:
        is_outside = ip_address(host) not in block
    except ValueError:
        is_outside = False  # a name; what it resolves to is judged at each connection
    if is_outside:
        raise EndpointRefused("network", "The host's own address is outside this network.")
    return host, str(block)


def allow_private_endpoint(
    *, organization: Organization, host: str, port: int, network: str, actor: User | None
) -> PrivateEndpoint:
    """
    Let `organization` use the server at host and port, as long as it resolves into `network`.

    Raises EndpointRefused.
    """
    host, network = normalized_endpoint(host, network)
    try:
        with transaction.atomic():
            endpoint = PrivateEndpoint.objects.create(organization=organization, host=host, port=port, network=network)
            _record(endpoint, actor, "private_endpoint.allowed")
    except IntegrityError:
        raise EndpointRefused("host", "This endpoint is already allowed.") from None
    return endpoint


def withdraw_private_endpoint(*, endpoint: PrivateEndpoint, actor: User | None) -> None:
    """Keys of servers there refuse their actions from the next call on. One that is gone already changes nothing."""
    organization, pk = endpoint.organization, endpoint.pk
    with transaction.atomic():
        if PrivateEndpoint.objects.for_organization(organization).filter(pk=pk).delete()[0]:
            _record(endpoint, actor, "private_endpoint.withdrawn")


def _record(endpoint: PrivateEndpoint, actor: User | None, action: str) -> None:
    record(organization=endpoint.organization, actor=actor, action=action, target=str(endpoint))


def _is_inside(block: Network, other: Network) -> bool:
    return block.version == other.version and other.prefixlen <= block.prefixlen and block.network_address in other
