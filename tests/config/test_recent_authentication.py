"""Keys, roles, members and API tokens change only soon after the person proved who they are."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from django.test import Client
from django.urls import reverse

from organizations.models import ApiToken, Invitation, Membership
from providers.models import ProviderKey
from tests.conftest import confirm_password, logged_in
from tests.page_forms import form_of

HTMX = {"HX-Request": "true"}
KEY = "sk-or-v1-simulated-valid-0042"
PASSWORD = "correct horse battery"


@pytest.fixture
def as_idle_alice(alice) -> Client:
    """Alice, who logged in 15 minutes ago."""
    client = Client()
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    confirm_password(client, alice, seconds_ago=15 * 60)
    return client


def posts(acme, alice, bob) -> dict[str, tuple[str, dict[str, str], str]]:
    """Every guarded action: where, what, and the page it leads back to."""
    key = ProviderKey.objects.get(organization=acme)
    membership = Membership.objects.get(user=bob)
    invitation = Invitation.objects.get(organization=acme)
    token = ApiToken.objects.get(organization=acme)
    settings, members = (
        f"{reverse('settings', args=['acme'])}#llm-providers",
        reverse("organizations:members", args=["acme"]),
    )
    tokens = reverse("routing:api-tokens", args=["acme"])

    edit = reverse("routing:edit-api-token", args=["acme", token.pk])
    form = form_of(logged_in(alice).get(edit), edit) | {"name": "Other"}

    def organization_url(name: str, *arguments: object) -> str:
        return reverse(f"organizations:{name}", args=["acme", *arguments])

    return {
        "save": (
            reverse("providers:save", args=["acme", "openrouter"]),
            {"key": KEY + "2", "label": "Second"},
            settings,
        ),
        "replace": (reverse("providers:replace", args=["acme", key.pk]), {"key": KEY + "2"}, settings),
        "remove": (reverse("routing:remove-key", args=["acme", key.pk]), {}, settings),
        "role": (organization_url("change-role", membership.pk), {"role": "admin"}, members),
        "member": (organization_url("remove-member", membership.pk), {}, members),
        "invite": (organization_url("invite"), {"email": "new@acme.example", "role": "admin"}, members),
        "send again": (organization_url("send-invitation-again", invitation.pk), {}, members),
        "make token": (
            reverse("routing:make-api-token", args=["acme"]),
            {"name": "Second", "days": "30", "scopes": "view"},
            f"{tokens}?name=Second&days=30&scopes=view",
        ),
        "edit token": (edit, form, f"{edit}?{urlencode({name: form[name] for name in ('name', 'days', 'seen')})}"),
        "revoke token": (reverse("routing:revoke-api-token", args=["acme", token.pk]), {}, tokens),
    }


def state() -> list[object]:
    return [
        list(ProviderKey.objects.order_by("pk").values()),
        list(Membership.objects.order_by("pk").values()),
        list(Invitation.objects.order_by("pk").values()),
        list(ApiToken.objects.order_by("pk").values()),
    ]


@pytest.fixture
def guarded(acme, alice, bob, simulated_providers) -> dict[str, tuple[str, dict[str, str], str]]:
    client = logged_in(alice)
    client.post(reverse("providers:save", args=["acme", "openrouter"]), {"key": KEY, "label": "First"})
    client.post(reverse("organizations:invite", args=["acme"]), {"email": "dora@acme.example", "role": "owner"})
    client.post(reverse("routing:make-api-token", args=["acme"]), {"name": "A", "days": "30", "scopes": "view"})
    return posts(acme, alice, bob)


ACTIONS = [
    "save",
    "replace",
    "remove",
    "role",
    "member",
    "invite",
    "send again",
    "make token",
    "edit token",
    "revoke token",
]


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
@pytest.mark.parametrize("action", ACTIONS)
def test_an_idle_session_confirms_first_and_nothing_is_saved_or_kept(as_idle_alice, guarded, action, headers):
    url, answers, back = guarded[action]
    before = state()

    response = as_idle_alice.post(url, answers, headers=headers)

    confirm = response["HX-Redirect"] if headers else response["Location"]
    assert confirm == f"{reverse('account_reauthenticate')}?next={quote(back, safe='')}"
    assert state() == before
    assert KEY not in str(dict(as_idle_alice.session))
    page = as_idle_alice.get(confirm).content.decode()
    assert "Nothing was saved yet" in page
    assert as_idle_alice.post(confirm, {"password": "wrong"}).status_code == 200
    assert state() == before


@pytest.mark.parametrize("action", ACTIONS)
def test_after_the_confirmation_the_same_works(as_idle_alice, guarded, action):
    url, answers, back = guarded[action]
    before = state()

    confirm = as_idle_alice.post(url, answers)["Location"]
    assert as_idle_alice.post(confirm, {"password": PASSWORD})["Location"] == back
    as_idle_alice.post(url, answers)

    assert state() != before


def test_inviting_a_member_needs_no_confirmation(as_idle_alice, acme):
    url = reverse("organizations:invite", args=["acme"])

    assert as_idle_alice.post(url, {"email": "new@acme.example", "role": "member"})["Location"] != url
    assert Invitation.objects.filter(email="new@acme.example").exists()


def test_reading_the_form_needs_no_confirmation(as_idle_alice, guarded):
    for action in ("replace", "remove", "member", "edit token", "revoke token"):
        assert as_idle_alice.get(guarded[action][0]).status_code == 200


def test_leaving_asks_too(as_idle_alice, acme, bob):
    Membership.objects.filter(user=bob).update(role="owner")
    leave, members = (reverse(f"organizations:{name}", args=["acme"]) for name in ("leave", "members"))

    confirm = as_idle_alice.post(leave)["Location"]
    assert as_idle_alice.get(members).status_code == 200
    as_idle_alice.post(confirm, {"password": PASSWORD})
    as_idle_alice.post(leave)

    assert as_idle_alice.get(members).status_code == 404


def test_a_session_without_any_record_is_not_recent(alice, acme, bob):
    client = Client()
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    membership = Membership.objects.get(user=bob)

    client.post(reverse("organizations:change-role", args=["acme", membership.pk]), {"role": "admin"})

    membership.refresh_from_db()
    assert membership.role == Membership.Role.MEMBER


def test_logging_in_counts_as_recent(client, alice, bob, settings):
    settings.ACCOUNT_EMAIL_VERIFICATION = "none"
    client.post(reverse("account_login"), {"login": alice.email, "password": PASSWORD})
    membership = Membership.objects.get(user=bob)

    client.post(reverse("organizations:change-role", args=["acme", membership.pk]), {"role": "admin"})

    membership.refresh_from_db()
    assert membership.role == Membership.Role.ADMIN
