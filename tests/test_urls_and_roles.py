"""
Every URL of the project × method × role, with the ids of one organization, Acme.

A URL that stands in none of the tables below fails the first test: say there who may do what with it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.core import serializers
from django.db import models, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from candidates.acceptance import accept_checks
from candidates.models import Briefing, Candidate, CandidateCheck
from candidates.search import note_words
from candidates.trials import request_trial, run_trial
from candidates.worker import run_pending_checks
from organizations import audit
from organizations.api_tokens import make_token
from organizations.invitations import invite_member
from organizations.models import ApiToken, Membership, Organization
from organizations.permissions import API_SCOPES, PERMISSIONS, Permission
from providers.models import ProviderKey
from routing.agents import create_agent
from routing.call_access import Access, make_calling_token
from routing.models import ModelNotice
from routing.services import save_routing
from tests.builders import give_credits, import_people, route_to_own_key, write_briefing
from tests.conftest import logged_in
from usage.models import Anomaly, UsageEvent
from usage.saved_views import save_view

Role = Membership.Role
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SAFE = frozenset({"GET", "HEAD"})
GET = frozenset({"GET"})
POST = frozenset({"POST"})
FORM = frozenset({"GET", "POST"})

# Who may what, said here anew: the code's own table is what is tested.
EVERYBODY, MANAGERS, OWNERS = set(Role), {Role.OWNER, Role.ADMIN}, {Role.OWNER}
ROLES: dict[Permission, set[Membership.Role]] = {
    Permission.VIEW: EVERYBODY,
    Permission.CHECK_CANDIDATES: EVERYBODY,
    Permission.MANAGE_KEYS: MANAGERS,
    Permission.MANAGE_ROUTING: MANAGERS,
    Permission.MANAGE_SETTINGS: MANAGERS,
    Permission.SHARE_RECENCY: OWNERS,
    Permission.SHOW_USD: OWNERS,
    Permission.MANAGE_MEMBERS: MANAGERS,
    Permission.MANAGE_API_TOKENS: MANAGERS,
    Permission.MANAGE_WEBHOOK: OWNERS,
    Permission.CALL_AGENTS: EVERYBODY,
}

# Under /o/<slug>/: the permission it takes, and the methods it answers.
OF_AN_ORGANIZATION: dict[str, tuple[Permission, frozenset[str]]] = {
    "overview": (Permission.VIEW, SAFE),
    "failed-checks": (Permission.VIEW, POST),
    "settings": (Permission.VIEW, SAFE),
    "settings-section": (Permission.VIEW, SAFE),
    "credits": (Permission.VIEW, SAFE),
    "guide-checks": (Permission.VIEW, SAFE),
    "guide-byok": (Permission.VIEW, SAFE),
    "guide-api": (Permission.VIEW, SAFE),
    "guide-exports": (Permission.VIEW, SAFE),
    "organizations:members": (Permission.VIEW, SAFE),
    "organizations:invite": (Permission.MANAGE_MEMBERS, POST),
    "organizations:send-invitation-again": (Permission.MANAGE_MEMBERS, POST),
    "organizations:withdraw-invitation": (Permission.MANAGE_MEMBERS, POST),
    "organizations:change-role": (Permission.MANAGE_MEMBERS, POST),
    "organizations:remove-member": (Permission.MANAGE_MEMBERS, FORM),
    "organizations:leave": (Permission.VIEW, FORM),
    "routing:api-tokens": (Permission.MANAGE_API_TOKENS, SAFE),
    "routing:make-api-token": (Permission.MANAGE_API_TOKENS, POST),
    "routing:edit-api-token": (Permission.MANAGE_API_TOKENS, FORM),
    "routing:revoke-api-token": (Permission.MANAGE_API_TOKENS, FORM),
    "organizations:audit": (Permission.MANAGE_MEMBERS, SAFE),
    "organizations:recency-window": (Permission.MANAGE_SETTINGS, POST),
    "organizations:members-see-usd": (Permission.SHOW_USD, POST),
    "organizations:recency-sharing": (Permission.SHARE_RECENCY, POST),
    "consumption": (Permission.VIEW, SAFE),
    "save-view": (Permission.VIEW, POST),
    "delete-view": (Permission.VIEW, POST),
    "calls": (Permission.VIEW, SAFE),
    "runs": (Permission.VIEW, SAFE),
    "calls-of-before": (Permission.VIEW, SAFE),
    "call-of-before": (Permission.VIEW, SAFE),
    "anatomy": (Permission.VIEW, SAFE),
    "export": (Permission.VIEW, SAFE),
    "export-file": (Permission.VIEW, SAFE),
    "call": (Permission.VIEW, SAFE),
    "anomalies": (Permission.VIEW, SAFE),
    "expect-anomaly": (Permission.MANAGE_SETTINGS, POST),
    "raise-anomaly": (Permission.MANAGE_SETTINGS, POST),
    "anomaly-webhook": (Permission.MANAGE_WEBHOOK, POST),
    "remove-anomaly-webhook": (Permission.MANAGE_WEBHOOK, POST),
    "providers:save": (Permission.MANAGE_KEYS, POST),
    "providers:replace": (Permission.MANAGE_KEYS, FORM),
    "providers:validate": (Permission.MANAGE_KEYS, POST),
    "providers:prove": (Permission.MANAGE_KEYS, POST),
    "providers:own-server": (Permission.MANAGE_KEYS, POST),
    "providers:disable": (Permission.MANAGE_KEYS, POST),
    "providers:enable": (Permission.MANAGE_KEYS, POST),
    "providers:validate-replacement": (Permission.MANAGE_KEYS, POST),
    "providers:discard-replacement": (Permission.MANAGE_KEYS, POST),
    "providers:rotate-organization-key": (Permission.MANAGE_KEYS, FORM),
    "providers:status": (Permission.VIEW, GET),
    "providers:models": (Permission.VIEW, GET),
    "providers:forget-quirks": (Permission.MANAGE_KEYS, POST),
    "routing:table": (Permission.VIEW, GET),
    "routing:save": (Permission.MANAGE_ROUTING, POST),
    "routing:model-field": (Permission.MANAGE_ROUTING, GET),
    "routing:estimate": (Permission.MANAGE_ROUTING, GET),
    "routing:reset": (Permission.MANAGE_ROUTING, POST),
    "routing:rule": (Permission.VIEW, SAFE),
    "routing:save-rule": (Permission.MANAGE_ROUTING, POST),
    "routing:pause": (Permission.MANAGE_ROUTING, POST),
    "routing:resume": (Permission.MANAGE_ROUTING, POST),
    "routing:models": (Permission.VIEW, SAFE),
    "routing:provider-models": (Permission.VIEW, SAFE),
    "forecast": (Permission.VIEW, SAFE),
    "routing:read-notice": (Permission.MANAGE_ROUTING, POST),
    "routing:what-if": (Permission.VIEW, SAFE),
    "routing:agents": (Permission.VIEW, SAFE),
    "routing:new-agent": (Permission.MANAGE_ROUTING, FORM),
    "routing:agent": (Permission.VIEW, SAFE),
    "routing:edit-agent": (Permission.MANAGE_ROUTING, POST),
    "routing:route-agent": (Permission.MANAGE_ROUTING, POST),
    "routing:archive-agent": (Permission.MANAGE_ROUTING, FORM),
    "routing:bring-back-agent": (Permission.MANAGE_ROUTING, POST),
    "routing:use-key": (Permission.MANAGE_ROUTING, FORM),
    "routing:remove-key": (Permission.MANAGE_KEYS, FORM),
    "candidates:list": (Permission.VIEW, GET),
    "candidates:import": (Permission.CHECK_CANDIDATES, FORM),
    "candidates:detail": (Permission.VIEW, GET),
    "candidates:briefings": (Permission.VIEW, GET),
    "candidates:briefing-new": (Permission.CHECK_CANDIDATES, FORM),
    "candidates:briefing": (Permission.CHECK_CANDIDATES, FORM),
    "candidates:briefing-draft": (Permission.CHECK_CANDIDATES, POST),
    "candidates:briefing-version": (Permission.CHECK_CANDIDATES, POST),
    "candidates:briefing-model": (Permission.MANAGE_ROUTING, FORM),
    "candidates:briefing-archive": (Permission.CHECK_CANDIDATES, POST),
    "candidates:briefing-bring-back": (Permission.CHECK_CANDIDATES, POST),
    "candidates:briefing-delete": (Permission.CHECK_CANDIDATES, FORM),
    "candidates:quote": (Permission.CHECK_CANDIDATES, POST),
    "candidates:run": (Permission.CHECK_CANDIDATES, POST),
    "candidates:progress": (Permission.VIEW, GET),
    "candidates:trials": (Permission.MANAGE_ROUTING, FORM),
    "candidates:trial": (Permission.VIEW, GET),
    "candidates:advisor": (Permission.VIEW, GET),
    "candidates:checks": (Permission.VIEW, GET),
    "candidates:check": (Permission.VIEW, GET),
    "candidates:check-again": (Permission.CHECK_CANDIDATES, POST),
}

# Under /api/: by API token alone. The methods that each answers, and the permission they take; None: for everybody.
API: dict[str, dict[str, Permission | None]] = {
    "api:openapi-json": {"GET": None, "HEAD": None},
    "api:api-root": {},
    "api:candidate-checks": {"POST": Permission.CHECK_CANDIDATES},
    "api:candidate-check": {"GET": Permission.VIEW},
    "api:call": {"GET": Permission.VIEW},
    "api:export": {"GET": Permission.VIEW},
}

# Of a person, whatever the organization: who is not logged in goes to the login page.
OF_A_PERSON = frozenset(
    {
        "home",
        "current-settings",
        "current-settings-section",
        "account_reauthenticate",
        "account_email",
        "account_change_password",
        "account_set_password",
        "mfa_index",
        "mfa_activate_totp",
        "mfa_deactivate_totp",
        "mfa_view_recovery_codes",
        "mfa_generate_recovery_codes",
        "mfa_download_recovery_codes",
        "mfa_reauthenticate",
        "mfa_reauthenticate_webauthn",
        "mfa_list_webauthn",
        "mfa_add_webauthn",
        "mfa_edit_webauthn",
        "mfa_remove_webauthn",
    }
)

# For everybody, and the same for everybody.
PUBLIC = frozenset(
    {
        "account_login",
        "account_logout",
        "account_inactive",
        "account_signup",
        "account_email_verification_sent",
        "account_reset_password",
        "account_confirm_login_code",
        "account_confirm_email",
        "account_reset_password_from_key_done",
        "account_reset_password_from_key",
        "account_reset_password_done",
        "invitation",
        "accept-invitation",  # 410 without a link that was followed before
        "email-change",
        "answer-email-change",  # as accept-invitation
        "mfa_authenticate",
        "mfa_login_webauthn",
    }
)

# Under /admin/, one rule for all: staff only. These alone answer others.
ADMIN_DOORS = frozenset({"admin:login"})

SECRET = "Zanzibar"  # in whatever Acme wrote; nobody else may ever read it
ABSENT_UUID = uuid.UUID(int=2**127 + 1)
ABSENT_ID = 987_654_321
FOREIGN_UUID_ARGUMENTS = {
    "uidb36": "zz",
    "key": "nobody-s-key",
    "token": "nobody-s-token",
    "pk": "987654321",
    "section": "llm-routing",
}


@dataclass(frozen=True, slots=True)
class Url:
    name: str
    route: str
    arguments: tuple[str, ...]
    view: Callable[..., HttpResponse]

    def address(self, values: Mapping[str, object]) -> str:
        return reverse(self.name, kwargs={each: values[each] for each in self.arguments})


def _walk(resolver: URLResolver, route: str = "", namespace: str = "") -> Iterator[Url]:
    for each in resolver.url_patterns:
        here = route + str(each.pattern)
        if isinstance(each, URLPattern):
            arguments = tuple(_names(each)) + tuple(re.findall(r"<(?:\w+:)?(\w+)>", route))
            yield Url(namespace + (each.name or ""), here, arguments, each.callback)
        else:
            yield from _walk(each, here, namespace + (f"{each.namespace}:" if each.namespace else ""))


def _names(pattern: URLPattern) -> list[str]:
    converters = getattr(pattern.pattern, "converters", None)
    return list(converters) if converters else list(pattern.pattern.regex.groupindex)


URLS = list(_walk(get_resolver()))
ADMIN_URLS = [url for url in URLS if url.route.startswith("admin/")]
ORGANIZATION_URLS = [url for url in URLS if url.route.startswith("o/<slug:slug>/")]
API_URLS = [url for url in URLS if url.route.startswith("api/")]
OTHER_URLS = [url for url in URLS if url not in ADMIN_URLS + ORGANIZATION_URLS + API_URLS]


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organization with something in every one of its tables, and the ids under which URLs name it."""

    organization: Organization
    ids: dict[str, object]


