"""What an organization calls its agents, keys, tokens and members, for pages that sum or list its calls."""

from __future__ import annotations

from collections.abc import Container

from organizations.models import ApiToken, Membership, Organization
from providers.models import ProviderKey
from routing.actions import action_names_of
from usage.names import OwnNames, provider_name

EVERYTHING = ("key", "token", "member")


def own_names(organization: Organization, only: Container[str] = EVERYTHING) -> OwnNames:
    """Of who left, others are told no more than that (as on a receipt). `only` these are looked up, beside actions."""
    keys = ProviderKey.objects.for_organization(organization).values_list("pk", "provider", "label")
    tokens = ApiToken.objects.for_organization(organization).values_list("pk", "name", "prefix")
    members = Membership.objects.for_organization(organization).select_related("user")
    return OwnNames(
        actions=action_names_of(organization),
        keys={pk: f"{provider_name(provider)} · {label}" for pk, provider, label in keys} if "key" in only else {},
        tokens={pk: f"{name} (kf_{prefix}…)" for pk, name, prefix in tokens} if "token" in only else {},
        members={each.user_id: each.user.get_full_name() for each in members} if "member" in only else {},
    )
