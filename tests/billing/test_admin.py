from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from billing import ledger
from billing.models import CreditAccount, CreditHold, CreditLot, HoldAllocation, LedgerEntry
from organizations.models import AuditEvent, User
from tests.billing.conftest import grant, hold, rows
from tests.conftest import logged_in

MODELS = [CreditAccount, CreditLot, CreditHold, HoldAllocation, LedgerEntry]


@pytest.fixture
def used(acme):
    grant(acme, 20)
    first, _ = hold(acme, 4, 2)
    ledger.capture_hold(organization=acme, hold_id=first.id, amount=4)
    return acme


@pytest.fixture
def form_url(used) -> str:
    return reverse("admin:billing_creditaccount_move_credits", args=[used.pk])


def fresh_key(client, form_url: str) -> str:
    html = client.get(form_url).content.decode()
    found = re.search(r'name="idempotency_key" value="([^"]+)"', html)
    assert found
    return found[1]


@pytest.mark.parametrize("model", MODELS)
def test_every_row_is_listed_searched_and_read_but_never_changed(used, as_staff, model):
    name = f"admin:billing_{model._meta.model_name}"
    row = model._default_manager.first()

    assert as_staff.get(reverse(f"{name}_changelist")).status_code == 200
    found = as_staff.get(reverse(f"{name}_changelist"), {"q": "acme"})
    assert found.context["cl"].result_count == model._default_manager.count()
    page = as_staff.get(reverse(f"{name}_change", args=[row.pk]))
    assert page.status_code == 200
    assert 'name="_save"' not in page.content.decode()
    assert as_staff.post(reverse(f"{name}_change", args=[row.pk])).status_code == 403
    assert as_staff.get(reverse(f"{name}_add")).status_code == 403
    assert as_staff.post(reverse(f"{name}_delete", args=[row.pk])).status_code == 403


def test_a_hold_is_found_by_its_id(used, as_staff):
    wanted = CreditHold.objects.for_organization(used).get(amount=4)

    found = as_staff.get(reverse("admin:billing_credithold_changelist"), {"q": str(wanted.pk)})

    assert found.context["cl"].result_count == 1


def test_the_account_page_leads_to_the_form(used, form_url, as_staff):
    page = as_staff.get(reverse("admin:billing_creditaccount_change", args=[used.pk]))

    assert form_url in page.content.decode()
    assert "Grant or adjust credits" in page.content.decode()


def test_staff_grant_credits(used, form_url, as_staff, staff):
    sent = {"amount": "30", "reason": "Invoice 7", "idempotency_key": fresh_key(as_staff, form_url)}

    answer = as_staff.post(form_url, sent)

    assert answer.status_code == 302
    entry = LedgerEntry.objects.for_organization(used).latest("seq")
    assert (entry.kind, entry.d_posted, entry.reason, entry.actor) == ("grant", 30, "Invoice 7", staff)
    assert AuditEvent.objects.for_organization(used).filter(actor=staff, action="credits.granted").exists()


def test_a_form_sent_twice_books_once(used, form_url, as_staff):
    sent = {"amount": "30", "reason": "Invoice 7", "idempotency_key": fresh_key(as_staff, form_url)}

    as_staff.post(form_url, sent)
    as_staff.post(form_url, sent)

    assert ledger.balance(organization=used).posted == 46


def test_staff_take_free_credits_back(used, form_url, as_staff):
    sent = {"amount": "-6", "reason": "Typed too much", "idempotency_key": fresh_key(as_staff, form_url)}

    as_staff.post(form_url, sent)

    assert LedgerEntry.objects.for_organization(used).latest("seq").kind == "adjust"
    assert ledger.balance(organization=used).available == 8


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"amount": "-15"}, "Only 14 credits can be taken back."),
        ({"amount": "0"}, "Enter a number other than 0."),
        ({"amount": "many"}, "Enter a whole number."),
        ({"amount": "9" * 25}, "Enter a number from "),
        ({"reason": " "}, "This field is required."),
    ],
)
def test_bad_input_is_explained_beside_the_field_and_moves_nothing(used, form_url, as_staff, change, sentence):
    sent = {"amount": "5", "reason": "x", "idempotency_key": fresh_key(as_staff, form_url)} | change
    before = rows()

    answer = as_staff.post(form_url, sent)

    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert rows() == before


def test_a_form_changed_after_it_was_booked_is_refused(used, form_url, as_staff):
    sent = {"amount": "30", "reason": "Invoice 7", "idempotency_key": fresh_key(as_staff, form_url)}
    as_staff.post(form_url, sent)

    answer = as_staff.post(form_url, sent | {"amount": "31"})

    assert answer.status_code == 422
    assert "already recorded with other values" in answer.content.decode()


def test_customers_and_staff_without_the_permission_cannot_book(used, form_url, as_alice):
    reader = User.objects.create_user("reader@keyfare.example", "x", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_creditaccount"))

    assert as_alice.get(form_url).status_code == 302
    assert logged_in(reader).get(form_url).status_code == 403
    page = logged_in(reader).get(reverse("admin:billing_creditaccount_change", args=[used.pk]))
    assert form_url not in page.content.decode()