def tenant(organization: Organization, word: str, *, member: Membership) -> Tenant:
    give_credits(organization, 100)
    key = route_to_own_key(organization)
    ProviderKey.objects.filter(pk=key.pk).update(label=f"{word} key")
    (person, waiting) = import_people(organization, f"{word} writes Django.", f"{word} waits.")
    type(person).objects.filter(organization=organization).update(headline=f"{word} engineer")
    note_words(organization=organization, candidates=list(type(person).objects.filter(organization=organization)))
    briefing = write_briefing(organization, (f"{word} Django", "must"), title=f"{word} briefing")
    (check,) = _accept(briefing, person)
    run_pending_checks(organization_id=organization.pk)
    trial = request_trial(
        briefing=briefing,
        checks=[check],
        key=key,
        model="openai/gpt-4.1-mini",
        actor=None,
        now=timezone.now(),
        agreed_nanousd=None,
    )
    run_trial(trial.pk)
    _accept(briefing, waiting)
    audit.record(organization=organization, actor=None, action="test.noted", target=word)
    invitation = invite_member(
        organization=organization,
        email=f"{word.lower()}@new.example",
        role=Role.MEMBER,
        actor=Membership.objects.filter(organization=organization, role=Role.OWNER)[0].user,
        now=timezone.now(),
    ).invitation
    api_token = token(organization, name=f"{word} token")
    agent = create_agent(organization=organization, name=f"{word} agent", actor=None)
    save_routing(organization=organization, action=agent.slug, key=key, model="openai/gpt-4.1-mini", actor=None)
    ModelNotice.objects.create(
        organization=organization,
        kind=ModelNotice.Kind.CHEAPER,
        action="candidate_check",
        provider="openrouter",
        model=f"{word}/cheaper",
        detail={"as_of": "2026-11-21", "nanousd": 1, "cost_nanousd": 9, "least_percent": 80, "most_percent": 90},
        noted_at=timezone.now(),
    )
    owner = Membership.objects.filter(organization=organization, role=Role.OWNER)[0].user
    make_calling_token(
        organization=organization,
        name=f"{word} calls",
        scopes=[Permission.CALL_AGENTS],
        expires_at=None,
        access=Access(member=owner, agents=[agent], direct_keys=[key], allowed_models=["openrouter"]),
        actor=owner,
    )
    anomaly = Anomaly.objects.create(
        organization=organization, kind="new_model", action="candidate_check", mode="byok", subject=f"openai/{word}",
        since=timezone.now(), seen_at=timezone.now(), found_at=timezone.now(), hours=24, usual=0, found=10,
    )  # fmt: skip
    return Tenant(
        organization,
        {
            "slug": organization.slug,
            "anomaly_id": anomaly.pk,
            "membership_id": member.pk,
            "invitation_id": invitation.pk,
            "token_id": ApiToken.objects.get(prefix=api_token[3:11]).pk,
            "provider": "openrouter",
            "section": "llm-providers",
            "key_id": key.pk,
            "action": "candidate_check",
            "agent": agent.slug,
            "candidate_id": person.pk,
            "briefing_id": briefing.pk,
            "check_id": check.pk,
            "trial_id": trial.pk,
            "view_id": save_view(
                membership=Membership.objects.filter(organization=organization, role=Role.OWNER)[0],
                name=f"{word} view",
                query="metric=calls",
                is_shared=True,
                now=timezone.now(),
            ).pk,
            "format": "csv",
            "call_id": UsageEvent.objects.filter(organization=organization, run_id=check.run_id)[0].call_id,
        },
    )


