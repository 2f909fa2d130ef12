"""
The price list: genai-prices, offline and dated, behind this one module.

A price is found only for a model that the list names, in the tier that served it, for every class of its tokens. The
list itself is generous: an entry takes whatever starts with its name, a tier it has no price for costs the standard
price, and a class it has none for costs as much as another. What it so pretends to know is not listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache

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
    TieredPrices,
)

from usage.models import UsageEvent
from usage.rates import CLASSES, EXTRAS, INPUT, Rate, Step
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
    return _priced(rates_of(provider, model, served_model, tier, at.astimezone(UTC).date()), usage)[0]


def list_price_and_input(
    *, provider: str, model: str, served_model: str, usage: TokenUsage, tier: str, at: datetime
) -> tuple[int | NoPrice, int | None]:
    """`list_price`, and what of it is of input; nano-USD."""
    cost, rate = _priced(rates_of(provider, model, served_model, tier, at.astimezone(UTC).date()), usage)
    return cost, rate.input_cost(usage) if rate else None


def list_prices(
    *, provider: str, model: str, served_model: str, usage: TokenUsage, tier: str, at: datetime, cost_nanousd: int
) -> Mapping[str, Decimal]:
    """
    USD a million tokens, by class (`usage.rates.CLASSES`), of a call that cost `cost_nanousd` by the list. Empty where
    the list of today comes to another cost: it has changed since, or the call used more than `usage` tells.
    """
    cost, rate = _priced(rates_of(provider, model, served_model, tier, at.astimezone(UTC).date()), usage)
    return rate.step_of(usage.input_total).usd_per_million() if rate and cost == cost_nanousd else {}


def most_list_price(
    *, provider: str, model: str, input_tokens: int, output_tokens: int, tier: str, at: datetime
) -> int | None:
    """
    What a call costs at most by the list that sends and receives no more than so many tokens; nano-USD. What has no
    price for output has none (embeddings). None where the list cannot tell.
    """
    for rate in rates_of(provider, model, "", tier, at.astimezone(UTC).date()):
        if isinstance(rate, Rate):
            most = rate.most(input_tokens=input_tokens, output_tokens=output_tokens)
            return rate.most(input_tokens=input_tokens, output_tokens=0) if most is None else most
    return None


def _priced(rates: Iterable[Rate | NoPrice], usage: TokenUsage) -> tuple[int | NoPrice, Rate | None]:
    """The cost, and by which rate; or why there is none."""
    found: int | NoPrice = NoPrice.NOT_LISTED
    for rate in rates:
        found = rate.cost(usage) if isinstance(rate, Rate) else rate
        if found != NoPrice.NOT_LISTED:
            return found, rate if isinstance(rate, Rate) else None
    return found, None


def list_price_per_million(*, provider: str, model: str, at: datetime) -> tuple[int, int] | None:
    """Nano-USD per million tokens sent and answered in a short request, by the list; None where it has no price."""
    short = (TokenUsage(uncached_input=1_000), TokenUsage(output=1_000))
    prices = [
        list_price(provider=provider, model=model, served_model="", usage=usage, tier="", at=at) for usage in short
    ]
    sent, answered = prices
    return (sent * 1_000, answered * 1_000) if isinstance(sent, int) and isinstance(answered, int) else None


@lru_cache(maxsize=4096)
def listed_name(provider: str, model: str) -> str | None:
    """The list's own name of a model, whatever its version; None where the list does not name it."""
    catalog, name = CATALOG_PROVIDERS.get(provider), _bare(provider, model)
    if catalog is None:
        return None
    try:
        found = genai_prices.calc_price(genai_prices.Usage(), name, provider_id=catalog).model
    except (LookupError, ValueError):
        return None
    return found.id if _is_named(found, name) else None


@lru_cache(maxsize=16_384)  # a page of models asks for thousands
def rates_of(provider: str, model: str, served_model: str, tier: str, day: date) -> tuple[Rate | NoPrice, ...]:
    """
    The rates of a call on `day` (UTC), the surest first: each one's price holds unless it is not listed there.

    A reason in place of a rate is the answer for whatever tokens. Empty where the list knows nothing of the model.
    """
    catalog = CATALOG_PROVIDERS.get(provider)
    if catalog is None or any(_has_no_fixed_price(name) for name in (model, served_model)):
        return ()
    names = _names(provider, _bare(provider, model), _bare(provider, served_model))
    return tuple(rate for name in names if (rate := _rate_of(catalog, name, tier, day)) is not None)


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


