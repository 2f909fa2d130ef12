from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection, transaction

from billing.ledger import open_account
from billing.models import CreditAccount
from candidates.models import Briefing, CandidateCheck
from organizations.audit import events_last, record
from organizations.models import Organization
from providers.models import ProviderKey
from tests.builders import write_briefing
from tests.lock_guard import ORDER, LockedOutOfOrder
from tests.test_query_guard import ours

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no row locks")


@pytest.fixture
def rows(acme):
    write_briefing(acme, ("Django", "must"))
    open_account(organization=acme)
    record(organization=acme, actor=None, action="test.arranged")
    return acme


def touch_briefing(organization: Organization) -> None:
    Briefing.objects.for_organization(organization).update(title="Changed")


def touch_account(organization: Organization) -> None:
    CreditAccount.objects.for_organization(organization).update(held=0)


def record_change(organization: Organization) -> None:
    record(organization=organization, actor=None, action="test.changed")


def lock_checks(organization: Organization) -> None:
    list(CandidateCheck.objects.for_organization(organization).select_for_update())


def lock_keys(organization: Organization) -> None:
    keys = ProviderKey.objects.for_organization(organization).select_related("organization")
    list(keys.select_for_update(of=("self",)))


@ours
def together(organization: Organization, *steps: Callable[[Organization], None]) -> None:
    """The steps in one transaction, each in a nested one of its own."""
    with transaction.atomic():
        for step in steps:
            with transaction.atomic():
                step(organization)


@ours
def with_events_last(organization: Organization, *steps: Callable[[Organization], None]) -> None:
    with transaction.atomic(), events_last():
        for step in steps:
            step(organization)


@on_postgresql
def test_locks_in_order_pass_and_what_is_held_is_locked_again(rows):
    together(rows, touch_briefing, touch_account, touch_briefing, record_change)


@on_postgresql
def test_locks_out_of_order_fail_whatever_is_nested(rows):
    with pytest.raises(LockedOutOfOrder, match="candidates_briefing is locked after billing_creditaccount"):
        together(rows, touch_account, touch_briefing)


@on_postgresql
def test_nothing_is_locked_after_the_audit_head_but_with_events_last_it_comes_last(rows):
    with pytest.raises(LockedOutOfOrder, match="after organizations_audithead"):
        together(rows, record_change, touch_account)

    with_events_last(rows, record_change, touch_account)


@on_postgresql
def test_each_transaction_has_an_order_of_its_own(rows):
    together(rows, touch_account)
    together(rows, touch_briefing)


@on_postgresql
def test_rows_read_for_update_count_as_well(rows):
    with pytest.raises(LockedOutOfOrder, match="candidates_candidatecheck"):
        together(rows, touch_account, lock_checks)


@on_postgresql
def test_the_table_that_is_locked_is_the_one_named_in_a_join(rows):
    with pytest.raises(LockedOutOfOrder, match="providers_providerkey"):
        together(rows, touch_account, lock_keys)


@on_postgresql
def test_a_transaction_that_a_test_opens_around_others_is_none_of_ours(rows):
    with transaction.atomic():
        together(rows, touch_account)
        together(rows, touch_briefing)


@on_postgresql
def test_an_organization_is_never_locked_against_references(rows):
    with pytest.raises(LockedOutOfOrder, match="no_key=True"):
        Organization.objects.select_for_update().get(pk=rows.pk)


def test_the_document_has_the_order_that_is_kept():
    text = (Path(settings.BASE_DIR) / "docs" / "locking.md").read_text()
    ranked = re.findall(r"^\| \d \| ([a-z ]+) \|", text, re.MULTILINE)
    names = {model._meta.db_table: str(model._meta.verbose_name) for model in apps.get_models()}

    assert ranked == [names[table] for table in ORDER]