def token(organization: Organization, *, name: str, scopes: Collection[Permission] = tuple(API_SCOPES)) -> str:
    """A token that the organization's owner makes."""
    owner = Membership.objects.filter(organization=organization, role=Role.OWNER)[0].user
    made = make_token(organization=organization, name=name, scopes=scopes, expires_at=None, actor=owner)
    return made.value


def _accept(briefing: Briefing, person: Candidate) -> list[CandidateCheck]:
    return accept_checks(
        organization=briefing.organization, briefing=briefing, candidates=[person], actor=None, now=timezone.now()
    ).checks


@pytest.fixture
def world(acme, globex, alice, ada, bob, charlie, simulated_providers) -> Tenant:
    acme_tenant = tenant(acme, SECRET, member=Membership.objects.get(user=bob))
    assert CandidateCheck.objects.get(pk=str(acme_tenant.ids["check_id"])).status == CandidateCheck.Status.COMPLETED
    return acme_tenant


@pytest.fixture
def strangers_own(globex, charlie, world) -> Tenant:
    return tenant(globex, "Globex", member=Membership.objects.get(user=charlie))


def ask(client: Client, method: str, address: str, data: Any = None) -> HttpResponse:
    """One request whose effects on the database are taken back."""
    client.cookies.pop("messages", None)  # of the request before
    with transaction.atomic():
        if method in ("GET", "HEAD", "POST"):
            response = getattr(client, method.lower())(address, data)
        else:
            response = client.generic(method, address)
        transaction.set_rollback(True)
    assert response.status_code < 500, (method, address)
    return response


