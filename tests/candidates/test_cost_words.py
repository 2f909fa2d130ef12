"""A run on an organization's own key is never called free: credits are one thing, what the provider bills another."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.urls import reverse
from django.utils import timezone

from candidates.acceptance import accept_checks
from candidates.cost_words import charge_of_failed, expected_charge
from candidates.models import CandidateCheck
from candidates.worker import run_pending_checks
from providers.models import ProviderKey
from routing.services import remove_provider_key
from tests.builders import connect_managed_key, give_credits, import_people, route_to_own_key, write_briefing
from tests.candidates.test_check_pages import DJANGO, HTMX, UNREADABLE, checked, words
from usage.models import RollupState, UsageEvent

pytestmark = pytest.mark.usefixtures("simulated_providers")
CHECK = "candidate_check"
NO_PRICE = UsageEvent.NoPrice


@pytest.fixture
def briefing(acme):
    return write_briefing(acme, ("Django", "must"))


@pytest.fixture
def failed(acme, briefing):
    """Accepted on the organization's own key and ended; the test says which calls it made."""
    route_to_own_key(acme)
    give_credits(acme, 10)
    (row,) = accept_checks(
        organization=acme,
        briefing=briefing,
        candidates=import_people(acme, DJANGO),
        actor=None,
        now=timezone.now(),
    ).checks
    row.status = CandidateCheck.Status.FAILED
    return row


def called(check, **facts) -> None:
    fields = {
        "status": "answered",
        "cost_nanousd": None,
        "price_source": "none",
        "no_price": "",
        **facts,
    }
    UsageEvent.objects.create(
        organization=check.organization,
        call_id=check.run_id.__class__(int=UsageEvent.objects.count() + 1),
        occurred_at=timezone.now(),
        provider="openrouter",
        model="openai/gpt-4.1-mini",
        action=CHECK,
        key_id=check.route["key_id"],
        key_label="Default",
        mode=check.mode,
        run_id=check.run_id,
        **fields,
    )


def test_of_a_check_whose_calls_have_left_nobody_says_that_there_were_none(failed, client, alice):
    failed.completed_at = failed.accepted_at
    failed.save()
    client.force_login(alice)
    address = reverse("candidates:check", args=["acme", failed.pk])
    assert charge_of_failed(failed).endswith("No model was called.")
    assert "no model call" in client.get(address).content.decode()
    RollupState.objects.create(derived_from=(failed.accepted_at + timedelta(days=32)).replace(day=1).date())

    assert charge_of_failed(failed).endswith("Whatever model calls it made are no longer kept.")
    page = client.get(address).content.decode()
    assert "no longer kept" in page
    assert "no model call" not in page


REPORTED = {"cost_nanousd": 1_800_000, "price_source": "provider"}
LISTED = {"cost_nanousd": 1_800_000, "price_source": "catalog"}
UNPRICED = {"no_price": NO_PRICE.NOT_LISTED}
REFUSED = {"status": "failed", "no_price": NO_PRICE.NOT_BILLED}
UNANSWERED = {"status": "failed", "no_price": NO_PRICE.NO_ANSWER}
OWN_SERVER = {"cost_nanousd": 0, "price_source": "own_server"}
COUNTED = {"counts_run": True, "counts_priced_run": True}


@pytest.mark.parametrize(
    ("calls", "sentence"),
    [
        ([], "No model was called."),
        ([REPORTED, REPORTED], "OpenRouter billed your key $0.0036 for 2 calls."),
        ([REPORTED, LISTED], "OpenRouter billed your key an estimated $0.0036 for 2 calls."),
        ([LISTED], "OpenRouter billed your key an estimated $0.0018 for 1 call."),
        ([REPORTED, REFUSED], "OpenRouter billed your key $0.0018 for 1 call."),
        ([UNPRICED, UNPRICED], "OpenRouter billed your key for 2 calls, at a cost that is not known."),
        ([LISTED, UNPRICED], "billed your key an estimated $0.0018 for 1 call, and 1 call more at a cost that is not"),
        ([UNANSWERED], "OpenRouter may have billed your key for 1 call, at a cost that is not known."),
        ([REFUSED], "OpenRouter does not bill a call that fails like this one."),
    ],
)
def test_a_failed_check_on_an_own_key_says_what_the_provider_billed(failed, calls, sentence):
    for facts in calls:
        called(failed, **facts)

    said = charge_of_failed(failed)

    assert said.startswith("No credits were charged. ")
    assert sentence in said


