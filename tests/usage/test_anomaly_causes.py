"""One cause that shows in several ways is one episode, one mail and one notice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail

from tests.usage.conftest import KEY, NOON
from tests.usage.test_anomalies import HOUR, NOW, USD, _hour, hours, later, said_of
from tests.usage.test_anomaly_judges import LAST, changed, dearer, hour, judged, ruled, steady
from usage.anomalies.causes import PRECEDENCE, is_one_cause
from usage.anomalies.drivers import Driver
from usage.anomalies.findings import Finding
from usage.episodes.answers import expect_anomaly
from usage.episodes.following import detect_anomalies
from usage.episodes.telling import tell_anomalies
from usage.measures import MEASURES
from usage.models import Anomaly, Mode, UsageDaily, UsageHourly

RETRIES, CACHE = Driver("retries", 0, 0.6), Driver("cache", 0.5, 0)
MODEL = Driver("models", 0, 0.9, "openai/new")


def finding(kind: Any, since: int = 100, **fields: Any) -> Finding:
    values: dict[str, Any] = {
        "hour": since,
        "hours": 1,
        "usual": 1,
        "found": 9,
        "a_day_nanousd": 2 * USD,
        "drivers": (),
    }
    return Finding(kind=kind, action="chat", since=since, **{**values, **fields})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (finding("requests"), finding("retries", 102)),
        (finding("cost_per_request"), finding("requests", 97)),
        (finding("cache_loss"), finding("cost_per_request", 106)),
        (finding("error_storm", drivers=(RETRIES,)), finding("retries", 101)),
        (finding("new_model", subject="openai/new"), finding("cache_loss", drivers=(MODEL,))),
        # What a new token does may show in the sum only on the day after.
        (finding("new_caller", 80, hour=110, subject="7"), finding("requests", 110)),
        # A run within what has gone on for days.
        (finding("cost_per_request", 10, hour=130), finding("dear_run", 129, subject="a")),
        (finding("dear_run", 100, hour=103, subject="a"), finding("dear_run", 102, subject="b")),
        (finding("cache_loss", 300, hour=310), finding("cost_per_request_drift", 10, hour=310, drivers=(CACHE,))),
    ],
)  # fmt: skip
def test_what_began_together_and_explains_the_other_is_one_cause(one, other):
    assert is_one_cause(one, other)
    assert is_one_cause(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (finding("requests"), finding("retries", 110)),
        (finding("cost_per_request", 10, hour=130), finding("requests", 130)),
        (finding("error_storm"), finding("cache_loss")),
        (finding("new_model", subject="openai/new"), finding("new_caller", subject="7")),
        (finding("new_caller", subject="7"), finding("new_caller", subject="8")),
        (finding("new_model", subject="openai/old"), finding("cache_loss", drivers=(MODEL,))),
        (finding("new_model", 10, hour=130, subject="openai/new"), finding("requests", 130)),
        (finding("requests", 300, hour=310), finding("requests_drift", 10, hour=310)),
        (finding("requests_drift", 10, hour=310), finding("cost_per_request_drift", 10, hour=310, drivers=(CACHE,))),
        (finding("dear_run", 100, hour=103, subject="a"), finding("dear_run", 160, subject="b")),
    ],
)  # fmt: skip
def test_what_began_apart_or_explains_nothing_is_another_cause(one, other):
    assert not is_one_cause(one, other)
    assert not is_one_cause(other, one)


def test_every_kind_has_its_place():
    assert sorted(PRECEDENCE) == sorted(Anomaly.Kind.values)


@pytest.mark.parametrize(
    ("change", "lead", "views"),
    [
        (lambda each: dearer(each, 3, uncached_input_tokens=each.calls * 2000, cache_read_tokens=0), "cache_loss",
         {"cost_per_request"}),
        (lambda each: hour(each.calls * 8, retried_calls=each.calls * 7), "retries", {"requests"}),
        (lambda each: hour(each.calls * 8, retried_calls=each.calls * 7, failed=each.calls * 7), "error_storm",
         {"requests", "retries"}),
        (lambda each: hour(each.calls, cents=8, model="openai/new"), "new_model", {"cost_per_request"}),
    ],
)  # fmt: skip
def test_what_the_judges_say_of_one_cause_is_one(change, lead, views):
    series = changed(steady(), LAST - 2, change)
    found = {each.kind: each for each in [*judged(series), *ruled(series)]}
    assert set(found) == {lead, *views}
    assert min(found, key=PRECEDENCE.index) == lead
    assert all(is_one_cause(found[lead], found[view]) for view in views)


def lost_cache(organization, **fields: Any) -> None:
    """From the last hour on nothing is read from cache, which makes requests three times as dear."""
    hours(organization, **fields)
    UsageHourly.objects.exclude(hour=NOON - timedelta(hours=1)).update(cache_read_tokens=100_000)
    UsageHourly.objects.filter(hour=NOON - timedelta(hours=1)).update(cost_nanousd=3 * USD)


@pytest.mark.django_db(transaction=True)
def test_one_cause_is_one_episode_and_one_mail(acme, alice):
    lost_cache(acme)

    assert detect_anomalies(now=NOW).opened == 1
    tell_anomalies(now=NOW, said_of=said_of)

    anomaly = Anomaly.objects.get()
    assert (anomaly.kind, [view["kind"] for view in anomaly.also]) == ("cache_loss", ["cost_per_request"])
    assert [driver["name"] for driver in anomaly.drivers or ()] == ["cache"]
    (message,) = mail.outbox
    assert "of the input within an hour was read from cache" in message.body
    assert "- A request cost $0.0294 within an hour; usual is $0.0100." in message.body


@pytest.mark.django_db(transaction=True)
def test_a_view_that_is_found_later_joins_the_episode(acme, alice):
    hours(acme, spike=9)
    detect_anomalies(now=NOW)
    tell_anomalies(now=NOW, said_of=said_of)
    UsageHourly.objects.bulk_create([_hour(acme, HOUR + 1, "candidate_check", Mode.BYOK, 900, {})])
    UsageHourly.objects.filter(hour=NOON).update(retried_calls=800)

    assert detect_anomalies(now=later(1)).opened == 0
    tell_anomalies(now=later(1), said_of=said_of)

    anomaly = Anomaly.objects.get()
    assert (anomaly.kind, [view["kind"] for view in anomaly.also]) == ("requests", ["retries"])
    assert (anomaly.seen_at, anomaly.found) == (NOON + timedelta(hours=1), 900)
    assert len(mail.outbox) == 1


def test_of_many_dear_runs_of_one_cause_the_dearest_are_kept():
    told = {"mode": "byok", "action": "chat", "since": NOON, "seen_at": NOW, "hours": 1, "usual": 1}
    episode = Anomaly(kind="cost_per_request", found=9, state="open", **told)
    for number in range(9):
        episode.tell_with(Anomaly(kind="dear_run", subject=str(number), found=100 + number % 7, **told))
    episode.tell_with(Anomaly(kind="retries", found=9, **told))
    assert [view["kind"] for view in episode.also] == ["dear_run"] * 5 + ["retries"]
    assert min(view["found"] for view in episode.also[:5]) == 102


@pytest.mark.django_db(transaction=True)
def test_what_is_expected_is_so_in_each_of_its_views_and_no_further(acme, alice):
    lost_cache(acme)
    detect_anomalies(now=NOW)
    expect_anomaly(organization=acme, anomaly_id=Anomaly.objects.get().pk, by=alice, days=7, why="", now=NOW)
    assert detect_anomalies(now=NOW).opened == 0
    UsageHourly.objects.filter(hour=NOON - timedelta(hours=1)).update(cost_nanousd=9 * USD)
    assert detect_anomalies(now=NOW).opened == 1
    assert Anomaly.objects.latest("pk").kind == "cost_per_request"


@pytest.mark.django_db(transaction=True)
def test_hours_of_a_view_are_no_part_of_what_is_usual(acme):
    hours(acme, spike=9)
    new_caller(acme)
    detect_anomalies(now=NOW)
    anomaly = Anomaly.objects.get()
    assert (anomaly.kind, [view["kind"] for view in anomaly.also]) == ("new_caller", ["requests"])
    Anomaly.objects.update(state="over")
    again = HOUR + 3 * 24
    UsageHourly.objects.bulk_create(
        _hour(acme, number, "candidate_check", Mode.BYOK, 900 if number == again else 100 + number % 3, {})
        for number in range(HOUR + 1, again + 1)
    )
    assert detect_anomalies(now=later(3 * 24)).opened == 1


@pytest.mark.django_db(transaction=True)
def test_what_organizations_are_told_of_is_not_hidden_in_what_they_are_not(acme, alice):
    hours(acme, mode=Mode.MANAGED, spike=9, cost_nanousd=200 * USD)
    detect_anomalies(now=NOW)
    anomaly = Anomaly.objects.get()
    assert (anomaly.kind, [view["kind"] for view in anomaly.also]) == ("requests", ["cost_per_request"])
    tell_anomalies(now=NOW, said_of=said_of)
    assert "A request cost" not in mail.outbox[0].body


def new_caller(organization) -> None:
    day = dict.fromkeys(MEASURES, 0) | {"calls": 800, "cost_nanousd": 8 * USD}
    UsageDaily.objects.create(
        organization=organization, day=NOON.date(), provider="openai", model="gpt-4o", action="candidate_check",
        key_id=KEY, key_label="Default", mode=Mode.BYOK, token_id=5, member_id=1, **day,
    )  # fmt: skip
