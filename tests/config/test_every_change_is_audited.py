"""Every change of keys, routes, members, tokens, settings and credits writes one audit event, and no secret with it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from billing import ledger
from candidates import briefing_models
from config.onboarding import ensure_platform, open_organization
from organizations import api_tokens, invitations
from organizations import services as members
from organizations.audit_chain import verify_audit
from organizations.models import ApiToken, AuditEvent, Membership, Organization, User
from organizations.permissions import Permission
from providers.adapters.secret import Secret
from providers.custody import rotation
from providers.keys import model_quirks, replacement, validation
from providers.keys import saving as keys
from providers.models import ModelQuirk, ProviderKey
from routing import agents, call_access, rule_settings, token_edits
from routing import services as routing
from routing.models import Agent
from tests.builders import NOW, write_briefing

PLAINTEXT = "sk-proj-simulated-valid-0001-audited"
CHECK = "candidate_check"


class Change:
    """What the changes below start from; `key` is connected, `route` leads to it."""

    def __init__(self, organization: Organization, actor: User, member: User) -> None:
        self.organization, self.actor, self.member = organization, actor, member

    def key(self) -> ProviderKey:
        key = keys.save_provider_key(
            organization=self.organization, provider="openai", secret=Secret(PLAINTEXT), actor=self.actor, now=NOW
        )
        ProviderKey.objects.filter(pk=key.pk).update(status="connected")
        return ProviderKey.objects.select_related("organization").get(pk=key.pk)

    def quirk(self) -> ProviderKey:
        key = self.key()
        ModelQuirk.objects.create(organization=self.organization, key=key, model="m", field="response_format")
        return key

    def replacement(self) -> ProviderKey:
        key = self.key()
        replacement.replace_provider_key(key=key, secret=Secret(PLAINTEXT + "2"), actor=self.actor, now=NOW)
        return key

    def route(self) -> ProviderKey:
        key = self.key()
        routing.save_routing(organization=self.organization, action=CHECK, key=key, model="m", actor=self.actor)
        return key

    def paused_route(self) -> ProviderKey:
        key = self.route()
        rule_settings.pause_routing(organization=self.organization, action=CHECK, actor=self.actor, now=NOW)
        return key

    def agent(self) -> Agent:
        return agents.create_agent(organization=self.organization, name="Bot", actor=self.actor)

    def archived(self, agent: Agent) -> Agent:
        agents.archive_agent(agent=agent, actor=self.actor, now=NOW)
        return agent

    def opened(self, agent: Agent) -> Agent:
        agents.open_managed(
            agent=agent, provider="openai", model="m", calls_a_day=1, nanousd_a_day=10**9, actor=self.actor
        )
        return agent

    def calling_token(self, **access: Any) -> ApiToken:
        return call_access.make_calling_token(
            organization=self.organization,
            name="Calls",
            scopes=[Permission.CALL_AGENTS],
            expires_at=None,
            access=call_access.Access(member=self.actor, **access),
            actor=self.actor,
        ).token

    def direct_key(self) -> ProviderKey:
        key = self.key()
        self.calling_token(direct_keys=[key])
        return key

    def membership(self) -> Membership:
        return Membership.objects.get(user=self.member)

    def api_token(self) -> ApiToken:
        return api_tokens.make_token(
            organization=self.organization, name="ATS", scopes=[Permission.VIEW], expires_at=None, actor=self.actor
        ).token

    def newcomer(self) -> str:
        return User.objects.create_user("newcomer@acme.example", "correct horse battery").email


# Service: (what has to be there, the change, the actions it writes).
SERVICES: dict[str, tuple[Callable[[Change], Any], Callable[[Change, Any], Any], list[str]]] = {
    "organizations.services.add_member": (
        Change.newcomer,
        lambda c, email: members.add_member(organization=c.organization, email=email, role="member", actor=c.actor),
        ["member.added"],
    ),
    "organizations.services.change_role": (
        Change.membership,
        lambda c, row: members.change_role(membership=row, role="admin", actor=c.actor),
        ["member.role_changed"],
    ),
    "organizations.services.remove_member": (
        Change.membership,
        lambda c, row: members.remove_member(membership=row, actor=c.actor),
        ["member.removed"],
    ),
    "organizations.services.set_recency_window": (
        lambda c: None,
        lambda c, _: members.set_recency_window(organization=c.organization, days=60, actor=c.actor),
        ["organization.recency_window_changed"],
    ),
    "organizations.services.set_recency_sharing": (
        lambda c: None,
        lambda c, _: members.set_recency_sharing(organization=c.organization, shares=True, actor=c.actor),
        ["organization.recency_sharing_changed"],
    ),
    "organizations.services.set_members_see_usd": (
        lambda c: None,
        lambda c, _: members.set_members_see_usd(organization=c.organization, sees=False, actor=c.actor),
        ["organization.usd_for_members_changed"],
    ),
    "providers.keys.saving.save_provider_key": (
        lambda c: None,
        lambda c, _: keys.save_provider_key(
            organization=c.organization, provider="openai", secret=Secret(PLAINTEXT), actor=c.actor, now=NOW
        ),
        ["provider_key.saved"],
    ),
    "providers.keys.saving.disable_provider_key": (
        Change.key,
        lambda c, key: keys.disable_provider_key(key=key, actor=c.actor, now=NOW),
        ["provider_key.disabled"],
    ),
    "providers.keys.saving.enable_provider_key": (
        lambda c: keys.disable_provider_key(key=c.key(), actor=c.actor, now=NOW),
        lambda c, key: keys.enable_provider_key(key=key, actor=c.actor),
        ["provider_key.enabled"],
    ),
    "providers.keys.saving.type_proof_model": (
        Change.key,
        lambda c, key: keys.type_proof_model(key=key, model="m", actor=c.actor),
        ["provider_key.model_typed"],
    ),
    "providers.keys.saving.set_own_server": (
        Change.key,
        lambda c, key: keys.set_own_server(key=key, is_own_server=True, actor=c.actor),
        ["provider_key.own_server_changed"],
    ),
    "providers.keys.replacement.replace_provider_key": (
        Change.key,
        lambda c, key: replacement.replace_provider_key(key=key, secret=Secret(PLAINTEXT), actor=c.actor, now=NOW),
        ["provider_key.replacement_saved"],
    ),
    "providers.keys.replacement.discard_replacement": (
        Change.replacement,
        lambda c, key: replacement.discard_replacement(key=key, actor=c.actor),
        ["provider_key.replacement_discarded"],
    ),
    "providers.keys.model_quirks.forget_quirks": (
        Change.quirk,
        lambda c, key: model_quirks.forget_quirks(key=key, actor=c.actor),
        ["provider_key.quirks_forgotten"],
    ),
    "providers.custody.rotation.rotate_organization_key": (
        Change.key,
        lambda c, key: rotation.rotate_organization_key(organization=c.organization, actor=c.actor),
        ["organization_key.rotated"],
    ),
    "organizations.invitations.invite_member": (
        lambda c: None,
        lambda c, _: invitations.invite_member(
            organization=c.organization, email="new@acme.example", role="member", actor=c.actor, now=NOW
        ),
        ["member.invited"],
    ),
    "organizations.api_tokens.make_token": (
        lambda c: None,
        lambda c, _: api_tokens.make_token(
            organization=c.organization, name="ATS", scopes=[Permission.VIEW], expires_at=None, actor=c.actor
        ),
        ["api_token.created"],
    ),
    "organizations.api_tokens.revoke_token": (
        Change.api_token,
        lambda c, token: api_tokens.revoke_token(token=token, actor=c.actor, now=NOW),
        ["api_token.revoked"],
    ),
    "providers.keys.saving.delete_provider_key": (
        Change.key,
        lambda c, key: keys.delete_provider_key(key=key, actor=c.actor),
        ["provider_key.removed"],
    ),
    "providers.keys.validation.request_validation": (
        Change.key,
        lambda c, key: validation.request_validation(key=key, actor=c.actor, now=NOW),
        ["provider_key.validation_requested"],
    ),
    "routing.services.save_routing": (
        Change.key,
        lambda c, key: routing.save_routing(
            organization=c.organization, action=CHECK, key=key, model="m", actor=c.actor
        ),
        ["routing.saved"],
    ),
    "routing.services.reset_routing": (
        Change.route,
        lambda c, _: routing.reset_routing(organization=c.organization, action=CHECK, actor=c.actor),
        ["routing.reset"],
    ),
    "routing.services.remove_provider_key": (
        Change.route,
        lambda c, key: routing.remove_provider_key(key=key, reset_actions=True, actor=c.actor),
        ["routing.reset", "provider_key.removed"],
    ),
    "candidates.briefing_models.choose_model": (
        Change.key,
        lambda c, key: briefing_models.choose_model(
            briefing=write_briefing(c.organization), key=key, model="m", actor=c.actor
        ),
        ["briefing.model_chosen"],
    ),
    "routing.rule_settings.save_rule_settings": (
        Change.route,
        lambda c, _: rule_settings.save_rule_settings(
            organization=c.organization,
            action=CHECK,
            settings=rule_settings.RuleSettings(most_output_tokens=1000),
            actor=c.actor,
        ),
        ["routing.settings_saved"],
    ),
    "routing.rule_settings.pause_routing": (
        Change.route,
        lambda c, _: rule_settings.pause_routing(organization=c.organization, action=CHECK, actor=c.actor, now=NOW),
        ["routing.paused"],
    ),
    "routing.rule_settings.resume_routing": (
        Change.paused_route,
        lambda c, _: rule_settings.resume_routing(organization=c.organization, action=CHECK, actor=c.actor),
        ["routing.resumed"],
    ),
    "routing.agents.create_agent": (
        lambda c: None,
        lambda c, _: agents.create_agent(organization=c.organization, name="Bot", actor=c.actor),
        ["agent.created"],
    ),
    "routing.agents.open_agent": (
        Change.key,
        lambda c, key: agents.open_agent(
            organization=c.organization,
            name="Bot",
            key=key,
            model="m",
            with_token=True,
            token_expires_at=None,
            actor=c.actor,
        ),
        ["agent.created", "routing.saved", "api_token.created", "api_token.calls_allowed"],
    ),
    "routing.agents.edit_agent": (
        Change.agent,
        lambda c, agent: agents.edit_agent(agent=agent, name="Other", description="", actor=c.actor),
        ["agent.edited"],
    ),
    "routing.agents.archive_agent": (
        Change.agent,
        lambda c, agent: agents.archive_agent(agent=agent, actor=c.actor, now=NOW),
        ["agent.archived"],
    ),
    "routing.agents.bring_back_agent": (
        lambda c: c.archived(c.agent()),
        lambda c, agent: agents.bring_back_agent(agent=agent, actor=c.actor),
        ["agent.brought_back"],
    ),
    "routing.agents.open_managed": (
        Change.agent,
        lambda c, agent: c.opened(agent),
        ["agent.managed_opened"],
    ),
    "routing.agents.close_managed": (
        lambda c: c.opened(c.agent()),
        lambda c, agent: agents.close_managed(agent=agent, actor=c.actor),
        ["agent.managed_closed"],
    ),
    "routing.call_access.make_calling_token": (
        Change.agent,
        lambda c, agent: c.calling_token(agents=[agent]),
        ["api_token.created", "api_token.calls_allowed"],
    ),
    "routing.token_edits.edit_token": (
        Change.api_token,
        lambda c, token: token_edits.edit_token(
            token=token, name="Other", expires_at=None, access=None, actor=c.actor, now=NOW
        ),
        ["api_token.edited"],
    ),
    "routing.call_access.forget_direct_key": (
        Change.direct_key,
        lambda c, key: call_access.forget_direct_key(key=key, actor=c.actor),
        ["api_token.direct_key_removed"],
    ),
    "billing.ledger.grant_credits": (
        lambda c: None,
        lambda c, _: ledger.grant_credits(
            organization=c.organization, amount=5, reason="Promised", idempotency_key="once", actor=c.actor
        ),
        ["credits.granted"],
    ),
    "billing.ledger.adjust_credits": (
        lambda c: None,
        lambda c, _: ledger.adjust_credits(
            organization=c.organization, amount=5, reason="Mended", idempotency_key="once", actor=c.actor
        ),
        ["credits.adjusted"],
    ),
}
# Public functions of the same modules that write no audit event, and why.
SILENT = {
    "organizations.api_tokens.is_vouched_for": "reads",
    "organizations.api_tokens.use_token": "a time",
    "organizations.api_tokens.note_used": "a time",
    "organizations.api_tokens.digest_of": "reads",
    "organizations.api_tokens.refuse_ended": "reads",
    "organizations.api_tokens.refuse_unvouched": "reads",
    "organizations.services.assignable_roles": "reads",
    "organizations.services.is_last_owner": "reads",
    "organizations.services.member_parts": "reads",
    "organizations.services.recency_parts": "reads",
    "organizations.services.lock_members": "locks",
    "organizations.services.check_may_give": "reads",
    "organizations.services.changeable_roles": "reads",
    "organizations.services.last_owner_of": "reads, and locks",
    "providers.keys.saving.locked": "reads",
    "providers.keys.saving.proof_parts": "reads",
    "providers.keys.saving.target_of": "words",
    "routing.agents.agent_parts": "reads",
    "routing.agents.proposed_slug": "reads",
    "organizations.api_tokens.refuse_beyond": "reads",
    "organizations.api_tokens.refuse_taken_name": "reads",
    "routing.call_access.check_access": "reads",
    "routing.call_access.told_of": "reads",
    "routing.call_access.store_access": "recorded by whoever gives the token that access",
    "routing.token_edits.access_of": "reads",
    "routing.token_edits.refuse_fixed": "reads",
    "routing.token_edits.token_parts": "reads",
    "routing.call_access.left_out": "reads",
    "routing.call_access.count_tokens_calling": "reads",
    "routing.call_access.tokens_calling": "reads",
    "routing.call_access.tokens_calling_with": "reads",
    "routing.call_access.words_of": "reads",
    "routing.rule_settings.settings_of": "reads",
    "routing.rule_settings.words_of_settings": "words",
    "routing.services.lock_keys": "locks",
    "routing.services.lock_routes": "locks",
    "routing.services.route_parts": "reads",
    "providers.keys.saving.keys_with_secret": "reads",
    "providers.keys.saving.close_validations": "a part of what the others record",
    "providers.keys.replacement.take_over": "a part of a validation, which records it",
    "providers.custody.rotation.rotate_master_key": "the installation's; no organization's",
    "providers.keys.saving.record_change": "writes the event for the others",
    "providers.keys.model_quirks.quirks_of": "reads",
    "providers.keys.model_quirks.quirk_lines": "reads",
    "providers.keys.model_quirks.remember_quirks": "what a server refuses; a call learns it",
    "providers.keys.validation.validate_key": "what a provider says; asking for it was audited",
    "providers.keys.validation.validate_due_keys": "asks by the clock; requests are audited one by one",
    "providers.keys.validation.requeue_validations": "asks again for what was audited",
    "providers.keys.validation.forget_old_validations": "what providers said; asking for it was audited",
    "providers.keys.validation.mark_key_refused": "what a provider says",
    "providers.keys.validation.note_keys_used": "a time",
    "routing.services.ensure_managed_defaults": "sets up the installation",
    "routing.services.uses_of": "reads",
    "routing.services.lock_chosen_key": "locks",
    "routing.services.check_allowed": "reads",
    "candidates.briefing_models.has_served": "reads",
    "candidates.briefing_models.model_parts": "reads",
    "candidates.briefing_models.newest": "reads",
    "candidates.briefing_models.served_by": "reads",
    "candidates.briefing_models.move": "choose_model, which records it",
    "billing.ledger.counted": "words",
    "billing.ledger.open_account": "an empty account",
    "billing.ledger.balance": "reads",
    "billing.ledger.hold_credits": "checks spend credits: each stands in the ledger, append-only as well",
    "billing.ledger.capture_hold": "as hold_credits",
    "billing.ledger.capture_holds": "as hold_credits",
    "billing.ledger.release_hold": "as hold_credits",
    "billing.ledger.release_holds": "as hold_credits",
}
MODULES = [
    "organizations.api_tokens",
    "organizations.services",
    "providers.keys.saving",
    "providers.keys.model_quirks",
    "providers.keys.replacement",
    "providers.custody.rotation",
    "providers.keys.validation",
    "routing.services",
    "routing.agents",
    "routing.call_access",
    "routing.token_edits",
    "routing.rule_settings",
    "billing.ledger",
    "candidates.briefing_models",
]


@pytest.mark.parametrize("name", SERVICES)
def test_a_change_writes_its_audit_event_with_who_did_it_and_no_secret(acme, alice, bob, settings, monkeypatch, name):
    monkeypatch.setattr(validation, "_queue", lambda *_: None)
    settings.KEYFARE_NETWORK_RECENCY = True
    prepare, act, actions = SERVICES[name]
    change = Change(acme, alice, bob)
    prepared = prepare(change)
    before = AuditEvent.objects.count()

    act(change, prepared)

    events = list(AuditEvent.objects.for_organization(acme).order_by("seq"))[before:]
    assert [event.action for event in events] == actions
    assert {event.actor for event in events} == {alice}
    assert PLAINTEXT[:-4] not in json.dumps([[event.target, event.details] for event in events])
    assert verify_audit(organization=acme).problem == ""


@pytest.mark.parametrize("module", MODULES)
def test_no_service_is_without_a_declared_audit_event(module):
    public = {
        f"{module}.{name}"
        for name, function in inspect.getmembers(import_module(module), inspect.isfunction)
        if function.__module__ == module and not name.startswith("_")
    }

    assert public - SERVICES.keys() - SILENT.keys() == set(), "add it to SERVICES, or to SILENT with the reason"


def test_opening_an_organization_and_its_trial_credits_are_audited(db, alice):
    organization = open_organization(name="Initech", slug="initech", owner=alice)

    events = AuditEvent.objects.for_organization(organization).order_by("seq")
    assert list(events.values_list("action", flat=True)) == ["organization.opened", "credits.granted"]


def test_a_change_that_changes_nothing_writes_nothing(acme, alice, bob):
    change = Change(acme, alice, bob)
    key = change.route()
    before = AuditEvent.objects.count()

    members.change_role(membership=change.membership(), role="member", actor=alice)
    members.set_recency_window(organization=acme, days=30, actor=alice)
    members.set_recency_sharing(organization=acme, shares=False, actor=alice)
    members.set_members_see_usd(organization=acme, sees=True, actor=alice)
    routing.save_routing(organization=acme, action=CHECK, key=key, model="m", actor=alice)
    routing.reset_routing(organization=acme, action="requirement_generation", actor=alice)

    assert AuditEvent.objects.count() == before


def test_rights_that_staff_give_are_in_the_log_of_the_platform(as_staff: Client, staff, bob):
    platform = ensure_platform()
    rights = {"is_active": "on", "is_staff": "on"}

    response = as_staff.post(
        f"/admin/organizations/user/{bob.pk}/change/",
        {
            "email": bob.email,
            "name": bob.name,
            **rights,
            "memberships-TOTAL_FORMS": 0,
            "memberships-INITIAL_FORMS": 0,
        },
    )

    assert response.status_code == 302
    event = AuditEvent.objects.for_organization(platform).get()
    assert (event.action, event.target, event.actor) == ("user.rights_changed", bob.email, staff)
    assert event.details["fields"] == "is_staff"
    assert event.details["is_staff"] is True


def test_a_person_added_without_rights_is_not_in_the_log_of_the_platform(as_staff: Client, staff):
    platform = ensure_platform()
    password = uuid4().hex

    as_staff.post(
        "/admin/organizations/user/add/",
        {"email": "new@keyfare.example", "name": "New", "password1": password, "password2": password},
    )

    assert User.objects.filter(email="new@keyfare.example").exists()
    assert not AuditEvent.objects.for_organization(platform).exists()  # no rights were given yet
