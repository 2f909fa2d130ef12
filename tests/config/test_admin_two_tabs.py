"""Staff with a form in two tabs, and staff who click twice."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.urls import reverse

from billing.ledger import balance, open_account
from billing.models import CreditAccount, LedgerEntry
from organizations.guarded_admin import GuardedAdmin
from organizations.models import Membership, Organization, User
from providers.models import PrivateEndpoint
from routing.models import ManagedDefault
from routing.services import ensure_managed_defaults
from tests.builders import import_people
from tests.candidates.test_done_once import at_the_same_time
from tests.conftest import logged_in
from tests.page_forms import form_of

on_postgresql = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="real concurrency"),
    pytest.mark.django_db(transaction=True),
]


def change(row) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def test_everything_that_staff_add_or_change_is_guarded(rf, staff):
    request = rf.get("/admin/")
    request.user = staff

    unguarded = [
        model_admin
        for model_admin in admin.site._registry.values()
        if (model_admin.has_add_permission(request) or model_admin.has_change_permission(request))
        and not isinstance(model_admin, GuardedAdmin)
    ]

    assert unguarded == []


def changed_rows() -> dict[str, tuple[Any, dict[str, str], str]]:
    """A row of each model that staff change, the change of a colleague, and what it reads."""
    ensure_managed_defaults()
    acme = Organization.objects.get(slug="acme")
    (person,) = import_people(acme, "Django")
    bob = User.objects.get(email="bob@acme.example")
    default = ManagedDefault.objects.get(action="candidate_check")
    return {
        "organization": (acme, {"name": "Acme Ltd"}, "name"),
        "membership": (Membership.objects.get(user=bob), {"role": "admin"}, "role"),
        "user": (bob, {"name": "Robert"}, "name"),
        "managed default": (default, {"model": "openai/gpt-5"}, "model"),
        "candidate": (person, {"name": "Maya Stone"}, "name"),
    }


@pytest.mark.parametrize("which", ["organization", "membership", "user", "managed default", "candidate"])
def test_a_stale_form_changes_nothing_and_says_what_a_colleague_changed(as_staff, acme, alice, bob, which):
    row, colleagues, field = changed_rows()[which]
    stale = form_of(as_staff.get(change(row)), change(row))
    colleague = logged_in(User.objects.create_superuser("colleague@keyfare.example", "pw", name="Colleague"))
    answer = colleague.post(change(row), form_of(colleague.get(change(row)), change(row)) | colleagues)
    assert answer.status_code == 302
    mine = {"name": "Mine", "role": "owner", "model": "openai/mine"}[field]

    refused = as_staff.post(change(row), stale | {field: mine})

    page = refused.content.decode()
    row.refresh_from_db()
    assert getattr(row, field) == colleagues[field]
    assert "Colleague changed" in page
    assert "after this page was opened" in page
    again = form_of(refused, change(row))
    assert again[field] == mine
    assert as_staff.post(change(row), again).status_code == 302
    row.refresh_from_db()
    assert getattr(row, field) == mine


def test_the_same_change_twice_is_no_conflict(as_staff, acme):
    form = form_of(as_staff.get(change(acme)), change(acme)) | {"name": "Acme Ltd"}

    assert [as_staff.post(change(acme), form).status_code for _ in range(2)] == [302, 302]


def test_credits_granted_by_a_double_click_are_booked_once(as_staff, acme):
    open_account(organization=acme)
    address = reverse(
        "admin:billing_creditaccount_move_credits", args=[CreditAccount.objects.get(organization=acme).pk]
    )
    sent = form_of(as_staff.get(address), address) | {"amount": "50", "reason": "Promised"}

    answers = [as_staff.post(address, sent) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert balance(organization=acme).available == 50


class TestAtTheSameTime:
    pytestmark = on_postgresql

    def test_a_grant_of_credits(self, acme, staff):
        open_account(organization=acme)
        account = CreditAccount.objects.get(organization=acme)
        address = reverse("admin:billing_creditaccount_move_credits", args=[account.pk])
        sent = form_of(logged_in(staff).get(address), address) | {"amount": "50", "reason": "Promised"}

        answers = at_the_same_time(staff, lambda browser: browser.post(address, sent))

        assert {answer.status_code for answer in answers} == {302}
        assert balance(organization=acme).available == 50
        assert LedgerEntry.objects.filter(organization=acme).count() == 1

    def test_an_organization_is_opened_once(self, acme, alice, staff):
        address = reverse("admin:organizations_organization_add")
        sent = {"name": "Initech", "slug": "initech", "owner_email": alice.email}

        answers = at_the_same_time(staff, lambda browser: browser.post(address, sent))

        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [302]
        assert Organization.objects.filter(slug="initech").count() == 1

    def test_a_private_endpoint_is_allowed_once(self, acme, staff):
        address = reverse("admin:providers_privateendpoint_add")
        sent = {"organization": acme.pk, "host": "10.1.2.3", "port": "11434", "network": "10.1.2.3/32"}

        answers = at_the_same_time(staff, lambda browser: browser.post(address, sent))

        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [302]
        assert PrivateEndpoint.objects.count() == 1

    def test_of_two_who_rename_an_organization_one_is_told(self, acme, staff):
        form = form_of(logged_in(staff).get(change(acme)), change(acme))
        names = iter(["First", "Second"])

        answers = at_the_same_time(
            staff, lambda browser: browser.post(change(acme), form | {"name": next(names)}), times=2
        )

        assert sorted(answer.status_code for answer in answers) == [200, 302]
