"""What the connected keys of an organization can call, as its actions would be priced with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from organizations.models import Organization
from providers.models import AvailableModel, ProviderKey
from usage.what_if import Offered

PRICES = ("input_nanousd_per_mtok", "output_nanousd_per_mtok")


@dataclass(frozen=True, slots=True)
class KeyModel:
    """A model of a connected key."""

    key: ProviderKey
    offered: Offered
    context_tokens: int | None = None

    @property
    def model(self) -> str:
        return self.offered.model

    @property
    def provider(self) -> str:
        return self.offered.provider


def selectable_keys(organization: Organization) -> list[ProviderKey]:
    """The keys that a rule may name now: Connected or Limited, and not known to be unreadable."""
    keys = ProviderKey.objects.for_organization(organization).usable()
    return [key for key in keys.order_by("created_at") if key.is_usable]


def offered_by(key: ProviderKey, model: str, prices: Sequence[int | None] = (None, None)) -> Offered:
    """`prices` as the provider lists them for the key, of a million tokens in and out."""
    return Offered(key.provider, model, prices[0], prices[1], key.has_no_token_charges)


def models_of_keys(
    organization: Organization, keys: Iterable[ProviderKey], *, also: Iterable[tuple[ProviderKey, str]] = ()
) -> list[KeyModel]:
    """
    What `keys` can call, and what is routed `also`: a model of two keys of one provider stands once, with the older
    key.
    """
    by_id = {key.pk: key for key in keys}
    listed = AvailableModel.objects.for_organization(organization).filter(key__in=list(by_id))
    found: dict[tuple[str, str, str], KeyModel] = {}
    order = {pk: place for place, pk in enumerate(by_id)}
    rows = sorted(
        listed.values_list("key_id", "model", "context_tokens", *PRICES), key=lambda row: (order[row[0]], row[1])
    )
    for key_id, model, context, *prices in rows:
        key = by_id[key_id]
        found.setdefault((key.provider, key.base_url, model), KeyModel(key, offered_by(key, model, prices), context))
    for key, model in also:
        found.setdefault((key.provider, key.base_url, model), KeyModel(key, offered_by(key, model)))
    return list(found.values())
