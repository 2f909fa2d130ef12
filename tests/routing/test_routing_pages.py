"""The routing table: which key and model serve each action, and removing keys that actions use."""

from __future__ import annotations

import re
import threading
import uuid
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from config.onboarding import ensure_platform
from organizations.models import AuditEvent
from providers.models import ProviderKey
from routing.models import RoutingRule
from routing.resolve import resolve
from routing.services import save_routing
from tests.builders import connect_key, connect_managed_key
from tests.conftest import logged_in
from usage.metering import Finished, admit_call, record_calls
from usage.models import UsageEvent
from usage.tokens import Report, TokenUsage

HTMX = {"HX-Request": "true"}
SAVE = "/o/acme/settings/routing/save/"
RESET = "/o/acme/settings/routing/candidate_check/reset/"
MODEL = "openai/gpt-4.1-mini"
ACTIONS = ("candidate_check", "requirement_generation")


@pytest.fixture
def other_model(key) -> str:
    return key.available_models.exclude(model=MODEL).order_by("model").values_list("model", flat=True)[0]


def table(**choices: tuple[UUID | str, str, str]) -> dict[str, str]:
    """What the form posts, (key, model, what the page showed) an action; the managed default if not given."""
    posted: dict[str, str] = {}
    for action in ACTIONS:
        key, model, was = choices.get(action, ("", "", "managed"))
        posted |= {f"{action}-key": str(key), f"{action}-model": model, f"{action}-was": was}
    return posted


def text(response) -> str:
    return response.content.decode()


def rules() -> dict[str, tuple[uuid.UUID, str]]:
    return {rule.action: (rule.key_id, rule.model) for rule in RoutingRule.objects.all()}


# Saving ---------------------------------------------------------------------------------------------


def test_saving_routes_an_action_to_the_chosen_key_and_model(as_alice, alice, acme, key):
    response = as_alice.post(SAVE, table(candidate_check=(key.pk, MODEL, "managed")), follow=True)

    assert response.redirect_chain == [("/o/acme/settings#llm-routing", 302)]
    assert rules() == {"candidate_check": (key.pk, MODEL)}
    assert "Routing saved." in text(response)
    assert AuditEvent.objects.get(action="routing.saved").actor == alice


def test_saving_answers_htmx_with_the_table_and_a_toast(as_alice, acme, key):
    response = as_alice.post(SAVE, table(candidate_check=(key.pk, MODEL, "managed")), headers=HTMX)

    assert response.status_code == 200
    assert "<html" not in text(response)
    assert text(response).lstrip().startswith('<form class="card" id="routing-table"')
    assert "Routing saved." in text(response)
    assert "routingChanged" in response["HX-Trigger"]
    assert f'<option value="{key.pk}" selected>' in text(response)


def test_only_changed_rows_are_saved(as_alice, acme, key, routed):
    shown = f"{key.pk} {MODEL}"
    posted = table(candidate_check=(key.pk, MODEL, shown), requirement_generation=(key.pk, MODEL, "managed"))
    as_alice.post(SAVE, posted)

    routed.refresh_from_db()
    assert routed.version == 1
    assert set(rules()) == set(ACTIONS)


@pytest.mark.parametrize("model", ["openai/gpt\x00", "openai/\u200bgpt"])
def test_a_model_that_no_provider_can_have_is_refused_in_our_words(as_alice, key, model):
    response = as_alice.post(SAVE, table(candidate_check=(key.pk, model, "managed")), headers=HTMX)

    assert response.status_code == 422
    assert "letters, digits and signs only" in text(response)
    assert "Null characters" not in text(response)
    assert rules() == {}


def test_saving_without_a_change_says_so(as_alice, key):
    response = as_alice.post(SAVE, table(), headers=HTMX)

    assert response.status_code == 200
    assert "nothing to save" in text(response)
    assert not AuditEvent.objects.filter(action="routing.saved").exists()


