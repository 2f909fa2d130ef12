"""Members, invitations and settings in two tabs: an old page overrules nobody, a second click does nothing more."""

from __future__ import annotations

import pytest
from django.core import mail
from django.db import connection
from django.utils import timezone

from organizations import invitations, services
from organizations.models import ApiToken, AuditEvent, Invitation, Membership
from tests.candidates.test_done_once import at_the_same_time
from tests.conftest import logged_in
from tests.organizations.test_views import url
from tests.page_forms import form_of

MAKE_TOKEN = "/o/acme/api-tokens/new/"
on_postgresql = [
    pytest.mark.postgresql,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="real concurrency"),
    pytest.mark.django_db(transaction=True),
]


def test_a_stale_recency_window_is_not_saved_and_the_choice_stays_marked(as_alice, ada, acme):
    address = url("recency-window")
    stale = form_of(as_alice.get("/o/acme/settings"), address) | {"days": "90"}
    services.set_recency_window(organization=acme, days=60, actor=ada)

    refused = as_alice.post(address, stale)

    acme.refresh_from_db()
    assert (refused.status_code, acme.recency_window_days) == (422, 60)
    assert "Ada changed the recency window to 60 days at " in refused.content.decode()
    again = form_of(refused, address)
    assert again["days"] == "90"
    as_alice.post(address, again)
    acme.refresh_from_db()
    assert acme.recency_window_days == 90


def test_a_stale_role_and_a_stale_removal_are_told_first(as_alice, alice, ada, bob):
    membership = Membership.objects.get(user=bob)
    role, removal = url("change-role", membership.pk), url("remove-member", membership.pk)
    page = as_alice.get(url("members"))
    change, remove = form_of(page, role) | {"role": "admin"}, form_of(page, removal)
    services.change_role(membership=membership, role="owner", actor=alice)

    for address, sent in ((role, change), (removal, remove)):
        refused = as_alice.post(address, sent)
        assert refused.status_code == 422
        assert "changed the role of bob@acme.example to owner at " in refused.content.decode()
    membership.refresh_from_db()
    assert membership.role == "owner"
    as_alice.post(role, form_of(refused, role) | {"role": "admin"})
    membership.refresh_from_db()
    assert membership.role == "admin"


@pytest.fixture
def offer(acme, alice):
    return invitations.invite_member(
        organization=acme, email="new@acme.example", role="member", actor=alice, now=timezone.now()
    )


def test_an_invitation_sent_again_by_a_double_click_is_one_mail_whose_link_works(as_alice, client, offer):
    address = url("send-invitation-again", offer.invitation.pk)
    sent = form_of(as_alice.get(url("members")), address)

    answers = [as_alice.post(address, sent) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 422]
    assert len(mail.outbox) == 1
    assert "no other mail went out" in answers[1].content.decode()
    token = str(mail.outbox[0].body).split("/invitations/")[1].split("/")[0]
    assert client.get(f"/invitations/{token}/", follow=True).status_code == 200


def test_withdrawing_twice_says_that_nothing_was_left_to_do(as_alice, offer):
    address = url("withdraw-invitation", offer.invitation.pk)

    answers = [as_alice.post(address) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 422]
    assert "was accepted or withdrawn before" in answers[1].content.decode()


def test_an_invitation_accepted_by_a_double_click_ends_in_the_organization(globex, charlie, acme, alice):
    browser = logged_in(charlie)
    offer = invitations.invite_member(
        organization=acme, email=charlie.email, role="member", actor=alice, now=timezone.now()
    )
    browser.get(f"/invitations/{offer.token}/")

    answers = [browser.post("/invitations/accept/") for _ in range(2)]

    assert [answer["Location"] for answer in answers] == ["/o/acme/", "/o/acme/"]


def test_whoever_left_again_is_not_let_in_by_the_old_link(globex, charlie, acme, alice):
    browser = logged_in(charlie)
    offer = invitations.invite_member(
        organization=acme, email=charlie.email, role="member", actor=alice, now=timezone.now()
    )
    browser.get(f"/invitations/{offer.token}/")
    browser.post("/invitations/accept/")
    services.remove_member(membership=Membership.objects.get(organization=acme, user=charlie), actor=alice)

    assert browser.post("/invitations/accept/").status_code == 410
    assert not Membership.objects.filter(organization=acme, user=charlie).exists()


def test_a_token_made_twice_is_one_and_the_second_answer_says_who_made_it_and_when(as_alice):
    sent = {"name": "ATS", "days": "90", "scopes": ["view"]}

    answers = [as_alice.post(MAKE_TOKEN, sent) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 422]
    assert ApiToken.objects.count() == 1
    assert "alice@acme.example made it at" in answers[1].content.decode()


class TestAtTheSameTime:
    pytestmark = on_postgresql

    def test_an_invitation_is_one_and_one_mail(self, acme, alice):
        sent = {"email": "new@acme.example", "role": "member"}

        answers = at_the_same_time(alice, lambda browser: browser.post(url("invite"), sent))

        assert sorted(answer.status_code for answer in answers) == [302, *[422] * 7]
        assert Invitation.objects.count() == len(mail.outbox) == 1

    def test_an_invitation_sent_again_is_one_mail(self, acme, alice, offer):
        address = url("send-invitation-again", offer.invitation.pk)
        sent = form_of(logged_in(alice).get(url("members")), address)

        at_the_same_time(alice, lambda browser: browser.post(address, sent))

        assert len(mail.outbox) == 1

    def test_a_token_is_one(self, acme, alice):
        sent = {"name": "ATS", "days": "90", "scopes": ["view"]}

        answers = at_the_same_time(alice, lambda browser: browser.post(MAKE_TOKEN, sent))

        assert sorted(answer.status_code for answer in answers) == [200, *[422] * 7]
        assert ApiToken.objects.count() == 1
        assert AuditEvent.objects.filter(action="api_token.created").count() == 1
