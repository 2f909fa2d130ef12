"""The overview: what needs attention, each with its button, and how the figures went against the week before."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_q.conf import Conf

from billing.pace import Pace
from candidates.models import CandidateCheck
from config import overview
from config.models import WorkerCluster
from config.worker import heartbeat
from organizations import clock
from organizations.models import Organization
from organizations.services import set_members_see_usd
from providers.models import ProviderKey
from routing.agents import create_agent
from routing.rule_settings import pause_routing
from tests.builders import connect_key, route_to_own_key
from tests.config.test_pages import add_call, add_check
from usage.models import Anomaly, Mode

PAGE = "/o/acme/"
CALM = "Nothing needs your attention now."
Status = CandidateCheck.Status


def attention(client) -> list[tuple[str, str, str, bool]]:
    """Of each item: its tone, what it says, where its one button leads, and whether by posting."""
    response = client.get(PAGE)
    items = response.context["attention"]
    section = response.text.partition('id="attention"')[2].partition("</section>")[0]
    assert section.count('class="button') == len(items)
    assert (CALM in section) is (not items)
    for item in items:
        assert f'{"action" if item.is_post else "href"}="{item.url.replace("&", "&amp;")}"' in section
    return [(item.tone, item.what, item.url, item.is_post) for item in items]


def test_where_there_is_nothing_to_do_one_line_says_so(as_bob, acme, simulated_providers):
    route_to_own_key(acme)

    assert attention(as_bob) == []


@pytest.mark.parametrize(
    ("status", "button", "is_post"),
    [
        ("disabled", "enable", True),
        ("invalid", "replace", False),
        ("needs_reentry", "replace", False),
        ("no_credit", "validate", True),
    ],
)
def test_a_broken_routed_key_has_the_button_that_mends_it(
    as_alice, as_bob, acme, simulated_providers, status, button, is_post
):
    key = route_to_own_key(acme)
    ProviderKey.objects.filter(pk=key.pk).update(status=status)

    items = attention(as_alice)
    assert [(tone, url, post) for tone, _, url, post in items] == [
        ("bad", reverse(f"providers:{button}", args=["acme", key.pk]), is_post)
    ] * 2  # both actions
    assert items[0][1].startswith("Candidate check is routed to your OpenRouter key")
    assert {(url, post) for _, _, url, post in attention(as_bob)} == {
        ("/o/acme/settings#provider-openrouter", False)
    }  # who may not mend it is led to it


def test_the_button_that_validates_leads_to_a_connected_key(
    as_alice, acme, simulated_providers, django_capture_on_commit_callbacks
):
    key = route_to_own_key(acme)
    ProviderKey.objects.filter(pk=key.pk).update(status="no_credit")

    with django_capture_on_commit_callbacks(execute=True):
        as_alice.post(attention(as_alice)[0][2])

    assert attention(as_alice) == []


def test_what_is_paused_leads_to_routing(as_alice, acme, simulated_providers):
    route_to_own_key(acme)
    pause_routing(organization=acme, action="candidate_check", actor=None, now=timezone.now())

    ((tone, what, url, is_post),) = attention(as_alice)
    assert (tone, url, is_post) == ("warn", "/o/acme/settings#llm-routing", False)
    assert what.startswith("Candidate check is paused")


def test_failed_checks_of_7_days_are_told_until_they_are_looked_at(as_alice, as_bob, acme, globex, simulated_providers):
    route_to_own_key(acme)
    now = clock.now()
    for ago in (timedelta(), timedelta(days=6), timedelta(days=7)):
        add_check(acme, f"Failed {ago}", Status.FAILED, completed_at=now - ago, charged=0)
    add_check(globex, "Of others", Status.FAILED, completed_at=now, charged=0)
    add_check(acme, "Done")

    ((_, what, url, is_post),) = attention(as_alice)
    assert (what, is_post) == ("2 checks failed.", True)

    shown = as_alice.get(as_alice.post(url).url)

    assert shown.context["found"] == 2
    assert attention(as_alice) == []
    assert [what for _, what, _, _ in attention(as_bob)] == ["2 checks failed."]  # who has not looked

    add_check(acme, "Later", Status.FAILED, completed_at=clock.now() + timedelta(seconds=1), charged=0)
    assert [what for _, what, _, _ in attention(as_alice)] == ["1 more check failed."]


def test_a_silent_worker_is_told_with_since_when(as_bob, acme, simulated_providers, monkeypatch):
    route_to_own_key(acme)
    heartbeat.beat(uuid.uuid4())
    monkeypatch.setattr(Conf, "SYNC", False)
    assert attention(as_bob) == []

    silent_since = timezone.now() - timedelta(hours=2)
    WorkerCluster.objects.update(beat_at=silent_since, started_at=silent_since - timedelta(hours=1))

    ((tone, what, url, _),) = attention(as_bob)
    assert (tone, what) == ("bad", "Background work has stopped: no check, draft or validation runs.")
    assert as_bob.get(url).status_code == 200
    assert f"{silent_since:%H:%M}" in as_bob.get(PAGE).text


def open_anomaly(organization, **fields) -> Anomaly:
    values = {
        "kind": "cache_loss",
        "action": "candidate_check",
        "mode": "byok",
        "since": timezone.now() - timedelta(hours=3),
        "seen_at": timezone.now(),
        "found_at": timezone.now(),
        "hours": 3,
        "usual": 900_000,
        "found": 0,
        "a_day_nanousd": 2_530_000_000,
        "drivers": [{"name": "cache", "before": 0.9, "since": 0.0, "model": ""}],
    }
    return Anomaly.objects.create(organization=organization, **{**values, **fields})


def test_open_anomalies_are_told_with_what_drives_them(as_alice, as_bob, acme, globex, simulated_providers):
    route_to_own_key(acme)
    row = open_anomaly(acme)
    open_anomaly(globex)
    open_anomaly(acme, kind="cost_per_request", mode="managed")
    open_anomaly(acme, kind="requests", state="over")

    what = "Less is read from cache: Candidate check."
    assert attention(as_bob) == [("warn", what, f"/o/acme/consumption/anomalies/#anomaly-{row.pk}", False)]
    page = as_bob.get(PAGE).text
    assert "0% of the input is read from cache, before 90%." in page
    assert "That cost $2.53 more than usual in the last 24 hours (estimated)." in page
    assert f"{row.since:%H:%M}" in page

    set_members_see_usd(organization=acme, sees=False, actor=acme.memberships.get(role="owner").user)
    assert "What that costs is shown to owners and admins." in as_bob.get(PAGE).text
    assert "$2.53" not in as_bob.get(PAGE).text
    assert "$2.53" in as_alice.get(PAGE).text


def test_of_many_anomalies_the_latest_are_told_in_one_statement(as_bob, acme, simulated_providers):
    route_to_own_key(acme)
    as_bob.get(PAGE)
    with CaptureQueriesContext(connection) as none:
        as_bob.get(PAGE)
    rows = [open_anomaly(acme, kind="new_model", subject=f"openai/m{each}", action="gone") for each in range(6)]

    with CaptureQueriesContext(connection) as queries:
        items = attention(as_bob)

    assert [url.partition("#anomaly-")[2] for _, _, url, _ in items] == [*(str(row.pk) for row in rows[:2:-1]), ""]
    assert items[-1][1] == "There are further anomalies."
    assert len(queries) <= len(none) + 1  # the names of agents that are routed no more


def test_keys_that_are_due_for_rotation_are_told(as_alice, as_bob, acme, simulated_providers, settings):
    settings.KEYFARE_KEY_ROTATION_DAYS = 180
    key = route_to_own_key(acme)
    other = connect_key(acme, "openai")
    ProviderKey.objects.filter(pk=key.pk).update(created_at=timezone.now() - timedelta(days=181))
    ProviderKey.objects.filter(pk=other.pk).update(created_at=timezone.now() - timedelta(days=179))

    what = "OpenRouter key “Default” should be replaced: it is 181 days old."
    assert attention(as_alice) == [("info", what, reverse("providers:replace", args=["acme", key.pk]), False)]
    assert attention(as_bob) == [("info", what, "/o/acme/settings#provider-openrouter", False)]


@pytest.mark.parametrize(
    ("available", "tone", "what"),
    [
        (29, "warn", "Your credits last about 14 days at this pace."),
        (2, "warn", "Your credits last about 1 day at this pace."),
        (1, "warn", "Your credits last less than a day at this pace."),
        (0, "bad", "No credits are left."),
        (30, "", ""),
    ],
)
def test_credits_that_end_soon_are_told(as_bob, acme, simulated_providers, monkeypatch, available, tone, what):
    route_to_own_key(acme)
    monkeypatch.setattr(overview, "pace", lambda **_: Pace(60, 20, 30, available))

    assert [(item[0], item[1]) for item in attention(as_bob)] == ([(tone, what)] if what else [])
    assert ("at the pace of the last 30 days" in as_bob.get(PAGE).text) is True


def test_without_history_no_pace_is_told(as_bob, acme, simulated_providers):
    route_to_own_key(acme)

    assert "at the pace" not in as_bob.get(PAGE).text


# Figures -----------------------------------------------------------------------------------------------------


def figures(client) -> dict[str, str]:
    context = client.get(PAGE).context
    return {name: context[f"{name}_figure"].change for name in ("credits", "checks", "usd", "tokens")}


def test_figures_are_compared_with_the_7_days_before(as_bob, acme: Organization):
    now = clock.now()
    for days in (0, 6, 7, 13, 13, 14):  # 2 against 3
        add_check(acme, f"{days} {uuid.uuid4()}", completed_at=now - timedelta(days=days))
        add_call(acme, occurred_at=now - timedelta(days=days))
    add_call(acme, mode=Mode.MANAGED, occurred_at=now)  # its tokens count, its USD are hidden

    assert figures(as_bob) == {
        "credits": "",
        "checks": "-33% against the 7 days before",
        "usd": "-33% against the 7 days before",
        "tokens": "as in the 7 days before",
    }
    context = as_bob.get(PAGE).context
    assert context["checks"] == 2
    assert context["checks_figure"].line.text == "5 checks completed in 14 days, 2 on the busiest"
    assert context["usd_figure"].line.text == "$6.15 estimated USD in 14 days, $2.46 on the busiest"


def test_what_is_not_known_exactly_is_compared_by_no_percentage(as_bob, acme):
    now = clock.now()
    unpriced = {"cost_nanousd": None, "price_source": "none", "no_price": "not_listed"}
    add_call(acme, occurred_at=now)
    add_call(acme, occurred_at=now - timedelta(days=8))
    add_call(acme, occurred_at=now - timedelta(days=8), **unpriced)

    assert figures(as_bob)["usd"] == "at least $1.23 in the 7 days before"
    assert figures(as_bob)["tokens"] == "-50% against the 7 days before"


def test_a_first_week_is_compared_with_none(as_bob, acme):
    add_call(acme)

    assert figures(as_bob)["usd"] == figures(as_bob)["tokens"] == "none in the 7 days before"


def test_actions_and_agents_are_listed_by_what_they_cost(as_bob, acme):
    create_agent(organization=acme, name="Front desk", slug="bot", description="", actor=None)
    add_call(acme)
    add_call(acme, action="bot", cost_nanousd=9_000_000_000, counts_run=True)
    add_call(acme, action="key_validation", cost_nanousd=1)
    for action in ("direct", "removed_one", "sixth"):
        add_call(acme, action=action, mode=Mode.MANAGED)

    rows = as_bob.get(PAGE).context["spent"]

    assert [(row.name, row.runs) for row in rows] == [
        ("Front desk", 1),
        ("Candidate check", 0),
        ("Key validation", 0),
        ("Direct calls", 0),
        ("Removed one", 0),
    ]
    assert all("action=" in row.url for row in rows)


def test_spend_links_to_the_calls_behind_it(as_bob, acme):
    add_call(acme, cost_nanousd=None, price_source="none", no_price="not_listed")
    add_call(acme, mode=Mode.MANAGED, cost_nanousd=None, price_source="none", no_price="not_listed")

    page = as_bob.get(PAGE).text
    (address,) = set(re.findall(r'href="([^"]*action=candidate_check[^"]*price=unpriced)"', page))

    assert len(as_bob.get(address.replace("&amp;", "&")).context["events"]) == 1
