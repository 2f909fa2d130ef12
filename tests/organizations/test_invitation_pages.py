from __future__ import annotations

import re
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.urls import reverse
from django.utils import timezone

from organizations import clock
from organizations.models import Invitation, Membership, User
from tests.conftest import logged_in

Role = Membership.Role
HTMX = {"HX-Request": "true"}
ACCEPT = "/invitations/accept/"
PASSWORD = "a long enough passphrase"


@pytest.fixture
def dora(db) -> User:
    return User.objects.create_user("dora@acme.example", "correct horse battery")


def url(name: str, *arguments: object) -> str:
    return reverse(f"organizations:{name}", args=["acme", *arguments])


def invite(client, email="dora@acme.example", role="member", **options):
    return client.post(url("invite"), {"email": email, "role": role}, **options)


def link(mailoutbox) -> str:
    found = re.search(r"http://localhost:8000(/invitations/\S+)", mailoutbox[-1].body)
    assert found
    return found[1]


def test_an_invitation_goes_out_by_mail_to_the_address_alone(as_alice, mailoutbox):
    response = invite(as_alice, role="admin")

    assert response.url == url("members")
    assert [message.to for message in mailoutbox] == [["dora@acme.example"]]
    assert "Join Acme on Keyfare" in mailoutbox[0].subject
    assert "alice@acme.example" in mailoutbox[0].body
    assert "dora@acme.example" in as_alice.get(url("members")).content.decode()


def test_htmx_gets_the_lists_and_the_toast_only(as_alice):
    fragment = invite(as_alice, headers=HTMX).content.decode()

    assert "<html" not in fragment
    assert "Open invitations" in fragment
    assert "dora@acme.example invited." in fragment


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_refusal_stands_beside_the_field_and_keeps_what_was_typed(as_alice, bob, headers, mailoutbox):
    response = invite(as_alice, email=bob.email, headers=headers)
    answer = response.content.decode()

    assert response.status_code == 422
    assert "is a member already" in answer
    assert f'value="{bob.email}"' in answer
    assert 'aria-invalid="true"' in answer
    assert ("<html" in answer) is (headers == {})
    assert mailoutbox == []


def test_an_admin_is_not_offered_the_role_of_owner(as_ada, alice):
    assert 'value="owner"' not in as_ada.get(url("members")).content.decode()
    assert invite(as_ada, role="owner").status_code == 422
    assert not Invitation.objects.exists()


def test_members_and_strangers_invite_nobody_and_see_no_invitations(as_alice, as_bob, as_charlie):
    invite(as_alice)
    given = Invitation.objects.get()

    assert invite(as_bob, email="x@acme.example").status_code == 403
    assert invite(as_charlie, email="x@acme.example").status_code == 404
    assert "dora@acme.example" not in as_bob.get(url("members")).content.decode()
    for name in ("send-invitation-again", "withdraw-invitation"):
        assert as_bob.post(url(name, given.pk)).status_code == 403
        assert as_charlie.post(url(name, given.pk)).status_code == 404
        foreign = reverse(f"organizations:{name}", args=["globex", given.pk])
        assert as_charlie.post(foreign).status_code == 404
        assert as_alice.get(url(name, given.pk)).status_code == 405


def test_there_is_no_invitation_without_its_mail(as_alice, monkeypatch):
    def fail(*arguments: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", fail)
    as_alice.raise_request_exception = False

    assert invite(as_alice).status_code == 500
    assert not Invitation.objects.exists()


def test_the_link_keeps_its_token_out_of_the_address_and_changes_nothing(client, as_alice, mailoutbox):
    invite(as_alice)

    response = client.get(link(mailoutbox))

    assert response.url == ACCEPT
    assert Invitation.objects.open().count() == 1


def test_a_person_with_an_account_logs_in_and_accepts(client, as_alice, dora, mailoutbox):
    EmailAddress.objects.create(user=dora, email=dora.email, primary=True, verified=True)
    invite(as_alice)

    page = client.get(link(mailoutbox), follow=True).content.decode()
    login = reverse("account_login") + f"?next={ACCEPT}"
    assert f'href="{login}"' in page
    credentials = {"login": dora.email, "password": "correct horse battery", "next": ACCEPT}
    page = client.post(login, credentials, follow=True).content.decode()
    assert "Accept invitation" in page
    assert not Membership.objects.filter(user=dora).exists()
    response = client.post(ACCEPT)

    assert response.url == "/o/acme/"
    assert Membership.objects.get(user=dora).role == Role.MEMBER


def test_a_person_without_an_account_signs_up_though_sign_up_is_closed(client, as_alice, mailoutbox):
    invite(as_alice)
    mail = link(mailoutbox)

    page = client.get(mail, follow=True).content.decode()
    signup = reverse("account_signup") + f"?next={ACCEPT}"
    assert f'href="{signup}"' in page
    assert "dora@acme.example" in client.get(signup).content.decode()
    answers = {"email": "mallory@evil.example", "password1": PASSWORD, "password2": PASSWORD, "next": ACCEPT}
    response = client.post(signup, answers)
    assert response.url == ACCEPT
    client.post(ACCEPT)

    member = Membership.objects.get(user__email="dora@acme.example")
    assert member.role == Role.MEMBER
    assert EmailAddress.objects.get(user=member.user).verified
    assert not User.objects.filter(email="mallory@evil.example").exists()
    assert len(mailoutbox) == 1  # the address needs no second confirmation


@pytest.mark.parametrize("fate", ["withdrawn", "expired", "accepted", "none"])
def test_a_dead_invitation_says_why_and_opens_no_sign_up(client, as_alice, dora, mailoutbox, fate):
    sentences = {
        "withdrawn": "was withdrawn",
        "expired": "has expired",
        "accepted": "was accepted already",
        "none": "does not exist",
    }
    invite(as_alice)
    rows = Invitation.objects.all()
    if fate == "withdrawn":
        as_alice.post(url("withdraw-invitation", rows.get().pk))
    elif fate == "expired":
        rows.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif fate == "accepted":
        rows.update(accepted_at=timezone.now())

    response = client.get("/invitations/wrong/" if fate == "none" else link(mailoutbox), follow=True)

    assert response.status_code == 410
    assert sentences[fate] in response.content.decode()
    assert "Acme" not in response.content.decode()
    assert "Sign-up is closed" in client.get(reverse("account_signup")).content.decode()
    as_dora = logged_in(dora)
    as_dora.get(link(mailoutbox) if fate != "none" else "/invitations/wrong/")
    assert as_dora.post(ACCEPT).status_code == 410
    assert not Membership.objects.filter(user=dora).exists()


def test_the_wrong_person_reads_whom_it_is_for(as_alice, as_charlie, mailoutbox):
    invite(as_alice)

    response = as_charlie.get(link(mailoutbox), follow=True)

    assert response.status_code == 403
    assert "is for dora@acme.example" in response.content.decode()
    assert as_charlie.post(ACCEPT).status_code == 403


def test_an_anonymous_acceptance_goes_to_the_login(client, as_alice, mailoutbox):
    invite(as_alice)
    client.get(link(mailoutbox))

    assert client.post(ACCEPT).url.startswith(reverse("account_login"))


def test_an_expired_invitation_is_marked_in_the_list(as_alice):
    invite(as_alice)
    Invitation.objects.update(expires_at=clock.now())

    assert "Expired" in as_alice.get(url("members")).content.decode()
