from __future__ import annotations

import re

import pytest
from allauth.account.models import EmailAddress
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.core import mail
from django.urls import reverse
from unfold.admin import ModelAdmin

from billing import ledger
from config.admin.sidebar import SIDEBAR
from organizations.models import AuditEvent, Membership, Organization, User
from tests.conftest import give_second_factor, logged_in

PASSWORD = "correct horse battery"
OWN_APPS = ("organizations", "usage", "billing", "providers", "routing", "candidates")
REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)


def changelist(model) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


@pytest.mark.parametrize("label", OWN_APPS)
def test_every_model_is_registered_and_searchable(label):
    for model in apps.get_app_config(label).get_models():
        assert model in admin.site._registry, model
        assert admin.site._registry[model].search_fields, model


def test_sections_are_called_as_on_the_pages(as_staff):
    titles = [title for title, _ in SIDEBAR]
    html = as_staff.get("/admin/usage/usageevent/").content.decode()

    assert titles == [
        "Organizations",
        "Credits",
        "Metrics",
        "Providers and routing",
        "Checks",
        "Jobs",
        "People and security",
        "Internals",
    ]
    assert ">Usage<" not in re.sub(r">\s*(.*?)\s*<", r">\1<", html)


def test_every_admin_has_the_look_and_a_place_in_the_sidebar():
    linked = {model for _, items in SIDEBAR for _, _, model in items}

    assert Group not in admin.site._registry
    for model, model_admin in admin.site._registry.items():
        assert isinstance(model_admin, ModelAdmin), model
        assert model._meta.label_lower in linked, model


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
def test_every_list_opens_and_can_be_searched(as_staff, model):
    assert as_staff.get(changelist(model)).status_code == 200
    assert as_staff.get(changelist(model), {"q": "acme"}).status_code == 200


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
def test_every_form_to_add_opens_or_is_refused(as_staff, model):
    response = as_staff.get(changelist(model) + "add/")

    assert response.status_code in (200, 302, 403)


def test_the_dashboard_shows_figures(as_staff, acme, globex):
    response = as_staff.get("/admin/")
    figures = {figure["label"]: figure["value"] for figure in response.context["figures"]}

    assert response.status_code == 200
    assert figures["Organizations"] == 2
    assert figures["Managed cost today"] == "$0.00"


def test_the_admin_is_entered_through_our_login(client, as_bob, db):
    assert client.get("/admin/", follow=True).redirect_chain[-1][0] == "/accounts/login/?next=%2Fadmin%2F"
    assert as_bob.get("/admin/", follow=True).status_code == 403


def test_only_the_admin_of_staff_has_the_weaker_policy(as_staff, as_alice, client):
    policy = as_staff.get("/admin/")["Content-Security-Policy"]

    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "style-src 'self' 'unsafe-inline'" in policy
    for browser, path in ((as_staff, "/"), (as_alice, "/o/acme/"), (as_alice, "/admin/"), (client, "/admin/")):
        assert "unsafe" not in browser.get(path)["Content-Security-Policy"]


# Organizations --------------------------------------------------------------------------------------------


def test_staff_open_an_organization_with_owner_and_trial_credits(as_staff, settings, bob):
    settings.KEYFARE_TRIAL_CREDITS = 30

    response = as_staff.post(
        "/admin/organizations/organization/add/",
        {"name": "Initech", "slug": "initech", "owner_email": "Bob@acme.example"},
    )

    opened = Organization.objects.get(slug="initech")
    assert response.status_code == 302
    assert Membership.objects.get(organization=opened).user == bob
    assert ledger.balance(organization=opened).available == 30


def test_an_organization_needs_an_owner_with_an_account(as_staff):
    response = as_staff.post(
        "/admin/organizations/organization/add/",
        {"name": "Initech", "slug": "initech", "owner_email": "nobody@acme.example"},
    )

    assert "Add the user first" in response.content.decode()
    assert not Organization.objects.filter(slug="initech").exists()


def test_a_change_of_an_organization_by_staff_is_audited(as_staff, acme):
    no_inline_rows = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}

    as_staff.post(
        f"/admin/organizations/organization/{acme.pk}/change/",
        {"name": "Acme Ltd", "slug": "acme", "recency_window_days": "90", **no_inline_rows},
    )

    acme.refresh_from_db()
    event = AuditEvent.objects.for_organization(acme).get()
    assert (acme.name, acme.recency_window_days) == ("Acme Ltd", 90)
    assert event.details == {"fields": "name, recency_window_days"}


# Members and users ----------------------------------------------------------------------------------------


