"""With sign-up open, somebody registers an address that is not theirs, and its reader has an account of their own."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from django.core import mail
from django.db import IntegrityError
from django.urls import reverse

from organizations.models import User
from tests.conftest import logged_in

MINE = "alice@private.example"


@pytest.fixture
def squatted(alice) -> User:
    """Alice has shown that she reads MINE; somebody else opened an account with it and has not."""
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)
    EmailAddress.objects.create(user=alice, email=MINE, primary=False, verified=True)
    squatter = User.objects.create_user(MINE, "correct horse battery")
    EmailAddress.objects.create(user=squatter, email=MINE, primary=True, verified=False)
    return alice


def addresses(person: User) -> list[tuple[str, bool, bool]]:
    rows = EmailAddress.objects.filter(user=person).order_by("email")
    return list(rows.values_list("email", "primary", "verified"))


def test_an_address_of_another_account_does_not_become_primary_and_a_sentence_says_why(squatted):
    before = addresses(squatted)

    answer = logged_in(squatted).post(reverse("account_email"), {"email": MINE, "action_primary": ""})

    squatted.refresh_from_db()
    assert answer.status_code == 409
    assert f"Another account was opened with {MINE}" in answer.content.decode()
    assert (squatted.email, addresses(squatted)) == ("alice@acme.example", before)
    assert mail.outbox == []


def test_the_same_address_of_nobody_else_becomes_primary(squatted):
    User.objects.filter(email=MINE).update(email="somebody@else.example")

    answer = logged_in(squatted).post(reverse("account_email"), {"email": MINE, "action_primary": ""})

    squatted.refresh_from_db()
    assert answer.status_code == 302
    assert (squatted.email, addresses(squatted)) == (
        MINE,
        [("alice@acme.example", False, True), (MINE, True, True)],
    )


def test_a_confirmation_by_somebody_without_a_primary_address_is_refused_whole(squatted, client):
    EmailAddress.objects.filter(user=squatted).update(primary=False)
    EmailAddress.objects.filter(user=squatted, email=MINE).update(verified=False)
    before = addresses(squatted)
    key = EmailConfirmationHMAC(EmailAddress.objects.get(user=squatted, email=MINE)).key
    answer = client.post(reverse("account_confirm_email", args=[key]))

    assert answer.status_code == 409
    assert "Another account" in answer.content.decode()
    assert addresses(squatted) == before


def test_what_fails_at_the_database_twice_is_a_page_and_leaves_nothing(alice, monkeypatch):
    """Whatever an account page writes before it."""
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)
    browser = logged_in(alice)

    def write_then_fail(self, request):
        EmailAddress.objects.create(user=alice, email="half@acme.example")
        raise IntegrityError

    monkeypatch.setattr("allauth.account.forms.AddEmailForm.save", write_then_fail)
    answer = browser.post(reverse("account_email"), {"email": "new@acme.example", "action_add": ""})

    assert answer.status_code == 409
    assert "Nothing was changed" in answer.content.decode()
    assert not EmailAddress.objects.filter(email="half@acme.example").exists()
