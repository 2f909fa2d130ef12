"""What is made once is asked for several times at the same moment, on pages of accounts and by staff."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import Failure, OrmQ, Task

from organizations import second_factors
from organizations.models import AuditEvent, Membership, User
from providers.keys.private_endpoints import allow_private_endpoint
from providers.models import ProviderKey
from tests.at_once import at_once
from tests.builders import connect_managed_key
from tests.candidates.test_done_once import at_the_same_time
from tests.conftest import logged_in

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="real concurrency"),
    pytest.mark.django_db(transaction=True),
]
PASSWORD = "correct horse battery"
TIMES = 6


def tabs_of(browser: Client, times: int = TIMES) -> list[Client]:
    tabs = [Client() for _ in range(times)]
    for tab in tabs:
        tab.cookies = browser.cookies
    return tabs


def test_one_account_is_made_and_every_answer_leads_to_the_same_page(settings):
    settings.KEYFARE_SIGNUP_OPEN = True
    sent = {"email": "new@acme.example", "password1": PASSWORD, "password2": PASSWORD}

    answers = at_once([Client() for _ in range(TIMES)], lambda browser: browser.post(reverse("account_signup"), sent))

    assert [answer.headers.get("Location") for answer in answers] == [
        reverse("account_email_verification_sent")
    ] * TIMES
    assert User.objects.get().email == EmailAddress.objects.get().email == "new@acme.example"


def test_one_authenticator_app_is_activated(alice):
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)
    browser, address = logged_in(alice), reverse("mfa_activate_totp")
    secret = browser.get(address).context["form"].secret
    code = totp.format_hotp_value(totp.hotp_value(secret, next(totp.yield_hotp_counters_from_time())))

    answers = at_once(tabs_of(browser), lambda tab: tab.post(address, {"code": code}))

    assert {answer.status_code for answer in answers} == {302}
    assert sorted(Authenticator.objects.values_list("type", flat=True)) == ["recovery_codes", "totp"]


NEW = "another horse battery"
CHANGES_A_MINUTE = 5  # as often as allauth lets somebody change their password


@pytest.fixture
def reader(alice) -> User:
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)
    return alice


def test_a_password_is_changed_and_told_once(reader):
    browser, address = logged_in(reader), reverse("account_change_password")
    sent = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}

    answers = at_once(tabs_of(browser, CHANGES_A_MINUTE), lambda tab: tab.post(address, sent))

    reader.refresh_from_db()
    assert {answer.status_code for answer in answers} == {302}
    assert reader.check_password(NEW)
    assert len(mail.outbox) == 1


def test_of_two_new_passwords_one_is_set(reader):
    browser, address = logged_in(reader), reverse("account_change_password")
    new = iter([NEW, "a third horse battery"])

    def post(tab: Client) -> Any:
        password = next(new)
        return tab.post(address, {"oldpassword": PASSWORD, "password1": password, "password2": password})

    at_once(tabs_of(browser, 2), post)

    assert len(mail.outbox) == 1


def test_a_first_password_is_set_and_told_once(reader):
    reader.set_unusable_password()
    reader.save()
    browser, address = logged_in(reader), reverse("account_set_password")

    sent = {"password1": NEW, "password2": NEW}
    answers = at_once(tabs_of(browser, CHANGES_A_MINUTE), lambda tab: tab.post(address, sent))

    assert {answer.status_code for answer in answers} == {302}
    assert len(mail.outbox) == 1


def test_a_password_is_chosen_by_a_link_and_told_once(reader):
    browser = Client()
    link = reverse(
        "account_reset_password_from_key",
        args=[user_pk_to_url_str(reader), default_token_generator.make_token(reader)],
    )
    address = browser.get(link)["Location"]

    answers = at_once(tabs_of(browser), lambda tab: tab.post(address, {"password1": NEW, "password2": NEW}))

    reader.refresh_from_db()
    assert reader.check_password(NEW)
    assert len(mail.outbox) == 1
    assert {answer.status_code for answer in answers} <= {200, 302}


def test_an_address_is_removed_and_told_once(reader):
    EmailAddress.objects.create(user=reader, email="old@acme.example", verified=True)
    browser, sent = logged_in(reader), {"email": "old@acme.example", "action_remove": ""}

    answers = at_once(tabs_of(browser), lambda tab: tab.post(reverse("account_email"), sent))

    assert {answer.status_code for answer in answers} == {302}
    assert len(mail.outbox) == 1


# Staff -----------------------------------------------------------------------------------------------------


def events(action: str) -> int:
    return AuditEvent.objects.filter(action=action).count()


def delete(row: Any, by: str) -> tuple[str, dict[str, Any]]:
    start = f"admin:{row._meta.app_label}_{row._meta.model_name}"
    if by == "page":
        return reverse(f"{start}_delete", args=[row.pk]), {"post": "yes"}
    chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    return reverse(f"{start}_changelist"), chosen


@pytest.mark.parametrize("by", ["page", "list"])
def test_a_second_factor_is_removed_and_told_once(acme, alice, staff, by):
    factor = Authenticator.objects.create(user=alice, type="totp", data={"secret": second_factors.seal("SEED")})
    address, sent = delete(factor, by)

    answers = at_the_same_time(staff, lambda browser: browser.post(address, sent), TIMES)

    assert {answer.status_code for answer in answers} == {302}
    assert (events("second_factor.removed"), len(mail.outbox)) == (1, 1)


@pytest.mark.parametrize("by", ["page", "list"])
def test_a_private_endpoint_is_withdrawn_once(acme, staff, by):
    endpoint = allow_private_endpoint(
        organization=acme, host="models.acme.example", port=8443, network="10.0.0.0/24", actor=None
    )
    address, sent = delete(endpoint, by)

    answers = at_the_same_time(staff, lambda browser: browser.post(address, sent), TIMES)

    assert {answer.status_code for answer in answers} == {302}
    assert events("private_endpoint.withdrawn") == 1


def test_a_managed_key_is_removed_once(staff):
    connect_managed_key()
    address, sent = delete(ProviderKey.objects.get(), "page")

    answers = at_the_same_time(staff, lambda browser: browser.post(address, sent), TIMES)

    assert {answer.status_code for answer in answers} == {302}
    assert (events("provider_key.removed"), ProviderKey.objects.count()) == (1, 0)


def test_a_failed_task_is_submitted_again_once(staff, monkeypatch):
    monkeypatch.setattr(Conf, "SYNC", False)
    now = timezone.now()
    task = Task.objects.create(
        id="1" * 32, name="x", func="config.schedules.run", args=("resume_work",), started=now, stopped=now
    )
    Task.objects.update(success=False)
    sent = {"action": "submit_again", "_selected_action": [task.pk]}
    address = reverse("admin:django_q_failure_changelist")

    answers = at_the_same_time(staff, lambda browser: browser.post(address, sent), TIMES)

    assert {answer.status_code for answer in answers} == {302}
    assert (OrmQ.objects.count(), Failure.objects.count()) == (1, 0)


def test_a_member_is_added_once_and_the_others_read_that_they_are(acme, alice, charlie, staff):
    sent = {"user": charlie.pk, "organization": acme.pk, "role": "member"}
    address = reverse("admin:organizations_membership_add")

    answers = at_the_same_time(staff, lambda browser: browser.post(address, sent), TIMES)

    assert sorted(answer.status_code for answer in answers) == [200] * (TIMES - 1) + [302]
    assert Membership.objects.filter(organization=acme, user=charlie).count() == 1
    assert (events("member.added"), len(mail.outbox)) == (1, 1)


def test_a_reset_link_is_sent_and_recorded_once(acme, alice, staff):
    address = reverse("admin:organizations_user_send_reset_link", args=[alice.pk])

    answers = at_the_same_time(staff, lambda browser: browser.post(address, {"_form_submitted": "on"}), TIMES)

    assert {answer.status_code for answer in answers} == {200}
    assert (events("account.reset_link_sent"), len(mail.outbox)) == (1, 1)
