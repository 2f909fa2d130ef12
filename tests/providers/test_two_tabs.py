"""A page of keys that is no longer true: what it offers is done to what it showed, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from providers.adapters.secret import Secret
from providers.keys.replacement import replace_provider_key
from providers.keys.saving import type_proof_model
from providers.models import OrganizationKey, ProviderKey
from tests.builders import NOW, connect_key
from tests.candidates.test_done_once import at_the_same_time
from tests.conftest import logged_in
from tests.organizations.test_two_tabs import on_postgresql
from tests.page_forms import form_of

SETTINGS = "/o/acme/settings"


@pytest.fixture
def key(acme, simulated_providers) -> ProviderKey:
    return connect_key(acme)


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}], ids=["page", "htmx"])
def test_a_model_typed_on_an_old_page_overrules_a_colleague_only_when_sent_again(as_alice, ada, key, headers):
    type_proof_model(key=key, model="house/1", actor=None)
    address = f"{SETTINGS}/keys/{key.pk}/proof/"
    stale = form_of(as_alice.get(SETTINGS), address) | {"model": "house/mine"}
    type_proof_model(key=key, model="house/hers", actor=ada)

    refused = as_alice.post(address, stale, headers=headers)

    key.refresh_from_db()
    assert (refused.status_code, key.proof_model) == (422, "house/hers")
    assert "Ada changed the model to “house/hers” at " in refused.content.decode()
    again = form_of(refused, address)
    assert again["model"] == "house/mine"
    as_alice.post(address, again, headers=headers)
    key.refresh_from_db()
    assert key.proof_model == "house/mine"


def test_a_new_key_that_came_after_the_page_is_not_discarded_from_it(as_alice, ada, key):
    replace: dict[str, Any] = {"key": key, "now": NOW}
    replace_provider_key(secret=Secret("sk-or-v1-simulated-valid-0002"), actor=None, **replace)
    address = f"{SETTINGS}/keys/{key.pk}/replacement/discard/"
    stale = form_of(as_alice.get(SETTINGS), address)
    hers = replace_provider_key(secret=Secret("sk-or-v1-simulated-valid-0003"), actor=ada, **replace)

    as_alice.post(address, stale)

    assert key.replacements.get() == hers


class TestAtTheSameTime:
    pytestmark = on_postgresql

    def test_a_key_is_saved_once(self, acme, alice, simulated_providers):
        sent = {"key": "sk-or-v1-simulated-valid-0004", "label": "Default"}

        answers = at_the_same_time(alice, lambda browser: browser.post(f"{SETTINGS}/keys/openrouter/save/", sent))

        assert sorted(answer.status_code for answer in answers) == [302, *[422] * 7]
        assert ProviderKey.objects.count() == 1

    def test_the_organization_key_is_rotated_once(self, acme, alice, key):
        address = f"{SETTINGS}/keys/rotate/"
        sent = form_of(logged_in(alice).get(address), address)

        answers = at_the_same_time(alice, lambda browser: browser.post(address, sent), times=4)

        assert {answer.status_code for answer in answers} == {302}
        assert OrganizationKey.objects.defer("wrapped").get(organization=acme).version == 2
