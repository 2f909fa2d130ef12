"""
Names of providers and actions for pages, charts and lists. Events hold slugs; what they name is above this app and
tells its names at start.
"""

from __future__ import annotations

from collections.abc import Mapping

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


def action_name(slug: str) -> str:
    """As people write it; of one that is not built in, or not any more, its slug in words."""
    return _actions.get(slug) or slug.replace("_", " ").replace("-", " ").capitalize()
