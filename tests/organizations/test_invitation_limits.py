"""Nobody can fill the mailboxes of others with invitations in the name of this installation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from organizations import invitations
from organizations.models import Invitation

NOW = timezone.now()


def test_one_address_gets_no_more_than_a_few_invitations_a_day(acme, alice, globex, charlie):
    def send() -> None:
        given = invitations.invite_member(organization=acme, email="d@x.example", role="member", actor=alice, now=NOW)
        invitations.revoke_invitation(invitation=given.invitation, actor=alice, now=NOW)

    for _ in range(invitations.MAILS_A_DAY_TO_ONE_ADDRESS):
        send()
    with pytest.raises(invitations.TooManyInvitations, match=r"d@x\.example"):
        send()

    invitations.invite_member(organization=globex, email="d@x.example", role="member", actor=charlie, now=NOW)
    tomorrow = timezone.now() + timedelta(days=1, minutes=1)  # the audit log, which counts, has a clock of its own
    invitations.invite_member(organization=acme, email="d@x.example", role="member", actor=alice, now=tomorrow)


def test_sending_again_counts_as_well_and_a_refusal_leaves_the_link_as_it_is(acme, alice):
    given = invitations.invite_member(organization=acme, email="d@x.example", role="member", actor=alice, now=NOW)
    for _ in range(invitations.MAILS_A_DAY_TO_ONE_ADDRESS - 1):
        given = invitations.renew_invitation(invitation=given.invitation, actor=alice, now=NOW)

    with pytest.raises(invitations.TooManyInvitations):
        invitations.renew_invitation(invitation=given.invitation, actor=alice, now=NOW)

    assert invitations.find_invitation(token_digest=invitations.digest(given.token), now=NOW)


def test_an_organization_sends_no_more_than_its_share_a_day(as_alice, acme, alice, mailoutbox, monkeypatch):
    monkeypatch.setattr(invitations, "MAILS_A_DAY", 3)
    invite = reverse("organizations:invite", args=["acme"])
    for number in range(4):
        response = as_alice.post(invite, {"email": f"person{number}@x.example", "role": "member"})

    assert response.status_code == 422
    assert "3 invitations went out in the last 24 hours" in response.content.decode()
    assert len(mailoutbox) == Invitation.objects.count() == 3


@pytest.mark.parametrize(
    "email",
    [
        "",
        "nobody",
        "a@b",
        "a b@x.example",
        "x" * 10_000,
        "a" * 60 + "@" + ".".join(["b" * 60] * 4) + ".example",
        "\0@x.y",
    ],
    ids=["empty", "no at", "no dot", "space", "long", "longer than a column", "nul"],
)
def test_what_is_no_address_is_a_form_error(as_alice, mailoutbox, email):
    response = as_alice.post(reverse("organizations:invite", args=["acme"]), {"email": email, "role": "member"})

    assert response.status_code == 422
    assert 'aria-invalid="true"' in response.content.decode()
    assert mailoutbox == []
