"""
The model that does on one key what a managed default does on the operator's: it is filled in where a key is chosen.

One rule for every provider; the first of these that the key lists:

1. the same model of the same maker, by the provider's own name: "openai/gpt-4.1-mini" of OpenRouter is "gpt-4.1-mini"
   at OpenAI, and "anthropic/claude-haiku-4.5" is "claude-haiku-4-5-20251001" at Anthropic;
2. one of the provider's `usual_models` (providers/catalog.py), quick and cheap ones;
3. the first one listed, which on an organization's own server is as good as any.

Where a key lists none, the model that it was proved with, else what 1 and 2 would be called.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from providers.cards import usd_text
from providers.catalog import PROVIDERS
from providers.models import ProviderKey
from routing.resolve import RoutingRow
from usage.model_names import undated
from usage.price_list import list_price_per_million

# Who makes a model, as OpenRouter begins its ids, and the slug of the provider that is its maker.
MAKERS = {"openai": "openai", "anthropic": "anthropic", "google": "google", "mistralai": "mistral"}
Price = tuple[int | None, int | None]  # of a million tokens sent and answered, in nano-USD


def counterpart(*, row: RoutingRow, key: ProviderKey, listed: Collection[str] | None = None) -> str:
    """
    The model of `key` for an action, "" where nothing can be proposed. `listed` are the key's models in the order of
    the provider, read here where not given.
    """
    if listed is None:
        listed = listed_in_order(key)
    provider = row.default.provider if row.default else row.action.managed_provider
    model = row.default.model if row.default else row.action.managed_model
    own_names = _own_names(provider, model, at=key.provider) if model else ()
    wanted = [*own_names, *PROVIDERS[key.provider].usual_models]
    if not listed:
        return key.proof_model or next(iter(wanted), "")
    if provider == key.provider and model in listed:
        return model
    by_name: dict[str, str] = {}
    for each in sorted(listed, key=len):  # an undated name before the dated ones
        by_name.setdefault(undated(each), each)
    return next((by_name[undated(name)] for name in wanted if undated(name) in by_name), next(iter(listed)))


def listed_in_order(key: ProviderKey) -> dict[str, Price]:
    """The models that the provider lists for `key`, in its order, with its own prices."""
    models = key.available_models.filter(organization=key.organization_id).order_by("pk")
    prices = models.values_list("model", "input_nanousd_per_mtok", "output_nanousd_per_mtok")
    return {model: (sent, answered) for model, sent, answered in prices}


def price_text(key: ProviderKey, model: str, *, at: datetime, offered: Mapping[str, Price] | None = None) -> str:
    """
    What `model` costs on `key`, to stand beside it: the provider's own price, else that of the price list. `offered`
    is `listed_in_order`, asked for here where not given.
    """
    if key.has_no_token_charges:
        return "no token charges"
    if not model:
        return ""
    prices = (listed_in_order(key) if offered is None else offered).get(model, (None, None))
    listed = None if None in prices else prices
    listed = listed or list_price_per_million(provider=key.provider, model=model, at=at)
    if listed is None:
        return "price not known"
    sent, answered = listed
    return f"{usd_text(sent or 0)} in, {usd_text(answered or 0)} out per million tokens"


def _own_names(provider: str, model: str, *, at: str) -> Iterator[str]:
    """What `model` of `provider` may be called by the provider `at`, if that sells models of its maker."""
    maker, _, name = model.rpartition("/")
    maker = maker.removeprefix("models/") or {slug: own for own, slug in MAKERS.items()}.get(provider, "")
    if provider == at:
        yield model
    elif at == "openrouter":
        yield f"{maker}/{name}"
    elif MAKERS.get(maker) == at:
        yield name
    elif PROVIDERS[at].takes_base_url:  # a proxy in front of providers calls it by either
        yield f"{maker}/{name}"
        yield name