def test_a_server_of_ones_own_makes_no_token_charges(acme, failed):
    called(failed, **OWN_SERVER)
    ProviderKey.objects.filter(organization=acme).update(is_own_server=True)

    assert charge_of_failed(failed) == "No credits were charged. 1 call to your own server, with no token charges."
    assert expected_charge(organization=acme, action=CHECK, now=timezone.now()) == "no token charges"


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([OWN_SERVER], "1 call to your own server, with no token charges."),
        ([LISTED], "OpenRouter billed your key an estimated $0.0018 for 1 call."),
        ([UNPRICED], "OpenRouter billed your key for 1 call, at a cost that is not known."),
        ([LISTED, OWN_SERVER], "OpenRouter billed your key an estimated $0.0018 for 1 call."),
    ],
)
@pytest.mark.parametrize("since", ["removed", "own server", "charges"])
def test_what_a_failed_check_cost_does_not_change_with_its_key(acme, failed, calls, said, since):
    for facts in calls:
        called(failed, **facts)
    keys = ProviderKey.objects.filter(organization=acme)
    if since == "removed":
        remove_provider_key(key=keys.get(), actor=None, reset_actions=True)
    else:
        keys.update(is_own_server=since == "own server")

    assert charge_of_failed(failed) == f"No credits were charged. {said}"


def test_of_a_failed_managed_check_only_credits_are_told_unless_the_installation_shows_usd(
    acme, as_bob, briefing, settings
):
    connect_managed_key()
    give_credits(acme, 10)
    (row,) = checked(briefing, *import_people(acme, UNREADABLE))

    page = words(as_bob.get(reverse("candidates:check", args=["acme", row.pk])))
    settings.KEYFARE_SHOW_MANAGED_USD = True

    assert charge_of_failed(row).startswith("No credits were charged. OpenRouter billed the operator’s key ")
    assert "No credits were charged." in page
    assert "billed" not in page


def test_the_page_of_a_failed_check_names_both(acme, as_bob, briefing):
    route_to_own_key(acme)
    give_credits(acme, 10)
    (row,) = checked(briefing, *import_people(acme, UNREADABLE))

    page = words(as_bob.get(reverse("candidates:check", args=["acme", row.pk])))

    assert re.search(r"No credits were charged\. OpenRouter billed your key \$0\.\d{4} for 2 calls\.", page)


def test_a_quote_adds_what_the_provider_will_charge_from_the_last_30_days(acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 10)
    now = timezone.now()
    before = expected_charge(organization=acme, action=CHECK, runs=2, now=now)
    checked(briefing, *import_people(acme, DJANGO, DJANGO))
    cost = sum(event.cost_nanousd or 0 for event in UsageEvent.objects.all())

    def usd(nanousd: float) -> str:
        return f"${round(nanousd / 10**9, 4):.4f}"

    assert before == "what your provider charges for the calls"
    assert expected_charge(organization=acme, action=CHECK, now=now) == (
        f"about {usd(cost / 2)} to OpenRouter (average of your last 30 days with this model: 2 runs)"
    )
    assert expected_charge(organization=acme, action=CHECK, runs=4, now=now).startswith(f"about {usd(cost * 2)} to")
    assert expected_charge(organization=acme, action=CHECK, runs=0, now=now) == ""
    assert "average" not in expected_charge(organization=acme, action=CHECK, now=now + timedelta(days=31))


