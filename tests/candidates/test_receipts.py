"""What the receipt of a check says of its calls: who paid, with which key, and how much of the cost is known."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse
from django.utils import timezone

from candidates.acceptance import accept_checks
from candidates.models import CandidateCheck
from candidates.worker import run_pending_checks
from providers.models import ProviderKey
from tests.builders import connect_managed_key, give_credits, import_people, route_to_own_key, write_briefing
from tests.usage.conftest import event, lost_or_failed
from usage.models import UsageEvent

pytestmark = pytest.mark.usefixtures("simulated_providers")
OPERATORS_LABEL = "Contract 4711 of the operator"


def checked(organization) -> CandidateCheck:
    briefing = write_briefing(organization, ("Django", "must"))
    give_credits(organization, 10)
    people = import_people(organization, "Builds Django services on PostgreSQL.")
    (row,) = accept_checks(
        organization=organization, briefing=briefing, candidates=people, actor=None, now=timezone.now()
    ).checks
    run_pending_checks(organization_id=organization.pk)
    return CandidateCheck.objects.get(pk=row.pk)


def receipt(browser, check) -> str:
    answer = browser.get(reverse("candidates:check", args=["acme", check.pk]))
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def test_a_customer_never_reads_what_the_operator_calls_its_keys(as_bob, acme):
    key = connect_managed_key()
    ProviderKey.objects.filter(pk=key.pk).update(label=OPERATORS_LABEL)
    check = checked(acme)
    assert check.route["key_label"] == OPERATORS_LABEL

    page = reverse("candidates:check", args=["acme", check.pk])
    for path in (page, "/o/acme/consumption/calls/", "/o/acme/settings", "/o/acme/"):
        assert OPERATORS_LABEL not in as_bob.get(path).content.decode(), path
    assert "Provider key one of the operator" in receipt(as_bob, check)


def test_the_receipt_of_an_own_key_names_it(as_bob, acme):
    route_to_own_key(acme)

    assert "Provider key Default" in receipt(as_bob, checked(acme))


def test_a_receipt_that_misses_calls_says_so_and_leads_to_them(as_bob, acme):
    route_to_own_key(acme)
    check = checked(acme)
    event(acme, run_id=check.run_id, iteration=2, cost_nanousd=None, output_tokens=3)
    lost_or_failed(acme, UsageEvent.Status.LOST, run_id=check.run_id, iteration=3)

    page = receipt(as_bob, check)

    assert re.search(r"at least \$0\.\d{4} 3 model calls: 1 unpriced , 1 without an answer", page)
    assert re.search(r"Tokens at least [\d,]+ in 3 model calls", page)
    for price, count in (("unpriced", 1), ("no_answer", 1)):
        rows = as_bob.get(f"/o/acme/consumption/calls/?run={check.run_id}&price={price}").context["events"]
        assert len(rows) == count


def test_a_check_on_a_server_of_ones_own_has_no_token_charges(as_bob, acme):
    route_to_own_key(acme)
    check = checked(acme)
    CandidateCheck.objects.filter(pk=check.pk).update(run_id="00000000-0000-0000-0000-000000000007")
    event(
        acme,
        run_id="00000000-0000-0000-0000-000000000007",
        price_source=UsageEvent.PriceSource.OWN_SERVER,
        cost_nanousd=0,
        output_tokens=3,
    )

    page = receipt(as_bob, check)

    assert "no token charges 1 model call to your own server" in page
    assert not re.search(r"\$0\.0+(?!\d)", page)
