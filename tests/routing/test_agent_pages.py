from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from organizations.models import ApiToken, AuditEvent
from providers.models import ProviderKey
from routing.agents import archive_agent, create_agent, open_managed
from routing.models import Agent, CallAccess, RoutingRule
from routing.rule_settings import RuleSettings, pause_routing, save_rule_settings
from routing.services import save_routing
from tests.builders import connect_key, connect_managed_key
from tests.conftest import Browser, confirm_password
from tests.gateway.door.conftest import token_for
from tests.page_forms import form_of
from tests.routing.conftest import MODEL
from usage.facts import CallFacts
from usage.metering import Finished, admit_call, record_calls
from usage.models import RollupState, UsageEvent
from usage.tokens import Report, TokenUsage

AGENTS = "/o/acme/agents/"
NEW = "/o/acme/agents/new/"
SAVE = "/o/acme/settings/routing/save/"
NASTY = [
    "\0",
    "a\0b",
    "🤖" * 3,
    "x" * 5000,
    "9" * 400,
    "1e30",
    "-1",
    "NaN",
    "‮",
    "<script>",
    "%00",
    "'",
]


@pytest.fixture
def bot(acme) -> Agent:
    return create_agent(organization=acme, name="Bot", actor=None)


@pytest.fixture
def at_work(acme, bot, key) -> Agent:
    save_routing(organization=acme, action="bot", key=key, model=MODEL, actor=None)
    return bot


def url(name: str, *arguments: object) -> str:
    return reverse(f"routing:{name}", args=["acme", *arguments])


def page(response: Any) -> str:
    return response.content.decode()


def posted(key: ProviderKey | None, fields: dict[str, str] | None = None) -> dict[str, str]:
    form = {"name": "Support bot", "description": "", "slug": "", "model": MODEL if key else "", "days": "365"}
    return {**form, "key": str(key.pk) if key else "", "makes_token": "on"} | (fields or {})


def call(acme, agent: str, *, status: str = "answered", days_ago: int = 0, model: str = MODEL) -> datetime:
    facts = CallFacts("openrouter", model, agent, uuid.uuid4(), "Default", "byok")
    at = timezone.now() - timedelta(days=days_ago)
    admitted = admit_call(
        organization_id=acme.pk, facts=facts, run_id=uuid.uuid4(), iteration=1, now=at, deadline_at=at
    )
    report = Report(usage=TokenUsage(uncached_input=1000, output=100), cost_nanousd=2_000_000)
    record_calls([Finished(admitted, status=UsageEvent.Status(status), latency_ms=10, report=report)])
    return at


# A new agent ----------------------------------------------------------------------------------------------


def test_a_new_agent_is_routed_and_has_its_token_and_snippets_in_one_post(as_alice, acme, alice, key, settings):
    settings.SITE_URL = "https://keyfare.example"
    form = form_of(as_alice.get(NEW), NEW)
    assert form["key"] == str(key.pk)
    assert form["model"]

    response = as_alice.post(NEW, {**form, "name": "Support bot"})

    value = response.context["made"].value
    agent = Agent.objects.get()
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert (agent.slug, agent.created_by) == ("support-bot", alice)
    assert RoutingRule.objects.get().action == "support-bot"
    assert CallAccess.objects.get().is_bound
    assert "https://keyfare.example/v1" in page(response)
    assert value in page(response)
    for later in (AGENTS, url("agent", "support-bot"), url("api-tokens")):
        assert value[12:] not in page(as_alice.get(later))


def test_an_agent_can_be_routed_later_and_made_without_a_token(as_alice, acme, key):
    response = as_alice.post(NEW, {"name": "Bot", "days": "365"}, follow=True)

    assert response.redirect_chain == [(url("agent", "bot"), 302)]
    assert "Not routed" in page(response)
    assert "route it to a connected key on its page under Agents" in page(response)
    assert not RoutingRule.objects.exists()
    assert not ApiToken.objects.exists()