def test_staff_change_members_under_the_same_rules(as_staff, acme, alice, bob):
    owner, member = Membership.objects.get(user=alice), Membership.objects.get(user=bob)

    refused = as_staff.post(f"/admin/organizations/membership/{owner.pk}/change/", {"role": "member"})
    as_staff.post(f"/admin/organizations/membership/{member.pk}/change/", {"role": "owner"})

    assert "needs an owner" in refused.content.decode()
    assert Membership.objects.filter(organization=acme, role="owner").count() == 2
    assert AuditEvent.objects.for_organization(acme).get().action == "member.role_changed"


def test_staff_add_and_remove_members(as_staff, acme, alice, charlie):
    as_staff.post(
        "/admin/organizations/membership/add/", {"user": charlie.pk, "organization": acme.pk, "role": "admin"}
    )
    added = Membership.objects.get(user=charlie, organization=acme)
    as_staff.post(f"/admin/organizations/membership/{added.pk}/delete/", {"post": "yes"})

    assert not Membership.objects.filter(pk=added.pk).exists()
    assert [event.action for event in AuditEvent.objects.for_organization(acme).order_by("pk")] == [
        "member.added",
        "member.removed",
    ]


def test_the_last_owner_cannot_be_deleted(as_staff, alice):
    membership = Membership.objects.get(user=alice)

    response = as_staff.post(f"/admin/organizations/membership/{membership.pk}/delete/", {"post": "yes"})

    assert response.status_code == 403
    assert Membership.objects.filter(pk=membership.pk).exists()


def test_a_user_whom_staff_add_chooses_a_password_by_a_link(as_staff, client, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        as_staff.post(
            "/admin/organizations/user/add/",
            {"email": "New@acme.example", "name": "New", "password1": PASSWORD, "password2": PASSWORD},
        )
    person = User.objects.get(email="new@acme.example")
    assert not person.has_usable_password()
    assert not EmailAddress.objects.get(email=person.email).verified

    (message,) = mail.outbox
    (link,) = re.findall(r"/accounts/password/reset/key/\S+", str(message.body))
    page = client.get(link, follow=True)
    client.post(page.request["PATH_INFO"], {"password1": PASSWORD, "password2": PASSWORD})

    assert message.to == [person.email]
    response = client.post("/accounts/login/", {"login": person.email, "password": PASSWORD})
    assert response.status_code == 302


def test_staff_who_are_no_superusers_give_no_rights(as_ada, ada, staff):
    ada.is_staff = True
    ada.save()
    ada.user_permissions.add(*Permission.objects.filter(content_type__app_label="organizations"))
    give_second_factor(ada)

    as_ada.post(
        f"/admin/organizations/user/{ada.pk}/change/",
        {"name": "Ada", "is_active": "on", "is_superuser": "on", "is_staff": "on"},
    )
    on_superuser = as_ada.post(f"/admin/organizations/user/{staff.pk}/change/", {"name": "x"})

    assert not User.objects.get(pk=ada.pk).is_superuser
    assert on_superuser.status_code == 403


def test_people_are_never_deleted(as_staff, bob):
    assert as_staff.post(f"/admin/organizations/user/{bob.pk}/delete/", {"post": "yes"}).status_code == 403


def test_an_owner_whom_staff_name_hears_of_it_by_mail(as_staff, bob):
    as_staff.post(
        "/admin/organizations/organization/add/", {"name": "Initech", "slug": "initech", "owner_email": bob.email}
    )

    (told,) = mail.outbox
    assert told.to == [bob.email]
    assert "staff@keyfare.example" in told.body
    assert "/o/initech/" in told.body
    opened = AuditEvent.objects.get(organization__slug="initech", action="organization.opened")
    assert opened.actor_label == "staff@keyfare.example"


@pytest.mark.parametrize(("is_superuser", "opened"), [(False, 0), (True, 1)])
def test_only_superusers_open_organizations_of_their_own(db, is_superuser, opened):
    helper = User.objects.create_user("helper@keyfare.example", "pw", is_staff=True, is_superuser=is_superuser)
    helper.user_permissions.set(Permission.objects.filter(codename__in=["add_organization", "view_organization"]))

    answer = logged_in(helper).post(
        "/admin/organizations/organization/add/",
        {"name": "Mine", "slug": "mine", "owner_email": "Helper@keyfare.example"},
    )

    assert Organization.objects.filter(slug="mine").count() == opened
    assert ("Nobody of the staff makes themselves an owner" in answer.content.decode()) is not is_superuser
    assert mail.outbox == []


def test_staff_change_their_password_on_the_page_that_tells_them_by_mail(as_staff, staff):
    sent = {"old_password": "correct horse battery", "new_password1": "new horse pw", "new_password2": "new horse pw"}
    before = staff.password

    answers = [as_staff.get("/admin/password_change/"), as_staff.post("/admin/password_change/", sent)]

    staff.refresh_from_db()
    assert [answer.headers.get("Location") for answer in answers] == [reverse("account_change_password")] * 2
    assert staff.password == before
