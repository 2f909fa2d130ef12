"""What Consumption counts, by hand: every metric, every group, every period, and where each number leads."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.http import QueryDict
from django.utils.http import urlencode

from tests.usage.conftest import KEY, NOON, TODAY, event, lost_or_failed, roll_up
from usage.consumption import Report
from usage.consumption_form import ORIGINS, ConsumptionForm, period_of
from usage.metrics import GROUPS, METRICS
from usage.models import Mode, UsageEvent
from usage.names import OwnNames

pytestmark = pytest.mark.django_db
URL = "/o/acme/consumption/"
NOW = NOON.replace(minute=10)
OTHER_KEY, OPERATORS_KEY = uuid.UUID(int=2**127), uuid.UUID(int=3)
NAMES = OwnNames(actions={"helper": "Helper"}, tokens={7: "Nightly"}, members={3: "Bob"})


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch):
    monkeypatch.setattr("organizations.clock.now", lambda: NOW)


def report(acme, **query: str) -> Any:
    query = {name.rstrip("_"): value for name, value in query.items()}
    form = ConsumptionForm(QueryDict(urlencode(query)), names=NAMES, today=TODAY)
    return Report(acme, form, NAMES, now=NOW).read()


def rows(acme, **query: str) -> dict[str, str]:
    found = report(acme, **query)
    return {row.name: row.value for row in (*found.rows, *([found.other] if found.other else []))}


def days_ago(days: int, hour: int = 10) -> datetime:
    return datetime.combine(TODAY - timedelta(days=days), datetime.min.time(), tzinfo=UTC).replace(hour=hour)


@pytest.fixture
def month(acme, globex):
    """
    Two agents and a check on two models, a token and labels; one unpriced call, one error, one lost, one Managed; and
    the month before.
    """
    usual = {"uncached_input_tokens": 100, "output_tokens": 50, "cost_nanousd": 2_000_000_000, "latency_ms": 900}
    run = uuid.uuid4()
    event(
        acme,
        occurred_at=days_ago(0),
        action="helper",
        run_id=run,
        token_id=7,
        member_id=3,
        labels={"team": "red"},
        **usual,
    )
    event(acme, occurred_at=days_ago(0, 11), action="helper", run_id=run, iteration=2, labels={"team": "blue"}, **usual)
    event(acme, occurred_at=days_ago(1), key_id=OTHER_KEY, key_label="Second", cache_read_tokens=300, **usual)
    event(acme, occurred_at=days_ago(2), model="large", provider="anthropic", **usual)
    event(acme, occurred_at=days_ago(2), model="large", provider="anthropic", cost_nanousd=None, output_tokens=5)
    lost_or_failed(acme, UsageEvent.Status.FAILED, occurred_at=days_ago(3))
    lost_or_failed(acme, UsageEvent.Status.LOST, occurred_at=days_ago(3))
    event(acme, occurred_at=days_ago(4), mode=Mode.MANAGED, key_id=OPERATORS_KEY, **usual)
    event(acme, occurred_at=days_ago(31), action="helper", **usual)
    event(acme, occurred_at=days_ago(30, 20), action="helper", **usual)  # later in the day than it is now
    event(globex, occurred_at=days_ago(0), action="helper", **usual)


@pytest.fixture(params=["live", "rolled up"])
def either_way(request, month) -> None:
    if request.param == "rolled up":
        roll_up(now=NOW)


def test_usd_by_action_say_what_they_miss_and_what_changed(acme, either_way):
    found = report(acme)

    assert [(row.name, row.value, row.share, row.calls) for row in found.rows] == [
        ("Candidate check", "at least $4.00", "50%", "6"),
        ("Helper", "$4.00", "50%", "2"),
    ]
    check, helper = found.rows
    assert [each.text for each in check.missing] == ["1 unpriced", "1 without an answer", "1 Managed"]
    assert helper.missing == ()
    # Of the last day before only as much as there is of today: the call of 20:00 is not in it.
    assert (helper.change.text, helper.change.before) == ("+100%", "$2.00")
    assert (check.change.text, check.change.before) == ("new", "$0.00")
    assert "up to 12:00 of its last day" in found.before_words
    assert (helper.per_call, helper.per_run) == ("$2.0000", "$4.0000")
    assert (found.total.value, found.total.change.text) == ("at least $8.00", "+300%")
    assert [(figure.label, figure.value) for figure in found.figures] == [
        ("Estimated USD", "at least $8.00"),
        ("Tokens", "at least 1,055"),
        ("Calls", "8"),
        ("Runs", "7"),
        ("Errors", "1"),
    ]


@pytest.mark.parametrize(
    ("group", "metric", "expected"),
    [
        ("provider", "calls", {"OpenAI": "6", "Anthropic": "2"}),
        ("model", "calls", {"gpt-4o": "6", "large": "2"}),
        ("mode", "calls", {"BYOK": "7", "Managed": "1"}),
        ("token", "calls", {"Nightly": "1", "No API token": "7"}),
        ("member", "calls", {"Bob": "1", "Nobody": "7"}),
        ("action", "runs", {"Candidate check": "6", "Helper": "1"}),
        ("action", "errors", {"Candidate check": "1", "Helper": "0"}),
        ("action", "tokens", {"Candidate check": "at least 755", "Helper": "300"}),
        ("action", "cache_read", {"Candidate check": "at least 300", "Helper": "0"}),
        ("action", "cache_share", {"Candidate check": "at least 50.0%", "Helper": "0.0%"}),
        ("label:team", "calls", {"red": "1", "blue": "1", "Without this label": "6"}),
        ("label:team", "usd", {"red": "$2.00", "blue": "$2.00", "Without this label": "at least $4.00"}),
    ],
)
def test_each_metric_by_each_group(acme, either_way, group, metric, expected):
    assert rows(acme, group=group, metric=metric) == expected


@pytest.mark.parametrize("metric", ["usd", "tokens"])
@pytest.mark.parametrize("query", [{"group": "label:team"}, {"label": "team:red"}, {"label": "team:"}])
def test_by_label_there_is_no_average_of_a_run_rather_than_one_of_other_runs(acme, either_way, metric, query):
    found = report(acme, metric=metric, **query)

    assert {row.per_run for row in (*found.rows, found.total)} == {""}
    assert any("no average of a run" in note for note in found.notes)


def test_both_ends_of_a_period_before_all_calls_are_two_sentences(as_bob, month):
    response = as_bob.get(f"{URL}?from=0001-01-01&to=0001-01-02")

    assert response.status_code == 200
    assert [label for label, _ in response.context["form"].problems] == ["From", "To"]


def test_keys_of_the_operator_are_not_told_apart(acme, either_way):
    assert rows(acme, group="key", metric="calls") == {
        f"Removed key {str(KEY)[:8]}": "6",
        f"Removed key {str(OTHER_KEY)[:8]}": "1",
        "Keys of the operator": "1",
    }
    managed = next(row for row in report(acme, group="key", metric="calls").rows if row.name == "Keys of the operator")
    assert managed.filter_url.endswith("mode=managed")


def test_latency_is_of_all_calls_and_no_sum(acme, either_way):
    found = report(acme, metric="p50")

    assert {row.name: row.value for row in found.rows} == {"Candidate check": "~0.83 s", "Helper": "~0.88 s"}
    assert found.total.share == ""
    assert any("cannot be added up" in note for note in found.notes)
    assert [item.name for item in found.chart.legend] == ["All calls"]


@pytest.mark.parametrize(
    ("query", "days", "before"),
    [
        ({"period": "today"}, ("2026-11-21", "2026-11-21"), ("2026-11-20", "2026-11-20")),
        ({"period": "7d"}, ("2026-11-15", "2026-11-21"), ("2026-11-08", "2026-11-14")),
        ({"period": "month"}, ("2026-11-01", "2026-11-21"), ("2026-10-01", "2026-10-21")),
        ({"period": "last_month"}, ("2026-10-01", "2026-10-31"), ("2026-09-01", "2026-09-30")),
        ({"from": "2026-11-02", "to": "2026-11-04"}, ("2026-11-02", "2026-11-04"), ("2026-10-30", "2026-11-01")),
        ({"from": "2026-11-20", "to": "2027-01-01"}, ("2026-11-20", "2026-11-21"), ("2026-11-18", "2026-11-19")),
        ({"to": "2026-11-04", "period": "7d"}, ("2026-10-06", "2026-11-04"), ("2026-09-06", "2026-10-05")),
    ],
)
def test_periods_and_those_before_them(acme, query, days, before):
    period = report(acme, **query).period

    assert (str(period.first), str(period.last)) == days
    assert (str(period.before_first), str(period.before_last)) == before


def test_a_long_month_is_compared_with_all_of_a_short_one():
    period = period_of("month", date(2026, 3, 31))

    assert (period.before_first, period.before_last) == (date(2026, 2, 1), date(2026, 2, 28))


def test_up_to_three_days_are_drawn_by_the_hour_where_hours_are_known(acme, either_way):
    by_hour = report(acme, period="today", metric="calls").chart
    by_day = report(acme, period="today", metric="calls", group="token")

    assert by_hour.slot == "Hour"
    assert len(by_hour.rows) == 24
    assert {row.label.hour: row.total for row in by_hour.rows if row.total != "0"} == {10: "1", 11: "1"}
    assert ">21 Nov 2026, 10:00</th>" in by_hour.days_as_rows
    assert by_day.chart.slot == "Day"
    assert any("by the day alone" in note for note in by_day.notes)


@pytest.mark.parametrize("most_cells", [0, 5000])
@pytest.mark.parametrize("is_rolled_up", [False, True])
def test_beyond_ten_the_rest_is_one_row_and_grey_and_the_total_holds(acme, monkeypatch, is_rolled_up, most_cells):
    monkeypatch.setattr("usage.consumption.MOST_CELLS", most_cells)
    for number in range(14):
        event(acme, model=f"m{number:02}", cost_nanousd=(20 - number) * 10**9, occurred_at=days_ago(number % 3))
    if is_rolled_up:
        roll_up(now=NOW)

    found = report(acme, group="model")
    everything = report(acme, group="model", rows="all")

    assert [row.name for row in found.rows] == [f"m{number:02}" for number in range(10)]
    assert (found.other.name, found.other.value, found.other.calls) == ("Other (4)", "$34.00", "4")
    assert (found.total.value, found.chart.total) == ("$189.00", "$189.00")
    assert (found.chart.legend[-1].name, found.chart.legend[-1].colour, found.chart.legend[-1].total) == (
        "Other",
        5,
        "$34.00",
    )
    assert len(everything.rows) == 14
    assert everything.other is None


def test_filters_narrow_everything_but_what_there_is_to_choose_from(acme, either_way):
    form = ConsumptionForm(QueryDict("label=team:red&metric=calls&provider=openai"), names=NAMES, today=TODAY)
    found = Report(acme, form, NAMES, now=NOW).read()

    assert [(row.name, row.value) for row in found.rows] == [("Helper", "1")]
    assert dict(form.fields["provider"].widget.choices)["openai"] == "OpenAI (6)"
    assert dict(form.fields["label"].widget.choices)["team:blue"] == "team: blue (1)"
    assert [(label, value) for label, value, _ in form.chips] == [("Provider", "OpenAI"), ("Label", "team: red")]
    assert "provider" not in form.chips[0][2]
    assert "label=team%3Ared" in form.chips[0][2]
    assert rows(acme, label="team:", metric="calls") == {"Candidate check": "6"}


NONSENSE = [
    "metric=nonsense",
    "group=nonsense",
    "group=label:",
    "period=eternity",
    "period=custom",
    "from=2026-13-01",
    "from=2027-01-01",
    "from=2020-01-01",
    "to=0001-01-01",
    "from=2026-11-20&to=2026-11-01",
    "token=x",
    "member=%D9%A3",
    "key=1",
    "label=team",
    "mode=free",
    "label=team:red&group=token",
    "label=team:red&key=00000000-0000-0000-0000-000000000001",
    "group=label:env&label=team:red",
    "group=label:env&member=3",
]


@pytest.mark.parametrize("query", NONSENSE)
def test_nonsense_in_the_address_is_a_sentence_and_loses_nothing(as_bob, month, query):
    response = as_bob.get(f"{URL}?{query}&provider=openai&unknown=1")

    assert response.status_code == 200
    assert len(response.context["form"].problems) == 1, response.context["form"].problems
    html = response.content.decode()
    assert "could not be read" in html
    assert "unknown=1" in html
    assert response.context["report"].rows


def test_a_value_that_nothing_has_is_shown_and_matches_nothing(as_bob, month):
    html = as_bob.get(f"{URL}?model=of-tomorrow&provider=<b>&group=label:nothing").content.decode()

    assert "No calls match" in html
    assert "of-tomorrow" in html
    assert "<b>" not in html


# Each number, followed to its rows.


def followed(client: Any, address: str) -> int:
    """How many rows are behind an address, page by page."""
    found, more = 0, dict[str, Any]()
    for _ in range(50):
        context = client.get(address + (f"&{urlencode(more)}" if more else "")).context
        name, older = ("events", "older") if "events" in context else ("runs", "after")
        found += len(context[name])
        if context[older] is None:
            return found
        more = {"before" if name == "events" else "after": context[older]}
    raise AssertionError(address)


COUNTS = {"Calls": "calls", "Runs": "runs", "Errors": "errors"}


def counts_of(found: Any) -> dict[str, int]:
    """Every number of rows on the page, by the address that it leads to."""
    parts = [*found.rows, found.total]
    told = [*((row.calls_url, row.calls) for row in parts), *((row.runs_url, row.runs) for row in parts)]
    told += [(row.rows_url, row.value) for row in parts if found.metric.label in COUNTS]
    told += [(figure.url, figure.value) for figure in found.figures if figure.label in COUNTS]
    told += [(each.url, each.text.split()[0]) for part in (*parts, *found.figures) for each in part.missing]
    return {address: int(number.replace(",", "")) for address, number in told}


@pytest.mark.parametrize("query", ["", "mode=byok&", "label=team:red&", "token=none&"])
def test_every_number_is_followed_to_its_rows(as_bob, acme, month, query):
    told: dict[str, int] = {}
    by_label, by_origin = "token" not in query, "label" not in query
    groups = [*(group for group in GROUPS if by_origin or group not in ORIGINS), *(["label:team"] if by_label else [])]
    for at, group in enumerate(groups):
        metric = ("usd", "runs", "errors", "tokens")[at % 4]
        response = as_bob.get(f"{URL}?{query}metric={metric}&group={group}&period=7d")
        counts, html = counts_of(response.context["report"]), unescape(response.content.decode())
        assert all(address in html for address in counts)
        told |= counts

    assert {address: followed(as_bob, address) for address in told} == told


def test_the_sums_of_a_list_are_those_of_the_number(as_bob, acme, month):
    """USD and tokens: what the calls behind a figure add up to."""
    for row in report(acme, group="model").rows:
        calls = as_bob.get(row.rows_url).context["events"]
        total = sum(call.cost_nanousd or 0 for call in calls)
        assert f"${total / 10**9:,.2f}" in row.value
    for row in report(acme, group="model", metric="tokens").rows:
        calls = as_bob.get(row.rows_url).context["events"]
        assert f"{sum(call.total_tokens for call in calls):,}" in row.value


def test_a_run_leads_to_its_calls(as_bob, acme, month):
    html = unescape(as_bob.get("/o/acme/consumption/runs/?action=helper&from=2026-11-21").content.decode())
    ((run,), context) = as_bob.get("/o/acme/consumption/runs/?action=helper&from=2026-11-21").context["runs"], html

    assert (run.cost.calls, run.cost.tokens, run.cost.cost_nanousd, run.failed) == (2, 300, 4_000_000_000, 0)
    assert run.took_ms == 3_600_900
    (address, *_) = re.findall(r'href="(/o/acme/consumption/calls/\?run=[^"]+)"', context)
    assert followed(as_bob, address) == 2


def test_runs_come_latest_or_dearest_first_a_page_at_a_time(as_bob, acme, monkeypatch):
    monkeypatch.setattr("usage.run_list.ROWS", 3)
    for number in range(8):
        event(acme, cost_nanousd=(number * 5 % 8) * 10**6, occurred_at=NOON - timedelta(minutes=number))
    event(acme, cost_nanousd=None, occurred_at=NOON - timedelta(hours=1))

    def all_of(order: str) -> list[Any]:
        found, after = [], ""
        while after is not None:
            context = as_bob.get("/o/acme/consumption/runs/", {"order": order, "after": after}).context
            found += context["runs"]
            after = context["after"]
        return found

    latest, dearest = all_of(""), all_of("dearest")

    assert len(latest) == len(dearest) == 9
    assert [run.began for run in latest] == sorted((run.began for run in latest), reverse=True)
    costs = [run.cost.cost_nanousd for run in dearest]
    assert costs == [*sorted((cost for cost in costs if cost is not None), reverse=True), None]


def test_dearest_says_of_how_many_runs_where_it_is_not_of_all(as_bob, acme, monkeypatch):
    monkeypatch.setattr("usage.run_list.DEAREST_OF", 2)
    for number in range(3):
        event(acme, cost_nanousd=number, occurred_at=NOON - timedelta(minutes=number))

    said = as_bob.get("/o/acme/consumption/runs/?order=dearest").content.decode()

    assert "The dearest of the latest 2 runs" in said


def test_addresses_of_before_lead_on_with_their_filters(as_bob, acme):
    call = event(acme)

    moved = as_bob.get("/o/acme/usage/?provider=openai&status=errors")
    receipt = as_bob.get(f"/o/acme/usage/calls/{call.call_id}/")

    assert (moved.status_code, moved["Location"]) == (301, "/o/acme/consumption/calls/?provider=openai&status=errors")
    assert (receipt.status_code, receipt["Location"]) == (301, f"/o/acme/consumption/calls/{call.call_id}/")


@pytest.mark.parametrize("metric", METRICS)
def test_no_column_stands_twice(as_bob, month, metric):
    _, table = as_bob.get(f"{URL}?metric={metric}").content.decode().split('aria-labelledby="groups-title"')

    headings = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', table)

    assert len(headings) == len(set(headings)) >= 3, headings


@pytest.mark.parametrize("group", [*GROUPS, "label:team"])
def test_pages_ask_the_database_little(as_bob, month, group, django_assert_max_num_queries):
    as_bob.get(URL)  # sets what is remembered of the visit
    for metric in ("usd", "p95"):
        for period in ("today", "30d"):
            with django_assert_max_num_queries(20):
                assert as_bob.get(f"{URL}?group={group}&metric={metric}&period={period}").status_code == 200
    assert METRICS
