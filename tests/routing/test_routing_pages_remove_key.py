"""Removing a key that actions may use."""

from __future__ import annotations

import pytest

from organizations.models import AuditEvent
from providers.models import ProviderKey
from routing.models import RoutingRule
from tests.builders import connect_managed_key

HTMX = {"HX-Request": "true"}


def text(response) -> str:
    return response.content.decode()


def routed_actions() -> set[str]:
    return set(RoutingRule.objects.values_list("action", flat=True))


def test_a_key_that_nothing_uses_is_removed(as_alice, alice, acme, key):
    asked = as_alice.get(f"/o/acme/settings/keys/{key.pk}/remove/")
    done = as_alice.post(f"/o/acme/settings/keys/{key.pk}/remove/", follow=True)

    assert "Remove OpenRouter key “Default”?" in text(asked)
    assert "No action uses it." in text(asked)
    assert done.redirect_chain == [("/o/acme/settings#provider-openrouter", 302)]
    assert "Key removed." in text(done)
    assert not ProviderKey.objects.filter(pk=key.pk).exists()
    assert AuditEvent.objects.get(action="provider_key.removed").actor == alice


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_a_key_in_use_names_its_actions_and_requires_the_choice(as_alice, acme, key, routed, headers):
    asked = as_alice.get(f"/o/acme/settings/keys/{key.pk}/remove/", headers=headers)
    refused = as_alice.post(f"/o/acme/settings/keys/{key.pk}/remove/", headers=headers)

    assert "Candidate check" in text(asked)
    assert 'name="reset_actions"' in text(asked)
    assert refused.status_code == 422
    assert "This key is used by: Candidate check." in text(refused)
    assert routed_actions() == {"candidate_check"}
    assert ProviderKey.objects.filter(pk=key.pk).exists()


def test_removing_a_key_in_use_resets_its_actions(as_alice, acme, key, routed):
    response = as_alice.post(f"/o/acme/settings/keys/{key.pk}/remove/", {"reset_actions": "1"}, headers=HTMX)

    assert response["HX-Retarget"] == "#provider-openrouter"
    assert "keysChanged" in response["HX-Trigger"]
    assert 'id="provider-openrouter"' in text(response)
    assert routed_actions() == set()
    assert not ProviderKey.objects.filter(pk=key.pk).exists()


def test_a_managed_key_cannot_be_removed_from_an_organizations_page(as_alice, acme, simulated_providers):
    managed = connect_managed_key()

    assert as_alice.post(f"/o/acme/settings/keys/{managed.pk}/remove/").status_code == 404
    assert ProviderKey.objects.filter(pk=managed.pk).exists()
