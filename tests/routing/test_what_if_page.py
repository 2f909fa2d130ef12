"""The page of an action under other models, and what is said beside a model where one is chosen."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from organizations import clock
from providers.models import AvailableModel
from routing.agents import create_agent
from routing.models import RoutingRule
from routing.services import save_routing
from tests.builders import connect_key
from tests.page_forms import form_of
from tests.usage.conftest import event
from usage.models import Mode

URL = "/o/acme/consumption/what-if/"
M, USD = 10**6, 10**9


@pytest.fixture
def ran(acme, routed):
    """A run of a million tokens on OpenRouter's gpt-4.1-mini: $0.40 a million."""
    return event(
        acme,
        provider="openrouter",
        model="openai/gpt-4.1-mini",
        uncached_input_tokens=1 * M,
        cost_nanousd=400_000_000,
        day=clock.now().date(),
    )


def text(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def first_route(response) -> str:
    """Where the first "Route it" leads."""
    return re.findall(r'href="([^"]+)">Route it', response.content.decode())[0].replace("&amp;", "&")


def models_on(response) -> list[str]:
    return re.findall(
        r'<th scope="row"><div><span class="mono wrap-anywhere">([^<]+)</span>', response.content.decode()
    )


def test_the_current_model_stands_first_and_the_others_by_cost(as_alice, ran):
    response = as_alice.get(URL, {"action": "candidate_check"})

    models = models_on(response)
    assert models[0] == "openai/gpt-4.1-mini"
    assert models.index("openai/gpt-4o-mini") < models.index("openai/gpt-5") < models.index("anthropic/claude-opus-5.5")
    assert models[-1] == "openrouter/auto"
    assert "its price is not known" in text(response)
    assert "~$0.15 $0.14 to $0.16 -$0.25 (-62 %)" in text(response)  # gpt-4o-mini, the same maker: 5 %
    assert "as it ran" in text(response)


def test_route_it_fills_the_routing_table_in_and_saves_nothing(as_alice, acme, ran):
    response = as_alice.get(URL, {"action": "candidate_check", "q": "gpt-4o-mini"})
    link = first_route(response)

    fields = form_of(as_alice.get(link), "/o/acme/settings/routing/save/")

    assert fields["candidate_check-model"] == "openai/gpt-4o-mini"
    assert RoutingRule.objects.get(action="candidate_check").model == "openai/gpt-4.1-mini"


def test_route_it_leads_to_the_page_of_an_agent(as_alice, acme, key):
    agent = create_agent(organization=acme, name="Bot", actor=None)
    event(acme, action=agent.slug, uncached_input_tokens=1, cost_nanousd=1, day=clock.now().date())

    response = as_alice.get(URL, {"action": agent.slug, "q": "gpt-4o-mini"})
    link = first_route(response)

    assert link.startswith("/o/acme/agents/bot/?")
    assert 'value="openai/gpt-4o-mini"' in as_alice.get(link).content.decode()


def test_members_read_and_are_not_offered_to_route(as_bob, ran):
    response = as_bob.get(URL, {"action": "candidate_check"})

    assert response.status_code == 200
    assert "Route it" not in response.content.decode()


def test_an_action_that_is_none_is_not_found_and_none_is_the_first(as_alice, acme):
    assert as_alice.get(URL, {"action": "nothing"}).status_code == 404
    assert "Candidate check under another model" in as_alice.get(URL).content.decode()
    assert "No connected key yet" in as_alice.get(URL).content.decode()


def test_what_managed_runs_cost_stays_the_operators(as_alice, acme, key):
    event(
        acme,
        mode=Mode.MANAGED,
        provider="openrouter",
        model="openai/gpt-4.1-mini",
        uncached_input_tokens=1 * M,
        cost_nanousd=123_456_789_000,
        day=clock.now().date(),
    )

    shown = text(as_alice.get(URL, {"action": "candidate_check"}))

    assert "These runs were paid with credits" in shown
    assert "~$0.15" in shown
    assert "123" not in shown.replace("123,", "")


def test_many_models_are_paged_and_searched(as_alice, acme, key, ran, django_assert_max_num_queries):
    AvailableModel.objects.bulk_create(
        AvailableModel(organization=acme, key=key, model=f"maker/model-{at:04}") for at in range(1_000)
    )

    with django_assert_max_num_queries(20):
        response = as_alice.get(URL, {"action": "candidate_check", "page": "3"})

    assert "of 1,0" in text(response)
    assert len(models_on(response)) == 26  # the current one, and 25
    assert models_on(as_alice.get(URL, {"action": "candidate_check", "q": "model-0999"}))[1:] == ["maker/model-0999"]


def test_beside_the_model_field_stands_what_it_would_have_cost(as_alice, acme, key, ran):
    chosen = {
        "candidate_check-key": str(key.pk),
        "candidate_check-model": "openai/gpt-4o-mini",
        "candidate_check-was": "managed",
    }

    response = as_alice.get("/o/acme/settings/routing/candidate_check/estimate/", chosen)

    assert text(response) == "About $0.1500 a run, $0.15 for your last 30 days ($0.14 to $0.16)"


def test_a_key_that_was_just_chosen_says_it_with_the_model(as_alice, acme, ran):
    other = connect_key(acme, "openai")

    response = as_alice.get("/o/acme/settings/routing/candidate_check/model/", {"candidate_check-key": str(other.pk)})

    assert "About $0.4000 a run, $0.40 for your last 30 days" in text(response)


def test_the_settings_page_asks_for_usage_no_more_than_before(as_alice, ran):
    with CaptureQueriesContext(connection) as queries:
        page = as_alice.get("/o/acme/settings").content.decode()

    assert sum('"usage_usagedaily"' in query["sql"] for query in queries) == 1
    assert "for your last 30 days" not in page
    assert 'href="/o/acme/consumption/what-if/?action=candidate_check"' in page


def test_the_page_of_an_agent_says_it_beside_each_model(as_alice, acme, key):
    agent = create_agent(organization=acme, name="Bot", actor=None)
    save_routing(organization=acme, action=agent.slug, key=key, model="openai/gpt-4.1-mini", actor=None)
    event(acme, action=agent.slug, uncached_input_tokens=1 * M, cost_nanousd=USD, day=clock.now().date())

    page = as_alice.get("/o/acme/agents/bot/").content.decode()

    assert "About $0.4000 a run, $0.40 for your last 30 days" in page
    assert re.search(r'<option value="openai/gpt-4o-mini" label="[^"]*about \$0.15 for your last 30 days', page)


def test_the_page_of_a_key_says_it_for_each_action_with_the_model_asked_for(as_alice, acme, key):
    event(acme, uncached_input_tokens=1 * M, cost_nanousd=USD, day=clock.now().date())

    page = as_alice.get(f"/o/acme/settings/keys/{key.pk}/use/", {"model": "openai/gpt-4o-mini"})
    fields = form_of(page, f"/o/acme/settings/keys/{key.pk}/use/")

    assert fields["candidate_check-model"] == fields["requirement_generation-model"] == "openai/gpt-4o-mini"
    assert "per million tokens; about $0.1500 a run, $0.15 for your last 30 days" in text(page)
