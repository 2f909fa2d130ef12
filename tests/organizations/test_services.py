from __future__ import annotations

import pytest

from organizations import services
from organizations.models import AuditEvent, Membership, User

Role = Membership.Role


def membership_of(user: User) -> Membership:
    return Membership.objects.get(user=user)


def events(organization) -> list[tuple[str, str, dict[str, object]]]:
    rows = AuditEvent.objects.for_organization(organization).order_by("pk")
    return [(event.action, event.target, event.details) for event in rows]


@pytest.fixture
def dora(db) -> User:
    return User.objects.create_user("dora@acme.example", "correct horse battery")


def test_a_person_with_an_account_becomes_a_member(acme, alice, dora):
    membership = services.add_member(organization=acme, email=" Dora@Acme.example ", role="member", actor=alice)

    assert membership.user == dora
    assert membership.role == Role.MEMBER
    assert events(acme) == [("member.added", "dora@acme.example", {"role": "member"})]


def test_somebody_without_an_account_is_refused_with_what_to_do(acme, alice):
    with pytest.raises(services.NoSuchAccount, match="Ask them to sign up"):
        services.add_member(organization=acme, email="nobody@acme.example", role="member", actor=alice)

    assert events(acme) == []


def test_a_closed_account_counts_as_none(acme, alice, dora):
    dora.is_active = False
    dora.save()

    with pytest.raises(services.NoSuchAccount):
        services.add_member(organization=acme, email=dora.email, role="member", actor=alice)


def test_nobody_is_added_twice(acme, alice, bob):
    with pytest.raises(services.AlreadyMember):
        services.add_member(organization=acme, email=bob.email, role="admin", actor=alice)

    assert membership_of(bob).role == Role.MEMBER


def test_an_admin_makes_no_owners(acme, alice, ada, bob, dora):
    with pytest.raises(services.OnlyOwnersManageOwners):
        services.add_member(organization=acme, email=dora.email, role="owner", actor=ada)
    with pytest.raises(services.OnlyOwnersManageOwners):
        services.change_role(membership=membership_of(bob), role="owner", actor=ada)

    assert Membership.objects.filter(organization=acme, role=Role.OWNER).count() == 1
    assert events(acme) == []


def test_an_admin_neither_demotes_nor_removes_an_owner(acme, alice, ada, bob):
    services.change_role(membership=membership_of(bob), role="owner", actor=alice)

    with pytest.raises(services.OnlyOwnersManageOwners):
        services.change_role(membership=membership_of(bob), role="member", actor=ada)
    with pytest.raises(services.OnlyOwnersManageOwners):
        services.remove_member(membership=membership_of(bob), actor=ada)

    assert membership_of(bob).role == Role.OWNER


def test_an_owner_of_another_organization_is_no_owner_here(acme, alice, bob, charlie):
    with pytest.raises(services.OnlyOwnersManageOwners):
        services.change_role(membership=membership_of(bob), role="owner", actor=charlie)


def test_the_last_owner_stays(acme, alice):
    with pytest.raises(services.LastOwner):
        services.change_role(membership=membership_of(alice), role="member", actor=alice)
    with pytest.raises(services.LastOwner):
        services.remove_member(membership=membership_of(alice), actor=alice)

    assert membership_of(alice).role == Role.OWNER


def test_an_owner_may_go_when_another_one_is_there(acme, alice, bob):
    services.change_role(membership=membership_of(bob), role="owner", actor=alice)
    services.remove_member(membership=membership_of(alice), actor=alice)

    assert not Membership.objects.filter(user=alice).exists()
    assert events(acme) == [
        ("member.role_changed", bob.email, {"before": "member", "after": "owner"}),
        ("member.removed", alice.email, {"role": "owner"}),
    ]


def test_the_same_role_again_leaves_no_trace(acme, alice, bob):
    services.change_role(membership=membership_of(bob), role="member", actor=alice)

    assert events(acme) == []


def test_the_recency_window_is_set_and_audited_once(acme, alice):
    for _ in range(2):
        services.set_recency_window(organization=acme, days=90, actor=alice)

    acme.refresh_from_db()
    assert acme.recency_window_days == 90
    assert events(acme) == [("organization.recency_window_changed", "", {"before": 30, "after": 90})]


def test_other_windows_are_refused(acme, alice):
    with pytest.raises(ValueError, match="45"):
        services.set_recency_window(organization=acme, days=45, actor=alice)

    acme.refresh_from_db()
    assert acme.recency_window_days == 30


def test_an_owner_joins_shared_recency_and_leaves_it_and_both_are_audited(acme, alice, settings):
    settings.KEYFARE_NETWORK_RECENCY = True

    for shares in (True, True, False):
        services.set_recency_sharing(organization=acme, shares=shares, actor=alice)

    acme.refresh_from_db()
    assert acme.shares_recency is False
    action = "organization.recency_sharing_changed"
    assert events(acme) == [
        (action, "", {"before": False, "after": True}),
        (action, "", {"before": True, "after": False}),
    ]


def test_nobody_but_an_owner_joins_shared_recency(acme, alice, ada, bob, charlie, settings):
    settings.KEYFARE_NETWORK_RECENCY = True

    for actor in (ada, bob, charlie):
        with pytest.raises(services.RecencyNotShared, match="Only an owner"):
            services.set_recency_sharing(organization=acme, shares=True, actor=actor)

    acme.refresh_from_db()
    assert acme.shares_recency is False
    assert events(acme) == []


def test_where_the_installation_shares_no_recency_nobody_joins_and_everybody_may_leave(acme, alice):
    with pytest.raises(services.RecencyNotShared, match="does not share recency"):
        services.set_recency_sharing(organization=acme, shares=True, actor=alice)
    type(acme).objects.filter(pk=acme.pk).update(shares_recency=True)

    services.set_recency_sharing(organization=acme, shares=False, actor=alice)

    acme.refresh_from_db()
    assert acme.shares_recency is False
