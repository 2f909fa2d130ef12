"""
What runs under an action on a key and a model of its own, instead of as the action is routed: briefings do.

It is kept above routing, which cannot import it: whoever keeps it declares itself here when Django starts. The routing
table lists it under its action, and a key that serves it is not removed before it has another.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from organizations.models import Organization, User
from providers.models import ProviderKey
from usage.names import provider_name

MOST_LISTED = 20  # under an action


@dataclass(frozen=True, slots=True)
class OwnModel:
    action: str
    mark: str  # names it in a form, without spaces
    name: str
    url: str
    key: ProviderKey
    model: str

    @property
    def provider_name(self) -> str:
        return provider_name(self.key.provider)


class Keeper(Protocol):
    def newest(self, *, organization: Organization, most: int) -> Sequence[OwnModel]:
        """Those in use, `most` of them at most."""

    def served_by(self, *, key: ProviderKey, lock: bool) -> Sequence[OwnModel]:
        """All whose key is `key`; with `lock` their rows are locked, which comes before locking keys."""

    def move(self, *, own: OwnModel, key: ProviderKey | None, model: str, actor: User | None) -> None:
        """Have `model` of `key` serve it, or the route of its action (None). Raises services.RuleRefused."""

    def has_served(self, *, organization: Organization, run_id: UUID) -> bool:
        """Whether the calls of that run went to a model of its own."""


_keepers: list[Keeper] = []


def declare(keeper: Keeper) -> None:
    _keepers.append(keeper)


def newest(organization: Organization, *, most: int = MOST_LISTED + 1) -> dict[str, list[OwnModel]]:
    """By action; `most` of each keeper: as many as are listed, and one more where there are more."""
    found: dict[str, list[OwnModel]] = {}
    for keeper in _keepers:
        for own in keeper.newest(organization=organization, most=most):
            found.setdefault(own.action, []).append(own)
    return found


def has_own_models(organization: Organization, actions: Collection[str]) -> bool:
    """Whether something in use under each of `actions` is served by a model of its own whose key works."""
    found = newest(organization)
    return all(any(own.key.is_usable for own in found.get(action, ())) for action in actions)


def served_by(key: ProviderKey, *, lock: bool = False) -> list[tuple[Keeper, OwnModel]]:
    return [(keeper, own) for keeper in _keepers for own in keeper.served_by(key=key, lock=lock)]


def has_served(run_id: UUID, *, organization: Organization) -> bool:
    return any(keeper.has_served(organization=organization, run_id=run_id) for keeper in _keepers)
