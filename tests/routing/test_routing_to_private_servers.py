"""Calls are sent into a private network only by somebody who proved lately who they are; nothing typed is lost."""

from __future__ import annotations

from ipaddress import ip_network
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from providers.adapters.secret import Secret
from providers.keys.private_endpoints import allow_private_endpoint
from providers.keys.saving import save_provider_key
from providers.models import ProviderKey
from routing.models import RoutingRule
from routing.services import save_routing
from tests.builders import NOW, connect_key, write_briefing
from tests.conftest import confirm_password
from tests.page_forms import form_of

pytestmark = pytest.mark.usefixtures("simulated_providers")
HTMX = {"HX-Request": "true"}
PASSWORD = "correct horse battery"
SAVE = "/o/acme/settings/routing/save/"
MODEL = "openai/gpt-4.1-mini"


@pytest.fixture
def as_idle_alice(alice) -> Client:
    """Alice, who logged in 15 minutes ago."""
    client = Client()
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    confirm_password(client, alice, seconds_ago=15 * 60)
    return client


@pytest.fixture
def private_key(acme, staff) -> ProviderKey:
    allow_private_endpoint(
        organization=acme, host="10.1.2.3", port=8000, network=str(ip_network("10.1.2.3/32")), actor=staff
    )
    key = save_provider_key(
        organization=acme,
        provider="openai_compatible",
        secret=Secret(""),
        base_url="http://10.1.2.3:8000/v1",
        actor=None,
        now=NOW,
    )
    ProviderKey.objects.filter(pk=key.pk).update(status=ProviderKey.Status.CONNECTED)
    return ProviderKey.objects.get(pk=key.pk)


def choice(key: ProviderKey, model: str = "llama") -> dict[str, str]:
    return {"candidate_check-key": str(key.pk), "candidate_check-model": model, "candidate_check-was": "managed"}


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_choosing_a_private_server_asks_who_it_is_and_keeps_the_choice(as_idle_alice, private_key, headers):
    unsaved = {
        "requirement_generation-key": "",
        "requirement_generation-model": "",
        "requirement_generation-was": "managed",
    }
    answer = as_idle_alice.post(SAVE, {**choice(private_key), **unsaved}, headers=headers)

    confirm = answer["HX-Redirect"] if headers else answer["Location"]
    assert confirm.startswith(reverse("account_reauthenticate"))
    assert not RoutingRule.objects.exists()
    back = as_idle_alice.post(confirm, {"password": PASSWORD})["Location"]
    assert parse_qs(urlsplit(confirm).query)["next"] == [back]
    page = as_idle_alice.get(back).content.decode()
    assert f'<option value="{private_key.pk}" selected>' in page
    assert 'value="llama"' in page

    as_idle_alice.post(SAVE, {**choice(private_key), **unsaved}, headers=headers)

    assert RoutingRule.objects.get().key == private_key


def test_choosing_any_other_key_asks_nothing(as_idle_alice, acme, private_key):
    key = connect_key(acme)

    as_idle_alice.post(SAVE, choice(key, MODEL))

    assert RoutingRule.objects.get().key == key


def test_a_private_server_that_stays_chosen_asks_nothing(as_idle_alice, acme, private_key):
    key = connect_key(acme)
    save_routing(organization=acme, action="candidate_check", key=private_key, model="llama", actor=None)
    stays = {**choice(private_key), "candidate_check-was": f"{private_key.pk} llama"}
    other = {
        "requirement_generation-key": str(key.pk),
        "requirement_generation-model": MODEL,
        "requirement_generation-was": "managed",
    }

    as_idle_alice.post(SAVE, {**stays, **other})

    assert set(RoutingRule.objects.values_list("key", flat=True)) == {private_key.pk, key.pk}


def test_what_would_be_refused_anyway_is_refused_at_once(as_idle_alice, private_key):
    assert as_idle_alice.post(SAVE, choice(private_key, model="")).status_code == 422


def test_a_briefings_checks_go_there_once_somebody_proved_who_they_are(as_idle_alice, alice, acme, private_key):
    briefing = write_briefing(acme, ("Django", "must"))
    address = reverse("candidates:briefing-model", args=["acme", briefing.pk])
    chosen = form_of(as_idle_alice.get(address), address) | {"key": str(private_key.pk), "model": "llama"}

    asked = as_idle_alice.post(address, chosen)
    briefing.refresh_from_db()

    assert asked["Location"].startswith(reverse("account_reauthenticate"))
    assert briefing.key_id is None
    (back,) = parse_qs(urlsplit(asked["Location"]).query)["next"]
    assert form_of(as_idle_alice.get(back), address)["model"] == "llama"
    confirm_password(as_idle_alice, alice, seconds_ago=0)
    assert as_idle_alice.post(address, chosen)["Location"] == reverse("candidates:briefing", args=["acme", briefing.pk])
    briefing.refresh_from_db()
    assert (briefing.key_id, briefing.model) == (private_key.pk, "llama")
