from __future__ import annotations

from typing import Any

from django import template

from organizations import clock
from organizations.permissions import Permission, may
from providers.models import ProviderKey
from routing.offers import Offer, offer_of
from routing.table import RoutingTable

register = template.Library()


@register.simple_tag(takes_context=True)
def uses_offered(context: dict[str, Any], key: ProviderKey) -> Offer | None:
    """What the card of a provider key offers to whoever may choose routes; the card itself lies below this app."""
    request = context["request"]
    if not key.is_usable or not may(request.membership, Permission.MANAGE_ROUTING):
        return None
    table: RoutingTable | None = context.get("routing")
    if table is None:
        return offer_of(request.organization, key, now=clock.now())
    return offer_of(request.organization, key, table=[line.row for line in table.lines], now=table.asked_at)
