"""
Providers and models by names of closed lists, for figures that leave the installation, and no word of a customer.

Anybody may call a server or a model of their own anything, an internal project or a person. So a provider is named as
the catalog has it, a model as the price list has it.
"""

from __future__ import annotations

from providers.catalog import PROVIDERS
from usage.price_list import listed_name

OWN_SERVER = "own_server"
OTHER = "other"


def closed_provider(slug: str) -> str:
    """The provider's slug; one word for all servers that organizations name."""
    provider = PROVIDERS.get(slug)
    if provider is None:
        return OTHER
    return OWN_SERVER if provider.takes_base_url else slug


def closed_model(provider: str, model: str) -> str:
    """The price list's name of the model."""
    return listed_name(provider, model) or OTHER
