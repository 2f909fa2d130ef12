"""
The price list: genai-prices, offline and dated, behind this one module.

A price is found only for a model that the list names, in the tier that served it, for every class of its tokens. The
list itself is generous: an entry takes whatever starts with its name, a tier it has no price for costs the standard
price, and a class it has none for costs as much as another. What it so pretends to know is not listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

import genai_prices
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseStartsWith,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    TieredPrices,
)

from usage.models import UsageEvent
from usage.tokens import TokenUsage

NoPrice = UsageEvent.NoPrice
CATALOG_VERSION = f"genai-prices {genai_prices.__version__}"

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
# Models that search the web with every call, for a fee beside the tokens that no answer counts.
SEARCHES = re.compile(r"-(search|deep-research)\b")

# Names of the tier whose price is the list's own.
STANDARD_TIERS = frozenset({"", "default", "standard", "on_demand"})

# What may follow a model's name without naming another model: a date in the spellings of the providers, a revision.
# Four digits are a month and a day (gpt-4-0613) or a year and a month (magistral-small-2509).
VERSION = re.compile(r"[-@]20\d\d-?[01]\d-?[0-3]\d|-[01]\d-[0-3]\d|-[01]\d-20\d\d|-[0-3]\d[0-3]\d|-0\d\d")
LATEST = "-latest"
# The beginning of a date, or a revision, at the end of what the list says a name starts with.
BEGUN_VERSION = re.compile(r"([-@]|-20\d\d-?|-0)$")


def list_price(
    *, provider: str, model: str, served_model: str, usage: TokenUsage, tier: str, at: datetime
) -> int | NoPrice:
    """What a call that left `at` (aware) costs in nano-USD by the list, or why the list cannot tell. Raises nothing."""
    catalog = CATALOG_PROVIDERS.get(provider)
    if catalog is None or any(_has_no_fixed_price(name) for name in (model, served_model)):
        return NoPrice.NOT_LISTED
    found: int | NoPrice = NoPrice.NOT_LISTED
    for name in _names(provider, _bare(provider, model), _bare(provider, served_model)):
        found = _price_of(catalog, name, usage, tier, at)
        if found != NoPrice.NOT_LISTED:
            return NoPrice.EXTRAS if SEARCHES.search(name) else found
    return found


def list_price_per_million(*, provider: str, model: str, at: datetime) -> tuple[int, int] | None:
    """Nano-USD per million tokens sent and answered in a short request, by the list; None where it has no price."""
    short = (TokenUsage(uncached_input=1_000), TokenUsage(output=1_000))
    prices = [
        list_price(provider=provider, model=model, served_model="", usage=usage, tier="", at=at) for usage in short
    ]
    sent, answered = prices
    return (sent * 1_000, answered * 1_000) if isinstance(sent, int) and isinstance(answered, int) else None


def nanousd(usd: Decimal) -> int:
    """Whole nano-USD, rounded half to even; the one place where money is rounded."""
    return int((usd * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def _names(provider: str, model: str, served: str) -> Iterator[str]:
    """
    The names under which to look the call's model up, the surest first.

    The served model decides where it is known, since an alias may stand for another model tomorrow. Only a dated
    version too new for the list has the price of the model that was asked for; Mistral's dates are models of their own.
    """
    variant = model.removeprefix(served)
    if not served or variant.startswith(":"):  # OpenRouter serves a variant under the model's plain name
        yield model
        return
    yield served
    if served.startswith(model) and VERSION.fullmatch(served.removeprefix(model)) and provider != "mistral":
        yield model


def _price_of(catalog: str, name: str, usage: TokenUsage, tier: str, at: datetime) -> int | NoPrice:
    context = _context(catalog, tier)
    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(
                input_tokens=usage.input_total,
                cache_read_tokens=usage.cache_read,
                cache_write_tokens=usage.cache_write + usage.cache_write_1h,
                cache_write_1h_tokens=usage.cache_write_1h,
                output_tokens=usage.output,
            ),
            name,
            provider_id=catalog,
            genai_request_timestamp=at,
            price_context=context,
        )
    except (LookupError, ValueError):
        return NoPrice.NOT_LISTED
    if not _is_named(found.model, name):
        return NoPrice.NOT_LISTED
    if not found.model.id.endswith(FREE_VARIANT):
        needed = _needed_prices(catalog, found.model_price, usage)
        if not needed <= _listed_prices(found.model_price):
            return NoPrice.NOT_LISTED
        if context and not needed <= _prices_of_tier(found.model, context, usage.input_total, at):
            return NoPrice.TIER
    return nanousd(found.total_price)


def _bare(provider: str, model: str) -> str:
    model = model.lower()
    for prefix in PREFIXES.get(provider, ()):
        if model.startswith(prefix):
            return model.removeprefix(prefix)
    return model


def _has_no_fixed_price(model: str) -> bool:
    """Routers ("openrouter/auto") choose the model themselves; some variants are dearer than their model."""
    name = model.lower()
    return name.endswith(REPRICED_VARIANTS) or name.rpartition("/")[2].partition(":")[0] == "auto"


def _is_named(model: ModelInfo, name: str) -> bool:
    """Whether the entry is for `name` itself, or for its undated name, and not for something that begins alike."""
    if name.startswith("ft:"):  # ft:<model>:<organization>:<name>:<id>
        name = ":".join(name.split(":")[:2])
    known = {known.lower() for known in (model.id, *_known_names(model.match))}
    known |= {BEGUN_VERSION.sub("", name) for name in known}
    undated = name.removesuffix(LATEST)
    if version := re.search(f"({VERSION.pattern})$", undated):
        undated = undated[: version.start()]
    return name in known or undated in known


def _known_names(match: MatchLogic) -> Iterator[str]:
    """The names in an entry's rule. Its patterns add nothing but dates to them."""
    match match:
        case ClauseEquals(name) | ClauseStartsWith(name) | ClauseEndsWith(name) | ClauseContains(name):
            yield name
        case ClauseOr(clauses) | ClauseAnd(clauses):
            for clause in clauses:
                yield from _known_names(clause)