def seen(response: HttpResponse, *asked: object) -> tuple[int, str, list[str], str]:
    """All that an answer tells, apart from clock, one-time tokens and the ids `asked` for, which the person sent."""
    text = re.sub(r'name="(csrfmiddlewaretoken|once)" value="\w+"', "", response.content.decode())
    headers = str(sorted(each for each in response.headers.items() if each[0] not in ("Content-Length", "Expires")))
    for value in sorted(map(str, asked), key=len, reverse=True):
        text, headers = text.replace(value, "…"), headers.replace(value, "…")
    return response.status_code, headers, sorted(response.cookies), text


def contents(organization: Organization) -> str:
    """Every row of the organization in every tenant table."""
    rows: list[models.Model] = []
    for model in apps.get_models():
        if any(field.name == "organization" for field in model._meta.fields):
            rows += model._default_manager.filter(organization=organization).order_by("pk")
    return serializers.serialize("json", rows)


# The tables above ---------------------------------------------------------------------------------------


def test_every_url_has_a_declared_expectation():
    declared = set(OF_AN_ORGANIZATION) | OF_A_PERSON | PUBLIC | set(API)
    known = {url.name for url in ORGANIZATION_URLS + OTHER_URLS + API_URLS}

    assert known - declared == set(), "Say at the top of this file who may do what with these."
    assert declared - known == set(), "These are gone."


