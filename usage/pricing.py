"""
What a call cost, in nano-USD: what the provider itself reported, else the price list, else nothing.

A price is looked up at the call's own time, once, when its event is written, and never again. What an answer leaves
open about its cost, and what the list does not know, or only pretends to know, stays unpriced with the reason; it is
never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from usage.models import UsageEvent
from usage.price_list import CATALOG_VERSION, list_price_and_input
from usage.tokens import Doubt, Report, TokenUsage

NoPrice = UsageEvent.NoPrice
Source = UsageEvent.PriceSource
# One call above a million USD is a broken report, and would break the sums of everybody else.
MOST_NANOUSD = 10**15


@dataclass(frozen=True, slots=True)
class Price:
    """
    `cost_nanousd` is None exactly when `source` is NONE; then `no_price` says why. `input_nanousd` is what of it is of
    input, None where nobody can tell; of a cost that the provider reported as one sum it is the list's share.
    """

    cost_nanousd: int | None
    source: UsageEvent.PriceSource
    version: str = ""
    no_price: UsageEvent.NoPrice | None = None
    input_nanousd: int | None = None


OWN_SERVER = Price(0, Source.OWN_SERVER, input_nanousd=0)


def unpriced(reason: UsageEvent.NoPrice) -> Price:
    return Price(None, Source.NONE, no_price=reason)


def price(*, provider: str, model: str, report: Report, at: datetime) -> Price:
    """The price of one call that left `at` (aware), by what its answer reports. Raises nothing."""
    if report.doubt is Doubt.PART_OF_COST:
        return unpriced(NoPrice.PART_OF_COST)
    if report.cost_nanousd is not None and 0 <= report.cost_nanousd <= MOST_NANOUSD:
        listed = _by_list(provider, model, report, report.usage, at) if report.usage else (NoPrice.NOT_REPORTED, None)
        return Price(report.cost_nanousd, Source.PROVIDER, input_nanousd=_share_of(report.cost_nanousd, *listed))
    if report.usage is None:
        return unpriced(NoPrice.NOT_REPORTED)
    if report.doubt is not None:
        return unpriced(NoPrice(report.doubt))
    if report.usage.total == 0:
        return unpriced(NoPrice.NOTHING_USED)
    cost, of_input = _by_list(provider, model, report, report.usage, at)
    if isinstance(cost, NoPrice):
        return unpriced(cost)
    if cost > MOST_NANOUSD:
        return unpriced(NoPrice.UNCLEAR_TOKENS)
    return Price(cost, Source.CATALOG, CATALOG_VERSION, input_nanousd=of_input)


def _by_list(
    provider: str, model: str, report: Report, usage: TokenUsage, at: datetime
) -> tuple[int | NoPrice, int | None]:
    return list_price_and_input(
        provider=provider,
        model=model,
        served_model=report.served_model,
        usage=usage,
        tier=report.service_tier,
        at=at,
    )


def _share_of(reported: int, listed: int | NoPrice, of_input: int | None) -> int | None:
    """What of a reported cost is of input, if its tokens cost as the list has it."""
    return reported * of_input // listed if isinstance(listed, int) and listed and of_input is not None else None
