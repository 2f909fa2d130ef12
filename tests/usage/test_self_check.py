"""Sums of usage are compared with their calls: what is wrong is found, and nothing else, whatever goes on meanwhile."""

from __future__ import annotations

import json
import logging
import random
import threading
from contextlib import suppress
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from config.admin.usage_check import usage_check_figure
from config.models import UsageCheck
from config.schedules import run
from config.usage_checks import KEPT, check_and_note
from organizations import clock
from tests.plans import analyze, index_conditions
from tests.usage.conftest import NOON, TODAY, event, rebuild, roll_up, unsaved_event
from tests.usage.test_concurrency import in_threads
from tests.usage.test_rollups import some_events
from usage import rollups, self_check
from usage.models import UsageByLabel, UsageDaily, UsageEvent, UsageHourly
from usage.self_check import OrganizationDay, check_usage

pytestmark = pytest.mark.django_db(transaction=True)

NOW = NOON + timedelta(days=1)
sample = self_check._sample


@pytest.fixture(autouse=True)
def all_days(monkeypatch) -> None:
    """The sample of a test is of everything, unless it is of the sample."""

    def everything(now: datetime) -> list[OrganizationDay]:
        days = {(row.organization, row.day) for row in UsageDaily.objects.select_related("organization")}
        calls = UsageEvent.objects.select_related("organization")
        return [
            OrganizationDay(*each) for each in days | {(call.organization, call.occurred_at.date()) for call in calls}
        ]

    monkeypatch.setattr(self_check, "_sample", everything)


@pytest.fixture
def real_sample(monkeypatch, all_days) -> None:
    monkeypatch.setattr(self_check, "_sample", sample)


@pytest.fixture
def rolled_up(acme, globex) -> None:
    for organization, seed in ((acme, 1), (globex, 2)):
        some_events(organization, 60, seed)
    roll_up(now=NOON)


def test_sums_that_are_right_are_found_right(rolled_up):
    checked = check_usage(now=NOW)

    assert checked.differences == []
    assert checked.days >= 8
    assert checked.calls == UsageEvent.objects.count() == 120


def test_calls_that_are_not_rolled_up_yet_are_no_difference(acme, rolled_up):
    event(acme, labels={"team": "a"})

    assert check_usage(now=NOW).differences == []
    rebuild(now=NOON)
    event(acme)
    assert check_usage(now=NOW).differences == []


@pytest.mark.parametrize(
    ("table", "measure"),
    [(UsageDaily, "cost_nanousd"), (UsageDaily, "run_tokens"), (UsageHourly, "calls"), (UsageByLabel, "output_tokens")],
)
def test_a_sum_that_is_wrong_is_found_with_both_figures(acme, rolled_up, table, measure):
    row = table.objects.filter(organization=acme).earliest("pk")
    table.objects.filter(pk=row.pk).update(**{measure: F(measure) + 3})

    (found,) = check_usage(now=NOW).differences

    day = row.hour.date() if table is UsageHourly else row.day
    assert (found.organization, found.day, found.sums, found.measure) == ("acme", day, table._meta.db_table, measure)
    assert (found.kept - found.counted, found.off) == (3, 3)


@pytest.mark.parametrize("table", [UsageDaily, UsageHourly, UsageByLabel])
def test_rows_that_are_missing_are_found(globex, rolled_up, table):
    table.objects.filter(organization=globex).delete()

    found = check_usage(now=NOW).differences

    assert {each.sums for each in found} == {table._meta.db_table}
    assert {each.organization for each in found} == {"globex"}
    assert all(each.kept == 0 for each in found)


def test_rows_of_calls_that_are_not_there_are_found(acme, rolled_up):
    row = UsageDaily.objects.filter(organization=acme).earliest("pk")
    row.pk, row.day = None, TODAY - timedelta(days=7)
    row.save()

    found = check_usage(now=NOW).differences

    assert {each.day for each in found} == {row.day}
    assert all(each.counted == 0 for each in found)


def test_sums_in_the_wrong_rows_are_found_though_the_day_adds_up(acme):
    event(acme, model="one", cost_nanousd=5)
    roll_up(now=NOON)
    UsageDaily.objects.update(model="another")

    cost = next(each for each in check_usage(now=NOW).differences if each.measure == "cost_nanousd")

    assert (cost.kept, cost.counted, cost.off) == (5, 5, 10)
    assert str(cost) == "acme, 2026-11-21, cost_nanousd (usage_usagedaily): 5 kept, 5 counted, 10 in wrong rows"


def test_days_whose_calls_have_left_the_books_are_not_compared(acme, real_sample):
    event(acme, day=TODAY.replace(day=1))
    roll_up(now=NOON)
    row = UsageDaily.objects.get()
    row.pk, row.day = None, TODAY - timedelta(days=60)
    row.save()

    assert check_usage(now=NOW).differences == []


def test_hours_that_are_not_kept_any_more_are_not_compared(acme):
    event(acme, occurred_at=NOON - timedelta(days=30))
    roll_up(now=NOON)
    later = NOON + timedelta(days=30)
    event(acme, occurred_at=later)
    roll_up(now=later)

    assert UsageHourly.objects.count() == 1
    assert check_usage(now=later).differences == []