def test_the_form_proposes_a_model_of_the_chosen_key(as_alice, acme, key):
    other = connect_key(acme, "openai")

    begun = form_of(as_alice.get(NEW, {"key": str(other.pk), "name": "Typed"}), NEW)
    stale = form_of(as_alice.get(NEW, {"key": str(uuid.uuid4())}), NEW)

    assert (begun["name"], begun["key"], begun["model"]) == ("Typed", str(other.pk), "gpt-4.1-mini")
    assert (stale["key"], stale["model"]) == ("", "")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"name": ""}, "Give the agent a name."),
        ({"name": "Bot"}, "There is an action named “Bot” already."),
        ({"slug": "direct"}, "has a meaning of its own"),
        ({"slug": "Not A Slug"}, "small letters"),
        ({"model": "no/such"}, "is not among the models this key can call"),
        ({"model": "gpt-4.1\u200b"}, "letters, digits and signs only"),
        ({"model": ""}, "Choose a model."),
        ({"key": ""}, "Choose the key that calls this model"),
        ({"key": "nonsense"}, "Choose a connected key."),
        ({"name": "sk-proj-abcdefghijklmnop"}, "key"),
        ({"days": "7"}, "Choose one of the list."),
    ],
)
def test_a_new_agent_that_cannot_be_is_refused_with_a_sentence_and_nothing_is_made(
    as_alice, acme, bot, key, wrong, sentence
):
    response = as_alice.post(NEW, posted(key, wrong))

    assert response.status_code == 422
    assert sentence in page(response)
    assert Agent.objects.count() == 1
    assert not ApiToken.objects.exists()
    assert not RoutingRule.objects.exists()


def test_a_key_of_another_organization_serves_nobody_here(as_alice, acme, globex, key):
    theirs = connect_key(globex)

    assert as_alice.post(NEW, posted(theirs)).status_code == 422


def test_who_was_away_confirms_that_it_is_them_and_finds_what_they_typed(alice, acme, key):
    browser = Browser()
    browser.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    confirm_password(browser, alice, seconds_ago=10**6)

    response = browser.post(NEW, posted(key))

    assert response.status_code == 302
    assert "Support" in response["Location"]
    assert not Agent.objects.exists()


@pytest.mark.parametrize("pasted", ["sk-proj-abcdefghijklmnop", "x" * 5000])
@pytest.mark.parametrize("field", ["name", "description", "slug", "model"])
def test_neither_a_key_nor_a_flood_is_kept_in_the_address_meanwhile(alice, acme, key, field, pasted):
    browser = Browser()
    browser.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    confirm_password(browser, alice, seconds_ago=10**6)

    response = browser.post(NEW, posted(key, {"description": "Answers mails", field: pasted}))

    assert response.status_code == 302
    assert pasted not in response["Location"]
    assert field == "description" or "Answers" in response["Location"]


def test_a_model_of_a_new_agent_has_nothing_unseen(as_alice, acme, key):
    response = as_alice.post(NEW, posted(key, {"model": "gpt\u202e4"}))

    assert response.status_code == 422
    assert "A model’s id has letters, digits and signs only." in response.content.decode()


@pytest.mark.parametrize("field", ["name", "description", "slug", "key", "model", "days", "makes_token"])
def test_no_input_of_the_new_form_is_a_server_error(as_alice, acme, key, field):
    for nasty in NASTY:
        assert as_alice.post(NEW, posted(key, {field: nasty})).status_code in (200, 302, 422), nasty
        assert as_alice.get(NEW, {field: nasty}).status_code == 200, nasty


# The list -------------------------------------------------------------------------------------------------


