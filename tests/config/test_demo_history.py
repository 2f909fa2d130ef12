"""What the history of the demo is made of, without telling it."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings as all_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django_q.conf import Conf

from billing.ledger import grant_credits
from billing.models import CreditLot, LedgerEntry
from candidates.profiles.files import ProfileRow, parse_file
from config import demo_history
from config.demo_agents import AgentsAtWork
from config.demo_agents_past import remember, remember_lost_cache
from config.demo_clock import story_time
from organizations import audit, clock
from tests.builders import connect_key
from tests.usage.conftest import settle
from usage.days import start_of_day
from usage.episodes.following import detect_anomalies
from usage.models import Anomaly, RollupState, UsageEvent

THEN = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)


@pytest.mark.django_db
def test_within_the_story_rows_are_of_its_time_and_afterwards_of_ours(acme, settings):
    settings.KEYFARE_DEMO = True
    before = clock.now()

    with story_time() as story:
        story.set(THEN)
        grant_credits(organization=acme, amount=5, reason="Then", idempotency_key="then")
        event = audit.record(organization=acme, actor=None, action="test.told")
        assert THEN <= timezone.now() < THEN + timedelta(minutes=1)
    grant_credits(organization=acme, amount=5, reason="Now", idempotency_key="now")

    told = LedgerEntry.objects.for_organization(acme).get(idempotency_key="then")
    lot = CreditLot.objects.for_organization(acme).get(reason="Then")
    ours = LedgerEntry.objects.for_organization(acme).get(idempotency_key="now")
    assert all(THEN <= at < THEN + timedelta(minutes=1) for at in (told.created_at, lot.created_at, event.created_at))
    assert ours.created_at >= before - timedelta(seconds=1)
    assert clock.now() >= before
    assert timezone.now() > THEN + timedelta(days=1)


@pytest.mark.django_db
def test_the_storys_clock_is_put_back_when_an_act_fails(settings):
    settings.KEYFARE_DEMO = True
    before = (clock.now, timezone.now, Conf.SYNC, settings.EMAIL_BACKEND)

    with pytest.raises(ZeroDivisionError), story_time():
        raise ZeroDivisionError

    assert (clock.now, timezone.now, Conf.SYNC, settings.EMAIL_BACKEND) == before


@pytest.mark.django_db
def test_nothing_but_the_demo_tells_of_the_past():
    with pytest.raises(ImproperlyConfigured), story_time():
        pass


def test_nothing_but_the_demo_knows_the_storys_clock():
    root = Path(all_settings.BASE_DIR)
    files = [path for path in root.glob("*/**/*.py") if ".venv" not in path.parts and "tests" not in path.parts]
    users = {str(path.relative_to(root)) for path in files if "demo_clock" in path.read_text()}

    assert users == {
        "config/demo.py",
        "config/demo_history.py",
        "config/management/commands/demo.py",
    }


@pytest.mark.parametrize("first_day", [date(2026, 11, 2) + timedelta(days=number) for number in range(7)])
def test_whatever_day_it_is_there_are_working_days_weekends_and_one_busy_day(first_day):
    days = demo_history.plan(first_day)
    counts = [sum(len(batch.people) for batch in batches) for batches in days]
    refused = [batch for batches in days for batch in batches if batch.is_refused]
    checked = Counter(
        (batch.briefing, name) for day in days for batch in day if not batch.is_refused for name in batch.people
    )

    assert days == demo_history.plan(first_day)
    assert len(days) == demo_history.DAYS
    assert min(counts) >= 1
    assert sum(count > 20 for count in counts) == 1
    assert [len(batch.people) for batch in refused] == [demo_history.REFUSED_CHECKS]
    assert set(checked.values()) == {1}
    for number, count in enumerate(counts):
        if (first_day + timedelta(days=number)).weekday() >= demo_history.SATURDAY:
            assert count <= 2
    assert max(demo_history.ROUTES) < counts.index(max(counts))


@pytest.mark.parametrize("family", ["frontend", "design", "data", "reliability", "success", "sales"])
def test_everybody_in_it_is_a_profile_of_a_fictional_person(family):
    people = demo_history.profiles(family)
    rows = parse_file("\n".join(map(json.dumps, people)).encode())

    assert [type(row) for row in rows] == [ProfileRow] * demo_history.PEOPLE_A_FAMILY
    assert all(re.fullmatch(r"[a-z-]+@example\.com", person["basics"]["email"]) for person in people)
    assert all("(fictional)" in person["work"][0]["name"] for person in people)


@pytest.mark.django_db(transaction=True)  # what is not committed is not rolled up
@pytest.mark.parametrize(
    ("begun", "took"),
    [
        ("2026-11-23 00:05", 2),  # of a night after a Sunday
        ("2026-11-22 00:02", 1),
        ("2026-11-22 13:30", 2),
        ("2026-11-25 09:58", 9),  # it ends when another hour is judged
        ("2026-11-24 10:05", 2),
        ("2026-11-27 18:31", 3),
        ("2026-11-28 23:59", 5),
    ],
)
def test_whenever_it_is_told_the_lost_cache_is_found_with_what_drives_it(
    acme, alice, simulated_providers, tmp_path, begun, took
):
    begun_at = datetime.fromisoformat(f"{begun}+00:00")
    first_day = begun_at.date() - timedelta(days=demo_history.DAYS)
    for provider in ("openai", "anthropic"):
        connect_key(acme, provider)
    AgentsAtWork(acme, alice, tmp_path).open()
    for number in range(demo_history.AGENTS_FROM, demo_history.DAYS):
        remember(acme, first_day + timedelta(days=number))
    settle()
    assert detect_anomalies(now=start_of_day(begun_at.date())).opened == 0
    RollupState.objects.update(judged_to=None)  # in the demo nothing was judged before
    for _ in range(2):  # once more after it was cut off
        remember_lost_cache(acme, until=begun_at)

    settle()
    detect_anomalies(now=begun_at + timedelta(minutes=took))

    lost = Anomaly.objects.for_organization(acme).get(kind="cache_loss")
    assert (lost.action, lost.state, lost.found) == ("code-assistant", "open", 0)
    assert lost.usual > 500_000
    assert timedelta(hours=3) < begun_at - lost.since < timedelta(hours=7)
    assert (lost.a_day_nanousd or 0) > 2 * 10**9
    assert "cache" in [driver["name"] for driver in lost.drivers or ()]
    told = Anomaly.objects.for_organization(acme).values_list("action", "kind")
    assert set(told) <= {("code-assistant", "cache_loss"), ("code-assistant", "cost_per_request")}
    assert not UsageEvent.objects.for_organization(acme).filter(occurred_at__gt=begun_at + timedelta(minutes=1))
