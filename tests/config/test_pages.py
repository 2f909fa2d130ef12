from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from billing import ledger
from candidates.models import Briefing, Candidate, CandidateCheck, Profile
from organizations.models import Membership, Organization
from providers.models import ProviderKey
from usage.models import Mode, UsageEvent

Status = CandidateCheck.Status


def add_check(organization: Organization, name: str, status: str = Status.COMPLETED, **fields) -> CandidateCheck:
    briefing, _ = Briefing.objects.get_or_create(organization=organization, title="Bridge engineer")
    candidate = Candidate.objects.create(organization=organization, name=name, external_id=name)
    profile = Profile.objects.create(organization=organization, candidate=candidate, content={}, digest=name)
    values = {"accepted_at": timezone.now(), "mode": Mode.MANAGED, "kind": "new", "price": 4, "route": {}}
    if status == Status.COMPLETED:
        values |= {"completed_at": timezone.now(), "score": 80, "category": "strong", "charged": 4}
    return CandidateCheck.objects.create(
        organization=organization,
        briefing=briefing,
        candidate=candidate,
        profile=profile,
        status=status,
        **{**values, **fields},
    )


def add_call(organization: Organization, **fields) -> UsageEvent:
    values = {
        "occurred_at": timezone.now(),
        "provider": "openai",
        "model": "gpt-5-mini",
        "action": "candidate_check",
        "key_label": "Default",
        "mode": Mode.BYOK,
        "status": UsageEvent.Status.ANSWERED,
        "uncached_input_tokens": 1200,
        "output_tokens": 34,
        "usage_reported": True,
        "cost_nanousd": 1_230_000_000,
        "price_source": UsageEvent.PriceSource.CATALOG,
    }
    identities = {name: uuid.uuid4() for name in ("call_id", "key_id", "run_id")}
    return UsageEvent.objects.create(organization=organization, **{**values, **identities, **fields})


@pytest.fixture
def busy_acme(acme: Organization) -> Organization:
    ledger.open_account(organization=acme)
    ledger.grant_credits(organization=acme, amount=1250, reason="Trial", idempotency_key="trial")
    for number in range(12):
        add_check(acme, f"Person {number}")
        add_call(acme, occurred_at=timezone.now() - timedelta(days=number), provider=("openai", "google")[number % 2])
    return acme


# Home and the way to the settings -------------------------------------------------------------------------


def test_home_leads_to_the_organization_last_visited(as_alice, acme, globex, alice):
    Membership.objects.create(organization=globex, user=alice, role="member")
    as_alice.get(reverse("overview", args=["globex"]))

    assert as_alice.get("/").url == "/o/globex/"


def test_home_leads_to_the_first_organization_at_first(as_alice, globex, alice):
    Membership.objects.create(organization=globex, user=alice, role="member")

    assert as_alice.get("/").url == "/o/acme/"


def test_people_without_an_organization_read_what_to_do(as_staff, as_alice):
    response = as_staff.get("/")

    assert response.status_code == 200
    assert "not yet a member" in response.content.decode()
    (button,) = re.findall(r"press <strong>([^<]+)</strong>", response.content.decode())
    assert f"{button}</button>" in as_alice.get(reverse("organizations:members", args=["acme"])).content.decode()


def test_the_account_menu_leads_to_addresses_and_guides(as_bob):
    page = as_bob.get("/o/acme/").content.decode()

    for address in (reverse("account_email"), "/o/acme/guide/byok/", "/o/acme/guide/candidate-checks/"):
        assert f'<a href="{address}">' in page


def test_the_columns_of_the_routing_table_say_what_they_are(as_bob):
    page = " ".join(as_bob.get("/o/acme/settings").content.decode().split())

    for head in ("30d runs", "Avg estimated USD per run", "Avg tokens per run"):
        assert re.search(rf"<th [^>]*>{head}</th>", page), head


def test_a_closed_organization_is_left_out(as_alice, acme):
    acme.closed_at = timezone.now()
    acme.save()

    assert "not yet a member" in as_alice.get("/").content.decode()
    assert as_alice.get("/o/acme/").status_code == 404