def test_the_list_shows_what_each_agent_is_routed_to_and_what_it_used(as_bob, acme, at_work):
    last = call(acme, "bot")
    call(acme, "bot", status="failed", days_ago=1)
    call(acme, "bot", status="broke", days_ago=2)
    call(acme, "bot", days_ago=45)
    create_agent(organization=acme, name="Idle", actor=None)

    response = as_bob.get(AGENTS)

    idle, busy = sorted(response.context["lines"], key=lambda line: line.agent.slug == "bot")
    assert (busy.model, busy.provider_name, busy.state) == (MODEL, "OpenRouter", ("Ready", "ok"))
    assert (busy.month.calls, busy.month.failed_calls, busy.last_at) == (3, 2, last)
    assert "3 calls in 30 days, 1 on the busiest" in page(response)
    assert (idle.month, idle.last_at, idle.state) == (None, None, ("Not routed", "warn"))
    assert f"{last:%H:%M}</time>" in page(response)
    assert "never" in page(response)
    assert "New agent" not in page(response)


def test_an_agent_whose_calls_may_have_left_is_not_said_to_have_never_called(as_bob, acme, bot):
    RollupState.objects.create(derived_from=bot.created_at.date().replace(day=1))
    assert "not since" not in page(as_bob.get(AGENTS))
    RollupState.objects.update(derived_from=date(2099, 8, 2))  # of calls of July that count on the first of August

    for address in (AGENTS, f"{AGENTS}bot/"):
        assert "not since 1 Aug 2099" in page(as_bob.get(address))


def test_the_errors_of_the_list_are_the_calls_that_its_link_finds(as_alice, acme, at_work):
    for status in UsageEvent.Status.values:
        if status != "corrected":
            call(acme, "bot", status=status)

    (line,) = as_alice.get(AGENTS).context["lines"]
    found = as_alice.get("/o/acme/consumption/calls/", {"action": "bot", "status": "errors"}).context["events"]

    assert line.month.failed_calls == len(found) == 3
    assert {event.status for event in found} == {"failed", "cut_off", "broke"}


def test_many_agents_take_as_many_queries_as_one(as_alice, acme, at_work, key):
    as_alice.get(AGENTS)
    with CaptureQueriesContext(connection) as of_one:
        as_alice.get(AGENTS)
    for number in range(20):
        agent = create_agent(organization=acme, name=f"Agent {number}", actor=None)
        save_routing(organization=acme, action=agent.slug, key=key, model=MODEL, actor=None)
        call(acme, agent.slug)

    with CaptureQueriesContext(connection) as of_many:
        response = as_alice.get(AGENTS)

    assert len(response.context["lines"]) == 21
    assert len(of_many) == len(of_one) <= 16


def test_archived_agents_stand_apart(as_alice, acme, bot):
    archive_agent(agent=bot, actor=None, now=timezone.now())

    response = as_alice.get(AGENTS)

    assert response.context["lines"] == []
    assert response.context["archived"] == [bot]
    assert "It was archived on" in page(as_alice.get(url("agent", "bot")))


# One agent ------------------------------------------------------------------------------------------------


def test_members_read_an_agent_and_change_nothing(as_bob, acme, at_work):
    response = as_bob.get(url("agent", "bot"))

    assert response.status_code == 200
    assert MODEL in page(response)
    for name in ("edit-agent", "route-agent", "archive-agent", "bring-back-agent"):
        assert url(name, "bot") not in page(response)
        assert as_bob.post(url(name, "bot")).status_code == 403


def test_an_agent_is_edited_on_its_page(as_alice, acme, at_work):
    address = url("edit-agent", "bot")
    form = form_of(as_alice.get(url("agent", "bot")), address)

    saved = as_alice.post(address, {**form, "name": "Help desk"}, follow=True)
    stale = as_alice.post(address, {**form, "name": "Other"})
    wrong = as_alice.post(address, {**form_of(saved, address), "name": "Candidate check"})

    assert "Agent saved." in page(saved)
    assert stale.status_code == wrong.status_code == 422
    assert "changed this agent to “Help desk”" in page(stale)
    assert "There is an action named" in page(wrong)
    assert Agent.objects.get().name == "Help desk"
    again = as_alice.post(address, {**form_of(stale, address)})
    assert again.status_code == 302