def test_choosing_the_managed_default_resets_the_action(as_alice, acme, key, routed):
    as_alice.post(SAVE, table(candidate_check=("", "", f"{key.pk} {MODEL}")))

    assert rules() == {}


def test_without_scripts_the_model_left_in_its_field_does_not_stop_a_reset(as_alice, acme, key, routed):
    as_alice.post(SAVE, table(candidate_check=("", MODEL, f"{key.pk} {MODEL}")))

    assert rules() == {}


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_an_error_in_one_row_saves_no_row_and_loses_no_input(as_alice, acme, key, other_model, headers):
    posted = table(
        candidate_check=(key.pk, "openai/gpt-nonsense", "managed"),
        requirement_generation=(key.pk, other_model, "managed"),
    )
    response = as_alice.post(SAVE, posted, headers=headers)

    assert response.status_code == 422
    assert "“openai/gpt-nonsense” is not among the models this key can call." in text(response)
    assert 'value="openai/gpt-nonsense"' in text(response)
    assert f'value="{other_model}"' in text(response)
    assert re.search(r'<input[^>]*name="candidate_check-model"[^>]*aria-invalid="true"', text(response))
    assert rules() == {}
    assert not AuditEvent.objects.filter(action="routing.saved").exists()


@pytest.mark.parametrize(
    ("key_chosen", "model", "sentence"),
    [(True, "", "Choose a model."), (False, MODEL, "Choose the key that calls this model")],
)
def test_half_a_choice_is_refused(as_alice, key, key_chosen, model, sentence):
    posted = table(candidate_check=(key.pk if key_chosen else "", model, "managed"))
    response = as_alice.post(SAVE, posted)

    assert response.status_code == 422
    assert sentence in text(response)
    assert rules() == {}


@pytest.mark.parametrize("choice", ["nonsense", "00000000-0000-4000-8000-000000000000"])
def test_a_key_that_is_no_choice_is_refused(as_alice, key, choice):
    response = as_alice.post(SAVE, table(candidate_check=(choice, MODEL, "managed")))

    assert response.status_code == 422
    assert "Choose a connected key." in text(response)


def test_another_organizations_key_is_no_choice(as_alice, key, globex):
    theirs = connect_key(globex)
    response = as_alice.post(SAVE, table(candidate_check=(theirs.pk, MODEL, "managed")))

    assert response.status_code == 422
    assert rules() == {}


def test_a_key_that_is_not_connected_is_no_choice(as_alice, acme, key):
    broken = connect_key(acme, kind="invalid", label="Broken")
    page = as_alice.get("/o/acme/settings")

    assert f'<option value="{key.pk}"' in text(page)
    assert f'<option value="{broken.pk}"' not in text(page)


def test_a_key_whose_provider_lists_no_models_takes_any_model(as_alice, key):
    key.available_models.all().delete()
    as_alice.post(SAVE, table(candidate_check=(key.pk, "house/model-1", "managed")))

    assert rules() == {"candidate_check": (key.pk, "house/model-1")}


def test_a_row_nobody_touched_is_not_written_over_what_somebody_else_saved(as_alice, acme, key, other_model):
    save_routing(organization=acme, action="candidate_check", key=key, model=other_model, actor=None)
    as_alice.post(SAVE, table(requirement_generation=(key.pk, MODEL, "managed")))

    assert rules() == {"candidate_check": (key.pk, other_model), "requirement_generation": (key.pk, MODEL)}


def test_two_people_changing_one_row_is_told_then_the_second_may_overrule(as_alice, acme, key, other_model):
    save_routing(organization=acme, action="candidate_check", key=key, model=other_model, actor=None)
    first = as_alice.post(SAVE, table(candidate_check=(key.pk, MODEL, "managed")), headers=HTMX)

    assert first.status_code == 422
    assert f"Somebody changed this route to OpenRouter · {key.label}, {other_model} at " in text(first)
    assert f'value="{MODEL}"' in text(first), "what was typed stays"
    assert rules() == {"candidate_check": (key.pk, other_model)}

    (shown,) = re.findall(r'name="candidate_check-was" value="([^"]*)"', text(first))
    as_alice.post(SAVE, table(candidate_check=(key.pk, MODEL, shown)), headers=HTMX)

    assert rules() == {"candidate_check": (key.pk, MODEL)}