def test_every_page_of_an_organization_names_the_permission_it_takes():
    named = {url.name: getattr(url.view, "permission", None) for url in ORGANIZATION_URLS}

    assert named == {name: permission for name, (permission, _) in OF_AN_ORGANIZATION.items()}


def test_everything_that_takes_an_organization_lies_under_its_address():
    assert [url.route for url in OTHER_URLS if "slug" in url.arguments] == []
    assert [url.route for url in OTHER_URLS if hasattr(url.view, "permission")] == []


def test_each_role_may_what_it_is_said_to_and_nothing_else():
    assert PERMISSIONS == ROLES


# Roles --------------------------------------------------------------------------------------------------


def test_who_is_not_logged_in_goes_to_the_login_page(world):
    client = Client()
    wrong = []
    for url in ORGANIZATION_URLS:
        address = url.address(world.ids)
        for method in METHODS:
            response = ask(client, method, address)
            if response.status_code != 302 or not response["Location"].startswith(reverse("account_login")):
                wrong.append((url.name, method, response.status_code))
    assert wrong == []


@pytest.mark.parametrize("role", list(Role))
def test_members_may_what_their_role_allows_and_nothing_else(world, alice, ada, bob, role):
    client = logged_in({Role.OWNER: alice, Role.ADMIN: ada, Role.MEMBER: bob}[role])
    wrong = []
    for url in ORGANIZATION_URLS:
        permission, methods = OF_AN_ORGANIZATION[url.name]
        for method in METHODS:
            status = ask(client, method, url.address(world.ids)).status_code
            if role not in ROLES[permission]:
                expected: tuple[int, ...] = (403,)
            elif method in methods:
                expected = (200, 204, 301, 302, 422, *((404,) if url.name == "routing:model-field" else ()))
            else:
                expected = (405,)
            if status not in expected:
                wrong.append((url.name, method, status, expected))
    assert wrong == []