def _needed_prices(catalog: str, listed: ModelPrice, usage: TokenUsage) -> set[str]:
    """
    The prices without which the tokens of `usage` have none.

    Writing to the cache costs what the input costs where it has no price of its own, except at Anthropic, where it
    always has one.
    """
    tokens = {
        "input_mtok": usage.input_total,
        "output_mtok": usage.output,
        "cache_read_mtok": usage.cache_read,
    }
    if catalog == "anthropic" or "cache_write_mtok" in _listed_prices(listed):
        tokens["cache_write_mtok"] = usage.cache_write + usage.cache_write_1h
        tokens["cache_write_1h_mtok"] = usage.cache_write_1h
    return {price for price, count in tokens.items() if count}


def _listed_prices(listed: ModelPrice) -> set[str]:
    return {name for name, price in vars(listed).items() if price is not None}


def _context(catalog: str, tier: str) -> dict[str, str]:
    """The tier as the list names it; nothing for the standard one."""
    tier = tier.lower().removeprefix("service_tier_")
    if tier in STANDARD_TIERS:
        return {}
    if tier == "batch":
        return {"processing": tier}
    return {"speed" if catalog == "anthropic" else "service_tier": tier}


def _prices_of_tier(model: ModelInfo, context: dict[str, str], sent: int, at: datetime) -> set[str]:
    """
    The prices that the list has for the tier, and does not take from the standard one.

    Where long requests cost more in the standard tier and the tier has one price, that is for short requests.
    """
    standard = vars(model.get_prices(at))
    variants = (variant for variant in model.price_variants or () if variant.when == context)
    active = (variant for variant in variants if variant.constraint is None or variant.constraint.active(at))
    return {
        name
        for variant in active
        for name, price in vars(variant.prices).items()
        if price is not None and (isinstance(price, TieredPrices) or not _is_long(standard.get(name), sent))
    }


def _is_long(price: Decimal | TieredPrices | None, sent: int) -> bool:
    return isinstance(price, TieredPrices) and any(sent > tier.start for tier in price.tiers)
