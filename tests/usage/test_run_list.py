"""One run is one row, however long it goes on, and what the rows add up to is what was spent."""

from __future__ import annotations

import uuid
from datetime import date, timedelta
from typing import Any

import pytest

from organizations import clock
from organizations.services import set_members_see_usd
from tests.usage.conftest import NOON, TODAY, event, roll_up
from usage import run_list
from usage.models import RollupState, UsageEvent

from .test_runs import answer

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/o/acme/consumption/runs/"
COSTS = {"a": 10**6, "b": 10**7 + 1, "c": 3}


@pytest.fixture
def history(admit, acme):
    """A run of 30 hours, one of 3 days, one id of two actions for 5 days, and some short ones in between."""

    def call(run, hours: float, **fields: Any) -> None:
        model = fields.pop("model", "a")
        at = NOON - timedelta(days=6) + timedelta(hours=hours)
        fields = {"action": "helper", "iteration": 1, "deadline_at": at + timedelta(hours=1), **fields}
        answer(admit(run_id=run, now=at, model=model, **fields), cost=COSTS[model], tokens=10)

    thirty_hours, three_days, two_actions = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    for hours in (0, 10, 30):
        call(thirty_hours, 1 + hours, model="b" if hours == 30 else "a")
    for hours in (0, 24, 30, 49, 72):
        call(three_days, 2 + hours, model="c" if hours else "a")
    for hours in range(0, 120, 12):
        call(two_actions, 3 + hours, model="a")
        call(two_actions, 3.5 + hours, model="b", action="other")
    for hours in range(0, 140, 7):
        call(uuid.uuid4(), hours, model="abc"[hours % 3])
    return {thirty_hours: 2, three_days: 4, two_actions: 5}


def all_of(client: Any, **query: str) -> list[run_list.Run]:
    found, after = [], ""
    while after is not None:
        context = client.get(URL, {**query, "after": after}).context
        assert len(context["runs"]) == run_list.ROWS or context["after"] is None
        found += context["runs"]
        after = context["after"]
    return found


def keys(runs: list[run_list.Run]) -> list[tuple[uuid.UUID, str]]:
    return [(run.call.run_id, run.call.action) for run in runs]


@pytest.mark.parametrize("rows", [1, 2, 3, 25])
@pytest.mark.parametrize("order", ["", "dearest"])
def test_a_run_is_one_row_on_all_pages_together(as_bob, acme, history, monkeypatch, rows, order):
    monkeypatch.setattr(run_list, "ROWS", rows)
    monkeypatch.setattr(run_list, "AT_ONCE", 2)

    runs = all_of(as_bob, order=order)

    assert len(runs) == len(set(keys(runs))) == 4 + 20
    spent = sum(call.cost_nanousd or 0 for call in UsageEvent.objects.all())
    assert sum(run.cost.cost_nanousd or 0 for run in runs) == spent
    assert sum(run.cost.calls for run in runs) == UsageEvent.objects.count()
    assert {run.call.run_id: run.counted for run in runs if run.counted > 1} == history
    if order:
        costs = [run.cost.cost_nanousd or 0 for run in runs]
        assert costs == sorted(costs, reverse=True)
    else:
        assert [run.began for run in runs] == sorted((run.began for run in runs), reverse=True)


@pytest.mark.parametrize("order", ["", "dearest"])
@pytest.mark.parametrize(
    "query",
    [
        *({"from": str(TODAY - timedelta(days=day)), "to": str(TODAY - timedelta(days=day))} for day in range(7)),
        {"from": str(TODAY - timedelta(days=4))},
        {"model": "a"},
        {"model": "c", "from": str(TODAY - timedelta(days=5))},
        {"model": "b", "action": "helper"},
        {"action": "other"},
        {"mode": "byok", "status": "answered"},
        {"token": "none"},
    ],
)
def test_by_any_filter_it_is_one_row_and_counts_as_often_as_the_numbers_say(
    as_bob, acme, history, monkeypatch, query, order
):
    roll_up(now=NOON + timedelta(days=1))
    monkeypatch.setattr(run_list, "ROWS", 2)
    counting = UsageEvent.objects.filter(counts_run=True)
    for name, field in (("model", "model"), ("action", "action")):
        if name in query:
            counting = counting.filter(**{field: query[name]})
    if "from" in query:
        counting = counting.left_on_days(
            date.fromisoformat(query["from"]), date.fromisoformat(query.get("to", "9999-01-01"))
        )

    runs = all_of(as_bob, order=order, **query)

    assert len(runs) == len(set(keys(runs)))
    assert set(keys(runs)) == set(counting.values_list("run_id", "action"))
    assert sum(run.counted for run in runs) == counting.count()
    for run in runs:
        own = UsageEvent.objects.filter(run_id=run.call.run_id, action=run.call.action)
        assert run.cost.cost_nanousd == sum(call.cost_nanousd or 0 for call in own)


