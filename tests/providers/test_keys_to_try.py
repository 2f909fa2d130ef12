"""The keys that the demo's cards offer to paste, as a visitor uses them: copy, Save key, Validate key, Connected."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from providers.catalog import PROVIDERS, KeyNeed
from providers.models import ProviderKey
from simulator.app import origins
from simulator.keys import KEYS_TO_TRY


@pytest.fixture
def demo(settings, simulated_providers) -> None:
    settings.KEYFARE_DEMO = True


@pytest.mark.parametrize("slug", PROVIDERS)
def test_the_four_steps_end_with_a_connected_key_of_every_provider(
    as_alice, acme, demo, simulated_providers, slug, django_capture_on_commit_callbacks
):
    servers = origins(simulated_providers.address)
    page = as_alice.get("/o/acme/settings").content.decode()
    typed = {"key": KEYS_TO_TRY.get(slug, ""), "base_url": servers[slug], "label": "Default"}
    assert slug not in KEYS_TO_TRY or f'data-copy="{KEYS_TO_TRY[slug]}"' in page

    as_alice.post(f"/o/acme/settings/keys/{slug}/save/", typed)
    key = ProviderKey.objects.for_organization(acme).get()
    with django_capture_on_commit_callbacks(execute=True):
        as_alice.post(f"/o/acme/settings/keys/{key.pk}/validate/")

    key.refresh_from_db()
    assert key.status == ProviderKey.Status.CONNECTED


def test_every_provider_that_wants_a_key_has_one_to_try():
    assert {slug for slug, provider in PROVIDERS.items() if provider.key_need is not KeyNeed.NONE} == set(KEYS_TO_TRY)


def test_no_real_installation_offers_keys(as_alice, acme):
    assert "simulated" not in as_alice.get("/o/acme/settings").content.decode()


def test_the_readme_names_them_all():
    readme = (Path(settings.BASE_DIR) / "README.md").read_text()

    assert [key for key in KEYS_TO_TRY.values() if f"`{key}`" not in readme] == []