def test_an_agent_is_routed_and_unrouted_on_its_page(as_alice, acme, bot, key):
    address = url("route-agent", "bot")
    form = form_of(as_alice.get(url("agent", "bot")), address)

    routed = as_alice.post(address, {**form, "bot-key": str(key.pk), "bot-model": MODEL}, follow=True)
    wrong = as_alice.post(address, {**form_of(routed, address), "bot-model": "no/such"})
    assert "Routing saved." in page(routed)
    assert wrong.status_code == 422
    assert "is not among the models" in page(wrong)
    as_alice.post(address, {**form_of(routed, address), "bot-key": ""})

    assert not RoutingRule.objects.exists()


def test_an_agent_is_archived_after_a_question(as_alice, acme, at_work):
    question = as_alice.get(url("archive-agent", "bot"))
    assert "Archive “Bot”?" in page(question)
    assert Agent.objects.get().archived_at is None

    answer = as_alice.post(url("archive-agent", "bot"), follow=True)

    assert "Bot is archived." in page(answer)
    assert Agent.objects.get().archived_at
    assert "was archived before" in page(as_alice.post(url("archive-agent", "bot"), follow=True))
    assert as_alice.post(url("edit-agent", "bot"), {"name": "Other"}).status_code == 422


@pytest.mark.parametrize("name", ["edit-agent", "route-agent", "save-rule", "pause", "resume"])
def test_what_was_archived_meanwhile_is_not_saved_and_says_so(as_alice, acme, at_work, name):
    archive_agent(agent=at_work, actor=None, now=timezone.now())

    stale = as_alice.post(url(name, "bot"), {"name": "Other", "bot-key": "", "bot-model": "", "bot-was": "managed"})

    assert stale.status_code == 422
    assert "Nothing was saved: the agent was archived meanwhile. Bring it back first." in page(stale)
    assert Agent.objects.get().name == "Bot"


def test_an_archived_agent_is_brought_back_on_its_page(as_alice, as_bob, acme, at_work):
    archive_agent(agent=at_work, actor=None, now=timezone.now())
    address = url("bring-back-agent", "bot")
    assert address not in page(as_bob.get(url("agent", "bot")))
    assert address in page(as_alice.get(url("agent", "bot")))

    answer = as_alice.post(address, follow=True)

    assert "Bot is in use again. Route it, and give it a token." in page(answer)
    assert "Not routed" in page(answer)
    assert "Bot was not archived." in page(as_alice.post(address, follow=True))

    archive_agent(agent=at_work, actor=None, now=timezone.now())
    create_agent(organization=acme, name="bot", actor=None)
    assert "There is an action named “Bot” by now." in page(as_alice.post(address, follow=True))


def test_what_an_archived_agent_comes_back_with_is_said_before_and_after(as_alice, acme, alice, at_work):
    token_for(acme, alice)
    open_managed(
        agent=at_work,
        provider="openrouter",
        model="openai/gpt-4.1-mini",
        calls_a_day=5,
        nanousd_a_day=10**9,
        actor=None,
    )
    archive_agent(agent=at_work, actor=None, now=timezone.now())

    asked = page(as_alice.get(url("agent", "bot")))
    answer = page(as_alice.post(url("bring-back-agent", "bot"), follow=True))

    assert "1 token of every agent can call it again. It runs at once on a key of the operator." in asked
    assert "Bot is in use again." in answer
    assert "Route it" not in answer
    assert "give it a token" not in answer


def test_all_tokens_that_an_archived_agent_is_taken_from_are_counted(as_alice, acme, alice, at_work, monkeypatch):
    monkeypatch.setattr("routing.call_access.TOKENS_SHOWN", 1)
    for number in range(2):
        token_for(acme, alice, name=f"Token {number}")

    assert "2 tokens can no longer call it." in page(as_alice.get(url("archive-agent", "bot")))


def test_an_agent_of_another_organization_is_as_absent(as_charlie, as_alice, acme, globex, bot):
    for name in ("agent", "edit-agent", "route-agent", "archive-agent", "bring-back-agent"):
        assert as_charlie.post(reverse(f"routing:{name}", args=["globex", "bot"])).status_code in (404, 405)
    assert as_alice.get(url("agent", "nobody")).status_code == 404


# What a rule says beside key and model -------------------------------------------------------------------


