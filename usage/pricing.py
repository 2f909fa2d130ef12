"""
What a call cost, in nano-USD: what the provider itself reported, else the price list, else nothing.

The price list is genai-prices, offline and dated: a price is looked up at the call's own time, once, when
its event is written, and never again. What it does not know, or only pretends to know, stays unpriced; it
is never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

import genai_prices
from genai_prices.data import providers as known_providers
from genai_prices.types import PriceCalculation

from usage.models import UsageEvent
from usage.tokens import TokenUsage

CATALOG_VERSION = f"genai-prices {genai_prices.__version__}"
# One call above a million USD is a broken report, and would break the sums of everybody else.
MOST_NANOUSD = 10**15

# Our provider slugs and theirs. A provider that is not here has no list price.
CATALOG_PROVIDERS = {
    "anthropic": "anthropic",
    "google": "google",
    "mistral": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
}
# Prefixes that name the same model. OpenRouter's own ids look like the third kind and are kept whole.
PREFIXES = {
    "anthropic": ("anthropic/",),
    "google": ("models/", "google/"),
    "mistral": ("mistralai/", "mistral/"),
    "openai": ("openai/",),
}
# OpenRouter variants that keep the model's name and change its price: web search, fastest, cheapest, chosen
# provider.
REPRICED_VARIANTS = (":online", ":nitro", ":floor", ":exacto")
FREE_VARIANT = ":free"


@dataclass(frozen=True, slots=True)
class Price:
    """`cost_nanousd` is None exactly when `source` is NONE."""

    cost_nanousd: int | None
    source: UsageEvent.PriceSource
    version: str = ""


UNPRICED = Price(None, UsageEvent.PriceSource.NONE)


def price(
    *,
    provider: str,
    model: str,
    served_model: str,
    usage: TokenUsage | None,
    at: datetime,
    reported_cost_nanousd: int | None,
) -> Price:
    """
    The price of one call that left `at` (aware). Raises nothing: what has no price is UNPRICED.

    The served model decides where it is known, since an alias may stand for another model tomorrow.
    """
    if reported_cost_nanousd is not None and 0 <= reported_cost_nanousd <= MOST_NANOUSD:
        return Price(reported_cost_nanousd, UsageEvent.PriceSource.PROVIDER)
    catalog = CATALOG_PROVIDERS.get(provider)
    if catalog is None or usage is None or usage.total == 0 or _has_no_fixed_price(model):
        return UNPRICED
    names = [served_model or model]
    if served_model and _bare(provider, served_model).startswith(_bare(provider, model)):
        names.append(model)  # a dated snapshot, too new for the list, of what was asked for
    for name in names:
        cost = _list_price(catalog, _bare(provider, name), usage, at)
        if cost is not None:
            return Price(cost, UsageEvent.PriceSource.CATALOG, CATALOG_VERSION)
    return UNPRICED


def nanousd(usd: Decimal) -> int:
    """Whole nano-USD, rounded half to even; the one place where money is rounded."""
    return int((usd * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def provider_name(slug: str) -> str:
    """The provider's name as people write it; the slug itself where the price list has none."""
    return _NAMES.get(CATALOG_PROVIDERS.get(slug, slug), slug)


_NAMES = {provider.id: provider.name for provider in known_providers}


def _bare(provider: str, model: str) -> str:
    for prefix in PREFIXES.get(provider, ()):
        if model.startswith(prefix):
            return model.removeprefix(prefix)
    return model


def _has_no_fixed_price(model: str) -> bool:
    """Routers ("openrouter/auto") choose the model themselves; some variants are dearer than their model."""
    name = model.lower()
    return name.endswith(REPRICED_VARIANTS) or name.rpartition("/")[2].partition(":")[0] == "auto"


def _list_price(catalog: str, model: str, usage: TokenUsage, at: datetime) -> int | None:
    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=usage.input_total,
                cache_read_tokens=usage.cache_read,
                cache_write_tokens=usage.cache_write + usage.cache_write_1h,
                cache_write_1h_tokens=usage.cache_write_1h,
                output_tokens=usage.output,
            ),
            model,
            provider_id=catalog,
            genai_request_timestamp=at,
        )
    except (LookupError, ValueError):
        return None
    if not _prices_all_of(found, usage):
        return None
    cost = nanousd(found.total_price)
    return cost if 0 <= cost <= MOST_NANOUSD else None


def _prices_all_of(found: PriceCalculation, usage: TokenUsage) -> bool:
    """The list gives entries without token prices (speech, moderation, previews) a total of zero."""
    if found.model.id.endswith(FREE_VARIANT):
        return True
    listed = found.model_price
    return not (
        (usage.input_total and getattr(listed, "input_mtok", None) is None)
        or (usage.output and getattr(listed, "output_mtok", None) is None)
    )
