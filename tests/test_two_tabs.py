"""
What a second identical POST does to each URL, and what a POST from a page that is no longer true.

A POST URL without a line here fails the first test. Every line of an organization's own URLs is tried: its form is
taken from the page where it stands, posted, and posted once more.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.urls import reverse
from django.utils import timezone

from candidates.models import Briefing, CandidateCheck
from organizations.models import Membership
from providers.adapters.secret import Secret
from providers.keys import validation
from providers.keys.replacement import replace_provider_key
from providers.keys.saving import disable_provider_key
from providers.models import ProviderKey
from routing.models import Agent, RoutingRule
from tests.conftest import logged_in
from tests.page_forms import form_of
from tests.test_urls_and_roles import (
    API,
    OF_A_PERSON,
    OF_AN_ORGANIZATION,
    ORGANIZATION_URLS,
    PUBLIC,
    Tenant,
    contents,
    strangers_own,
    world,
)
from usage.models import Anomaly, AnomalyWebhook

__all__ = ["strangers_own", "world"]

# What the second one does, where nothing is made or changed by it; the answer that the person then gets.
SAME = "the answer of the first"
DONE = "nothing, and the page as it is now"
TOLD = "nothing, and a sentence (422) that says what is there already"
GONE = "nothing: what it was about is gone (404)"
# What a stale one does.
REFUSED = "refused with who changed what; what was typed stays (`organizations/edits.py`)"
AIM = "what the button says, which does not depend on what the page showed"
NEW = "makes something new; nothing that is there can be overwritten"
KEEPS = "asks again where more would be changed than the page named"


@dataclass(frozen=True, slots=True)
class Twice:
    """`page` is where the form stands, `typed` is put into it; `arrange` makes the state in which it is offered."""

    second: str
    stale: str
    page: str = ""
    typed: dict[str, Any] | None = None
    arrange: Callable[[Tenant], None] = lambda world: None


def _failed_draft(world: Tenant) -> None:
    CandidateCheck.objects.filter(organization=world.organization).update(status="failed")
    Briefing.objects.filter(organization=world.organization).update(
        state="failed", state_detail="No.", job_description="Knows Django"
    )


def _archived(world: Tenant) -> None:
    Briefing.objects.filter(organization=world.organization).update(archived_at=timezone.now())


def _expected_anomaly(world: Tenant) -> None:
    Anomaly.objects.filter(organization=world.organization).update(state="expected", expected_at=timezone.now())


def _with_webhook(world: Tenant) -> None:
    AnomalyWebhook.objects.create(
        organization=world.organization, url="https://hooks.example.com", sealed_secret="-", made_at=timezone.now()
    )


def _archived_agent(world: Tenant) -> None:
    Agent.objects.filter(organization=world.organization).update(archived_at=timezone.now())


def _unchecked(world: Tenant) -> None:
    CandidateCheck.objects.filter(organization=world.organization).delete()


def _key(world: Tenant) -> ProviderKey:
    return ProviderKey.objects.get(pk=str(world.ids["key_id"]))


def _disabled(world: Tenant) -> None:
    disable_provider_key(key=_key(world), actor=None, now=timezone.now())


def _unrouted(world: Tenant) -> None:
    RoutingRule.objects.filter(organization=world.organization, action="candidate_check").delete()


def _paused(world: Tenant) -> None:
    RoutingRule.objects.filter(organization=world.organization).update(paused_at=timezone.now())


def _replaced(world: Tenant) -> None:
    replace_provider_key(
        key=_key(world), secret=Secret("sk-or-v1-simulated-valid-0009"), actor=None, now=timezone.now()
    )


def _with_model(world: Tenant) -> None:
    Briefing.objects.filter(organization=world.organization).update(key=_key(world), model="openai/gpt-4.1-mini")


def _proof_asked_for(world: Tenant) -> None:
    ProviderKey.objects.filter(pk=_key(world).pk).update(proof_model="openai/gpt-4.1-mini")


MEMBERS, SETTINGS, TOKENS = "organizations:members", "settings", "routing:api-tokens"
CHECKED = {"candidates": "{candidate_id}", "show": "all", "agreed": "2", "count": "1"}
KIM = '{"basics": {"name": "Kim", "email": "kim@people.example"}}'
NEW_KEY = "sk-or-v1-simulated-valid-0003"

ORGANIZATIONS: dict[str, Twice] = {
    "organizations:invite": Twice(TOLD, NEW, MEMBERS, {"email": "other@new.example", "role": "member"}),
    "organizations:send-invitation-again": Twice(TOLD, REFUSED, MEMBERS),
    "organizations:withdraw-invitation": Twice(TOLD, AIM, MEMBERS),
    "organizations:change-role": Twice(DONE, REFUSED, MEMBERS, {"role": "admin"}),
    "organizations:remove-member": Twice(GONE, REFUSED, MEMBERS),
    "organizations:leave": Twice(GONE, AIM, "organizations:leave"),
    "routing:make-api-token": Twice(TOLD, NEW, TOKENS, {"name": "ATS", "days": "90", "scopes": ["view"]}),
    "routing:edit-api-token": Twice(DONE, REFUSED, "routing:edit-api-token", {"name": "Another name"}),
    "routing:revoke-api-token": Twice(DONE, AIM, TOKENS),
    "organizations:recency-window": Twice(DONE, REFUSED, SETTINGS, {"days": "60"}),
    "organizations:recency-sharing": Twice(DONE, AIM, "", {"shares": "yes"}),
    "organizations:members-see-usd": Twice(DONE, AIM, MEMBERS),
    "save-view": Twice(DONE, AIM, "consumption", {"name": "Mine"}),
    "delete-view": Twice(GONE, AIM, "consumption"),
    "expect-anomaly": Twice(DONE, AIM, "anomalies", {"days": "30", "why": "A launch"}),
    "raise-anomaly": Twice(DONE, AIM, "anomalies", None, _expected_anomaly),
    "anomaly-webhook": Twice(TOLD, REFUSED, "anomalies", {"url": "https://hooks.example.com/keyfare"}),
    "remove-anomaly-webhook": Twice(DONE, AIM, "anomalies", None, _with_webhook),
    "providers:save": Twice(TOLD, NEW, SETTINGS, {"key": NEW_KEY, "label": "Other"}),
    "providers:replace": Twice(TOLD, AIM, "providers:replace", {"key": NEW_KEY}),
    "providers:validate": Twice(DONE, AIM, SETTINGS),
    "providers:prove": Twice(DONE, REFUSED, SETTINGS, {"model": "openai/gpt-5"}, _proof_asked_for),
    "providers:own-server": Twice(DONE, AIM, "", {"is_own_server": "on"}),
    "providers:disable": Twice(DONE, AIM, SETTINGS),
    "providers:enable": Twice(DONE, AIM, SETTINGS, None, _disabled),
    "providers:validate-replacement": Twice(DONE, AIM, SETTINGS, None, _replaced),
    "providers:discard-replacement": Twice(DONE, REFUSED, SETTINGS, None, _replaced),
    "providers:rotate-organization-key": Twice(SAME, AIM, "providers:rotate-organization-key"),
    "providers:forget-quirks": Twice(DONE, AIM, ""),
    "routing:save": Twice(DONE, REFUSED, SETTINGS, {"candidate_check-model": "openai/gpt-4o-mini"}),
    "routing:reset": Twice(DONE, REFUSED, ""),
    "routing:use-key": Twice(DONE, REFUSED, SETTINGS, None, _unrouted),
    "routing:save-rule": Twice(DONE, REFUSED, "routing:rule", {"most_output_tokens": "1000"}),
    "routing:pause": Twice(DONE, AIM, "routing:rule"),
    "routing:resume": Twice(DONE, AIM, "routing:rule", None, _paused),
    "routing:new-agent": Twice(TOLD, NEW, "routing:new-agent", {"name": "Bot"}),
    "routing:edit-agent": Twice(DONE, REFUSED, "routing:agent", {"name": "Another name"}),
    "routing:route-agent": Twice(DONE, REFUSED, "routing:agent", {"zanzibar-agent-model": "openai/gpt-4o-mini"}),
    "routing:archive-agent": Twice(DONE, AIM, "routing:archive-agent"),
    "routing:bring-back-agent": Twice(DONE, AIM, "routing:agent", None, _archived_agent),
    "routing:read-notice": Twice(DONE, AIM, "routing:models"),
    "routing:remove-key": Twice(GONE, KEEPS, "routing:remove-key", {"instead": "managed"}),
    "candidates:import": Twice(DONE, NEW, "candidates:import", {"text": KIM}),
    "candidates:briefing-new": Twice(SAME, NEW, "candidates:briefing-new", {"how": "hand", "hand-title": "Engineer"}),
    "candidates:briefing": Twice(DONE, REFUSED, "candidates:briefing", {"title": "Another title"}),
    "candidates:briefing-draft": Twice(DONE, REFUSED, "candidates:briefing", None, _failed_draft),
    "candidates:briefing-version": Twice(SAME, NEW, "candidates:briefing"),
    "candidates:briefing-model": Twice(
        DONE, REFUSED, "candidates:briefing-model", {"model": "openai/gpt-4o-mini"}, _with_model
    ),
    "candidates:briefing-archive": Twice(DONE, AIM, "candidates:briefing"),
    "candidates:briefing-bring-back": Twice(DONE, AIM, "candidates:briefing", None, _archived),
    "candidates:briefing-delete": Twice(GONE, AIM, "candidates:briefing-delete", None, _unchecked),
    "candidates:quote": Twice(DONE, AIM, ""),
    "candidates:run": Twice(SAME, AIM, "candidates:briefing", CHECKED),
    "candidates:check-again": Twice(SAME, AIM, "candidates:check"),
    # Shows what it costs; that it runs once is tried in tests/candidates/test_trials.py.
    "candidates:trials": Twice(DONE, AIM, "candidates:trials", {"key": "{key_id}", "model": "openai/gpt-4.1-mini"}),
    "failed-checks": Twice(DONE, AIM, ""),
}

# Quotes change nothing, and the key of this world has no quirks and no server of the organization's own.
CHANGES_NOTHING_HERE = (
    "candidates:quote",
    "candidates:trials",
    "failed-checks",
    "providers:forget-quirks",
    "providers:own-server",
)

# Pages of django-allauth, and links: none edits what two people share. What a second post does there.
OTHERS = {
    "accept-invitation": "leads to the organization again",
    "account_login": "logs in again",
    "account_logout": "is logged out already",
    "account_signup": "says that the address is taken, or mails its owner",
    "account_reset_password": "a second mail, until the pace limit; every link works",
    "account_reset_password_from_key": "the link was used: says so",
    "account_confirm_email": "is confirmed already",
    "account_confirm_login_code": "not offered here",
    "account_email": "adding: refused as added before; the rest names one address (tried below)",
    "account_change_password": "refused: the old password is no longer right",
    "account_set_password": "refused: there is a password",
    "account_reauthenticate": "is confirmed already",
    "account_inactive": "no form",
    "account_email_verification_sent": "no form",
    "account_reset_password_done": "no form",
    "account_reset_password_from_key_done": "no form",
    "mfa_authenticate": "is logged in already",
    "mfa_login_webauthn": "the challenge was used: refused",
    "mfa_index": "no form",
    "mfa_activate_totp": "is active already: refused",
    "mfa_deactivate_totp": "is off already",
    "mfa_view_recovery_codes": "no form",
    "mfa_generate_recovery_codes": "makes new codes; those of the last answer count",
    "mfa_download_recovery_codes": "no form",
    "mfa_reauthenticate": "is confirmed already",
    "mfa_reauthenticate_webauthn": "the challenge was used: refused",
    "mfa_list_webauthn": "no form",
    "mfa_add_webauthn": "the challenge was used: refused",
    "mfa_edit_webauthn": "the name once more: one's own",
    "mfa_remove_webauthn": "is gone (404)",
    "invitation": "no form",
    "email-change": "no form",
    "answer-email-change": "the answer of the first (tests/organizations/test_email_changes.py)",
    "home": "no form",
    "current-settings": "no form",
    "current-settings-section": "no form",
}


def test_every_post_url_says_what_a_second_and_a_stale_one_do():
    posted = {name for name, (_, methods) in OF_AN_ORGANIZATION.items() if "POST" in methods}

    assert posted ^ ORGANIZATIONS.keys() == set(), "Say in ORGANIZATIONS what happens when it is posted twice."
    assert (OF_A_PERSON | PUBLIC) ^ OTHERS.keys() == set(), "Say in OTHERS what happens when it is posted twice."


def test_programs_repeat_a_post_under_its_idempotency_key():
    """Tried in tests/candidates/test_api_retries.py."""
    assert [name for name, methods in API.items() if "POST" in methods] == ["api:candidate-checks"]


def _address(name: str, world: Tenant) -> str:
    return next(url for url in ORGANIZATION_URLS if url.name == name).address(world.ids)


@pytest.mark.parametrize("name", ORGANIZATIONS)
def test_the_second_identical_post_changes_nothing(world, alice, simulated_providers, settings, monkeypatch, name):
    settings.KEYFARE_NETWORK_RECENCY = True
    monkeypatch.setattr(validation, "_queue", lambda validation_id: None)
    line = ORGANIZATIONS[name]
    if name == "organizations:leave":
        Membership.objects.filter(organization=world.organization).update(role="owner")
    line.arrange(world)
    CandidateCheck.objects.filter(organization=world.organization, status="pending").update(status="failed")
    browser, address = logged_in(alice), _address(name, world)
    form: dict[str, Any] = {}
    if line.page:
        tab = {"tab": {"candidates:run": "candidates"}.get(name, "requirements"), "show": "all"}
        form = form_of(browser.get(_address(line.page, world), tab), address)
    form |= {
        field: value.format(**world.ids) if field in ("candidates", "key") else value
        for field, value in (line.typed or {}).items()
    }

    before = contents(world.organization)
    first = browser.post(address, form)
    assert first.status_code in (200, 302), (first.status_code, first.content.decode()[-3000:])
    once, mails = contents(world.organization), len(mail.outbox)
    second = browser.post(address, form)

    if name not in CHANGES_NOTHING_HERE:
        assert once != before, "the first one did nothing, so this proves nothing"
    assert contents(world.organization) == once
    assert len(mail.outbox) == mails
    if line.second == SAME:
        assert (second.status_code, second.headers.get("Location")) == (first.status_code, first.headers["Location"])
    else:
        assert second.status_code in {DONE: (200, 302), TOLD: (422,), GONE: (404,)}[line.second]


@pytest.mark.parametrize("name", [name for name, line in ORGANIZATIONS.items() if line.second == SAME])
def test_forms_that_make_something_carry_a_token(world, alice, name):
    line = ORGANIZATIONS[name]
    page = logged_in(alice).get(_address(line.page, world), {"tab": "candidates", "show": "all"})

    assert uuid.UUID(form_of(page, _address(name, world))["once"])


GUARDED = {name for name, line in ORGANIZATIONS.items() if line.stale == REFUSED}


@pytest.mark.parametrize("name", sorted(GUARDED - {"routing:reset"}))
def test_forms_that_change_something_say_what_they_showed(world, alice, name):
    line = ORGANIZATIONS[name]
    line.arrange(world)
    page = logged_in(alice).get(_address(line.page, world), {"tab": "requirements"})

    fields = form_of(page, _address(name, world))
    assert {"seen", "new_key", "candidate_check-was", "zanzibar-agent-was"} & fields.keys()


def test_an_address_added_twice_is_one_and_one_mail(alice):
    browser = logged_in(alice)
    sent = {"email": "alice@other.example", "action_add": ""}

    answers = [browser.post(reverse("account_email"), sent) for _ in range(2)]

    assert EmailAddress.objects.filter(email="alice@other.example").count() == 1
    assert len([each for each in mail.outbox if each.to == ["alice@other.example"]]) == 1
    assert [answer.status_code for answer in answers] == [302, 200]
