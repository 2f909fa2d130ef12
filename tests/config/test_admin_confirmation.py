"""The staff admin changes something only soon after the person proved who they are."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.http import urlencode

from billing import ledger
from billing.models import LedgerEntry
from config.onboarding import ensure_platform
from organizations.models import Membership, Organization, User
from providers.keys import validation
from providers.models import PrivateEndpoint, ProviderKey
from tests.conftest import confirm_password, give_second_factor
from tests.test_urls_and_roles import ABSENT_ID, ABSENT_UUID, ADMIN_URLS, Url

PASSWORD = "correct horse battery"
NEW_KEY = "sk-or-v1-simulated-valid-0099"
CONFIRM = reverse("account_reauthenticate")
OPEN_TO_ALL = {"admin:login", "admin:logout"}
READ = {
    "admin:app_list",
    "admin:autocomplete",
    "admin:index",
    "admin:jsi18n",
    "admin:password_change_done",
    "admin:search",
    "admin:view_on_site",
}


@pytest.fixture
def as_idle_staff(staff) -> Client:
    """Staff who logged in 15 minutes ago."""
    return browser(staff, seconds_ago=15 * 60)


def browser(user: User, *, seconds_ago: float) -> Client:
    give_second_factor(user)
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    confirm_password(client, user, seconds_ago=seconds_ago)
    return client


def address(url: Url) -> str:
    if url.name == "admin:":  # has no name: where objects stood in older versions of Django, and what is nowhere
        return "/" + url.route.replace("<path:object_id>", str(ABSENT_ID)).replace("(?P<url>.*)$", "nowhere")
    values: dict[str, object] = {"app_label": "organizations", "url": "nowhere", "key_id": ABSENT_UUID}
    if url.name.startswith("admin:providers_providerkey"):
        values["object_id"] = ABSENT_UUID
    return url.address({name: values.get(name, ABSENT_ID) for name in url.arguments})


def asks(response) -> bool:
    return response.status_code == 302 and response["Location"].startswith(CONFIRM)


URLS = [url for url in ADMIN_URLS if url.name not in OPEN_TO_ALL]


def test_whatever_is_sent_to_the_admin_needs_a_fresh_confirmation(as_idle_staff):
    let_through = [
        (method, url.route)
        for url in URLS
        for method in ("POST", "PUT", "PATCH", "DELETE")
        if not asks(as_idle_staff.generic(method, address(url), "post=yes"))
    ]

    assert len(URLS) > 150
    assert let_through == []


def test_forms_ask_when_they_are_opened_and_pages_to_read_do_not(as_idle_staff, staff):
    request: Any = RequestFactory().get("/")
    request.user = staff
    may_change = {
        f"admin:{model._meta.app_label}_{model._meta.model_name}_change": model_admin.has_change_permission(request)
        for model, model_admin in admin.site._registry.items()
    }

    for url in URLS:
        if url.name == "admin:":
            continue
        is_read = (
            url.name in READ or url.name.endswith(("_changelist", "_history")) or may_change.get(url.name) is False
        )
        assert asks(as_idle_staff.get(address(url))) is not is_read, url.name


def test_the_log_out_of_the_admin_asks_nothing(as_idle_staff):
    as_idle_staff.post("/admin/logout/")

    assert "_auth_user_id" not in as_idle_staff.session


# What would hurt most, with real forms ---------------------------------------------------------------------


@pytest.fixture
def changes(acme, bob, platform_without_keys) -> dict[str, tuple[str, dict[str, object]]]:
    """What is done: where, and what is posted."""
    ledger.open_account(organization=acme)
    member = Membership.objects.get(user=bob)
    app = Authenticator.objects.create(user=bob, type="totp", data={"secret": "unused"})
    factors = reverse("admin:mfa_authenticator_changelist")
    return {
        "make somebody staff": (
            reverse("admin:organizations_user_change", args=[bob.pk]),
            {"email": bob.email, "is_active": "on", "is_staff": "on", "is_superuser": "on", **EMPTY_INLINES},
        ),
        "add a managed key": (reverse("admin:providers_managed_key_add"), {"slug": "openrouter", "key": NEW_KEY}),
        "allow a private endpoint": (
            reverse("admin:providers_privateendpoint_add"),
            {"organization": acme.pk, "host": "10.1.2.3", "port": "11434", "network": "10.1.2.3/32"},
        ),
        "grant credits": (
            reverse("admin:billing_creditaccount_move_credits", args=[acme.pk]),
            {"amount": "100", "reason": "Goodwill", "idempotency_key": str(uuid.uuid4())},
        ),
        "remove a second factor": (reverse("admin:mfa_authenticator_delete", args=[app.pk]), {"post": "yes"}),
        "remove second factors from the list": (
            f"{factors}?q=bob",
            {"action": "delete_selected", "_selected_action": [app.pk], "post": "yes"},
        ),
        "remove a member": (reverse("admin:organizations_membership_delete", args=[member.pk]), {"post": "yes"}),
        "change a role": (reverse("admin:organizations_membership_change", args=[member.pk]), {"role": "owner"}),
    }


@pytest.fixture
def platform_without_keys(db, monkeypatch) -> Organization:
    monkeypatch.setattr(validation, "_queue", lambda *_: None)
    return ensure_platform()


EMPTY_INLINES = {f"memberships-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL", "MIN_NUM", "MAX_NUM")}
CHANGES = [
    "make somebody staff",
    "add a managed key",
    "allow a private endpoint",
    "grant credits",
    "remove a second factor",
    "remove second factors from the list",
    "remove a member",
    "change a role",
]


def state(staff: User) -> list[object]:
    return [
        list(User.objects.exclude(pk=staff.pk).order_by("pk").values()),
        list(Membership.objects.order_by("pk").values()),
        list(Authenticator.objects.exclude(user=staff).order_by("pk").values()),
        list(ProviderKey.objects.order_by("pk").values()),
        list(PrivateEndpoint.objects.order_by("pk").values()),
        list(LedgerEntry.objects.order_by("pk").values()),
    ]


@pytest.mark.parametrize("change", CHANGES)
def test_an_idle_session_changes_nothing_keeps_nothing_and_returns_to_where_it_was(
    as_idle_staff, staff, changes, change
):
    url, posted = changes[change]
    before = state(staff)

    response = as_idle_staff.post(url, posted)

    assert response["Location"] == f"{CONFIRM}?{urlencode({'next': url})}"
    assert state(staff) == before
    assert NEW_KEY not in str(dict(as_idle_staff.session))
    assert "Nothing was saved yet" in as_idle_staff.get(response["Location"]).content.decode()
    assert as_idle_staff.post(response["Location"], {"password": "wrong"}).status_code == 200
    assert asks(as_idle_staff.post(url, posted))
    assert as_idle_staff.post(response["Location"], {"password": PASSWORD})["Location"] == url
    assert as_idle_staff.get(url).status_code == 200
    assert state(staff) == before
    assert as_idle_staff.post(url, posted).status_code == 302
    assert state(staff) != before


def test_a_dialog_sends_the_whole_page_to_confirm_and_back_to_where_it_stands(as_idle_staff, acme):
    page = reverse("admin:organizations_organization_change", args=[acme.pk])
    dialog = f"/admin/organizations/organization/{acme.pk}/close/"
    headers = {"HX-Request": "true", "HX-Current-URL": f"http://testserver{page}?tab=1"}

    opened = as_idle_staff.get(dialog, headers=headers)
    sent = as_idle_staff.post(dialog, {"_form_submitted": "True"}, headers=headers)

    for response in (opened, sent):
        assert response["HX-Redirect"] == f"{CONFIRM}?{urlencode({'next': f'{page}?tab=1'})}"
    acme.refresh_from_db()
    assert acme.closed_at is None


def test_a_dialog_of_a_foreign_page_leads_back_into_the_admin(as_idle_staff, acme):
    headers = {"HX-Request": "true", "HX-Current-URL": "https://elsewhere.example/admin/"}

    response = as_idle_staff.get(f"/admin/organizations/organization/{acme.pk}/close/", headers=headers)

    assert response["HX-Redirect"] == f"{CONFIRM}?{urlencode({'next': '/admin/'})}"


def test_after_fifteen_minutes_and_not_before(staff):
    url = reverse("admin:organizations_user_add")

    assert not asks(browser(staff, seconds_ago=14 * 60).get(url))
    assert asks(browser(staff, seconds_ago=15 * 60).get(url))


def test_people_who_are_not_staff_are_refused_not_asked(alice):
    response = browser(alice, seconds_ago=15 * 60).post(reverse("admin:organizations_user_add"), {})

    assert not asks(response)
    assert response.status_code in (302, 403)
