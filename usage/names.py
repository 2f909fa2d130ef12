"""
Names of providers for pages, charts and lists. Events hold slugs; the catalog is above this app and tells its names
at start.
"""

from __future__ import annotations

from collections.abc import Mapping

_names: dict[str, str] = {}


def name_providers(names: Mapping[str, str]) -> None:
    """Slug to name, as the catalog has them."""
    _names.update(names)


def provider_name(slug: str) -> str:
    """As people write it; the slug of a provider that no catalog knows any more."""
    return _names.get(slug, slug)


def provider_slug(typed: str) -> str:
    """The slug of a provider that is given by slug or name; what is neither comes back as it is."""
    slugs = {name.casefold(): slug for slug, name in _names.items()}
    return slugs.get(typed.strip().casefold(), typed)


def provider_names() -> dict[str, str]:
    return dict(_names)


def action_name(slug: str) -> str:
    """An action in words; actions themselves are above this app, events hold their slugs."""
    return slug.replace("_", " ").replace("-", " ").capitalize()
