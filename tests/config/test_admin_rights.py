"""The admin shows staff what they have the right to see: with none, nothing of any organization."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from organizations.models import User
from tests.conftest import logged_in
from tests.test_urls_and_roles import ADMIN_URLS, SECRET, Tenant, _plain, ask, world

__all__ = ["world"]
PASSWORD = "correct horse battery"


@pytest.fixture
def trainee(db) -> User:
    """Staff without a single right."""
    return User.objects.create_user("trainee@keyfare.example", PASSWORD, is_staff=True)


def autocompletes() -> Iterator[dict[str, str]]:
    for model, model_admin in admin.site._registry.items():
        for field in model_admin.autocomplete_fields:
            yield {"app_label": model._meta.app_label, "model_name": model._meta.model_name or "", "field_name": field}


def says_something_of(world: Tenant, text: str) -> bool:
    return any(each in text for each in (SECRET, world.organization.name, "@acme.example", "@new.example"))


def test_staff_without_rights_read_nothing_of_any_organization(world, trainee):
    client = logged_in(trainee)
    ids = {"object_id": "1", "id": "1", "content_type_id": "1", "app_label": "providers", "url": "nothing/"}
    ids["key_id"] = str(world.ids["key_id"])
    shown = []
    for url in ADMIN_URLS:
        address = "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda argument: ids[argument[1]], _plain(url.route))
        for method in ("GET", "POST"):
            response = ask(client, method, address, {"q": SECRET, "term": SECRET} if method == "GET" else {})
            if says_something_of(world, response.content.decode().replace(trainee.email, "")):
                shown.append((address, method))
    assert shown == []


def test_no_field_that_completes_what_staff_type_completes_it_without_the_right(world, trainee, as_staff):
    client, address = logged_in(trainee), reverse("admin:autocomplete")
    fields = list(autocompletes())
    assert len(fields) >= 3
    for field in fields:
        assert client.get(address, {**field, "term": ""}).status_code == 403, field
        assert as_staff.get(address, {**field, "term": ""}).status_code == 200, field


@pytest.mark.parametrize(
    ("codename", "label"), [("view_usageevent", "Model calls today"), ("view_organization", "Organizations")]
)
def test_the_dashboard_shows_the_figures_of_what_one_may_see(world, trainee, codename, label):
    trainee.user_permissions.add(Permission.objects.get(codename=codename))

    figures = logged_in(User.objects.get(pk=trainee.pk)).get(reverse("admin:index")).context["figures"]

    assert label in [figure["label"] for figure in figures]
    assert "Tasks waiting" not in [figure["label"] for figure in figures]


def test_the_dashboard_of_an_operator_shows_all(world, as_staff: Client):
    page = as_staff.get(reverse("admin:index"))

    assert len(page.context["figures"]) == 10
    assert SECRET in page.content.decode()
