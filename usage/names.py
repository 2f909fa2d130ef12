"""
Names of providers and actions for pages, charts and lists. Events hold slugs; what they name is above this app and
tells its names at start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

NONE: Mapping[str, str] = {}
_names: dict[str, str] = {}
_actions: dict[str, str] = {}


def name_providers(names: Mapping[str, str]) -> None:
    """Slug to name, as the catalog has them."""
    _names.update(names)


def name_actions(names: Mapping[str, str]) -> None:
    """Slug to name."""
    _actions.update(names)


def provider_name(slug: str) -> str:
    """As people write it; the slug of a provider that no catalog knows any more."""
    return _names.get(slug, slug)


def provider_slug(typed: str) -> str:
    """The slug of a provider that is given by slug or name; what is neither comes back as it is."""
    slugs = {name.casefold(): slug for slug, name in _names.items()}
    return slugs.get(typed.strip().casefold(), typed)


def provider_names() -> dict[str, str]:
    return dict(_names)


def action_name(slug: str, own: Mapping[str, str] = NONE) -> str:
    """
    As people write it, by what the organization calls its `own` or by what is built in; of one that is neither, or not
    any more, its slug in words.
    """
    return own.get(slug) or _actions.get(slug) or slug.replace("_", " ").replace("-", " ").capitalize()


@dataclass(frozen=True, slots=True)
class OwnNames:
    """What an organization calls its own, by what events hold of it; the apps above know."""

    actions: Mapping[str, str] = field(default_factory=dict)  # by slug
    keys: Mapping[UUID, str] = field(default_factory=dict)
    tokens: Mapping[int, str] = field(default_factory=dict)
    members: Mapping[int, str] = field(default_factory=dict)  # who is one still

    def action(self, slug: str) -> str:
        return action_name(slug, self.actions)

    def key(self, key_id: UUID) -> str:
        return self.keys.get(key_id) or f"Removed key {str(key_id)[:8]}"

    def token(self, token_id: int) -> str:
        return self.tokens.get(token_id) or f"Removed token {token_id}" if token_id else "No API token"

    def member(self, member_id: int) -> str:
        return self.members.get(member_id) or f"Former member {member_id}" if member_id else "Nobody"
