"""The same question gets the same number wherever it is asked: counted here by hand from odd calls."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.http import QueryDict
from django.utils.http import urlencode

from config.exports import export
from tests.usage.conftest import NOON, TODAY, roll_up, unsaved_event
from tests.usage.exports.reading import rows_of
from usage import amounts
from usage.anatomy import of_period
from usage.consumption import Report
from usage.consumption_form import ConsumptionForm
from usage.cost_panel import cost_summary
from usage.exports.periods import Days
from usage.forecast import forecast_of_month
from usage.metrics import GROUPS
from usage.models import Mode, UsageEvent
from usage.names import OwnNames

pytestmark = pytest.mark.django_db
FIRST = TODAY - timedelta(days=29)
LAST_MOMENT = time(23, 59, 59, 999999, tzinfo=UTC)
NoPrice, Source, Status = UsageEvent.NoPrice, UsageEvent.PriceSource, UsageEvent.Status
LABELS = [{}, {"team": "(other)"}, {"team": "ünïcödé ✓", "env": "prod"}, {"team": "a:b"}, {"Without this label": "x"}]
ENDS: list[dict[str, Any]] = [
    {"cost_nanousd": 1_234_567_891, "output_tokens": 3},
    {"cost_nanousd": None, "output_tokens": 5},
    {"cost_nanousd": None, "status": Status.LOST, "no_price": NoPrice.NO_ANSWER},
    {"cost_nanousd": None, "status": Status.FAILED, "no_price": NoPrice.NOT_BILLED},
    {"cost_nanousd": None, "status": Status.CUT_OFF, "no_price": NoPrice.NO_ANSWER},
    {"cost_nanousd": 0, "price_source": Source.OWN_SERVER, "uncached_input_tokens": 9},
    {"cost_nanousd": 77, "price_source": Source.PROVIDER, "cache_read_tokens": 8, "cache_write_tokens": 2},
]


def _calls(acme, chance: random.Random, count: int) -> list[UsageEvent]:
    calls = []
    for number in range(count):
        day = FIRST + timedelta(days=chance.choice([-31, -1, 0, 3, 20, 28, 29]))
        moment = LAST_MOMENT if day < TODAY and chance.random() < 0.3 else time(chance.randrange(12), tzinfo=UTC)
        at = datetime.combine(day, moment)
        began = chance.random() < 0.2
        call = unsaved_event(
            acme,
            occurred_at=at,
            provider=chance.choice(["openai", "anthropic"]),
            model=chance.choice(["gpt-4o", "(other)", "Other (2)", "modèle"]) + str(number % 13),
            action=chance.choice(["candidate_check", "gone", "(other)"]),
            mode=chance.choice(list(Mode)),
            key_id=uuid.UUID(int=chance.randrange(4)),
            key_label=chance.choice(["Default", "Renamed"]),
            token_id=chance.choice([None, 7, 8]),
            member_id=chance.choice([None, 3]),
            labels=chance.choice(LABELS),
            latency_ms=chance.randrange(1000),
            run_day=day - timedelta(days=1) if began else None,
            iteration=2 if began else 1,
            **chance.choice(ENDS),
        )
        calls.append(call)
        if call.cost_nanousd and call.price_source != Source.OWN_SERVER and chance.random() < 0.4:
            same = (
                "occurred_at",
                "provider",
                "model",
                "action",
                "mode",
                "key_id",
                "key_label",
                "token_id",
                "member_id",
            )
            of_call = ("labels", "call_id", "run_id", "run_day")
            by = chance.choice([-(call.cost_nanousd // 2), 5, -(2 * call.cost_nanousd)])
            correction = {"iteration": 2, "revision": 1, "status": Status.CORRECTED, "usage_reported": True}
            calls.append(
                unsaved_event(
                    acme,
                    **{name: getattr(call, name) for name in (*same, *of_call)},
                    cost_nanousd=by,
                    output_tokens=0,
                    **correction,
                )
            )
    return calls


@pytest.fixture(params=["live", "half", "rolled up"])
def books(request, acme) -> None:
    chance = random.Random(13)  # no secret
    calls = _calls(acme, chance, 120)
    for place, call in enumerate(calls):
        if place == len(calls) // 2 and request.param == "half":
            roll_up(now=NOON)
        call.save()
    if request.param == "rolled up":
        roll_up(now=NOON)


def _report(acme, **query: str):
    query = {name.rstrip("_"): value for name, value in query.items()}
    form = ConsumptionForm(QueryDict(urlencode({**query, "rows": "all"})), names=OwnNames(), today=TODAY)
    found = Report(acme, form, OwnNames(), now=NOON).read()
    assert not form.problems
    return found


def _number(value: str) -> int:
    return 0 if value == amounts.NOT_REPORTED else int(value.removeprefix("at least ").replace(",", ""))


def _usd(calls, shows: bool) -> int:
    return sum(call.cost_nanousd or 0 for call in calls if shows or call.mode == Mode.BYOK)


def _of_days(acme, first: date, last: date) -> list[UsageEvent]:
    found = UsageEvent.objects.for_organization(acme)
    return [call for call in found if first <= call.occurred_at.astimezone(UTC).date() <= last]


@pytest.mark.parametrize("shows", [False, True])
def test_every_surface_says_what_the_calls_come_to(acme, books, settings, shows):
    settings.KEYFARE_SHOW_MANAGED_USD = shows
    month = _of_days(acme, FIRST, TODAY)
    usd, calls = _usd(month, shows), [call for call in month if not call.revision]
    tokens = sum(call.total_tokens for call in month)
    failed = sum(call.status in UsageEvent.ERRORS for call in calls)
    runs = sum(
        call.counts_run and FIRST <= (call.run_day or call.occurred_at.date()) <= TODAY
        for call in UsageEvent.objects.for_organization(acme)
    )

    # The panel of the overview, the anatomy, the forecast, and both files
    panel = cost_summary(organization=acme, today=TODAY)
    assert (panel.month.cost_nanousd, panel.month.calls, panel.month.tokens) == (usd, len(calls), tokens)
    assert panel.week.cost_nanousd == _usd(_of_days(acme, TODAY - timedelta(days=6), TODAY), shows)
    assert sum(row.totals.cost_nanousd or 0 for row in panel.providers) == usd
    anatomy = of_period(acme, FIRST, TODAY)
    assert anatomy.anatomy is not None
    assert (anatomy.anatomy.totals.cost_nanousd, anatomy.anatomy.totals.calls) == (usd, len(calls))
    assert sum(row.totals.cost_nanousd or 0 for row in anatomy.actions) == usd
    so_far = forecast_of_month(organization=acme, today=TODAY)
    assert so_far.spent == _usd(_of_days(acme, TODAY.replace(day=1), TODAY), shows)
    period = Days(FIRST, TODAY)
    lines = rows_of(b"".join(piece.content for piece in export(acme, "csv", period)).decode())
    assert sum(Decimal(line["cost_usd"] or 0) for line in lines) * 10**9 == usd
    assert sum(line["revision"] == "0" for line in lines) == len(calls)
    focus = rows_of(b"".join(piece.content for piece in export(acme, "focus", period)).decode())
    assert sum(Decimal(line["BilledCost"]) for line in focus) * 10**9 == usd

    # Consumption, by whatever it is grouped
    for group in (*GROUPS, "label:team", "label:nothing"):
        for metric, whole in (("usd", usd), ("tokens", tokens), ("errors", failed)):
            report = _report(acme, group=group, metric=metric)
            told = report.total.value.removeprefix("at least ")
            assert told == (amounts.dollars(whole) if metric == "usd" else f"{whole:,}"), (group, metric)
            assert sum(int(row.calls.replace(",", "")) for row in report.rows) == len(calls), (group, metric)
            if metric != "usd":
                assert sum(_number(row.value) for row in report.rows) == whole, (group, metric)
        if not group.startswith("label:"):  # labels are of calls
            assert _number(_report(acme, group=group, metric="runs").total.value) == runs, group


@pytest.mark.parametrize("day", [TODAY, TODAY - timedelta(days=1), FIRST])
def test_a_day_by_the_hour_is_that_day(acme, books, day):
    of_day = _of_days(acme, day, day)
    report = _report(acme, from_=str(day), to=str(day), metric="calls")

    assert report.chart.slot == "Hour"
    assert report.chart.total == report.total.value == f"{sum(not call.revision for call in of_day)}"
    by_hour = {row.label.hour: int(row.total) for row in report.chart.rows}
    for hour in range(24):
        assert by_hour[hour] == sum(call.occurred_at.hour == hour for call in of_day if not call.revision)
    dollars = _report(acme, from_=str(day), to=str(day), metric="usd")
    assert dollars.chart is None or dollars.chart.total.removeprefix("at least ") == (
        dollars.total.value.removeprefix("at least ")
    )
