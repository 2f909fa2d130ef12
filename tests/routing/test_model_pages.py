"""The page of all models, and that of each provider."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from organizations import clock
from providers.catalog import PROVIDERS
from providers.models import AvailableModel, ProviderKey
from routing.services import save_routing
from tests.builders import connect_key
from tests.usage.conftest import event
from usage.models import Mode

URL = "/o/acme/models/"
USD = 10**9


def text(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def models_on(response) -> list[str]:
    return re.findall(
        r'<th scope="row"><div><span class="mono wrap-anywhere">([^<]+)</span>', response.content.decode()
    )


def test_what_is_used_stands_first_with_who_uses_it_and_what_it_cost(as_alice, acme, key, routed):
    event(
        acme,
        provider="openrouter",
        model="openai/gpt-5",
        uncached_input_tokens=1,
        cost_nanousd=3 * USD,
        day=clock.now().date(),
    )

    response = as_alice.get(URL)

    assert models_on(response)[:2] == ["openai/gpt-5", "openai/gpt-4.1-mini"]
    assert (
        "openai/gpt-4.1-mini OpenAI: GPT-4.1 Mini OpenRouter · Default $0.40 $1.60 1,047,576 Candidate check –"
        in text(response)
    )
    assert "provider=openrouter&amp;model=openai%2Fgpt-5&amp;from=" in response.content.decode()
    assert "$3.00" in text(response)


def test_a_model_of_two_keys_stands_once_and_is_used_by_the_one_that_works(as_alice, acme, simulated_providers):
    broken = connect_key(acme, "openai", label="Old")
    ProviderKey.objects.filter(pk=broken.pk).update(status="invalid")
    working = connect_key(acme, "openai", label="New")

    response = as_alice.get(URL, {"q": "gpt-5.5"})

    assert models_on(response) == ["gpt-5.5"]
    assert "OpenAI · Old (Invalid), New" in text(response)
    assert f"/o/acme/settings/keys/{working.pk}/use/?model=gpt-5.5" in response.content.decode()


def test_what_managed_calls_cost_is_no_cost_of_a_model(as_alice, acme, key):
    event(acme, mode=Mode.MANAGED, model="gpt-hidden", cost_nanousd=77 * USD, day=clock.now().date())

    assert "gpt-hidden" not in text(as_alice.get(URL))
    assert "77" not in text(as_alice.get(URL))


def test_what_no_key_lists_any_more_and_is_used_is_there(as_alice, acme, key):
    save_routing(organization=acme, action="candidate_check", key=key, model="openai/gpt-5", actor=None)
    key.routing_rules.update(model="typed/model")

    assert "typed/model OpenRouter not listed by a key of yours" in text(as_alice.get(URL))


@pytest.mark.parametrize(
    ("order", "first"),
    [("in", "a/cheap-in"), ("out", "b/cheap-out"), ("context", "c/long"), ("model", "a/cheap-in"), ("?", "a/cheap-in")],
)
def test_it_is_sorted_by_its_address(as_alice, acme, key, order, first):
    AvailableModel.objects.all().delete()
    rows = {"a/cheap-in": (1, 9, 10), "b/cheap-out": (5, 1, 10), "c/long": (6, 8, 99)}
    AvailableModel.objects.bulk_create(
        AvailableModel(
            organization=acme,
            key=key,
            model=model,
            input_nanousd_per_mtok=price_in,
            output_nanousd_per_mtok=price_out,
            context_tokens=context,
        )
        for model, (price_in, price_out, context) in rows.items()
    )

    assert models_on(as_alice.get(URL, {"sort": order}))[0] == first


def test_thousands_of_models_are_paged_in_few_queries(as_alice, acme, key, routed, django_assert_max_num_queries):
    AvailableModel.objects.bulk_create(
        AvailableModel(organization=acme, key=key, model=f"maker/model-{at:04}") for at in range(4_000)
    )

    with django_assert_max_num_queries(20):
        response = as_alice.get(URL, {"page": "40", "sort": "model"})

    assert len(models_on(response)) == 50
    assert "1,951 to 2,000 of 4,0" in text(response)
    assert models_on(as_alice.get(URL, {"q": "MODEL-3999 openrouter"})) == ["maker/model-3999"]
    assert "No model found" in text(as_alice.get(URL, {"q": "nothing like it"}))


def test_the_page_of_a_provider_has_its_keys_limits_models_and_addresses(as_alice, acme, simulated_providers):
    connect_key(acme, "openrouter")
    connect_key(acme, "openai")

    page = as_alice.get(f"{URL}openrouter/")

    assert "Default Connected" in text(page)
    assert "Spend limit" in text(page)
    assert "gpt-5.5" not in models_on(page)
    assert "openai/gpt-5" in models_on(page)
    for address in ("https://openrouter.ai/settings/keys", "https://openrouter.ai/activity"):
        assert f'href="{address}" target="_blank" rel="noopener noreferrer"' in page.content.decode()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_has_a_page_without_a_key_too(as_alice, acme, provider):
    assert "No key of your organization yet" in text(as_alice.get(f"{URL}{provider}/"))


def test_a_provider_that_is_none_is_not_found(as_alice, acme):
    assert as_alice.get(f"{URL}nobody/").status_code == 404


def test_without_keys_it_says_what_to_do(as_alice, as_bob, acme):
    assert "Connect a key and validate it" in text(as_alice.get(URL))
    assert 'href="/o/acme/settings#llm-providers"' not in as_bob.get(URL).content.decode().partition("<main")[2]


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.slug)
def test_addresses_are_those_of_the_provider_itself(provider):
    """OpenAI, Anthropic and Google document theirs under several names of their own."""
    own = {
        "openai": {"openai.com"},
        "anthropic": {"claude.com", "anthropic.com"},
        "google": {"google.com", "google.dev"},
        "openrouter": {"openrouter.ai"},
        "mistral": {"mistral.ai"},
    }
    pages = provider.pages
    for address in (pages.usage, pages.invoices, pages.spend_limits, pages.data_terms):
        if address:
            parts = urlsplit(address)
            assert parts.scheme == "https"
            assert ".".join(parts.netloc.split(".")[-2:]) in own[provider.slug]
