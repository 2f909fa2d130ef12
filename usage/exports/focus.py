"""
What calls cost, as FOCUS 1.4 has it: the dataset Cost and Usage, in USD. docs/exports.md says how to read it.

A line is what was used on one day of one model with one key for one action, in one mode, with the same labels; it has a
row for each class of tokens and each price. All is computed in integers, so that every row's price times its quantity
is its cost to the last digit. The books round each call to the nano-dollar: what that adds or takes is a row of its
own, with which a line comes to what the books say.

As in calls.py, columns and words belong to the layout of sealed months.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import NamedTuple

from usage.audience import sees_usd
from usage.exports.calls import cost_known
from usage.exports.cells import NOTHING, Piece, heading, number, pairs, piece, scaled, text
from usage.exports.periods import Month, Period
from usage.exports.prices import DECIMALS, METERS, Prices, counts_of
from usage.exports.words import Words
from usage.models import Mode, UsageEvent

COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "HostProviderName",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_Action",
    "x_Calls",
    "x_ConsumedTokens",
    "x_CostBasis",
    "x_Mode",
    "x_Model",
    "x_PriceSource",
    "x_ServedModel",
    "x_ServiceTier",
    "x_WhyNoPrice",
)
METER_NAMES = {
    "input": "Input tokens",
    "cache_read": "Cache read tokens",
    "cache_write": "Cache write tokens (5 minutes)",
    "cache_write_1h": "Cache write tokens (1 hour)",
    "output": "Output tokens",
    "reasoning": "Reasoning tokens",
}
TOKENS = "Tokens"
FROM_NANOUSD = 10 ** (DECIMALS - 9)
ACTION_TAG = "keyfare/action"  # no label of a caller has a "/"
OTHER = "(other)"
# Of labels each day; what comes beyond is summed together, so that a day takes no more memory than this.
MOST_LABELS_A_DAY = 20_000
Source = UsageEvent.PriceSource


class Basis(StrEnum):
    """What a row's cost is, or why it has none."""

    LIST_PRICE = "list price"
    NO_CHARGES = "no token charges"
    WHOLE = "of all tokens together"
    IN_WHOLE = "in the row of all tokens together"
    UNKNOWN = "unpriced"
    ROUNDING = "rounding of single calls"
    CORRECTION = "correction"


class Line(NamedTuple):
    """What rows are of, in the order that they stand in."""

    provider: str
    model: str
    served_model: str
    service_tier: str
    action: str
    key_id: str
    key_label: str
    mode: str
    labels: str


class Kind(NamedTuple):
    """Rows of a line; `price` is of a million tokens, in the unit of usage.rates, -1 for none."""

    place: int  # of the meter; those of the whole come last
    basis: Basis
    source: str
    why: str
    price: int


@dataclass(slots=True)
class Sums:
    calls: int = 0
    tokens: int = 0
    cost: int = 0  # USD, times 10 ** DECIMALS


@dataclass(slots=True)
class Day:
    day: date
    lines: dict[Line, dict[Kind, Sums]] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)


