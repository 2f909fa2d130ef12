"""Who may change whom: nobody changes a person who stands as high or higher, and an owner always remains."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from organizations import invitations, services
from organizations.models import AuditEvent, Membership, Organization, User
from tests.conftest import give_second_factor, logged_in, person

Role = Membership.Role
NOW = timezone.now()
AT_ONCE = pytest.mark.skipif(connection.vendor != "postgresql", reason="real concurrency")


def membership_of(user: User) -> Membership:
    return Membership.objects.select_related("organization", "user").get(user=user)


def roles(organization: Organization) -> dict[str, str]:
    return dict(Membership.objects.filter(organization=organization).values_list("user__email", "role"))


@pytest.fixture
def amy(acme) -> User:
    return person("amy@acme.example", acme, Role.ADMIN)


@pytest.fixture
def olga(acme) -> User:
    return person("olga@acme.example", acme, Role.OWNER)


@pytest.fixture
def helper(acme) -> User:
    """Staff without a single right in the admin; an admin of Acme."""
    helper = person("helper@acme.example", acme, Role.ADMIN)
    User.objects.filter(pk=helper.pk).update(is_staff=True)
    return User.objects.get(pk=helper.pk)


# Below oneself ----------------------------------------------------------------------------------------------


def test_an_admin_neither_demotes_nor_removes_another_admin(acme, alice, ada, amy):
    before = roles(acme)

    with pytest.raises(services.OnlyOwnersManageAdmins):
        services.change_role(membership=membership_of(amy), role="member", actor=ada)
    with pytest.raises(services.OnlyOwnersManageAdmins):
        services.remove_member(membership=membership_of(amy), actor=ada)

    assert roles(acme) == before
    assert not AuditEvent.objects.exists()


def test_an_admin_may_step_down_and_leave(acme, alice, ada, amy):
    services.change_role(membership=membership_of(ada), role="member", actor=ada)
    services.remove_member(membership=membership_of(amy), actor=amy)

    assert roles(acme) == {alice.email: "owner", ada.email: "member"}


def test_an_admin_may_make_admins_of_members(acme, alice, ada, bob):
    services.change_role(membership=membership_of(bob), role="admin", actor=ada)

    assert roles(acme)[bob.email] == "admin"


def test_a_member_and_a_stranger_change_nobody_whatever_door_they_come_by(acme, alice, bob, charlie):
    before = roles(acme)
    for actor in (bob, charlie):
        with pytest.raises(services.OnlyManagersManageMembers):
            services.add_member(organization=acme, email="charlie@globex.example", role="member", actor=actor)
        with pytest.raises(services.OnlyManagersManageMembers):
            services.change_role(membership=membership_of(bob), role="admin", actor=actor)
        with pytest.raises(services.OnlyManagersManageMembers):
            invitations.invite_member(organization=acme, email="x@x.example", role="member", actor=actor, now=NOW)

    assert roles(acme) == before


def test_a_member_cannot_be_removed_by_another(acme, alice, bob):
    carol = person("carol@acme.example", acme, Role.MEMBER)
    with pytest.raises(services.OnlyManagersManageMembers):
        services.remove_member(membership=membership_of(carol), actor=bob)


def test_staff_without_the_right_to_change_members_are_what_their_membership_says(acme, alice, helper):
    with pytest.raises(services.OnlyOwnersManageOwners):
        services.change_role(membership=membership_of(helper), role="owner", actor=helper)
    with pytest.raises(services.OnlyOwnersManageOwners):
        invitations.invite_member(organization=acme, email="x@x.example", role="owner", actor=helper, now=NOW)


def test_staff_bring_no_friend_into_an_organization_and_make_nobody_an_owner(acme, alice, amy, bob, charlie):
    """Nor by an invitation, whatever rights they have short of superuser."""
    staff = User.objects.create_user("s@keyfare.example", "x", is_staff=True)
    staff.user_permissions.set(Permission.objects.all())
    staff, before = User.objects.get(pk=staff.pk), roles(acme)

    for role in Role:
        with pytest.raises(services.MemberChangeRefused):
            services.add_member(organization=acme, email=charlie.email, role=role, actor=staff)
        with pytest.raises(services.MemberChangeRefused):
            invitations.invite_member(organization=acme, email=charlie.email, role=role, actor=staff, now=NOW)
    with pytest.raises(services.OnlyOwnersManageOwners):
        services.change_role(membership=membership_of(bob), role="owner", actor=staff)
    give_second_factor(staff)
    client = logged_in(staff)
    form = {"user": charlie.pk, "organization": acme.pk, "role": "member"}
    added = client.post(reverse("admin:organizations_membership_add"), form)
    page = reverse("admin:organizations_membership_change", args=[membership_of(bob).pk])
    made = client.post(page, {"role": "owner"})

    assert roles(acme) == before
    assert added.status_code == 403
    assert "Only an owner makes somebody an owner" in made.content.decode()


def test_staff_with_the_right_help_with_who_is_in_already(acme, alice, olga, amy, bob, helper):
    helper.user_permissions.add(Permission.objects.get(codename="change_membership"))
    membership_of(helper).delete()
    helper = User.objects.get(pk=helper.pk)

    services.change_role(membership=membership_of(bob), role="admin", actor=helper)
    services.change_role(membership=membership_of(olga), role="member", actor=helper)
    services.remove_member(membership=membership_of(amy), actor=helper)

    assert roles(acme)[bob.email] == "admin"
    assert roles(acme)[olga.email] == "member"
    assert amy.email not in roles(acme)


def test_the_offer_of_staff_without_rights_dies_with_their_membership(acme, alice, helper):
    given = invitations.invite_member(organization=acme, email="d@x.example", role="admin", actor=helper, now=NOW)
    services.remove_member(membership=membership_of(helper), actor=alice)

    with pytest.raises(invitations.InvitationWithdrawn):
        invitations.find_invitation(token_digest=invitations.digest(given.token), now=NOW)


def test_the_members_page_offers_an_admin_no_button_that_would_be_refused(as_ada, alice, ada, amy, bob):
    page = as_ada.get(reverse("organizations:members", args=["acme"])).content.decode()

    changeable, removable = {bob, ada}, {bob}
    for user in (alice, amy, bob, ada):
        for name, offered in (("change-role", changeable), ("remove-member", removable)):
            action = reverse(f"organizations:{name}", args=["acme", membership_of(user).pk])
            assert (action in page) is (user in offered), (user.email, name)


def test_a_member_who_is_gone_meanwhile_is_refused_with_a_sentence(acme, alice, bob):
    seen = membership_of(bob)
    services.remove_member(membership=membership_of(bob), actor=alice)

    with pytest.raises(services.NoLongerMember):
        services.change_role(membership=seen, role="admin", actor=alice)
    with pytest.raises(services.NoLongerMember):
        services.remove_member(membership=seen, actor=alice)


# The last owner ---------------------------------------------------------------------------------------------


def test_an_owner_who_cannot_log_in_does_not_count(acme, alice, olga):
    User.objects.filter(pk=olga.pk).update(is_active=False)

    with pytest.raises(services.LastOwner):
        services.remove_member(membership=membership_of(alice), actor=alice)
    with pytest.raises(services.LastOwner):
        services.change_role(membership=membership_of(alice), role="admin", actor=alice)


def deactivate(client: Client, user: User) -> Any:
    form = {"email": user.email, "name": user.name, "memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    return client.post(reverse("admin:organizations_user_change", args=[user.pk]), form)  # without is_active


def test_the_account_of_the_last_owner_cannot_be_closed_in_the_admin(as_staff, acme, alice):
    page = deactivate(as_staff, alice)

    alice.refresh_from_db()
    assert alice.is_active
    assert "last owner of Acme" in page.content.decode()


def test_the_account_of_another_owner_can_be_and_its_session_ends_at_once(as_staff, as_alice, acme, alice, olga):
    assert deactivate(as_staff, alice).status_code == 302

    alice.refresh_from_db()
    assert not alice.is_active
    assert as_alice.get("/o/acme/").url.startswith(reverse("account_login"))


def test_the_owner_of_a_closed_organization_is_not_needed(as_staff, acme, alice):
    Organization.objects.filter(pk=acme.pk).update(closed_at=NOW)

    assert deactivate(as_staff, alice).status_code == 302


def test_adding_somebody_whose_account_is_closed_is_a_form_error_in_the_admin(as_staff, acme, alice, charlie):
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    form = {"user": charlie.pk, "organization": acme.pk, "role": "member"}

    page = as_staff.post(reverse("admin:organizations_membership_add"), form)

    assert page.status_code == 200
    assert "cannot log in" in page.content.decode()


def test_who_was_removed_is_out_with_the_next_click(as_alice, as_bob, acme, bob):
    assert as_bob.get("/o/acme/").status_code == 200

    as_alice.post(reverse("organizations:remove-member", args=["acme", membership_of(bob).pk]))

    assert as_bob.get("/o/acme/").status_code == 404
    assert "acme" not in as_bob.get("/", follow=True).content.decode().lower().replace("@acme.example", "")


def at_once(*acts: Callable[[], object]) -> list[str]:
    start, outcomes = threading.Barrier(len(acts)), []

    def run(act: Callable[[], object]) -> None:
        try:
            start.wait()
            act()
            outcomes.append("done")
        except services.MemberChangeRefused as refusal:
            outcomes.append(type(refusal).__name__)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


@AT_ONCE
@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["demote each other", "leave", "remove each other"])
def test_of_two_owners_who_go_at_once_one_stays(acme, alice, olga, way):
    def go(who: User, other: User) -> Callable[[], object]:
        whom = membership_of(who if way == "leave" else other)
        if way == "demote each other":
            return lambda: services.change_role(membership=whom, role="admin", actor=who)
        return lambda: services.remove_member(membership=whom, actor=who)

    outcomes = at_once(go(alice, olga), go(olga, alice))

    assert outcomes[0] != outcomes[1]
    assert list(roles(acme).values()).count("owner") == 1


@AT_ONCE
@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_of_two_owners_of_whom_one_leaves_while_the_other_is_closed_one_stays(acme, alice, olga, staff):
    client = logged_in(staff)

    at_once(
        lambda: deactivate(client, olga), lambda: services.remove_member(membership=membership_of(alice), actor=alice)
    )

    assert Membership.objects.filter(organization=acme, role=Role.OWNER, user__is_active=True).count() == 1


@pytest.mark.parametrize("place", ["own page", "staff admin"])
def test_staff_who_belong_to_an_organization_have_no_more_say_there_than_their_role(acme, alice, ada, place):
    """Else an admin who is staff would put owners down on the page of the organization, where no owner is told."""
    other = person("other@acme.example", acme, Role.OWNER)
    ada.is_staff = True
    ada.save()
    ada.user_permissions.set(
        Permission.objects.filter(codename__in=["view_membership", "change_membership", "delete_membership"])
    )
    membership, browser = Membership.objects.get(user=other), logged_in(User.objects.get(pk=ada.pk))
    if place == "own page":
        change, remove = (
            reverse(f"organizations:{name}", args=["acme", membership.pk]) for name in ("change-role", "remove-member")
        )
    else:
        change, remove = (
            reverse(f"admin:organizations_membership_{name}", args=[membership.pk]) for name in ("change", "delete")
        )

    answers = [browser.post(change, {"role": "member"}), browser.post(remove, {"post": "yes"})]

    assert all(answer.status_code in (200, 302, 403, 422) for answer in answers)
    assert Membership.objects.get(user=other).role == Role.OWNER