@pytest.mark.parametrize("action", ["bot", "candidate_check"])
def test_a_rule_is_changed_paused_and_resumed_where_its_action_stands(as_alice, acme, at_work, routed, action):
    home = url("agent", action) if action == "bot" else url("rule", action)
    address = url("save-rule", action)
    form = form_of(as_alice.get(home), address)

    saved = as_alice.post(address, {**form, "temperature": "0.7", "allowed_models": "openrouter\n"}, follow=True)
    stale = as_alice.post(address, {**form, "temperature": "1"})
    paused = as_alice.post(url("pause", action), follow=True)
    resumed = as_alice.post(url("resume", action), follow=True)

    assert saved.redirect_chain == paused.redirect_chain == resumed.redirect_chain == [(home, 302)]
    rule = RoutingRule.objects.get(action=action)
    assert (rule.temperature, rule.allowed_models, rule.paused_at) == (Decimal("0.70"), ["openrouter"], None)
    assert stale.status_code == 422
    assert "what {} is sent with".format("Bot" if action == "bot" else "Candidate check") in page(stale)
    assert form_of(stale, address)["temperature"] == "1"
    assert "aused since" in page(paused)
    assert "runs again." in page(resumed)
    assert as_alice.post(address, {**form_of(stale, address)}).status_code == 302


@pytest.mark.parametrize("field", ["temperature", "most_output_tokens", "reasoning_effort", "allowed_models", "seen"])
def test_no_input_of_a_rule_is_a_server_error(as_alice, acme, at_work, field):
    for nasty in NASTY:
        assert as_alice.post(url("save-rule", "bot"), {field: nasty}).status_code in (302, 422), nasty


def test_the_page_of_an_agents_rule_is_the_agents(as_bob, acme, at_work):
    assert as_bob.get(url("rule", "bot"))["Location"] == url("agent", "bot")
    assert "Not routed to a key of yours" in page(as_bob.get(url("rule", "candidate_check")))
    assert as_bob.get(url("rule", "nobody")).status_code == 404


def test_what_is_not_routed_cannot_be_paused(as_alice, acme, bot):
    assert "is not routed to a key of yours" in page(as_alice.post(url("pause", "bot"), follow=True))
    assert as_alice.post(url("save-rule", "bot"), {}).status_code == 404


# In the routing table -------------------------------------------------------------------------------------


def test_agents_stand_in_the_routing_table_with_their_averages(as_alice, acme, at_work):
    call(acme, "bot")
    rule = RuleSettings(temperature=Decimal(1), most_output_tokens=500)
    save_rule_settings(organization=acme, action="bot", settings=rule, actor=None)

    response = as_alice.get("/o/acme/settings")

    line = response.context["routing"].lines[-1]
    assert (line.row.action.name, line.averages.runs, line.averages.average_tokens) == ("Bot", 1, 1100)
    assert "Temperature 1, 500 tokens at most" in page(response)
    assert "Stop using this key" in page(response)


def test_resetting_an_agent_unroutes_it_even_where_managed_defaults_serve_checks(as_alice, acme, at_work):
    connect_managed_key()
    form = form_of(as_alice.get("/o/acme/settings"), SAVE)

    response = as_alice.post("/o/acme/settings/routing/bot/reset/", form, follow=True)

    assert "Bot is not routed any more: no model serves it." in page(response)
    assert not RoutingRule.objects.filter(action="bot").exists()


def test_a_table_opened_before_there_was_an_agent_does_not_unroute_it(as_alice, acme, key):
    opened = form_of(as_alice.get("/o/acme/settings"), SAVE)
    create_agent(organization=acme, name="Bot", actor=None)
    save_routing(organization=acme, action="bot", key=key, model=MODEL, actor=None)

    as_alice.post(SAVE, {**opened, "candidate_check-key": str(key.pk), "candidate_check-model": MODEL})

    assert set(RoutingRule.objects.values_list("action", flat=True)) == {"bot", "candidate_check"}


