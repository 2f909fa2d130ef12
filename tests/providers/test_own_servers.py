"""A server that its owner calls their own has no token charges; Ollama never has any. Long lists are cut and say so."""

from __future__ import annotations

import json

import pytest

from organizations.models import AuditEvent
from providers.adapters.base import HttpAnswer
from providers.adapters.secret import Secret
from providers.catalog import PROVIDERS
from providers.keys.saving import save_provider_key
from providers.models import AvailableModel, ProviderKey
from tests.builders import NOW

BASE_URL = "https://llm.example.com/v1"
LABEL = "Your own server: no token charges."
SAVE = "/o/acme/settings/keys/openai_compatible/save/"


def saved(organization, provider: str = "openai_compatible", **facts: object) -> ProviderKey:
    base_url = BASE_URL if PROVIDERS[provider].takes_base_url else ""
    return save_provider_key(
        organization=organization,
        provider=provider,
        secret=Secret("a-key-of-it"),
        base_url=base_url,
        actor=None,
        now=NOW,
        **facts,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
@pytest.mark.parametrize("ticked", [True, False])
def test_the_owner_says_whether_the_server_is_their_own(as_alice, acme, ticked, headers):
    choice = {"is_own_server": "on"} if ticked else {}

    as_alice.post(SAVE, {"base_url": BASE_URL, "key": "", **choice}, headers=headers)

    assert ProviderKey.objects.get().is_own_server is ticked
    assert AuditEvent.objects.get(action="provider_key.saved").details.get("is_own_server", False) is ticked
    assert (LABEL in as_alice.get("/o/acme/settings").content.decode()) is ticked


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_that_can_be_changed_later_and_stands_in_the_audit_log(as_alice, alice, acme, headers):
    key = saved(acme)
    url = f"/o/acme/settings/keys/{key.pk}/own-server/"

    as_alice.post(url, {"is_own_server": "on"}, headers=headers)
    assert ProviderKey.objects.get().is_own_server
    as_alice.post(url, {}, headers=headers)
    assert not ProviderKey.objects.get().is_own_server

    events = AuditEvent.objects.filter(action="provider_key.own_server_changed", actor=alice).order_by("seq")
    assert [event.details["is_own_server"] for event in events] == [True, False]


@pytest.mark.parametrize("provider", ["openai", "ollama"])
def test_of_other_providers_nobody_says_so(as_alice, acme, provider):
    key = saved(acme, provider)

    as_alice.post(f"/o/acme/settings/keys/{key.pk}/own-server/", {"is_own_server": "on"})

    assert not ProviderKey.objects.get().is_own_server


def test_a_providers_card_does_not_ask(as_alice, acme):
    as_alice.post("/o/acme/settings/keys/openai/save/", {"key": "sk-proj-another-0123456789", "is_own_server": "on"})

    assert not ProviderKey.objects.get().is_own_server


def test_ollama_is_labelled_as_free_of_token_charges_to_everybody(as_bob, acme):
    saved(acme, "ollama")

    assert LABEL in as_bob.get("/o/acme/settings").content.decode()


# Long lists ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", PROVIDERS)
def test_no_provider_has_a_list_without_end_read(slug):
    rows = [{"id": f"m{number}", "name": f"models/m{number}"} for number in range(20_000)]
    content = {"data": rows} if slug not in ("google", "ollama") else {"models": rows}

    models = PROVIDERS[slug].adapter.parse_models(HttpAnswer(200, {}, json.dumps(content).encode()))

    assert len(models) == 5_000


def test_pages_show_a_part_of_a_long_list_and_say_how_long_it_is(as_alice, acme):
    key = saved(acme)
    ProviderKey.objects.update(status="connected")
    AvailableModel.objects.bulk_create(
        AvailableModel(organization=acme, key=key, model=f"model-{number:04}") for number in range(5_000)
    )

    page = as_alice.get("/o/acme/settings").content.decode()
    listed = as_alice.get(f"/o/acme/settings/keys/{key.pk}/models/").content.decode()

    assert "The first 5,000 models" in page
    assert page.count('<option value="model-') <= 1_000
    assert listed.count("model-") <= 600
    assert "The first 500 of 5,000 models" in listed
