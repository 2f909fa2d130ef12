"""
Where owners keep USD to themselves, no member finds an amount: on no page, in no answer, header, receipt or refusal.
An amount that nothing else can come to is looked for, as what it is and as what it was summed up or averaged to.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from django.utils import timezone

from candidates.models import CandidateCheck
from gateway.door.headers import cost_header
from gateway.receipts import as_json, read_receipt
from gateway.snapshot_reading import read_organization
from organizations import viewer
from organizations.api_tokens import make_token
from organizations.models import AuditEvent, Membership, Organization
from organizations.permissions import Permission
from organizations.services import UsdNotYours, set_members_see_usd
from tests.conftest import logged_in
from tests.test_managed_usd import CANARY, SIGNS, answered
from tests.test_urls_and_roles import API_URLS, ORGANIZATION_URLS, Tenant, ask, world
from tests.test_urls_and_tokens import program
from tests.usage.conftest import event
from usage.audience import OF_OWNERS, sees_usd
from usage.metering import cost_of
from usage.models import Mode, UsageEvent

__all__ = ["world"]

USD = "/o/acme/members/usd/"


@pytest.fixture
def canary(world, alice) -> Tenant:
    """Acme's own key has paid for calls of that cost: one in the run of a check, one through the gateway."""
    check = CandidateCheck.objects.get(pk=str(world.ids["check_id"]))
    spent = {
        "mode": Mode.BYOK,
        "cost_nanousd": CANARY,
        "price_source": UsageEvent.PriceSource.PROVIDER,
        "uncached_input_tokens": 1,
        "output_tokens": 1,
        "occurred_at": timezone.now(),
    }
    event(world.organization, run_id=check.run_id, iteration=2, **spent)
    gateway = event(world.organization, action=str(world.ids["agent"]), member_id=alice.pk, **spent)
    return Tenant(world.organization, {**world.ids, "call_id": gateway.call_id})


@pytest.fixture
def a_members_token(canary, ada) -> str:
    """Made while Ada was an admin; she is a member now."""
    made = make_token(
        organization=canary.organization, name="Reads", scopes=[Permission.VIEW], expires_at=None, actor=ada
    )
    Membership.objects.filter(user=ada).update(role=Membership.Role.MEMBER)
    return made.value


def told(canary: Tenant, person, token: str) -> Iterator[tuple[str, str]]:
    client, fragments, robot = logged_in(person), logged_in(person), program(token)
    fragments.defaults["HTTP_HX_REQUEST"] = "true"
    for url in ORGANIZATION_URLS:
        for method in ("GET", "POST"):
            answer = ask(client, method, url.address(canary.ids))
            yield f"{method} {url.name}", f"{answer.content.decode()}{answer.headers}"
        answer = ask(fragments, "GET", url.address(canary.ids))
        yield f"fragment {url.name}", f"{answer.content.decode()}{answer.headers}"
    for url in API_URLS:
        answer = ask(robot, "GET", url.address(canary.ids))
        yield f"GET {url.name}", f"{answer.content.decode()}{answer.headers}"


def test_no_member_is_told_what_calls_cost_where_owners_keep_it(canary, alice, bob, a_members_token):
    set_members_see_usd(organization=canary.organization, sees=False, actor=alice)

    leaks = [(where, found[0]) for where, what in told(canary, bob, a_members_token) if (found := SIGNS.search(what))]

    assert leaks == []


def test_by_default_members_and_always_owners_are(canary, alice, bob, a_members_token):
    """So that the test above looks in the right places, for the right signs."""
    seen_by_bob = {where for where, what in told(canary, bob, a_members_token) if SIGNS.search(what)}
    set_members_see_usd(organization=canary.organization, sees=False, actor=alice)
    seen_by_alice = {where for where, what in told(canary, alice, a_members_token) if SIGNS.search(what)}

    pages = {"overview", "settings", "consumption", "calls", "runs", "call", "candidates:check", "routing:table"}
    assert {f"GET {name}" for name in pages} <= seen_by_bob & seen_by_alice
    assert "GET api:call" in seen_by_bob


def test_pages_say_who_sees_usd_instead(canary, alice, bob):
    set_members_see_usd(organization=canary.organization, sees=False, actor=alice)
    client = logged_in(bob)

    for page in ("", "consumption/calls/", "consumption/runs/", "consumption/?metric=usd"):
        assert OF_OWNERS in client.get(f"/o/acme/{page}").content.decode(), page
    shown = client.get("/o/acme/consumption/").context["report"]
    assert shown.metric.label == "Tokens"
    assert "Estimated USD" not in [figure.label for figure in shown.figures]


def test_the_gateway_goes_by_the_member_that_a_token_stands_for(canary, alice, bob):
    set_members_see_usd(organization=canary.organization, sees=False, actor=alice)

    with viewer.viewing(sees_usd=False):
        receipt = read_receipt(organization=canary.organization, call_id=uuid.UUID(str(canary.ids["call_id"])))
        assert receipt is not None
        assert not SIGNS.search(f"{receipt} {as_json(receipt)}")
        assert cost_header(Mode.BYOK, cost_of(answered(canary))) == {}


def test_only_an_owner_decides_and_it_is_audited(acme, alice, ada, bob, as_bob, as_ada, as_alice):
    for client in (as_bob, as_ada):
        assert client.post(USD, {"sees": "no"}).status_code == 403
    with pytest.raises(UsdNotYours):
        set_members_see_usd(organization=acme, sees=False, actor=ada)

    assert as_alice.post(USD, {"sees": "perhaps"}).status_code == 422
    as_alice.post(USD, {"sees": "no"})

    acme.refresh_from_db()
    assert not acme.members_see_usd
    told = AuditEvent.objects.get(action="organization.usd_for_members_changed")
    assert (told.actor, told.details) == (alice, {"before": True, "after": False})
    assert "USD are shown to owners and admins only" in as_bob.get("/o/acme/members/").content.decode()
    assert "Hide USD" not in as_bob.get("/o/acme/members/").content.decode()


def test_who_looks_is_asked_for_every_mode(settings):
    settings.KEYFARE_SHOW_MANAGED_USD = True

    with viewer.viewing(sees_usd=False):
        assert not sees_usd(Mode.BYOK)
        assert not sees_usd(Mode.MANAGED)
        assert not sees_usd(Mode.MANAGED, show_managed_usd=True)
    assert sees_usd(Mode.BYOK)


def test_a_token_that_stands_for_a_member_sees_what_the_member_does(world, alice):
    def seen_at_the_door() -> list[bool]:
        known = read_organization(world.organization.pk).tokens.values()
        return [each.caller.sees_usd for each in known if each.caller is not None]

    Membership.objects.filter(user=alice).update(role=Membership.Role.MEMBER)
    assert seen_at_the_door() == [True]
    Organization.objects.filter(pk=world.organization.pk).update(members_see_usd=False)
    assert seen_at_the_door() == [False]
    Membership.objects.filter(user=alice).update(role=Membership.Role.ADMIN)
    assert seen_at_the_door() == [True]