class FocusFile:
    name = "focus"

    def __init__(self, words: Words, prices: Prices, period: Period, *, show_managed_usd: bool) -> None:
        """Events come by the day they left. Of a month of the books, earlier days are told as corrections."""
        self._words = words
        self._prices = prices
        self._period = period
        self._show_managed_usd = show_managed_usd
        self._day: Day | None = None

    def begin(self) -> Piece:
        return heading(COLUMNS)

    def add(self, events: Sequence[UsageEvent]) -> Piece:
        rows: list[list[str]] = []
        for event in events:
            if not sees_usd(event.mode, show_managed_usd=self._show_managed_usd):
                continue
            day = event.occurred_at.date()
            if self._day is None or self._day.day != day:
                rows += self._finished()
                self._day = Day(day)
            self._count(self._day, event)
        return piece(rows)

    def end(self) -> Piece:
        return piece(list(self._finished()))

    def _count(self, day: Day, event: UsageEvent) -> None:
        line = day.lines.setdefault(_line(day, event), {})
        counts, cost = counts_of(event), event.cost_nanousd
        source = event.price_source

        def add(place: int, basis: Basis, tokens: int = 0, amount: int = 0, price: int = -1, why: str = "") -> None:
            sums = line.setdefault(Kind(place, basis, source, why, price), Sums())
            sums.calls += 1
            sums.tokens += tokens
            sums.cost += amount

        whole = len(METERS)
        used = [(place, count) for place, count in enumerate(counts) if count]
        if event.revision:
            add(whole, Basis.CORRECTION, amount=(cost or 0) * FROM_NANOUSD)
            return
        if cost is None:
            why = event.no_price or cost_known(event)
            for place, count in used:
                add(place, Basis.UNKNOWN, count, why=why)
            if event.is_unpriced or event.is_unanswered:
                add(whole, Basis.UNKNOWN, why=why)
            return
        if event.has_no_token_charges and used:
            for place, count in used:
                add(place, Basis.NO_CHARGES, count, price=0)
            return
        prices = self._prices.of(event) if source == Source.CATALOG and used else None
        if prices is None:
            for place, count in used:
                add(place, Basis.IN_WHOLE, count)
            add(whole, Basis.NO_CHARGES if event.has_no_token_charges else Basis.WHOLE, amount=cost * FROM_NANOUSD)
            return
        exactly = 0
        for place, count in used:
            amount = count * prices[place]
            exactly += amount
            add(place, Basis.LIST_PRICE, count, amount, prices[place])
        if rest := cost * FROM_NANOUSD - exactly:
            add(whole, Basis.ROUNDING, amount=rest)

    def _finished(self) -> Iterator[list[str]]:
        if self._day is None:
            return
        day = self._day
        for line, kinds in sorted(day.lines.items()):
            for kind, sums in sorted(kinds.items()):
                if sums.cost or kind.basis != Basis.ROUNDING:
                    yield self._row(day.day, line, kind, sums)

    def _row(self, day: date, line: Line, kind: Kind, sums: Sums) -> list[str]:
        month = self._period if isinstance(self._period, Month) else Month.of(day)
        slug, name = self._words.account
        cost, provider = scaled(sums.cost, DECIMALS), self._words.provider(line.provider)
        meter = METERS[kind.place] if kind.place < len(METERS) else ""
        is_usage = kind.basis not in (Basis.ROUNDING, Basis.CORRECTION)
        has_price = kind.price >= 0
        quantity = number(sums.tokens) if has_price else NOTHING
        unit = TOKENS if has_price else NOTHING
        price = scaled(kind.price, DECIMALS) if has_price else NOTHING
        sku = f"{line.provider}/{line.served_model or line.model}"
        price_id = f"{sku}/{meter}/{line.service_tier or 'standard'}/{scaled(kind.price, 18)}" if has_price else NOTHING
        details = {"x_Meter": meter, "x_ServiceTier": line.service_tier or "standard"} if has_price else {}
        cells = {
            "BilledCost": cost,
            "BillingAccountId": text(slug),
            "BillingAccountName": text(name),
            "BillingCurrency": "USD",
            "BillingPeriodEnd": midnight(month.next.first),
            "BillingPeriodStart": midnight(month.first),
            "ChargeCategory": "Usage" if is_usage else "Adjustment",
            "ChargeClass": "Correction" if day < month.first else NOTHING,
            "ChargeDescription": text(f"{METER_NAMES.get(meter, 'All tokens')}, {line.model}: {kind.basis}"),
            "ChargeFrequency": "Usage-Based",
            "ChargePeriodEnd": midnight(day + timedelta(days=1)),
            "ChargePeriodStart": midnight(day),
            "ConsumedQuantity": quantity,
            "ConsumedUnit": unit,
            "ContractedCost": cost,
            "ContractedUnitPrice": price,
            "EffectiveCost": cost,
            "HostProviderName": NOTHING,
            "InvoiceIssuerName": text(provider),
            "ListCost": cost,
            "ListUnitPrice": price,
            "PricingCategory": "Standard" if has_price else NOTHING,
            "PricingQuantity": quantity,
            "PricingUnit": unit,
            "ServiceCategory": "AI and Machine Learning",
            "ServiceName": text(provider),
            "ServiceProviderName": text(provider),
            "ServiceSubcategory": "Generative AI",
            "SkuId": text(sku),
            "SkuMeter": METER_NAMES.get(meter, NOTHING),
            "SkuPriceDetails": pairs(details),
            "SkuPriceId": text(price_id),
            "SubAccountId": line.key_id,
            "SubAccountName": text(line.key_label),
            "SubAccountType": "API key" if line.key_id else NOTHING,
            "Tags": line.labels,
            "x_Action": text(line.action),
            "x_Calls": number(sums.calls),
            "x_ConsumedTokens": number(sums.tokens) if meter else NOTHING,
            "x_CostBasis": kind.basis,
            "x_Mode": line.mode,
            "x_Model": text(line.model),
            "x_PriceSource": kind.source,
            "x_ServedModel": text(line.served_model),
            "x_ServiceTier": text(line.service_tier),
            "x_WhyNoPrice": kind.why,
        }
        return [cells[column] for column in COLUMNS]


def midnight(day: date) -> str:
    return f"{day}T00:00:00Z"


def _line(day: Day, event: UsageEvent) -> Line:
    is_own = event.mode == Mode.BYOK
    labels = pairs({**event.labels, ACTION_TAG: event.action})
    if labels not in day.labels:
        if len(day.labels) >= MOST_LABELS_A_DAY:
            labels = pairs({OTHER: OTHER, ACTION_TAG: event.action})
        day.labels.add(labels)
    return Line(
        event.provider,
        event.model,
        event.served_model,
        event.service_tier,
        event.action,
        str(event.key_id) if is_own else NOTHING,
        event.key_label if is_own else NOTHING,
        event.mode,
        labels,
    )
