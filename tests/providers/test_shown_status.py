"""A key whose seal does not open shows as Needs re-entry wherever its status is shown, and serves nothing."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace

import pytest
from django.utils import timezone

from billing.ledger import balance
from candidates.acceptance import accept_checks
from candidates.models import CandidateCheck
from candidates.worker import run_pending_checks
from gateway import dispatch
from organizations.models import Organization
from providers.custody import inspection
from providers.models import OrganizationKey, ProviderKey
from routing.actions import CANDIDATE_CHECK
from routing.resolve import RouteUnavailable, resolve
from routing.services import RuleRefused, save_routing
from tests.builders import (
    NOW,
    connect_key,
    connect_managed_key,
    give_credits,
    import_people,
    route_to_own_key,
    write_briefing,
)
from tests.providers.master_keys import NEW, master_keys

pytestmark = pytest.mark.usefixtures("simulated_providers")
KEYS = "/admin/providers/providerkey/"
Status = ProviderKey.Status


def text(response) -> str:
    return response.content.decode()


def flip_a_bit(key: ProviderKey) -> None:
    sealed = bytearray(key.ciphertext)
    sealed[-1] ^= 1
    ProviderKey.objects.filter(pk=key.pk).update(ciphertext=bytes(sealed))


def rows(page: str) -> str:
    """The table of an admin list, without its filters."""
    return re.findall(r'<table id="result_list".*?</table>', page, re.DOTALL)[0]


def test_the_admin_list_and_the_page_of_a_key_show_that_it_does_not_open(as_staff, acme):
    key = connect_key(acme)
    sound = rows(text(as_staff.get(KEYS))), text(as_staff.get(f"{KEYS}{key.pk}/change/"))
    flip_a_bit(key)
    broken = rows(text(as_staff.get(KEYS))), text(as_staff.get(f"{KEYS}{key.pk}/change/"))

    assert ["Needs re-entry" in page for page in sound] == [False, False]
    assert ["Needs re-entry" in page for page in broken] == [True, True]
    assert "Paste it again" in broken[1]
    assert ProviderKey.objects.get().status == Status.CONNECTED


def test_the_admin_filters_by_the_status_that_it_shows(as_staff, acme):
    flip_a_bit(connect_key(acme, label="Torn"))
    connect_key(acme, label="Sound")

    def found(status):
        page = rows(text(as_staff.get(KEYS, {"status": status})))
        return {label for label in ("Torn", "Sound") if label in page}

    assert found("needs_reentry") == {"Torn"}
    assert found("connected") == {"Sound"}


def test_a_longer_admin_list_takes_no_more_queries(as_staff, acme, globex, django_assert_max_num_queries):
    connect_key(acme)
    as_staff.get(KEYS)
    with django_assert_max_num_queries(100) as few:
        as_staff.get(KEYS)
    for number in range(3):
        connect_key(acme, label=f"Key {number}")
        connect_key(globex, label=f"Key {number}")

    with django_assert_max_num_queries(len(few)):
        as_staff.get(KEYS)


def test_the_rules_in_the_admin_show_it_too(as_staff, acme):
    flip_a_bit(route_to_own_key(acme))

    assert "Needs re-entry" in text(as_staff.get("/admin/routing/routingrule/"))


def test_more_rules_in_the_admin_are_no_more_queries(as_staff, acme, globex, django_assert_max_num_queries):
    route_to_own_key(acme)
    as_staff.get("/admin/routing/routingrule/")
    with django_assert_max_num_queries(100) as few:
        as_staff.get("/admin/routing/routingrule/")
    route_to_own_key(globex)

    with django_assert_max_num_queries(len(few)):
        as_staff.get("/admin/routing/routingrule/")


def test_the_routing_table_shows_it_and_says_why_the_action_does_not_run(as_alice, acme):
    key = route_to_own_key(acme)
    flip_a_bit(key)
    page = text(as_alice.get("/o/acme/settings/routing/"))

    assert f'<option value="{key.pk}" selected>OpenRouter · Default (Needs re-entry)</option>' in page
    assert "whose status is Needs re-entry" in page


def test_a_key_that_does_not_open_cannot_be_chosen(as_alice, acme):
    key = connect_key(acme)
    flip_a_bit(key)

    assert str(key.pk) not in text(as_alice.get("/o/acme/settings/routing/"))
    with pytest.raises(RuleRefused):
        save_routing(organization=acme, action=CANDIDATE_CHECK.slug, key=key, model="openai/gpt-4.1-mini", actor=None)


def test_calls_leave_with_the_oldest_managed_key_that_opens(acme):
    first = connect_managed_key()
    second = connect_key(first.organization, label="Second")
    flip_a_bit(first)

    assert resolve(organization=acme, action=CANDIDATE_CHECK.slug).key_id == second.pk


def test_no_call_is_admitted_with_a_key_that_does_not_open(acme):
    key = route_to_own_key(acme)
    route = resolve(organization=acme, action=CANDIDATE_CHECK.slug)
    flip_a_bit(key)

    with pytest.raises(RouteUnavailable, match=r"Needs re-entry.*Paste it again"):
        dispatch.prepare(organization=acme, route=route, run_id=uuid.uuid4(), iteration=1, now=NOW)
    with pytest.raises(RouteUnavailable, match=r"Needs re-entry.*Paste it again"):
        resolve(organization=acme, action=CANDIDATE_CHECK.slug)


def test_a_seal_that_breaks_on_the_way_fails_the_check_free_of_charge_and_writes_no_verdict(acme, monkeypatch):
    key = route_to_own_key(acme)
    give_credits(acme, 10)
    briefing = write_briefing(acme, ("Knows Django", "must"))
    people = import_people(acme, "Django for ten years.")
    accept_checks(organization=acme, briefing=briefing, candidates=people, actor=None, now=timezone.now())
    prepare = dispatch.prepare_many

    def broken_afterwards(**arguments):
        (ticket,) = prepare(**arguments)
        sealed = ticket.sealed_key
        return [replace(ticket, sealed_key=replace(sealed, associated_data=sealed.associated_data + b"x"))]

    monkeypatch.setattr(dispatch, "prepare_many", broken_afterwards)
    run_pending_checks(organization_id=acme.pk)

    check = CandidateCheck.objects.get()
    assert (check.status, check.charged) == ("failed", 0)
    assert "Paste it again" in check.failure
    assert balance(organization=acme).available == 10
    key.refresh_from_db()
    assert (key.status, key.break_notice) == (Status.CONNECTED, "")


def test_keys_of_many_organizations_are_opened_with_one_query(acme, globex, django_assert_num_queries):
    for organization in (acme, globex):
        connect_key(organization)
        connect_key(organization, label="Second")
    keys = list(ProviderKey.objects.all())

    with django_assert_num_queries(1):
        shown = inspection.show_unreadable(keys)

    assert {key.status for key in shown} == {Status.CONNECTED}


def test_one_organization_key_that_does_not_unwrap_breaks_no_other(acme, globex):
    mine, theirs = connect_key(acme), connect_key(globex)
    with master_keys(NEW):
        newcomer = Organization.objects.create(name="Initech", slug="initech")
        lost = connect_key(newcomer)
    assert OrganizationKey.objects.count() == 3

    shown = {key.pk: key.status for key in inspection.show_unreadable(ProviderKey.objects.all())}

    assert shown == {mine.pk: Status.CONNECTED, theirs.pk: Status.CONNECTED, lost.pk: Status.NEEDS_REENTRY}
