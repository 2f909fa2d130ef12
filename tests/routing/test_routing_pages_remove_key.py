"""Removing a key that actions may use."""

from __future__ import annotations

import pytest

from organizations.models import AuditEvent
from providers.models import ProviderKey
from routing.models import RoutingRule
from routing.services import save_routing
from tests.builders import connect_key, connect_managed_key
from tests.page_forms import form_of
from tests.routing.test_routing_pages import MODEL

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
    assert 'name="instead"' in text(asked)
    assert "There is no other connected key." in text(asked)
    assert refused.status_code == 422
    assert "Choose what these actions use from then on." in text(refused)
    assert routed_actions() == {"candidate_check"}
    assert ProviderKey.objects.filter(pk=key.pk).exists()


def test_removing_a_key_in_use_resets_its_actions(as_alice, acme, key, routed):
    response = as_alice.post(
        f"/o/acme/settings/keys/{key.pk}/remove/", {"instead": "managed", "actions": "candidate_check"}, headers=HTMX
    )

    assert response["HX-Retarget"] == "#provider-openrouter"
    assert "keysChanged" in response["HX-Trigger"]
    assert 'id="provider-openrouter"' in text(response)
    assert routed_actions() == set()
    assert not ProviderKey.objects.filter(pk=key.pk).exists()


def test_the_actions_of_a_removed_key_move_to_another_key(as_alice, acme, key, routed):
    other = connect_key(acme, "openai", label="Other")
    url = f"/o/acme/settings/keys/{key.pk}/remove/"

    named = {"actions": "candidate_check"}
    chosen = as_alice.get(url, {"instead": str(other.pk), "model": "openai/gpt-4.1-mini"}, headers=HTMX)
    without_model = as_alice.post(url, named | {"instead": str(other.pk)}, headers=HTMX)
    unlisted = as_alice.post(url, named | {"instead": str(other.pk), "model": "no-such-model"}, headers=HTMX)
    done = as_alice.post(url, named | {"instead": str(other.pk), "model": "gpt-4.1-mini"}, headers=HTMX)

    assert '<option value="gpt-4.1-mini">' in text(chosen)
    assert 'value="gpt-4.1-mini"' in text(chosen), "a model that this key does not list gives way to its counterpart"
    assert (without_model.status_code, unlisted.status_code, done.status_code) == (422, 422, 200)
    assert "Choose a model." in text(without_model)
    assert "not among the models this key can call" in text(unlisted)
    rule = RoutingRule.objects.get()
    assert (rule.action, rule.key, rule.model) == ("candidate_check", other, "gpt-4.1-mini")
    assert not ProviderKey.objects.filter(pk=key.pk).exists()


def test_actions_move_to_nothing_but_another_connected_key_of_the_organization(as_alice, acme, globex, key, routed):
    broken, foreign = connect_key(acme, label="Broken", kind="invalid"), connect_key(globex)

    for other in (broken, foreign, key):
        data = {"instead": str(other.pk), "model": "openai/gpt-4.1-mini"}
        refused = as_alice.post(f"/o/acme/settings/keys/{key.pk}/remove/", data)
        assert refused.status_code == 422
        assert "Choose one of the list." in text(refused)
    assert RoutingRule.objects.get().key == key


def test_an_action_routed_to_the_key_after_its_page_was_opened_is_asked_about_first(as_alice, acme, key, routed):
    url = f"/o/acme/settings/keys/{key.pk}/remove/"
    opened = form_of(as_alice.get(url), url) | {"instead": "managed"}
    save_routing(organization=acme, action="requirement_generation", key=key, model=MODEL, actor=None)

    refused = as_alice.post(url, opened)

    assert refused.status_code == 422
    assert "This key is used by: Candidate check, Requirement generation." in text(refused)
    assert routed_actions() == {"candidate_check", "requirement_generation"}
    assert as_alice.post(url, form_of(refused, url)).status_code == 302
    assert routed_actions() == set()


def test_a_managed_key_cannot_be_removed_from_an_organizations_page(as_alice, acme, simulated_providers):
    managed = connect_managed_key()

    assert as_alice.post(f"/o/acme/settings/keys/{managed.pk}/remove/").status_code == 404
    assert ProviderKey.objects.filter(pk=managed.pk).exists()