def test_a_card_does_not_tick_agents_that_wait_for_their_route(as_alice, acme, bot, key):
    offer = as_alice.get(f"/o/acme/settings/keys/{key.pk}/use/").context["offer"]

    ticked = {line.form.row.action.slug: line.is_ticked for line in offer.lines}
    assert ticked == {"candidate_check": True, "requirement_generation": True, "bot": False}
    assert offer.lines[-1].form["model"].value()


def test_removing_a_key_says_what_becomes_of_agents_and_tokens(as_alice, alice, acme, at_work, routed, key):
    connect_managed_key()
    as_alice.post(NEW, posted(None, {"name": "Other"}))
    as_alice.post(
        url("make-api-token"),
        {"name": "Direct", "days": "30", "scopes": ["call_agents"], "direct-openrouter": str(key.pk)},
    )
    address = url("remove-key", key.pk)
    question = page(as_alice.get(address))
    assert "Managed default where there is one, else no key" in question
    assert "1 API token can no longer call OpenRouter directly" in question

    as_alice.post(address, {"actions": "bot candidate_check", "instead": "managed"})

    assert not ProviderKey.objects.filter(pk=key.pk).exists()
    assert not RoutingRule.objects.exists()
    assert Agent.objects.filter(archived_at=None).count() == 2


def test_a_paused_check_says_so_on_the_overview_and_a_paused_agent_does_not(as_alice, acme, at_work, routed):
    for action in ("bot", "candidate_check"):
        pause_routing(organization=acme, action=action, actor=None, now=timezone.now())

    overview = page(as_alice.get("/o/acme/"))

    assert "Candidate check is paused" in overview
    assert "Bot is paused" not in overview
    table = page(as_alice.get("/o/acme/settings"))
    assert table.count("Go to where it is resumed") == 2


# The usage page -------------------------------------------------------------------------------------------


def test_the_usage_page_names_agents_archived_ones_too(as_alice, acme, globex, at_work):
    call(acme, "bot")
    call(acme, "direct")
    create_agent(organization=globex, name="Theirs", actor=None)
    archive_agent(agent=at_work, actor=None, now=timezone.now())

    response = as_alice.get("/o/acme/consumption/calls/", {"action": "bot"})

    choices = dict(response.context["form"].fields["action"].widget.choices)
    assert (choices["bot"], choices["direct"]) == ("Bot", "Direct calls")
    assert "theirs" not in choices
    assert [(event.action, name) for event, _, name in response.context["calls"]] == [("bot", "Bot")]


@pytest.mark.parametrize(("status", "words"), [("cut_off", "Cut off"), ("cancelled", "Cancelled"), ("broke", "Broke")])
def test_every_end_of_a_stream_has_its_words(as_alice, acme, at_work, status, words):
    call(acme, "bot", status=status)

    response = as_alice.get("/o/acme/consumption/calls/", {"status": status})

    assert f">{words}</span>" in page(response)
    assert f'<option value="{status}" selected>{words}</option>' in page(response)


def test_what_happens_to_agents_is_in_the_audit_log_in_words(as_alice, acme, alice, key):
    as_alice.post(NEW, posted(key))

    log = page(as_alice.get("/o/acme/audit/"))

    assert {each.title for each in AuditEvent.objects.all()} >= {"Agent created", "API token calls allowed"}
    assert "Agent created" in log


def test_an_agent_on_a_managed_key_says_how_often_it_answers(as_bob, acme, bot, simulated_providers):
    connect_managed_key()
    open_managed(
        agent=bot, provider="openrouter", model=MODEL, calls_a_day=1500, nanousd_a_day=3_210_000_000, actor=None
    )

    shown = page(as_bob.get(url("agent", "bot")))

    assert "It runs on a key of the operator, with at most 1,500 calls a day (UTC)." in shown
    assert "3.21" not in shown


def test_the_table_of_routes_says_once_that_an_agent_is_not_routed(as_alice, acme, bot):
    shown = page(as_alice.get("/o/acme/settings/routing/"))

    assert "No model yet" in shown
    assert "No model serves the agent" not in shown