def test_the_page_says_how_often_a_run_counts(as_bob, acme, history, django_assert_max_num_queries):
    as_bob.get(URL)
    with django_assert_max_num_queries(20):
        whole = as_bob.get(URL).content.decode()
    part = as_bob.get(URL, {"from": str(TODAY - timedelta(days=4))}).content.decode()

    assert "counts 4 times</span>" in whole
    assert "30 h 0 min" in whole
    assert "3 d 0 h" in whole
    assert "counts 2 of 4 times here</span>" in part


def offered(client: Any, field: str, **query: str) -> dict[str, str]:
    return dict(client.get(URL, query).context["form"].fields[field].widget.choices)


def test_filters_say_how_many_runs_are_behind_each_value(as_bob, acme, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(clock, "now", lambda: NOON)
    key = uuid.uuid4()
    event(acme, key_id=key, key_label="Main")
    event(acme, provider="anthropic", mode="managed", action="helper", token_id=None)
    roll_up(now=NOON)
    event(acme, iteration=2, counts_run=False)  # counts none
    event(acme, key_id=key, key_label="Main", model="other", day=TODAY - timedelta(days=2))  # not rolled up yet
    event(acme, day=TODAY - timedelta(days=40))

    assert offered(as_bob, "provider")["openai"] == "OpenAI (2)"
    assert offered(as_bob, "provider")["anthropic"] == "Anthropic (1)"
    assert offered(as_bob, "provider")["mistral"] == "Mistral (0)"
    assert offered(as_bob, "action")["helper"] == "Helper (1)"
    assert offered(as_bob, "mode") == {"": "All", "byok": "BYOK (2)", "managed": "Managed (1)"}
    assert offered(as_bob, "key", key=str(key))[str(key)].endswith("(2)")
    day = str(TODAY - timedelta(days=2))
    assert offered(as_bob, "provider", **{"from": day, "to": day})["openai"] == "OpenAI (1)"
    assert offered(as_bob, "provider", provider="openai", day=str(TODAY))["anthropic"] == "Anthropic (1)"
    assert offered(as_bob, "provider", **{"from": "2026-01-01"})["openai"] == "OpenAI (3)"
    assert dict(as_bob.get(URL).context["models"])["other"] == 1
    assert "runs of 23 Oct to 21 Nov 2026 (UTC)" in as_bob.get(URL).content.decode()
    with django_assert_max_num_queries(20):
        as_bob.get(URL, {"provider": "openai", "key": str(key), "token": "none"})


@pytest.mark.parametrize(
    "query",
    [{"to": "0001-01-01"}, {"day": "0001-01-01"}, {"from": "9999-12-31"}, {"from": "0001-01-01", "to": "9999-12-31"}],
)
def test_days_that_no_calendar_of_ours_has_are_answered(as_bob, acme, query):
    event(acme)

    assert as_bob.get(URL, query).status_code == 200


def test_who_sees_no_usd_is_not_told_which_run_is_the_dearer_one(as_bob, acme, alice):
    for number in range(3):
        event(acme, cost_nanousd=number % 2, occurred_at=NOON - timedelta(minutes=number))
    set_members_see_usd(organization=acme, sees=False, actor=alice)

    context = as_bob.get(URL, {"order": "dearest"}).context

    assert [run.call.occurred_at for run in context["runs"]] == [NOON - timedelta(minutes=at) for at in range(3)]
    assert dict(context["form"].fields["order"].choices) == {"": "Latest first"}


def test_where_runs_have_left_the_page_says_so(as_bob, acme):
    assert "No runs yet" in as_bob.get(URL).content.decode()

    RollupState.objects.create(derived_from=date(2026, 8, 1))

    assert "No runs since 1 Aug 2026" in as_bob.get(URL).content.decode()
    said = as_bob.get(URL, {"to": "2026-07-31"}).content.decode()
    assert "Runs of before 1 Aug 2026 are no longer kept one by one" in said