def test_slash_settings_leads_to_the_settings_of_the_current_organization(as_alice):
    assert as_alice.get("/settings").url == "/o/acme/settings"


def test_slash_settings_without_an_organization_leads_home(as_staff):
    assert as_staff.get("/settings").url == "/"


@pytest.mark.parametrize("path", ["/", "/settings", "/o/acme/", "/o/acme/settings"])
def test_anonymous_people_log_in_first_and_come_back(client, acme, path):
    assert client.get(path).url == f"/accounts/login/?next={path}"


@pytest.mark.parametrize("path", ["/o/acme/", "/o/acme/settings"])
def test_strangers_find_nothing(as_charlie, acme, path):
    assert as_charlie.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/", "/settings", "/o/acme/", "/o/acme/settings"])
def test_these_pages_are_read_only(as_alice, path):
    assert as_alice.post(path).status_code == 405


# Overview -------------------------------------------------------------------------------------------------


def test_the_overview_shows_what_is_there(as_bob, busy_acme):
    page = as_bob.get("/o/acme/").content.decode()

    assert "1,250" in page
    assert '<span class="kpi-value">12</span>' in page
    assert "$8.61" in page  # 7 calls of $1.23
    assert "8,638" in page  # 7 calls of 1,234 tokens
    assert "Person 11" in page


def test_the_overview_counts_completed_checks_of_this_month_only(as_alice, acme):
    add_check(acme, "Failed", Status.FAILED)
    add_check(acme, "Running", Status.IN_PROGRESS)
    add_check(acme, "Old", completed_at=timezone.now() - timedelta(days=40))
    add_check(acme, "Done")

    assert '<span class="kpi-value">1</span>' in as_alice.get("/o/acme/").content.decode()


def test_the_overview_shows_nothing_of_other_organizations(as_alice, globex):
    add_check(globex, "Somebody of Globex")
    add_call(globex)

    page = as_alice.get("/o/acme/").content.decode()

    assert "Somebody of Globex" not in page
    assert "$1.23" not in page


def test_the_checklist_ticks_itself(as_alice, acme):
    def done() -> list[bool]:
        return [step.is_done for step in as_alice.get("/o/acme/").context["steps"]]

    assert done() == [False] * 6

    key = ProviderKey.objects.create(
        organization=acme, provider="openai", origin="https://api.openai.com", ciphertext=b"", key_version=1
    )
    assert done() == [True, False, False, False, False, False]

    ProviderKey.objects.filter(pk=key.pk).update(status="connected", validated_at=timezone.now())
    assert done() == [True, True, True, False, False, False]

    acme_check = add_check(acme, "Maya", Status.FAILED)
    assert done() == [True, True, True, False, True, False]

    CandidateCheck.objects.filter(pk=acme_check.pk).update(status=Status.COMPLETED)
    key.routing_rules.create(organization=acme, action="candidate_check", model="gpt-5-mini")
    assert done() == [True] * 6
    assert "Get started" not in as_alice.get("/o/acme/").content.decode()


def test_the_overview_is_bounded_in_queries(as_alice, busy_acme, django_assert_max_num_queries):
    as_alice.get("/o/acme/")

    with django_assert_max_num_queries(16):
        as_alice.get("/o/acme/")


# Settings -------------------------------------------------------------------------------------------------

SECTIONS = ["llm-providers", "llm-routing", "candidate-recency-window"]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_settings_page_has_its_sections(as_alice, section):
    assert f'id="{section}"' in as_alice.get("/o/acme/settings").content.decode()


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_has_an_address_without_a_number_sign(as_alice, as_charlie, section):
    assert as_alice.get(f"/o/acme/settings/{section}").url == f"/o/acme/settings#{section}"
    assert as_alice.get(f"/settings/{section}").url == f"/o/acme/settings#{section}"
    assert as_charlie.get(f"/settings/{section}").url == f"/o/globex/settings#{section}"
    assert as_charlie.get(f"/o/acme/settings/{section}").status_code == 404