def test_the_model_field_offers_the_models_of_the_chosen_key(as_alice, acme, key, routed):
    page = text(as_alice.get("/o/acme/settings"))

    assert re.search(rf'<input[^>]*name="candidate_check-model"[^>]*list="models-of-{key.pk}"', page)
    assert f'<datalist id="models-of-{key.pk}">' in page
    assert f'<option value="{MODEL}"' in page


# The dependent model field ---------------------------------------------------------------------------


def model_field(client, **values: str):
    return client.get("/o/acme/settings/routing/candidate_check/model/", values, headers=HTMX)


def test_choosing_a_key_keeps_a_model_that_it_lists(as_alice, acme, key):
    posted = table(candidate_check=(key.pk, MODEL, "managed"))
    response = model_field(as_alice, **posted)

    assert f'value="{MODEL}"' in text(response)
    assert f'list="models-of-{key.pk}"' in text(response)
    assert "aria-invalid" not in text(response)


def test_choosing_a_key_fills_in_the_counterpart_of_a_model_that_it_does_not_list(as_alice, acme, key, routed):
    google = connect_key(acme, "google")
    response = model_field(as_alice, **table(candidate_check=(google.pk, MODEL, f"{key.pk} {MODEL}")))

    assert 'value="gemini-2.5-flash"' in text(response)
    assert "placeholder" not in text(response)
    assert f'list="models-of-{google.pk}"' in text(response)


def test_choosing_a_key_where_nothing_was_typed_fills_in_a_model(as_alice, acme, key):
    response = model_field(as_alice, **table(candidate_check=(key.pk, "", "managed")))

    assert f'value="{MODEL}"' in text(response)
    assert "placeholder" not in text(response)


def test_without_scripts_a_key_without_a_model_is_asked_about_with_one_filled_in(as_alice, acme, key):
    response = as_alice.post(SAVE, table(candidate_check=(key.pk, "", "managed")))

    assert response.status_code == 422
    assert f"Choose a model. “{MODEL}” is filled in now." in text(response)
    assert f'value="{MODEL}"' in text(response)
    assert rules() == {}


def test_choosing_the_stored_key_again_brings_its_model_back(as_alice, acme, key, routed):
    connect_key(acme, "google")
    response = model_field(as_alice, **table(candidate_check=(key.pk, "gemini-2.5-pro", f"{key.pk} {MODEL}")))

    assert f'value="{MODEL}"' in text(response)


def test_choosing_the_managed_default_empties_the_model_and_shows_the_managed_one(as_alice, acme, key, routed):
    connect_managed_key()
    response = model_field(as_alice, **table(candidate_check=("", MODEL, f"{key.pk} {MODEL}")))

    assert "value=" not in text(response)
    assert f'placeholder="Managed: {MODEL}"' in text(response)


def test_the_model_field_of_another_organizations_key_is_not_found(as_alice, acme, key, globex):
    theirs = connect_key(globex)

    assert model_field(as_alice, **table(candidate_check=(theirs.pk, "", "managed"))).status_code == 404
    assert model_field(as_alice, **table(candidate_check=("x", "", "managed"))).status_code == 404
    assert as_alice.get("/o/acme/settings/routing/nonsense/model/").status_code == 404


# The table after keys changed --------------------------------------------------------------------------


def test_the_table_is_brought_up_to_date_with_unsaved_input_in_it(as_alice, acme, key, other_model):
    late = connect_key(acme, label="Late")
    unsaved = table(candidate_check=(key.pk, other_model, "managed"))
    response = as_alice.get("/o/acme/settings/routing/", unsaved, headers=HTMX)

    assert "<html" not in text(response)
    assert f'<option value="{late.pk}"' in text(response)
    assert f'<option value="{key.pk}" selected>' in text(response)
    assert f'value="{other_model}"' in text(response)
    assert "aria-invalid" not in text(response)
    assert rules() == {}