def _rate_of(catalog: str, name: str, tier: str, day: date) -> Rate | NoPrice | None:
    """None where the list does not name the model."""
    context = _context(catalog, tier)
    at = datetime.combine(day, time(), UTC)
    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(), name, provider_id=catalog, genai_request_timestamp=at, price_context=context
        )
    except (LookupError, ValueError):
        return None
    if not _is_named(found.model, name):
        return None
    if SEARCHES.search(name):
        return NoPrice.EXTRAS
    told = _prices_of_tier(found.model, context, at) if context else None
    is_free = found.model.id.endswith(FREE_VARIANT)
    return _rate(catalog, vars(found.model_price), told, vars(found.model.get_prices(at)), is_free=is_free)


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


Prices = Mapping[str, Decimal | TieredPrices | None]
# The list's names of the classes of tokens. Reasoning costs as much as the rest of the answer where it has no price of
# its own; so does what is written to the cache, as much as the input, except at Anthropic, where it always has one.
LISTED_AS = {
    "input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "cache_read_audio": "cache_audio_read_mtok",
    "input_image": "input_image_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
    "output_audio": "output_audio_mtok",
    "output_image": "output_image_mtok",
}


def _rate(catalog: str, listed: Prices, told: Prices | None, standard: Prices, *, is_free: bool) -> Rate:
    """
    `listed` are the prices that hold, `told` those of them that the list has for the tier itself, where it is not the
    standard one.
    """
    sources = dict(LISTED_AS)
    if listed.get("output_reasoning_mtok") is None:
        sources["reasoning"] = sources["output"]
    if catalog != "anthropic" and listed.get("cache_write_mtok") is None:
        sources["cache_write"] = sources["cache_write_1h"] = sources["input"]
    starts = {0}
    for price in (*listed.values(), *(standard.values() if told is not None else ())):
        if isinstance(price, TieredPrices):
            starts |= {tier.start for tier in price.tiers}
    steps = []
    for above in sorted(starts):
        prices: list[int | None] = []
        reasons: list[NoPrice | None] = []
        for name in CLASSES:
            whole = "input" if name in INPUT else "output"
            source, reason = listed.get(sources[name]), None
            if is_free:
                source = Decimal(0)
            elif source is None or listed.get(sources[whole]) is None:
                reason = NoPrice.EXTRAS if name in EXTRAS else NoPrice.NOT_LISTED
            elif told is not None and not all(
                _is_told(told.get(each), standard.get(each), above) for each in {sources[name], sources[whole]}
            ):
                reason = NoPrice.TIER
            prices.append(None if source is None or reason else scaled(_price_above(source, above)))
            reasons.append(reason)
        steps.append(Step(above, tuple(prices), tuple(reasons)))
    return Rate(tuple(steps))


def _price_above(price: Decimal | TieredPrices, above: int) -> Decimal:
    """Of requests that send more than `above` tokens, as few more as can be."""
    if isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if above >= tier.start), price.base)


def _is_told(price: Decimal | TieredPrices | None, standard: Decimal | TieredPrices | None, above: int) -> bool:
    """Where long requests cost more in the standard tier and the tier has one price, that is for short requests."""
    if price is None or isinstance(price, TieredPrices) or not isinstance(standard, TieredPrices):
        return price is not None
    return above < min(tier.start for tier in standard.tiers)


def scaled(usd_per_million: Decimal) -> int:
    return int(usd_per_million.scaleb(18))


def _context(catalog: str, tier: str) -> dict[str, str]:
    """The tier as the list names it; nothing for the standard one."""
    tier = tier.lower().removeprefix("service_tier_")
    if tier in STANDARD_TIERS:
        return {}
    if tier == "batch":
        return {"processing": tier}
    return {"speed" if catalog == "anthropic" else "service_tier": tier}


def _prices_of_tier(model: ModelInfo, context: dict[str, str], at: datetime) -> Prices:
    """The prices that the list has for the tier, and does not take from the standard one."""
    variants = (variant for variant in model.price_variants or () if variant.when == context)
    active = [variant for variant in variants if variant.constraint is None or variant.constraint.active(at)]
    told: dict[str, Decimal | TieredPrices | None] = {}
    for variant in active:
        for name, price in vars(variant.prices).items():
            if price is not None:
                told.setdefault(name, price)
    return told
