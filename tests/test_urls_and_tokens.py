"""
Every URL of the project × method × API token, with the ids of one organization, Acme.

Pages of people know no tokens; the API knows nothing else. tests/test_urls_and_roles.py says what each URL takes.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from candidates.models import Candidate
from config.api import api
from organizations.models import ApiToken, Membership, Organization
from organizations.permissions import API_SCOPES, Permission
from tests.test_urls_and_roles import (
    ABSENT_ID,
    ABSENT_UUID,
    ADMIN_DOORS,
    ADMIN_URLS,
    API,
    API_URLS,
    FOREIGN_UUID_ARGUMENTS,
    METHODS,
    ORGANIZATION_URLS,
    OTHER_URLS,
    SECRET,
    Role,
    Tenant,
    ask,
    contents,
    seen,
    tenant,
    token,
)


@pytest.fixture
def world(acme, alice, bob, simulated_providers) -> Tenant:
    return tenant(acme, SECRET, member=Membership.objects.get(user=bob))


@pytest.fixture
def strangers_own(globex, charlie, world) -> Tenant:
    return tenant(globex, "Globex", member=Membership.objects.get(user=charlie))


def program(value: str) -> Client:
    """What holds an API token and nothing else."""
    return Client(headers={"Authorization": f"Bearer {value}"})


def body_for(owner: Tenant) -> dict[str, object]:
    return {"briefingId": owner.ids["briefing_id"], "candidateId": owner.ids["candidate_id"]}


def call(client: Client, method: str, address: str, body: Any = None) -> Any:
    """As `ask`, with a body in JSON."""
    with transaction.atomic():
        response = client.generic(method, address, json.dumps(body or {}), content_type="application/json")
        transaction.set_rollback(True)
    assert response.status_code < 500, (method, address)
    return response


def test_a_token_is_nobody_on_the_pages_of_people(world):
    """Not even the token of an owner, under the address of the organization it is of."""
    anonymous, robot = Client(), program(token(world.organization, name="all"))
    wrong = []
    for url in ORGANIZATION_URLS + OTHER_URLS:
        address = url.address(world.ids if url in ORGANIZATION_URLS else FOREIGN_UUID_ARGUMENTS)
        for method in METHODS:
            if seen(ask(robot, method, address)) != seen(ask(anonymous, method, address)):
                wrong.append((url.name, method))
    assert wrong == []


def test_a_token_is_nobody_in_the_admin(staff):
    platform = Organization.objects.create(name="Platform", slug="platform", is_platform=True)
    Membership.objects.create(organization=platform, user=staff, role=Role.OWNER)
    robot = program(token(platform, name="of staff"))

    for url in ADMIN_URLS:
        if url.name not in ADMIN_DOORS and not url.arguments:
            assert ask(robot, "GET", "/" + url.route).status_code in (302, 403, 404), url.name


def test_every_operation_of_the_api_says_which_permission_it_takes():
    found = {
        f"api:{operation.url_name}": {
            method: {getattr(auth, "permission", None) for auth in operation.auth_callbacks}
            for method in operation.methods
        }
        for router in api._get_bound_routers()
        for view in router.path_operations.values()
        for operation in view.operations
    }

    assert found == {
        name: {method: {permission} for method, permission in methods.items()}
        for name, methods in API.items()
        if any(methods.values())
    }


@pytest.mark.parametrize("who", ["nobody", "a member", "who only reads", "a stranger", "expired", "revoked"])
def test_a_token_may_what_its_scopes_allow_and_nothing_else(world, strangers_own, bob, who):
    everything, organization = set(API_SCOPES), world.organization
    scopes: set[Permission] = {Permission.VIEW} if who == "who only reads" else everything
    value = token(strangers_own.organization if who == "a stranger" else organization, name=who, scopes=scopes)
    rows = ApiToken.objects.filter(name=who)
    if who == "a member":
        rows.update(created_by=bob)
    elif who in ("expired", "revoked"):
        rows.update(**{"expires_at" if who == "expired" else "revoked_at": timezone.now()})
    client = Client() if who == "nobody" else program(value)
    wrong = []
    for url in API_URLS:
        for method in METHODS:
            status = call(client, method, url.address(world.ids), body_for(world)).status_code
            permission = API[url.name].get(method)
            if url.name == "api:api-root":
                expected = 404
            elif method not in API[url.name]:
                expected = 405
            elif permission is None:
                expected = 200
            elif who == "nobody":
                expected = 401
            elif who in ("expired", "revoked") or permission not in scopes:
                expected = 403
            elif url.name == "api:export":
                expected = 400  # of no month; it has nothing but what is the token's own
            else:
                expected = 404 if who == "a stranger" else 200
            if status != expected:
                wrong.append((url.name, method, status, expected))
    assert wrong == []


def test_a_foreign_token_cannot_tell_what_another_organization_has_from_what_is_absent(world, strangers_own):
    client = program(token(strangers_own.organization, name="foreign"))
    before = contents(world.organization)
    for url in API_URLS:
        for method in METHODS:
            foreign = call(client, method, url.address(world.ids))
            missing = call(client, method, url.address({**world.ids, "check_id": ABSENT_UUID, "call_id": ABSENT_UUID}))
            assert seen(foreign) == seen(missing), (url.name, method)
            assert SECRET not in foreign.content.decode(), (url.name, method)
    own, theirs = body_for(strangers_own), body_for(world)
    link = "https://linkedin.com/in/zanzibar"
    Candidate.objects.filter(pk=world.ids["candidate_id"]).update(link=link)
    by_link = {"briefingId": own["briefingId"], "linkedinProfileLink": link}
    for foreign_body, missing_body in (
        ({**own, "briefingId": theirs["briefingId"]}, {**own, "briefingId": ABSENT_ID}),
        ({**own, "candidateId": theirs["candidateId"]}, {**own, "candidateId": ABSENT_ID}),
        (by_link, {**by_link, "linkedinProfileLink": "https://linkedin.com/in/nobody"}),
    ):
        foreign, missing = (
            call(client, "POST", reverse("api:candidate-checks"), body) for body in (foreign_body, missing_body)
        )
        assert foreign.status_code == 404
        assert seen(foreign) == seen(missing), foreign_body
    Candidate.objects.filter(pk=world.ids["candidate_id"]).update(link="")
    assert contents(world.organization) == before


def test_an_inline_profile_never_touches_the_person_of_another_organization(world, strangers_own):
    client = program(token(strangers_own.organization, name="foreign"))
    theirs = Candidate.objects.get(pk=str(world.ids["candidate_id"]))
    profile = {"basics": {"name": theirs.name, "email": theirs.email, "summary": "Mine now"}}
    before = contents(world.organization)

    body = {"briefingId": strangers_own.ids["briefing_id"], "profile": profile, "candidate_id": theirs.pk}
    assert call(client, "POST", reverse("api:candidate-checks"), body).status_code == 400  # no such field
    del body["candidate_id"]
    assert call(client, "POST", reverse("api:candidate-checks"), body).status_code == 200

    assert contents(world.organization) == before