def test_unsaved_input_that_names_a_removed_key_falls_back_to_what_is_stored(as_alice, acme, key):
    unsaved = table(candidate_check=(uuid.uuid4(), MODEL, "managed"))
    response = as_alice.get("/o/acme/settings/routing/", unsaved, headers=HTMX)

    assert f'value="{MODEL}"' not in text(response).split("<datalist")[0]


def test_the_table_is_a_page_of_its_own_without_scripts(as_alice, acme):
    response = as_alice.get("/o/acme/settings/routing/")

    assert "<html" in text(response)
    assert "LLM Routing by Action" in text(response)


# Reset ------------------------------------------------------------------------------------------------


def test_reset_without_a_working_managed_key_says_that_no_model_serves_the_action(as_alice, acme, routed):
    page = text(as_alice.get("/o/acme/settings/routing/"))
    response = as_alice.post(RESET, follow=True)

    assert rules() == {}
    assert "Candidate check is not routed any more: no model serves it." in text(response)
    assert "Managed" not in page
    assert "managed" not in page.replace('value="managed"', "")


def test_reset_puts_the_action_on_the_managed_default(as_alice, acme, routed):
    connect_managed_key()
    response = as_alice.post(RESET, follow=True)

    assert rules() == {}
    assert "Candidate check uses the managed default." in text(response)


def test_reset_keeps_what_other_rows_hold_unsaved(as_alice, acme, key, routed, other_model):
    posted = table(
        candidate_check=(key.pk, MODEL, f"{key.pk} {MODEL}"),
        requirement_generation=(key.pk, other_model, "managed"),
    )
    response = as_alice.post(RESET, posted, headers=HTMX)

    assert rules() == {}
    assert f'value="{other_model}"' in text(response)


def test_a_reset_on_a_page_that_shows_another_route_is_told_first(as_alice, ada, acme, key, routed, other_model):
    save_routing(organization=acme, action="candidate_check", key=key, model=other_model, actor=ada)
    stale = table(candidate_check=(key.pk, MODEL, f"{key.pk} {MODEL}"))

    refused = as_alice.post(RESET, stale, headers=HTMX)

    assert refused.status_code == 422
    assert f"Ada changed this route to OpenRouter · {key.label}, {other_model}" in text(refused)
    assert rules()["candidate_check"] == (key.pk, other_model)
    (shown,) = re.findall(r'name="candidate_check-was" value="([^"]*)"', text(refused))
    as_alice.post(RESET, stale | {"candidate_check-was": shown}, headers=HTMX)
    assert "candidate_check" not in rules()


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="real concurrency")
@pytest.mark.django_db(transaction=True)
def test_of_two_who_save_another_model_at_once_one_is_told(alice, ada, acme, key, other_model):
    """The page is compared under the lock: both pages showed the managed default."""
    start, statuses = threading.Barrier(2, timeout=30), []

    def save(person, model) -> None:
        browser = logged_in(person)
        try:
            start.wait()
            posted = table(candidate_check=(key.pk, model, "managed"))
            statuses.append(browser.post(SAVE, posted, headers=HTMX).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=save, args=each) for each in ((alice, MODEL), (ada, other_model))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, 422]


def test_resetting_an_unknown_action_is_not_found(as_alice):
    assert as_alice.post("/o/acme/settings/routing/nonsense/reset/").status_code == 404


# What the table tells -----------------------------------------------------------------------------------


def test_a_managed_default_is_shown_as_such_with_its_model(as_alice, acme, simulated_providers):
    connect_managed_key()
    page = text(as_alice.get("/o/acme/settings/routing/"))

    assert "Managed default" in page
    assert f'placeholder="Managed: {MODEL}"' in page
    assert "callout" not in page


def test_an_action_that_no_model_serves_says_what_is_missing(as_alice, acme):
    ensure_platform()

    assert "No model serves checks yet: connect a key" in text(as_alice.get("/o/acme/settings/routing/"))