def test_a_stranger_cannot_tell_an_organization_from_one_that_is_absent(world, strangers_own, charlie):
    client = logged_in(charlie)
    before = contents(world.organization)
    wrong = []
    for url in ORGANIZATION_URLS:
        absent = ask(client, "GET", url.address({**world.ids, "slug": "no-such-organization"}))
        for method in METHODS:
            here = ask(client, method, url.address(world.ids))
            is_same = seen(here) == seen(absent) or (method == "HEAD" and not here.content)
            if here.status_code != 404 or not is_same or SECRET in here.content.decode():
                wrong.append((url.name, method, here.status_code))
    assert wrong == []
    assert contents(world.organization) == before


def test_ids_of_another_organization_are_as_absent_under_ones_own_address(world, strangers_own, charlie):
    """The stranger asks under the own organization's address, with one id of Acme's or one that nothing has."""
    client = logged_in(charlie)
    absent = {
        "membership_id": ABSENT_ID,
        "token_id": ABSENT_ID,
        "key_id": ABSENT_UUID,
        "agent": "no-such-agent",
        "candidate_id": ABSENT_ID,
        "briefing_id": ABSENT_ID,
        "check_id": ABSENT_UUID,
        "call_id": ABSENT_UUID,
        "view_id": ABSENT_ID,
    }
    wrong, asked = [], 0
    for url in ORGANIZATION_URLS:
        for argument in absent.keys() & set(url.arguments):
            for method in METHODS:
                theirs, nobodys = world.ids[argument], absent[argument]
                foreign = ask(client, method, url.address({**strangers_own.ids, argument: theirs}))
                missing = ask(client, method, url.address({**strangers_own.ids, argument: nobodys}))
                asked += 1
                answers_at_all = foreign.status_code == 404 or method not in OF_AN_ORGANIZATION[url.name][1]
                if not answers_at_all or seen(foreign, theirs, nobodys) != seen(missing, theirs, nobodys):
                    wrong.append((url.name, method, argument, foreign.status_code))
    assert wrong == []
    assert asked >= 15 * len(METHODS)


