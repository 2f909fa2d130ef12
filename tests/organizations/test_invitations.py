from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.db import IntegrityError, connection
from django.utils import timezone

from organizations import invitations, services
from organizations.models import AuditEvent, Invitation, Membership, User
from tests.conftest import person

Role = Membership.Role
NOW = timezone.now()


@pytest.fixture
def dora(db) -> User:
    return User.objects.create_user("dora@acme.example", "correct horse battery")


def offer(organization, actor, email="dora@acme.example", role="member", now=NOW) -> invitations.Offer:
    return invitations.invite_member(organization=organization, email=email, role=role, actor=actor, now=now)


def accept(given: invitations.Offer, user: User, now=NOW) -> Membership:
    return invitations.accept_invitation(token_digest=invitations.digest(given.token), user=user, now=now)


def actions(organization) -> list[str]:
    return list(AuditEvent.objects.for_organization(organization).order_by("pk").values_list("action", flat=True))


def test_an_invitation_makes_its_addressee_a_member_in_the_offered_role(acme, alice, dora):
    membership = accept(offer(acme, alice, email=" Dora@Acme.example ", role="admin"), dora)

    assert membership.role == Role.ADMIN
    assert actions(acme) == ["member.invited", "invitation.accepted"]


def test_only_the_digest_of_the_token_is_stored(acme, alice):
    given = offer(acme, alice)

    row = Invitation.objects.values().get()
    assert given.token not in str(row)
    assert given.token not in repr(given)
    assert row["token_digest"] == invitations.digest(given.token)
    assert len(given.token) >= 43  # 32 random bytes


def test_an_invitation_works_once(acme, alice, dora):
    given = offer(acme, alice)
    accept(given, dora)
    services.remove_member(membership=Membership.objects.get(user=dora), actor=alice)

    with pytest.raises(invitations.InvitationUsed):
        accept(given, dora)

    assert not Membership.objects.filter(user=dora).exists()


def test_an_invitation_is_good_for_seven_days(acme, alice, dora):
    given = offer(acme, alice)

    with pytest.raises(invitations.InvitationExpired):
        accept(given, dora, now=NOW + timedelta(days=7))
    accept(given, dora, now=NOW + timedelta(days=7) - timedelta(seconds=1))


def test_somebody_else_cannot_accept_it(acme, alice, charlie, dora):
    given = offer(acme, alice)

    with pytest.raises(invitations.ForSomebodyElse, match="charlie@globex"):
        accept(given, charlie)

    assert not Membership.objects.for_organization(acme).filter(user=charlie).exists()
    accept(given, dora)


def test_a_confirmed_second_address_counts_and_an_unconfirmed_one_does_not(acme, alice, dora):
    given = offer(acme, alice, email="dora@private.example")
    address = EmailAddress.objects.create(user=dora, email="dora@private.example", verified=False)

    with pytest.raises(invitations.ForSomebodyElse):
        accept(given, dora)
    address.verified = True
    address.save()
    accept(given, dora)


def test_a_withdrawn_invitation_is_dead(acme, alice, dora):
    given = offer(acme, alice)
    invitations.revoke_invitation(invitation=given.invitation, actor=alice, now=NOW)

    with pytest.raises(invitations.InvitationWithdrawn):
        accept(given, dora)
    with pytest.raises(invitations.InvitationWithdrawn):
        invitations.renew_invitation(invitation=given.invitation, actor=alice, now=NOW)


def test_sending_again_ends_the_earlier_link_and_starts_seven_days_anew(acme, alice, dora):
    first = offer(acme, alice)
    later = NOW + timedelta(days=9)
    second = invitations.renew_invitation(invitation=first.invitation, actor=alice, now=later)

    with pytest.raises(invitations.NoSuchInvitation):
        accept(first, dora, now=later)
    accept(second, dora, now=later + timedelta(days=6))


def test_an_admin_offers_no_ownership_and_touches_no_offer_of_it(acme, alice, ada):
    with pytest.raises(services.OnlyOwnersManageOwners):
        offer(acme, ada, role="owner")
    given = offer(acme, alice, role="owner")
    with pytest.raises(services.OnlyOwnersManageOwners):
        invitations.renew_invitation(invitation=given.invitation, actor=ada, now=NOW)
    with pytest.raises(services.OnlyOwnersManageOwners):
        invitations.revoke_invitation(invitation=given.invitation, actor=ada, now=NOW)

    assert actions(acme) == ["member.invited"]


def test_an_offer_of_ownership_dies_with_the_givers_own(acme, alice, dora):
    person("olga@acme.example", acme, Role.OWNER)
    given = offer(acme, alice, role="owner")
    services.change_role(membership=Membership.objects.get(user=alice), role="admin", actor=alice)

    with pytest.raises(invitations.InvitationWithdrawn):
        accept(given, dora)


@pytest.mark.parametrize("fate", ["demoted", "removed", "closed"])
def test_an_offer_dies_with_its_givers_right_to_make_it(acme, alice, ada, dora, fate):
    given = offer(acme, ada)
    if fate == "demoted":
        services.change_role(membership=Membership.objects.get(user=ada), role="member", actor=alice)
    elif fate == "removed":
        services.remove_member(membership=Membership.objects.get(user=ada), actor=alice)
    else:
        User.objects.filter(pk=ada.pk).update(is_active=False)

    with pytest.raises(invitations.InvitationWithdrawn):
        accept(given, dora)


def test_nobody_joins_a_closed_organization(acme, alice, dora):
    given = offer(acme, alice)
    acme.closed_at = NOW
    acme.save()

    with pytest.raises(invitations.InvitationWithdrawn):
        accept(given, dora)


def test_members_and_the_invited_are_not_invited_again_but_the_expired_are(acme, alice, bob):
    offer(acme, alice)

    with pytest.raises(services.AlreadyMember):
        offer(acme, alice, email=bob.email)
    with pytest.raises(invitations.AlreadyInvited):
        offer(acme, alice, email="DORA@acme.example")
    offer(acme, alice, now=NOW + timedelta(days=8))

    assert Invitation.objects.for_organization(acme).open().count() == 1


def test_the_database_knows_one_open_invitation_an_address(acme, alice):
    given = offer(acme, alice).invitation

    with pytest.raises(IntegrityError):
        Invitation.objects.create(
            organization=acme,
            email=given.email,
            role="member",
            token_digest="another",
            invited_by=alice,
            expires_at=NOW,
        )


def test_who_was_added_meanwhile_cannot_raise_the_own_role_by_an_old_link(acme, alice, dora):
    given = offer(acme, alice, role="admin")
    services.add_member(organization=acme, email=dora.email, role="member", actor=alice)

    with pytest.raises(invitations.InvitationWithdrawn):
        accept(given, dora)

    assert Membership.objects.get(user=dora).role == Role.MEMBER


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="real concurrency")
@pytest.mark.django_db(transaction=True)
def test_one_of_many_simultaneous_acceptances_wins(acme, alice, dora):
    given = offer(acme, alice)
    start, outcomes = threading.Barrier(4), []

    def follow() -> None:
        start.wait()
        try:
            accept(given, dora)
        except services.MemberChangeRefused as refusal:
            outcomes.append(type(refusal).__name__)
        else:
            outcomes.append("joined")
        finally:
            connection.close()

    threads = [threading.Thread(target=follow) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["InvitationUsed"] * 3 + ["joined"]
    assert actions(acme).count("invitation.accepted") == 1
