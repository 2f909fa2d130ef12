"""Pages hold no inline style, script or handler: the content security policy would refuse them."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from organizations.models import Membership

INLINE = re.compile(
    r"""<style|\sstyle\s*=|\son[a-z]+\s*=\s*["']|\shx-on|javascript:|hx-vals=["']js:|<script(?![^>]*(?:\ssrc=|type="application/json"))""",
    re.IGNORECASE,
)
OWN_PAGES = [
    "/o/acme/",
    "/o/acme/settings",
    "/o/acme/members/",
    "/o/acme/api-tokens/",
    "/o/acme/agents/",
    "/o/acme/agents/new/",
    "/o/acme/settings/routing/candidate_check/rule/",
    "/o/acme/audit/",
    "/o/acme/candidates/",
    "/o/acme/candidates/import/",
    "/o/acme/briefings/",
    "/o/acme/briefings/new/",
    "/o/acme/consumption/calls/",
    "/o/acme/consumption/anatomy/",
    "/o/acme/credits/",
    "/accounts/password/change/",
    "/accounts/email/",
    "/accounts/logout/",
    "/accounts/reauthenticate/",
    "/accounts/2fa/",
    "/accounts/2fa/webauthn/",
    "/accounts/2fa/totp/activate/",
    "/accounts/2fa/webauthn/add/",
    "/no/such/page/",
]
OPEN_PAGES = [
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
    "/accounts/password/reset/key/1-none/",
    "/accounts/confirm-email/",
    "/accounts/confirm-email/none/",
    "/accounts/inactive/",
    "/invitations/accept/",
    "/no/such/page/",
]


def assert_strict(response) -> None:
    page = response.content.decode()
    assert 'rel="icon"' in page
    assert not INLINE.findall(page)
    policy = response["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", OWN_PAGES)
def test_pages_of_an_organization_are_strict(as_alice, path):
    assert_strict(as_alice.get(path))


@pytest.mark.parametrize("path", OPEN_PAGES)
def test_pages_before_the_login_are_strict(client, db, path):
    response = client.get(path, follow=True)

    assert response.status_code in (200, 404, 410)
    assert_strict(response)


def test_the_open_sign_up_is_strict_and_linked(client, db, settings):
    settings.KEYFARE_SIGNUP_OPEN = True

    assert_strict(client.get("/accounts/signup/"))
    assert reverse("account_signup") in client.get("/accounts/login/").content.decode()


def test_the_closed_sign_up_says_whom_to_ask(client, db):
    page = client.get("/accounts/signup/").content.decode()

    assert "Sign-up is closed" in page
    assert reverse("account_signup") not in client.get("/accounts/login/").content.decode()


def test_the_question_before_a_removal_is_strict(as_alice, bob):
    membership = Membership.objects.get(user=bob)

    assert_strict(as_alice.get(f"/o/acme/members/{membership.pk}/remove/"))