def test_an_estimate_is_of_runs_that_somebody_charges_for(acme, failed):
    called(failed, **OWN_SERVER, **COUNTED)
    of_own_server = expected_charge(organization=acme, action=CHECK, now=timezone.now())
    called(failed, **LISTED, **COUNTED)

    assert of_own_server == "what your provider charges for the calls"
    assert expected_charge(organization=acme, action=CHECK, now=timezone.now()) == (
        "about $0.0018 to OpenRouter (average of your last 30 days with this model: 1 run)"
    )


def test_an_estimate_from_runs_of_which_a_part_is_not_known_says_at_least(acme, failed):
    called(failed, **LISTED, **COUNTED)
    called(failed, **UNPRICED, counts_partly_priced_run=True)

    assert expected_charge(organization=acme, action=CHECK, runs=2, now=timezone.now()) == (
        "at least $0.0036 to OpenRouter (average of your last 30 days with this model: 1 run)"
    )


def test_managed_runs_are_told_in_credits_only_and_are_no_part_of_the_average(acme, briefing, settings):
    settings.KEYFARE_SHOW_MANAGED_USD = True
    connect_managed_key()
    give_credits(acme, 10)
    checked(briefing, *import_people(acme, DJANGO))

    assert expected_charge(organization=acme, action=CHECK, now=timezone.now()) == ""
    route_to_own_key(acme)
    assert "average" not in expected_charge(organization=acme, action=CHECK, now=timezone.now())


def test_every_quote_on_a_page_names_it(acme, as_bob, briefing):
    route_to_own_key(acme)
    give_credits(acme, 10)
    person, other = import_people(acme, DJANGO, DJANGO)
    (row,) = checked(briefing, person)
    about = r"about \$0\.\d{4} to OpenRouter \(average of your last 30 days with this model: 1 run\)"

    quoted = as_bob.post(reverse("candidates:quote", args=["acme", briefing.pk]), {"who": "listed"}, headers=HTMX)
    asked = as_bob.post(reverse("candidates:run", args=["acme", briefing.pk]), {"candidates": [other.pk]})
    again = as_bob.get(reverse("candidates:check", args=["acme", row.pk]))
    draft = as_bob.get(reverse("candidates:briefing-new", args=["acme"]))

    for answer in (quoted, asked):
        assert re.search(rf"1 new × 1 = 1 credit , and {about}\. You have 9 credits\. BYOK mode\.", words(answer))
    assert re.search(rf"= 0 credits , and {about}", words(again))
    assert "Costs no credits, and what your provider charges for the calls." in words(draft)


def test_a_managed_draft_costs_no_credits_and_nothing_else_is_said(acme, as_bob):
    connect_managed_key()

    draft = as_bob.get(reverse("candidates:briefing-new", args=["acme"]))

    assert "Costs no credits." in words(draft)


def test_a_check_that_no_model_was_asked_for_says_so(acme, briefing):
    route_to_own_key(acme)
    give_credits(acme, 10)
    people = import_people(acme, DJANGO)
    accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=timezone.now())
    ProviderKey.objects.update(status="invalid")
    run_pending_checks(organization_id=acme.pk)

    assert charge_of_failed(CandidateCheck.objects.get()) == "No credits were charged. No model was called."


@pytest.mark.parametrize("folder", ["templates", "docs", "README.md", "candidates/views", "candidates/management"])
def test_no_page_or_document_calls_a_run_free(folder):
    path = django_settings.BASE_DIR / folder
    files = [path] if path.is_file() else [each for each in path.rglob("*.*") if each.suffix != ".png"]
    for file in files:
        found = re.search(
            r"free of charge|costs? nothing|for free|no cost\b|, free\b", file.read_text(errors="replace")
        )
        assert found is None, (file, found)
