from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from django.urls import reverse

from organizations.models import User

PAGES = ["/admin/", "/admin/organizations/user/", "/admin/providers/providerkey/", "/admin/password_change/"]


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("is_superuser", [True, False])
def test_staff_without_a_second_factor_are_sent_to_set_one_up(db, path, is_superuser):
    user = User.objects.create_user("new@keyfare.example", "x", is_staff=True, is_superuser=is_superuser)

    response = browser_of(user).get(path, follow=True)

    assert response.redirect_chain[-1][0] == reverse("mfa_index")
    assert "The staff admin needs a second step" in response.content.decode()


def test_nothing_is_changed_by_staff_without_a_second_factor(staff, acme):
    client = browser_of(staff)

    client.post(f"/admin/organizations/organization/{acme.pk}/change/", {"name": "Taken", "slug": "acme"})

    acme.refresh_from_db()
    assert acme.name == "Acme"


@pytest.mark.parametrize("kind", ["totp", "webauthn"])
def test_either_factor_opens_the_admin(staff, kind):
    Authenticator.objects.create(user=staff, type=kind, data={})

    assert browser_of(staff).get("/admin/").status_code == 200


def test_recovery_codes_alone_are_no_second_factor(staff):
    Authenticator.objects.create(user=staff, type="recovery_codes", data={})

    assert browser_of(staff).get("/admin/").status_code == 302


def test_the_demo_asks_for_none(staff, settings):
    settings.KEYFARE_DEMO = True

    assert browser_of(staff).get("/admin/").status_code == 200


def test_debug_opens_no_door_to_the_admin(staff, settings):
    settings.DEBUG = True

    assert browser_of(staff).get("/admin/").status_code == 302


def test_people_who_are_not_staff_are_refused_as_before(as_alice):
    assert as_alice.get("/admin/", follow=True).status_code == 403
