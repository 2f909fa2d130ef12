"""The models that an organization can call, over all its keys: what they cost, who uses them, what they have cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property

from organizations.models import Organization
from providers.cards import usd_text
from providers.models import AvailableModel, ProviderKey
from routing import own_models
from routing.actions import Action
from routing.counterparts import Price
from routing.key_models import PRICES
from routing.own_models import OwnModel
from routing.resolve import RoutingRow
from usage.cells import Cell, Grouping, Totals, totals
from usage.models import Mode
from usage.names import provider_name
from usage.price_list import list_price_per_million

BY_MODEL = Grouping(
    ("provider", "model", "mode"),
    ("calls", "unpriced_calls", "unknown_calls", "own_server_calls", "cost_nanousd"),
)
Named = tuple[str, str]  # provider and model
NOBODY_KNOWS = 10**30  # behind every price


@dataclass(frozen=True)
class ModelLine:
    """One model of one provider, with all keys that can call it; keys is empty where it is no longer listed by any."""

    provider: str
    model: str
    name: str
    keys: tuple[ProviderKey, ...]
    context_tokens: int | None
    own_price: Price  # as the provider lists it
    at: datetime
    actions: tuple[Action, ...] = ()
    own_models: tuple[OwnModel, ...] = ()
    month: Totals | None = None
    listed_since: datetime | None = None
    ends_on: date | None = None

    @property
    def provider_name(self) -> str:
        return provider_name(self.provider)

    @property
    def usable_key(self) -> ProviderKey | None:
        """The oldest that actions can be routed to."""
        return next((key for key in self.keys if key.is_usable), None)

    @property
    def has_no_token_charges(self) -> bool:
        return bool(self.keys) and all(key.has_no_token_charges for key in self.keys)

    @cached_property
    def price(self) -> Price:
        """In and out, nano-USD a million tokens: the provider's own, else the price list's."""
        if None not in self.own_price:
            return self.own_price
        return list_price_per_million(provider=self.provider, model=self.model, at=self.at) or (None, None)

    @property
    def prices(self) -> tuple[str, str]:
        return tuple("" if price is None else usd_text(price) for price in self.price)  # type: ignore[return-value]

    @property
    def users(self) -> str:
        return ", ".join([*(action.name for action in self.actions), *(own.name for own in self.own_models)])

    @property
    def is_used(self) -> bool:
        return bool(self.actions or self.own_models or self.month)

    @property
    def words(self) -> str:
        labels = (key.label for key in self.keys)
        return " ".join((self.provider_name, self.provider, self.model, self.name, *labels)).lower()


# By their names in an address; each orders as a list is first looked at.
ORDERS: dict[str, tuple[str, Callable[[ModelLine], tuple[object, ...]]]] = {
    "cost": ("30-day cost", lambda line: (not line.is_used, -(line.month.cost_nanousd or 0) if line.month else 1)),
    "model": ("Model", lambda line: (line.model.lower(),)),
    "in": ("Price in", lambda line: (_known(line.price[0]),)),
    "out": ("Price out", lambda line: (_known(line.price[1]),)),
    "context": ("Context", lambda line: (-(line.context_tokens or 0),)),
}


def _known(price: int | None) -> int:
    return NOBODY_KNOWS if price is None else price


def model_lines(
    organization: Organization,
    keys: Sequence[ProviderKey],
    rows: Iterable[RoutingRow],
    cells: Iterable[Cell],
    *,
    now: datetime,
    provider: str = "",
) -> list[ModelLine]:
    """
    Of `keys`, of `rows` and of what is in `cells` (BY_MODEL); of one `provider` alone where it is named. Calls on keys
    of the operator have no part in it.
    """
    by_id = {key.pk: key for key in keys if provider in ("", key.provider)}
    lines: dict[Named, ModelLine] = {}
    listed = AvailableModel.objects.for_organization(organization).filter(key__in=list(by_id)).order_by("pk")
    columns = ("key_id", "model", "name", "context_tokens", "listed_since", "ends_on", *PRICES)
    for key_id, model, name, context, since, ends_on, *prices in listed.values_list(*columns):
        key = by_id[key_id]
        _add(
            lines,
            key.provider,
            model,
            now,
            key=key,
            name=name,
            context=context,
            price=(prices[0], prices[1]),
            since=since,
            ends_on=ends_on,
        )
    for row in rows:
        if row.rule and provider in ("", row.rule.key.provider):
            line = _add(lines, row.rule.key.provider, row.rule.model, now)
            lines[line.provider, line.model] = replace(line, actions=(*line.actions, row.action))
    for own in (own for of_action in own_models.newest(organization).values() for own in of_action):
        if provider in ("", own.key.provider):
            line = _add(lines, own.key.provider, own.model, now)
            lines[line.provider, line.model] = replace(line, own_models=(*line.own_models, own))
    for named, month in _months(cells).items():
        if provider in ("", named[0]):
            line = _add(lines, *named, now)
            lines[named] = replace(line, month=month)
    return list(lines.values())


def _add(
    lines: dict[Named, ModelLine],
    provider: str,
    model: str,
    now: datetime,
    *,
    key: ProviderKey | None = None,
    name: str = "",
    context: int | None = None,
    price: Price = (None, None),
    since: datetime | None = None,
    ends_on: date | None = None,
) -> ModelLine:
    line = lines.get((provider, model))
    if line is None:
        line = ModelLine(provider, model, name, (), context, price, now, listed_since=since, ends_on=ends_on)
    if key is not None:
        line = replace(
            line,
            keys=(*line.keys, key),
            context_tokens=line.context_tokens or context,
            own_price=price if None in line.own_price else line.own_price,
        )
    lines[provider, model] = line
    return line


def _months(cells: Iterable[Cell]) -> Mapping[Named, Totals]:
    of_model: dict[Named, list[Cell]] = {}
    for cell in cells:
        if cell.sums.calls and cell.mode == Mode.BYOK:
            of_model.setdefault((cell.provider, cell.model), []).append(cell)
    return {named: totals(of_named) for named, of_named in of_model.items()}