def test_the_newest_day_of_the_biggest_is_compared_each_day_and_some_others(acme, globex, rolled_up, monkeypatch):
    monkeypatch.setattr(self_check, "DAYS_OF_EACH", 1)
    monkeypatch.setattr(self_check, "ORGANIZATIONS", 1)
    UsageEvent.objects.bulk_create(unsaved_event(globex) for _ in range(300))
    roll_up(now=NOON)

    samples = [list(sample(NOW + timedelta(days=day))) for day in range(6)]

    assert {chosen[0] for chosen in samples} == {(globex, TODAY)}
    assert len({tuple(chosen) for chosen in samples}) > 1
    assert list(sample(NOW + timedelta(hours=3))) == samples[0]


def test_nothing_more_is_begun_once_many_calls_were_compared(rolled_up, monkeypatch):
    monkeypatch.setattr(self_check, "MOST_CALLS", 1)

    assert check_usage(now=NOW).days == 1


def test_an_installation_without_calls_has_nothing_to_compare(acme, real_sample):
    assert check_usage(now=NOW) == self_check.Checked(0, 0, [])


@pytest.mark.postgresql
def test_nothing_differs_while_calls_are_made_and_rolled_up(acme, globex):
    done = threading.Event()
    chance = random.Random(3)

    def write() -> None:
        while not done.is_set():
            labels = chance.choice([{}, {"team": "a"}])
            event([acme, globex][chance.randrange(2)], cost_nanousd=chance.randrange(99), labels=labels)

    def aggregate() -> None:
        while not done.is_set():
            rollups.roll_up(now=NOON)

    threads = in_threads(write, write, aggregate)
    try:
        found = [check_usage(now=NOW) for _ in range(8)]
    finally:
        done.set()
        for thread in threads:
            thread.join()

    assert [each.differences for each in found] == [[]] * 8
    assert found[-1].calls > found[0].calls
    roll_up(now=NOON)
    assert check_usage(now=NOW).calls == UsageEvent.objects.count()


def test_the_calls_of_a_day_are_found_by_organization_and_time(acme, globex):
    UsageEvent.objects.bulk_create(
        unsaved_event((acme, globex)[number % 2], occurred_at=NOON - timedelta(minutes=20 * number))  # of weeks
        for number in range(3000)
    )
    roll_up(now=NOON)
    analyze("usage_usageevent", "usage_usagedaily", "usage_usagehourly", "usage_usagebylabel", "usage_rollupstate")

    with CaptureQueriesContext(connection) as queries:
        check_usage(now=NOW)

    compared = [query["sql"] for query in queries if query["sql"].startswith("WITH kept")]
    assert len(compared) >= 9
    for sql in compared:
        with transaction.atomic():
            conditions = index_conditions(sql)
        by = "occurred_at >= " if connection.vendor == "postgresql" else "occurred_at>?"
        assert any(by in each and "organization_id" in each for each in conditions), conditions


# What operators see -------------------------------------------------------------------------------------


def checked() -> dict[str, Any]:
    output = StringIO()
    with suppress(SystemExit):
        call_command("check_usage", "--json", stdout=output)
    return json.loads(output.getvalue())


def test_the_command_tells_what_differs_and_keeps_it_for_the_staff_page(acme, rolled_up, as_staff, caplog):
    assert usage_check_figure()["value"] == "Not checked yet"
    assert checked()["differences"] == []
    assert "Right" in as_staff.get("/admin/").content.decode()
    UsageDaily.objects.filter(organization=acme, day=TODAY).update(calls=F("calls") + 1)

    with caplog.at_level(logging.ERROR):
        answer = checked()
    with pytest.raises(SystemExit, match="1"):
        call_command("check_usage", stdout=StringIO())

    differences = answer["differences"]
    assert {each["measure"] for each in differences} == {"calls"}
    assert differences[0]["day"] == "2026-11-21"
    assert differences[0]["kept"] == differences[0]["counted"] + differences[0]["off"]
    assert "roll_up_usage --rebuild" in caplog.text
    figure = usage_check_figure()
    assert figure["is_bad"]
    page = as_staff.get("/admin/").content.decode()
    assert "1 wrong" in page
    assert "roll_up_usage --rebuild" in page
    assert "acme, 2026-11-21, calls (usage_usagedaily)" in page

    rebuild(now=NOON)
    assert checked()["differences"] == []
    assert "is_bad" not in usage_check_figure()


def test_the_job_of_the_night_ends_well_whatever_it_finds(acme, rolled_up):
    UsageDaily.objects.update(calls=0)

    run("check_usage")

    assert UsageCheck.objects.get().differing > 0


def test_a_check_that_does_not_come_is_said(acme, rolled_up):
    check_and_note(now=clock.now() - timedelta(days=4))

    assert usage_check_figure()["is_bad"]
    assert usage_check_figure()["value"] == "Not checked"


def test_old_checks_are_forgotten(db):
    UsageCheck.objects.bulk_create(UsageCheck(checked_at=NOON, days=0, calls=0) for _ in range(KEPT + 5))

    check_and_note(now=NOW)

    assert UsageCheck.objects.count() == KEPT