@pytest.mark.parametrize("address", ["/settings/nothing", "/o/acme/settings/nothing"])
def test_a_section_that_is_not_there_is_not_found(as_alice, address):
    assert as_alice.get(address).status_code == 404


def test_members_read_the_settings_and_change_none(as_bob):
    page = as_bob.get("/o/acme/settings").content.decode()
    main = page.partition("<main")[2].partition("</main>")[0]

    assert all(f'id="{section}"' in main for section in SECTIONS)
    assert 'type="submit"' not in main


def test_settings_are_not_kept_by_browsers_or_proxies(as_alice):
    assert "no-store" in as_alice.get("/o/acme/settings")["Cache-Control"]


def test_the_settings_page_is_bounded_in_queries(as_alice, busy_acme, django_assert_max_num_queries):
    as_alice.get("/o/acme/settings")

    with django_assert_max_num_queries(20):
        as_alice.get("/o/acme/settings")


# The frame ------------------------------------------------------------------------------------------------


def test_the_banner_stands_on_every_page(client, settings):
    settings.KEYFARE_BANNER = "Results are simulated."

    assert "Results are simulated." in client.get("/accounts/login/").content.decode()


def test_the_current_section_is_marked(as_alice):
    page = as_alice.get("/o/acme/members/").content.decode()

    assert page.count('aria-current="page"') == 2  # the sidebar and the tab
    assert 'href="/o/acme/members/" aria-current="page"' in page


def test_the_switcher_offers_the_own_open_organizations_only(as_alice, globex, alice):
    closed = Organization.objects.create(name="Closed Ltd", slug="closed", closed_at=timezone.now())
    for organization in (globex, closed):
        Membership.objects.create(organization=organization, user=alice, role="member")
    Organization.objects.create(name="Initech", slug="initech")

    page = as_alice.get("/o/acme/").content.decode()

    assert "Globex" in page
    assert "Closed Ltd" not in page
    assert "Initech" not in page


def test_only_staff_see_the_way_to_the_admin(as_alice, alice):
    assert 'href="/admin/"' not in as_alice.get("/o/acme/").content.decode()

    alice.is_staff = True
    alice.save()
    assert 'href="/admin/"' in as_alice.get("/o/acme/").content.decode()


# Error pages ----------------------------------------------------------------------------------------------


def test_a_page_that_is_not_there_says_so_in_our_look(as_alice, client):
    for browser in (as_alice, client):
        response = browser.get("/no/such/page/")

        assert response.status_code == 404
        assert "There is nothing here" in response.content.decode()


def test_strangers_and_mistyped_addresses_get_the_same_words(as_charlie, acme):
    def words(path: str) -> str:
        page: str = as_charlie.get(path).content.decode()
        return page.partition("<main")[2].partition("</main>")[0]

    assert words("/o/acme/") == words("/o/no-such-organization/")


def test_a_refusal_says_whom_to_ask(as_bob, alice):
    response = as_bob.get("/o/acme/audit/")

    assert response.status_code == 403
    assert "Ask an owner or admin" in response.content.decode()


def test_a_form_without_its_token_is_refused_with_what_to_do(acme):
    response = Client(enforce_csrf_checks=True).post("/accounts/login/", {"login": "x", "password": "y"})

    assert response.status_code == 403
    assert "This form has expired" in response.content.decode()


def test_a_crash_is_told_without_the_database(as_alice, monkeypatch):
    def crash(**_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("config.overview.cost_and_cells", crash)
    as_alice.raise_request_exception = False

    response = as_alice.get("/o/acme/")

    assert response.status_code == 500
    assert "Something went wrong on our side" in response.content.decode()


def test_the_page_of_addresses_offers_only_what_can_be_done(as_alice, alice):
    def offered() -> set[str]:
        return set(re.findall(r'name="action_(\w+)"', as_alice.get(reverse("account_email")).text))

    EmailAddress.objects.update_or_create(user=alice, email=alice.email, defaults={"verified": True, "primary": True})
    assert offered() == {"add"}

    EmailAddress.objects.create(user=alice, email="second@acme.example", verified=False)

    assert offered() == {"add", "primary", "send", "remove"}
