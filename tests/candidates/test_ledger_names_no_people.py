"""No name of a person stands in the ledger, whose entries stay for ever; people still read whom a check was about."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection

from billing.models import CreditHold, LedgerEntry
from billing.verification import verify_ledger
from candidates.acceptance import accept_checks
from candidates.models import CandidateCheck
from tests.builders import NOW, give_credits, import_people, route_to_own_key

pytestmark = pytest.mark.usefixtures("simulated_providers")


@pytest.fixture
def held(acme, briefing) -> CandidateCheck:
    route_to_own_key(acme)
    give_credits(acme, 1)
    people = import_people(acme, "Five years of Django.")
    return accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=NOW).checks[0]


def test_a_hold_names_the_check_by_its_id(held):
    assert CreditHold.objects.get().purpose == f"Candidate check {held.pk}"
    assert held.candidate.name not in str(LedgerEntry.objects.values())


def test_the_credits_page_says_whom_each_check_was_about(held, as_bob):
    html = as_bob.get("/o/acme/credits/").content.decode()

    assert f'<a href="/o/acme/checks/{held.pk}/">Check of {held.candidate.name}</a>' in html


def test_names_that_stood_in_holds_are_gone_after_the_migration(held, acme):
    CreditHold.objects.update(purpose=f"Check of {held.candidate.name}")
    migration = importlib.import_module("candidates.migrations.0003_ledger_names_no_people")

    migration.name_checks_instead(apps, SimpleNamespace(connection=connection))

    assert CreditHold.objects.get().purpose == f"Candidate check {held.pk}"
    assert verify_ledger(organization=acme) == []