def test_a_closed_organization_is_as_absent_to_its_own_people(world, alice):
    Organization.objects.filter(pk=world.organization.pk).update(closed_at=timezone.now())
    client = logged_in(alice)

    for url in ORGANIZATION_URLS:
        here = ask(client, "GET", url.address(world.ids))
        absent = ask(client, "GET", url.address({**world.ids, "slug": "no-such-organization"}))
        assert (here.status_code, seen(here)) == (404, seen(absent)), url.name


@pytest.mark.parametrize("permission", list(Permission))
def test_every_post_needs_its_csrf_token(world, alice, permission):
    client = logged_in(alice)
    client.handler.enforce_csrf_checks = True

    for url in ORGANIZATION_URLS:
        wanted, methods = OF_AN_ORGANIZATION[url.name]
        if wanted == permission and "POST" in methods:
            assert ask(client, "POST", url.address(world.ids)).status_code == 403, url.name


# What is not of an organization ---------------------------------------------------------------------------


def test_pages_of_a_person_send_others_to_the_login_page_and_show_nothing_of_other_organizations(world, charlie):
    anonymous, stranger = Client(), logged_in(charlie)
    for url in OTHER_URLS:
        address = url.address(FOREIGN_UUID_ARGUMENTS)
        for method in ("GET", "HEAD", "POST"):
            response = ask(anonymous, method, address)
            if url.name in OF_A_PERSON:
                assert response.status_code in (302, 405), (url.name, method)
                if response.status_code == 302:
                    assert response["Location"].startswith(reverse("account_login")), (url.name, method)
            assert SECRET not in response.content.decode(), (url.name, method)
            if url.name != "account_logout":
                assert SECRET not in ask(stranger, method, address).content.decode(), (url.name, method)


@pytest.mark.parametrize("who", ["anonymous", "owner"])
def test_the_admin_is_for_staff_only(world, alice, who):
    client = Client() if who == "anonymous" else logged_in(alice)
    ids = {"object_id": "1", "id": "1", "content_type_id": "1", "app_label": "providers", "url": "nothing/"}
    ids["key_id"] = str(world.ids["key_id"])
    asked = 0
    for url in ADMIN_URLS:
        if url.name in ADMIN_DOORS:
            continue
        address = "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda argument: ids[argument[1]], _plain(url.route))
        for method in ("GET", "POST"):
            response = ask(client, method, address)
            assert response.status_code in (302, 403, 404), (address, method)
            assert SECRET not in response.content.decode(), (address, method)
            asked += 1
    assert asked > 200


def _plain(route: str) -> str:
    """A route in which regular expressions are written like the others."""
    return re.sub(r"\(\?P(<\w+>)[^)]*\)", r"\1", route).replace("^", "").replace("$", "")


# Ids in bodies and query strings --------------------------------------------------------------------------

KEY, CANDIDATE, BRIEFING, EVENT, RUN, MEMBER, REQUIREMENT = (
    "key",
    "candidate",
    "briefing",
    "event",
    "run",
    "member",
    "requirement",
)
# URL name, method, which of Acme's ids, and the form or query with `{}` where it goes.
SMUGGLED: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("routing:table", "GET", KEY, {"candidate_check-key": "{}", "candidate_check-model": "openai/gpt-4.1-mini"}),
    ("routing:model-field", "GET", KEY, {"candidate_check-key": "{}"}),
    ("routing:save", "POST", KEY, {"candidate_check-key": "{}", "candidate_check-model": "openai/gpt-4.1-mini"}),
    ("routing:reset", "POST", KEY, {"requirement_generation-key": "{}"}),
    ("candidates:briefing", "GET", CANDIDATE, {"tab": "candidates", "candidates": "{}", "shown": "{}", "show": "all"}),
    ("candidates:quote", "POST", CANDIDATE, {"candidates": "{}", "shown": "{}", "show": "all"}),
    ("candidates:run", "POST", CANDIDATE, {"candidates": "{}", "show": "all", "agreed": "4", "count": "1"}),
    ("calls", "GET", EVENT, {"before": "{}"}),
    ("calls", "GET", RUN, {"run": "{}"}),
    ("anatomy", "GET", RUN, {"run": "{}"}),
    ("candidates:checks", "GET", BRIEFING, {"briefing": "{}"}),
    ("organizations:members", "GET", MEMBER, {"member": "{}"}),
    (
        "candidates:briefing",
        "POST",
        REQUIREMENT,
        {
            "title": "Renamed",
            "requirements-TOTAL_FORMS": "1",
            "requirements-INITIAL_FORMS": "0",
            "requirements-0-id": "{}",
            "requirements-0-text": "Mine now",
            "requirements-0-kind": "must",
            "requirements-0-weight": "1",
        },
    ),
)


