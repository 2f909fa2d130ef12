"""What a connected key's card offers: to use it for the actions that are not routed to it."""

from __future__ import annotations

import pytest

from organizations.models import AuditEvent
from providers.models import ProviderKey
from routing.models import RoutingRule
from routing.services import save_routing
from tests.builders import connect_key, connect_managed_key
from tests.page_forms import form_of

HTMX = {"HX-Request": "true"}
MODEL = "openai/gpt-4.1-mini"
BOTH = {("candidate_check", MODEL), ("requirement_generation", MODEL)}


def url(key: ProviderKey) -> str:
    return f"/o/acme/settings/keys/{key.pk}/use/"


def routes() -> set[tuple[str, str]]:
    return set(RoutingRule.objects.values_list("action", "model"))


def text(response) -> str:
    return response.content.decode()


def test_the_card_offers_every_action_ticked_with_a_model_and_its_price(as_alice, key):
    page = as_alice.get("/o/acme/settings")
    fields = form_of(page, url(key))

    for action in ("candidate_check", "requirement_generation"):
        assert fields[f"{action}-key"] == str(key.pk)
        assert fields[f"{action}-model"] == MODEL
    assert text(page).count("$0.40 in, $1.60 out per million tokens") >= 2
    assert 'placeholder="' + MODEL not in text(page)


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_one_press_routes_what_is_ticked(as_alice, alice, key, headers):
    fields = form_of(as_alice.get("/o/acme/settings"), url(key))
    response = as_alice.post(url(key), fields, headers=headers)

    assert routes() == BOTH
    assert [event.actor for event in AuditEvent.objects.filter(action="routing.saved")] == [alice, alice]
    if headers:
        assert {"routesTaken", "routingChanged"} <= set(response["HX-Trigger-After-Settle"].replace('"', " ").split())
        assert "Save routing" not in text(response)
    else:
        assert response.url == "/o/acme/settings#llm-routing"


def test_what_is_not_ticked_stays_as_it_is(as_alice, acme, key):
    other = connect_key(acme, "openai", label="Other")
    save_routing(organization=acme, action="requirement_generation", key=other, model="gpt-4o", actor=None)
    fields = form_of(as_alice.get("/o/acme/settings"), url(key))

    assert "requirement_generation-key" not in fields, "ticked at first is what has no key of one's own"
    as_alice.post(url(key), fields)

    assert routes() == {("candidate_check", MODEL), ("requirement_generation", "gpt-4o")}


def test_what_has_a_key_already_is_offered_folded(as_alice, acme, key):
    other = connect_key(acme, "openai", label="Other")
    for action in ("candidate_check", "requirement_generation"):
        save_routing(organization=acme, action=action, key=other, model="gpt-4o", actor=None)

    assert "Use this key for more" in text(as_alice.get("/o/acme/settings"))


def test_nothing_ticked_and_a_model_it_cannot_call_are_said_and_keep_what_was_typed(as_alice, key):
    fields = form_of(as_alice.get("/o/acme/settings"), url(key))
    models = {name: value for name, value in fields.items() if not name.endswith("-key")}

    nothing = as_alice.post(url(key), models | {"candidate_check-model": "openai/gpt-5"})
    wrong = as_alice.post(url(key), fields | {"candidate_check-model": "openai/gpt-nonsense"}, headers=HTMX)

    assert (nothing.status_code, wrong.status_code) == (422, 422)
    assert "Tick what this key is to be used for." in text(nothing)
    assert 'value="openai/gpt-5"' in text(nothing)
    assert "“openai/gpt-nonsense” is not among the models this key can call." in text(wrong)
    assert 'value="openai/gpt-nonsense"' in text(wrong)
    assert routes() == set(), "all or none"


def test_what_somebody_else_routed_meanwhile_is_told_first(as_alice, acme, ada, key):
    other = connect_key(acme, "openai", label="Other")
    fields = form_of(as_alice.get("/o/acme/settings"), url(key))
    save_routing(organization=acme, action="candidate_check", key=other, model="gpt-4o", actor=ada)

    refused = as_alice.post(url(key), fields)
    again = as_alice.post(url(key), form_of(refused, url(key)))

    assert refused.status_code == 422
    assert "Ada" in text(refused)
    assert again.status_code == 302
    assert routes() == BOTH


@pytest.mark.parametrize("status", ["saved", "invalid", "no_credit", "disabled", "needs_reentry"])
def test_a_key_that_cannot_be_chosen_offers_nothing(as_alice, key, status):
    fields = form_of(as_alice.get("/o/acme/settings"), url(key))
    ProviderKey.objects.filter(pk=key.pk).update(status=status)

    assert "Use for" not in text(as_alice.get("/o/acme/settings"))
    assert as_alice.post(url(key), fields).status_code == 422
    assert routes() == set()


def test_the_price_follows_the_model_that_is_typed(as_alice, key):
    fields = form_of(as_alice.get("/o/acme/settings"), url(key))

    shown = as_alice.get(url(key), fields | {"candidate_check-model": "openai/gpt-5"}, headers=HTMX)

    assert "$1.25 in, $10.00 out per million tokens" in text(shown)


def test_members_see_no_offer_and_may_not_take_it(as_bob, key):
    assert "Use for" not in text(as_bob.get("/o/acme/settings"))
    assert as_bob.post(url(key), {}).status_code == 403


def test_a_managed_key_is_not_offered(as_alice, acme, simulated_providers):
    assert as_alice.get(url(connect_managed_key())).status_code == 404