@pytest.mark.parametrize(
    "status", [ProviderKey.Status.INVALID, ProviderKey.Status.NO_CREDIT, ProviderKey.Status.NEEDS_REENTRY]
)
def test_a_broken_key_shows_on_the_rows_that_use_it(as_alice, acme, key, routed, status):
    ProviderKey.objects.update(status=status, status_detail="The provider said no.")
    page = text(as_alice.get("/o/acme/settings"))
    panel = page[page.index('id="llm-routing"') :]

    assert "Candidate check is routed to your OpenRouter key “Default”" in panel
    assert "The provider said no." in panel
    assert 'href="#provider-openrouter"' in panel
    assert f"OpenRouter · Default ({status.label})" in panel


def test_a_model_that_the_key_no_longer_lists_shows_on_its_row(as_alice, acme, key, routed):
    key.available_models.filter(model=MODEL).delete()

    assert f"no longer lists “{MODEL}”" in text(as_alice.get("/o/acme/settings/routing/"))


def test_each_action_shows_its_runs_and_averages_which_link_to_their_rows(as_alice, acme, key, routed):
    now = timezone.now()
    for cost in (1_000_000, 3_000_000):
        call = admit_call(
            organization_id=acme.pk,
            facts=resolve(organization=acme, action="candidate_check").facts,
            run_id=uuid.uuid4(),
            iteration=1,
            now=now,
            deadline_at=now + timedelta(minutes=1),
        )
        report = Report(usage=TokenUsage(uncached_input=1_000, output=234), cost_nanousd=cost)
        record_calls([Finished(call, UsageEvent.Status.ANSWERED, latency_ms=0, report=report)])
    page = text(as_alice.get("/o/acme/settings/routing/"))

    assert re.search(r'href="/o/acme/checks/\?by=run&amp;from=[\d-]+">2<', page)
    assert "average of 2 runs" in page
    assert "$0.0020" in page
    assert "1,234" in page


# Who may ----------------------------------------------------------------------------------------------


def test_a_member_sees_routes_but_no_forms(as_bob, acme, key, routed):
    page = text(as_bob.get("/o/acme/settings/routing/"))
    table_html = page[page.index('id="routing-table"') :]

    assert "OpenRouter · Default" in table_html
    assert MODEL in table_html
    assert "Save routing" not in table_html
    assert "<select" not in table_html
    assert "Reset to managed default" not in table_html


def test_a_member_may_not_change_routes(as_bob, acme, key, routed):
    assert as_bob.post(SAVE, table()).status_code == 403
    assert as_bob.post(RESET).status_code == 403
    assert model_field(as_bob).status_code == 403
    assert as_bob.post(f"/o/acme/settings/keys/{key.pk}/remove/").status_code == 403
    assert set(rules()) == {"candidate_check"}


def test_a_stranger_finds_nothing(as_charlie, acme, key, routed):
    assert as_charlie.post(SAVE, table()).status_code == 404
    assert as_charlie.post(RESET).status_code == 404
    assert as_charlie.get("/o/acme/settings/routing/").status_code == 404
    assert model_field(as_charlie).status_code == 404
    for slug in ("acme", "globex"):
        assert as_charlie.get(f"/o/{slug}/settings/keys/{key.pk}/remove/").status_code == 404
        assert as_charlie.post(f"/o/{slug}/settings/keys/{key.pk}/remove/").status_code == 404
    assert ProviderKey.objects.filter(pk=key.pk).exists()


def test_wrong_methods_are_refused(as_alice, acme, key):
    assert as_alice.get(SAVE).status_code == 405
    assert as_alice.get(RESET).status_code == 405
    assert as_alice.post("/o/acme/settings/routing/").status_code == 405
    assert as_alice.post("/o/acme/settings/routing/candidate_check/model/").status_code == 405
    assert as_alice.put(f"/o/acme/settings/keys/{key.pk}/remove/").status_code == 405
