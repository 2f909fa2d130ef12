"""A new address that staff enter works only after the old one, or another owner, has agreed; all of them hear of it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import Permission
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from config.onboarding import ensure_platform
from organizations import email_changes, people
from organizations.models import AuditEvent, EmailChange, Membership, Organization, User
from tests.conftest import person

NEW = "alice@new.example"


def give(user: User, *codenames: str) -> User:
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def helper(db) -> User:
    ensure_platform()
    return give(User.objects.create_user("helper@keyfare.example", "x", is_staff=True), "change_user")


@pytest.fixture
def ask(helper, alice, acme, django_capture_on_commit_callbacks):
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)

    def ask(whose: User = alice, email: str = NEW) -> EmailChange:
        with django_capture_on_commit_callbacks(execute=True):
            return email_changes.request_email_change(person=whose, email=email, actor=helper, now=timezone.now())

    return ask


def links() -> dict[str, str]:
    """The newest link of each mailbox."""
    found = {}
    for each in mail.outbox:
        if link := re.search(r"/email-change/\S+", str(each.body)):
            found[each.to[0]] = link[0]
    return found


def follow(link: str, answer: str = "agree") -> int:
    client = Client()
    assert client.get(link, follow=True).status_code in (200, 410)
    return client.post("/email-change/", {"answer": answer}).status_code


def events(organization: Organization) -> list[str]:
    rows = AuditEvent.objects.for_organization(organization).order_by("seq")
    return [event.action for event in rows]


def test_nothing_changes_until_the_old_address_agrees_and_then_it_is_told(ask, alice, acme, client):
    ask()
    assert set(links()) == {alice.email}
    page = client.get(links()[alice.email], follow=True).content.decode()
    assert User.objects.filter(email=alice.email).exists()
    assert NEW in page
    assert "helper@keyfare.example" in page

    assert follow(links()[alice.email]) == 200

    assert User.objects.get(pk=alice.pk).email == NEW
    (address,) = EmailAddress.objects.filter(user=alice)
    assert (address.email, address.primary, address.verified) == (NEW, True, False)
    assert events(acme) == ["account.email_change_requested", "account.email_changed"]
    assert events(Organization.objects.get(is_platform=True)) == events(acme)


def test_the_old_address_is_told_afterwards(ask, alice, django_capture_on_commit_callbacks):
    ask()
    with django_capture_on_commit_callbacks(execute=True):
        follow(links()[alice.email])

    told = mail.outbox[-1]
    assert told.to == [alice.email]
    assert NEW in str(told.body)


def test_a_reset_of_the_new_address_reaches_nobody_before(ask, alice, client):
    ask()
    mail.outbox.clear()

    client.post("/accounts/password/reset/", {"email": NEW})

    assert not any("/reset/key/" in str(each.body) for each in mail.outbox)


def test_another_owner_of_all_organizations_may_agree(ask, alice, acme):
    olga = person("olga@acme.example", acme, Membership.Role.OWNER)
    ask()
    assert set(links()) == {alice.email, olga.email}

    assert follow(links()[olga.email]) == 200

    assert User.objects.get(pk=alice.pk).email == NEW
    assert EmailChange.objects.get().confirmed_by == olga


def test_who_asks_does_not_agree_for_the_person_too(ask, alice, acme, helper):
    Membership.objects.create(organization=acme, user=helper, role="owner")
    change = ask()

    assert set(links()) == {alice.email}
    token = email_changes._token(change, helper)
    with pytest.raises(email_changes.EmailChangeOver):
        email_changes.confirm_email_change(token=token, now=timezone.now())


def test_a_double_click_asks_once_and_the_link_works(ask, alice, acme):
    ask()
    first = links()[alice.email]
    ask()

    assert len(mail.outbox) == 1
    assert events(acme) == ["account.email_change_requested"]
    assert follow(first) == 200


def test_no_owner_of_one_organization_agrees_for_who_belongs_to_another_too(ask, alice, acme, globex):
    person("olga@acme.example", acme, Membership.Role.OWNER)
    Membership.objects.create(organization=globex, user=alice, role=Membership.Role.OWNER)
    ask()

    assert set(links()) == {alice.email}


@pytest.mark.parametrize("right", ["staff", "permission", "superuser"])
def test_no_owner_agrees_for_who_has_rights_over_the_installation(alice, acme, right):
    person("olga@acme.example", acme, Membership.Role.OWNER)
    if right == "permission":
        alice = give(alice, "view_user")
    else:
        setattr(alice, f"is_{right}", True)
        alice.save()

    assert people.other_owners(alice) == []


def test_members_and_admins_of_the_organization_are_not_asked(ask, ada, bob, alice):
    ask()

    assert set(links()) == {alice.email}


def test_who_lost_the_role_meanwhile_agrees_no_more(ask, alice, acme):
    olga = person("olga@acme.example", acme, Membership.Role.OWNER)
    ask()
    Membership.objects.filter(user=olga).update(role="admin")

    assert follow(links()[olga.email]) == 410
    assert User.objects.get(pk=alice.pk).email == alice.email


def test_when_who_asked_may_no_more_the_link_is_over(ask, alice, helper):
    ask()
    helper.user_permissions.clear()

    assert follow(links()[alice.email]) == 410


def test_a_link_works_once_is_over_after_a_newer_one_a_refusal_or_seven_days(ask, alice, acme):
    ask()
    first = links()[alice.email]
    ask(email="second@new.example")
    second = links()[alice.email]
    assert follow(first) == 410
    assert follow(second, "refuse") == 200
    assert follow(second) == 410
    ask()
    third = links()[alice.email]
    EmailChange.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert follow(third) == 410
    EmailChange.objects.update(expires_at=timezone.now() + timedelta(days=1))
    assert [follow(third), follow(third)] == [200, 410]
    assert "account.email_change_refused" in events(acme)


@pytest.mark.parametrize("token", ["", "nonsense", "a:b:c", "WyIxIl0:1:x"])
def test_an_invented_link_changes_nothing(ask, token, client):
    ask()
    if token:
        client.get(f"/email-change/{token}/", follow=True)

    assert client.post("/email-change/", {"answer": "agree"}).status_code == 410


def test_an_address_that_somebody_has_is_refused_when_asked_and_when_agreed(ask, alice, bob):
    with pytest.raises(email_changes.AddressTaken):
        ask(email="Bob@acme.example")
    ask()
    User.objects.create_user(NEW)

    assert follow(links()[alice.email]) == 410
    assert User.objects.get(pk=alice.pk).email == alice.email


def test_an_answer_that_is_none_changes_nothing(ask, alice):
    ask()

    assert follow(links()[alice.email], "maybe") == 422
    assert User.objects.get(pk=alice.pk).email == alice.email


def test_on_the_server_an_address_is_changed_at_once_and_the_old_one_told(
    alice, acme, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        call_command("change_email", alice.email, "Alice@New.example")

    assert EmailAddress.objects.get(user=alice, primary=True, verified=True).email == NEW
    assert mail.outbox[-1].to == [alice.email]
    assert events(acme) == ["account.email_changed"]
    with pytest.raises(CommandError, match="Nobody"):
        call_command("change_email", "nobody@acme.example", NEW)
    with pytest.raises(CommandError, match="no e-mail"):
        call_command("change_email", NEW, "nonsense")


def test_an_address_that_a_person_changes_themselves_is_in_the_log_and_the_old_one_told(as_alice, alice, acme):
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)
    EmailAddress.objects.create(user=alice, email=NEW, primary=False, verified=True)

    as_alice.post("/accounts/email/", {"action_primary": "", "email": NEW})

    assert User.objects.get(pk=alice.pk).email == NEW
    assert events(acme) == ["account.email_changed"]
    assert [each.to for each in mail.outbox] == [[alice.email]]


@pytest.mark.parametrize(
    ("actor", "target", "may"),
    [
        ([], [], True),
        (["view_user"], [], True),
        (["view_user"], ["view_user"], True),
        (["view_user"], ["view_user", "change_user"], False),
        ([], ["view_user"], False),
    ],
)
@pytest.mark.parametrize("is_active", [True, False])
def test_nobody_manages_who_has_rights_that_they_lack(helper, alice, actor, target, may, is_active):
    helper.user_permissions.clear()
    alice.is_active = is_active
    alice.save()

    assert people.may_manage(give(helper, *actor), give(alice, *target)) is may


@pytest.mark.parametrize("is_active", [True, False])
def test_superusers_are_managed_by_superusers(helper, staff, is_active):
    other = User.objects.create_superuser("other@keyfare.example", "x", is_active=is_active)

    assert not people.may_manage(give(helper, "change_user"), other)
    assert people.may_manage(staff, other)


def test_a_second_click_gets_the_answer_of_the_first_and_another_browser_that_the_link_is_over(ask, client):
    ask()
    (link,) = links().values()
    client.get(link)

    answers = [client.post("/email-change/", {"answer": "agree"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert all("The address was changed" in answer.content.decode() for answer in answers)
    assert follow(link) == 410
    assert client.get(link, follow=True).status_code == 410