@pytest.mark.parametrize("htmx", [False, True], ids=["page", "fragment"])
def test_ids_of_another_organization_in_bodies_and_queries_are_as_absent(world, strangers_own, charlie, htmx):
    client = logged_in(charlie)
    if htmx:
        client.defaults["HTTP_HX_REQUEST"] = "true"
    event = UsageEvent.objects.filter(organization=world.organization).latest("pk")
    check = CandidateCheck.objects.get(pk=str(world.ids["check_id"]))
    theirs = {
        KEY: world.ids["key_id"],
        CANDIDATE: world.ids["candidate_id"],
        BRIEFING: world.ids["briefing_id"],
        EVENT: event.pk,
        RUN: event.run_id,
        MEMBER: world.ids["membership_id"],
        REQUIREMENT: check.verdicts.get().requirement_id,
    }
    before = contents(world.organization)
    for name, method, kind, form in SMUGGLED:
        address = next(url for url in ORGANIZATION_URLS if url.name == name).address(strangers_own.ids)
        nobodys = ABSENT_UUID if isinstance(theirs[kind], uuid.UUID) else ABSENT_ID
        foreign, missing = (
            ask(client, method, address, {field: value.format(each) for field, value in form.items()})
            for each in (theirs[kind], nobodys)
        )
        assert SECRET not in foreign.content.decode(), (name, kind)
        asked = (theirs[kind], nobodys)
        assert seen(foreign, *asked) == seen(missing, *asked), (name, kind)
    assert contents(world.organization) == before


@pytest.mark.parametrize(
    "name", ["candidates:list", "consumption", "calls", "runs", "candidates:briefings", "candidates:checks", "credits"]
)
def test_searches_filters_and_pages_find_nothing_of_another_organization(world, strangers_own, charlie, name):
    client = logged_in(charlie)
    address = reverse(name, args=["globex"])

    for query in (
        {"q": SECRET},
        {"q": "engineer"},
        {"provider": "openrouter"},
        {"model": "gpt"},
        {"status": "answered"},
        {"show": "granted"},
        {"page": "2"},
        {"organization": str(world.organization.pk), "organization_id": str(world.organization.pk)},
    ):
        text = ask(client, "GET", address, query).content.decode()
        assert f"{SECRET} " not in text, query


def test_fields_that_no_form_has_change_nothing(world, strangers_own, charlie):
    """Every POST of the stranger's own organization, with each column of each tenant table as a field."""
    client = logged_in(charlie)
    columns = {
        field.attname: str(world.organization.pk if field.name == "organization" else world.ids.get(field.attname, "1"))
        for model in apps.get_models()
        if any(field.name == "organization" for field in model._meta.fields)
        for field in model._meta.fields
    }
    smuggled = {**columns, "organization": str(world.organization.pk), "is_staff": "1", "is_superuser": "1"}
    before = contents(world.organization)
    for url in ORGANIZATION_URLS:
        if "POST" in OF_AN_ORGANIZATION[url.name][1]:
            with transaction.atomic():
                response = client.post(url.address(strangers_own.ids), smuggled)
                assert response.status_code < 500, url.name
                assert SECRET not in response.content.decode(), url.name
                assert contents(world.organization) == before, url.name
                charlie.refresh_from_db()
                assert not charlie.is_staff, url.name
                transaction.set_rollback(True)
