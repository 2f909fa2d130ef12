from __future__ import annotations

import random
import uuid
from datetime import date, timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.http import QueryDict
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext

from tests.usage.conftest import NOON, TODAY, event, lost_or_failed
from usage import views
from usage.cost_panel import cost_summary
from usage.forms import UsageFilterForm
from usage.models import Mode, RollupState, UsageEvent
from usage.names import OwnNames

pytestmark = pytest.mark.django_db

URL = "/o/acme/consumption/calls/"
Status = UsageEvent.Status


def models_on(response) -> list[str]:
    return [row.model for row in response.context["events"]]


def test_a_member_sees_what_each_call_used_and_cost(as_bob, acme):
    event(
        acme,
        model="gpt-4o-mini",
        uncached_input_tokens=1200,
        cache_read_tokens=300,
        output_tokens=45,
        cost_nanousd=1_234_000,
        latency_ms=1530,
    )
    event(acme, cost_nanousd=20_000_000, price_source=UsageEvent.PriceSource.PROVIDER, output_tokens=1)

    html = as_bob.get(URL).content.decode()

    for text in [
        "gpt-4o-mini",
        "1,500",
        "300",
        "45",
        "$0.0012",
        "estimated",
        "$0.0200",
        "reported",
        "1.53 s",
    ]:
        assert text in html


def test_tokens_that_we_counted_are_an_estimate_and_no_least(as_bob, acme):
    event(
        acme,
        uncached_input_tokens=1234,
        output_tokens=567,
        status=UsageEvent.Status.CUT_OFF,
        usage_reported=False,
        are_tokens_estimated=True,
    )

    said = as_bob.get(URL).content.decode()

    assert "~1,234" in said
    assert "~567" in said
    assert "at least 1,234" not in said


def test_usd_of_managed_calls_are_hidden_unless_the_operator_shows_them(as_bob, acme, settings):
    event(acme, mode=Mode.MANAGED, key_label="operator-key", cost_nanousd=77_000_000, output_tokens=9)

    hidden = as_bob.get(URL).content.decode()
    settings.KEYFARE_SHOW_MANAGED_USD = True
    shown = as_bob.get(URL).content.decode()

    assert "paid by the operator" in hidden
    assert "$0.0770" not in hidden
    assert "operator-key" not in hidden
    assert "$0.0770" in shown


def test_a_correction_is_a_cost_and_no_call_that_took_time_or_tokens(as_bob, acme):
    event(acme, status=Status.CORRECTED, revision=1, cost_nanousd=-3_000_000, counts_run=False, counts_priced_run=False)

    html = as_bob.get(URL).content.decode()

    assert "-$0.0030" in html
    assert '<span class="badge warn">Cost corrected</span>' in html
    assert "0.00 s" not in html
    assert '<td class="num" data-th="Tokens in">–</td>' in html


def test_what_is_unknown_is_said_and_never_zero(as_bob, acme):
    event(acme, cost_nanousd=None, output_tokens=5)
    event(acme, cost_nanousd=None)
    lost_or_failed(acme, Status.LOST)

    html = as_bob.get(URL).content.decode()

    assert html.count(">unpriced<") == 2
    assert html.count(">not reported<") == 1
    assert html.count(">not known<") == 2  # tokens and cost of the lost one
    assert "$0.0" not in html


def test_strangers_get_404_and_nobody_else_sees_calls_of_acme(as_charlie, client, acme, globex):
    event(acme, model="secret-model")

    assert as_charlie.get(URL).status_code == 404
    assert "secret-model" not in as_charlie.get("/o/globex/consumption/calls/").content.decode()
    assert client.get(URL).status_code == 302


def test_the_page_is_only_read(as_bob):
    assert as_bob.post(URL).status_code == 405


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"today", "managed", "unpriced", "failed", "old"}),
        ("provider=anthropic", {"old"}),
        ("model=today", {"today"}),
        ("action=requirement_generation", {"managed"}),
        ("mode=managed", {"managed"}),
        ("status=failed", {"failed"}),
        ("status=answered&price=none", {"unpriced"}),
        ("price=unpriced", {"unpriced"}),
        ("price=nothing", {"failed"}),
        ("provider=Anthropic", {"old"}),
        ("from=2026-11-20", {"today", "managed", "unpriced", "failed"}),
        ("to=2026-11-20", {"old"}),
        ("from=2026-11-10&to=2026-11-11", {"old"}),
        ("day=2026-11-11", {"old"}),
        (f"run={uuid.UUID(int=9)}", {"today"}),
        ("mode=byok&provider=openai&status=answered", {"today", "unpriced"}),
        ("model=no-such-model", set()),
        ("model=NAGE", {"managed"}),
        ("model=old", {"old"}),  # a whole name, and not old-2
        ("model=ol", {"old", "old-2"}),
    ],
)
def test_filters_narrow_to_the_rows_behind_a_number(as_bob, acme, query, expected):
    event(acme, model="today", run_id=uuid.UUID(int=9))
    event(acme, model="managed", mode=Mode.MANAGED, action="requirement_generation")
    event(acme, model="unpriced", cost_nanousd=None)
    lost_or_failed(acme, Status.FAILED, model="failed")
    event(acme, model="old", provider="anthropic", day=TODAY - timedelta(days=10))
    if "model" in query:
        event(acme, model="old-2")

    assert set(models_on(as_bob.get(f"{URL}?{query}"))) == expected


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("day=yesterday", "Day: Enter a day as YYYY-MM-DD."),
        ("from=2026-02-30", "From: Enter a day as YYYY-MM-DD."),
        ("run=17", "Run: That is not the id of a run"),
        ("from=2026-11-20&to=2026-11-02", "From: 2026-11-20 is after 2026-11-02, the day in To. Swap them."),
        ("mode=free", "Mode: Select a valid choice."),
        ("status=maybe&price=cheap", "Price: Select a valid choice."),
        ("model=" + "m" * 300, "Model: Ensure this value has at most 200 characters"),
        ("provider=%00", "Provider: Null characters are not allowed."),
    ],
)
def test_a_filter_that_cannot_be_read_is_named_and_not_applied(as_bob, acme, query, sentence):
    event(acme)

    response = as_bob.get(f"{URL}?{query}")

    assert response.status_code == 200
    assert sentence in response.content.decode()
    assert len(models_on(response)) == 1


def test_actions_are_chosen_by_the_names_that_the_page_shows(as_bob, acme):
    event(acme, action="requirement_generation")
    event(acme, action="candidate_check")

    answer = as_bob.get(f"{URL}?action=requirement_generation")
    html = answer.content.decode()

    assert '<option value="requirement_generation" selected>Requirement generation</option>' in html
    assert '<option value="candidate_check">Candidate check</option>' in html
    assert [row.action for row in answer.context["events"]] == ["requirement_generation"]


@pytest.mark.parametrize("seed", range(3))
def test_pages_of_any_filters_show_what_plain_conditions_find(as_bob, acme, globex, monkeypatch, seed):
    """Rows are found kind by kind; that must be the rows, and their order, which the filters mean by themselves."""
    monkeypatch.setattr(views, "ROWS", 3)
    chance = random.Random(seed)
    for _ in range(60):
        event(
            chance.choice([acme, acme, globex]),
            occurred_at=NOON - timedelta(hours=chance.randrange(30)),
            provider=chance.choice(["openai", "anthropic"]),
            model=chance.choice(["large", "larger", "small"]),
            action=chance.choice(["candidate_check", "requirement_generation"]),
            mode=chance.choice(Mode.values),
            status=chance.choice(Status.values),
            cost_nanousd=chance.choice([None, 5]),
            usage_reported=chance.choice([True, False]),
            run_day=chance.choice([None, None, TODAY - timedelta(days=1)]),
        )
    wanted = {
        "provider": chance.choice(["", "openai"]),
        "model": chance.choice(["", "large", "mal"]),
        "action": chance.choice(["", "candidate_check"]),
        "mode": chance.choice(["", "byok"]),
        "price": chance.choice(["", "not_known"]),
        "tokens": chance.choice(["", "not_reported"]),
        "by": chance.choice(["", "run"]),
        "to": chance.choice(["", f"{TODAY - timedelta(days=1):%Y-%m-%d}"]),
    }
    form = UsageFilterForm(QueryDict(urlencode(wanted)), names=OwnNames(), models=["large", "larger", "small"])
    expected = [
        call.id for part in form.of_time(UsageEvent.objects.for_organization(acme)) for call in form.of_kinds(part)
    ]

    found, older = [], ""
    while older is not None:
        page = as_bob.get(URL, {**wanted, "before": older}).context
        found += page["events"]
        older = page["older"]

    assert sorted(call.id for call in found) == sorted(expected)
    assert found == sorted(found, key=lambda call: (call.occurred_at, call.id), reverse=True)


def test_what_was_called_long_ago_or_just_now_can_be_chosen(as_bob, acme):
    event(acme, model="of-long-ago", action="old_action", day=TODAY - timedelta(days=2000))
    for _ in range(views.ROWS + 1):
        event(acme)

    html = as_bob.get(URL).content.decode()

    assert '<option value="of-long-ago">' in html
    assert '<option value="old_action">Old action</option>' in html
    assert '<option value="gpt-4o">' in html  # not rolled up yet


def test_pages_follow_one_another_while_new_calls_come_in(as_bob, acme, monkeypatch):
    monkeypatch.setattr(views, "ROWS", 2)
    for number in range(5):
        event(acme, model=f"call-{number}", occurred_at=NOON)

    first = as_bob.get(URL)
    event(acme, model="new", occurred_at=NOON)
    second = as_bob.get(f"{URL}?before={first.context['older']}")
    third = as_bob.get(f"{URL}?before={second.context['older']}")

    assert [models_on(page) for page in (first, second, third)] == [
        ["call-4", "call-3"],
        ["call-2", "call-1"],
        ["call-0"],
    ]
    assert third.context["older"] is None
    assert f"?before={first.context['older']}" in first.content.decode()


@pytest.mark.parametrize("before", ["", "x", "-1", "99999999999999999999", "12345678", "٣"])
def test_a_page_that_does_not_exist_is_the_first(as_bob, acme, before):
    event(acme)

    assert len(models_on(as_bob.get(URL, {"before": before}))) == 1


def test_an_organization_without_calls_reads_what_will_stand_here(as_bob):
    assert "No model calls yet" in as_bob.get(URL).content.decode()


def test_what_has_left_is_not_said_never_to_have_been(as_bob):
    RollupState.objects.create(derived_from=date(2026, 8, 1))

    assert "No model calls since 1 Aug 2026" in as_bob.get(URL).content.decode()
    assert (
        "Calls of before 1 Aug 2026 are no longer kept one by one"
        in as_bob.get(f"{URL}?status=failed").content.decode()
    )


@pytest.mark.parametrize("query", ["status=failed", "model=gpt&by=run&day=2026-11-11", "price=unpriced&before=1"])
def test_an_organization_without_calls_can_filter_them(as_bob, query):
    assert "No calls match" in as_bob.get(f"{URL}?{query}").content.decode()


def test_the_number_of_queries_does_not_grow_with_the_rows(as_bob, acme):
    event(acme)
    as_bob.get(URL)
    with CaptureQueriesContext(connection) as few:
        as_bob.get(URL)
    for _ in range(40):
        event(acme)
    with CaptureQueriesContext(connection) as many:
        as_bob.get(URL)

    assert len(few) == len(many)


class TestCostPanel:
    def panel(self, organization, *, show_managed_usd=False) -> str:
        summary = cost_summary(organization=organization, today=TODAY, show_managed_usd=show_managed_usd)
        return render_to_string("usage/_cost_summary.html", {"cost": summary})

    def test_it_links_each_number_to_its_rows(self, acme):
        event(acme, provider="openrouter", model="a/b+c", cost_nanousd=2_340_000_000, output_tokens=1000)
        event(acme, cost_nanousd=None, output_tokens=1)

        html = self.panel(acme)

        assert "$2.34" in html
        assert "Last 7 days: estimated USD" in html
        assert f"{URL}?from=2026-11-15&amp;to=2026-11-21" in html
        assert f"{URL}?provider=openrouter&amp;from=2026-10-23&amp;to=2026-11-21" in html
        assert "model=a%2Fb%2Bc" in html
        assert f"{URL}?from=2026-11-15&amp;to=2026-11-21&amp;price=unpriced" in html
        assert ">1 unpriced</a>" in html
        assert "at least $2.34" in html
        assert "style=" not in html

    def test_managed_calls_are_paid_by_the_operator_whether_they_cost_credits_or_not(self, acme):
        event(acme, mode=Mode.MANAGED, cost_nanousd=5_550_000_000, output_tokens=1234)

        hidden, shown = self.panel(acme), self.panel(acme, show_managed_usd=True)

        assert "paid by the operator" in hidden
        assert "$5.55" not in hidden
        assert "1,234" in hidden
        assert "$5.55" in shown

    def test_without_calls_it_says_so(self, acme):
        assert "No model calls in the last 30 days" in self.panel(acme)


@pytest.mark.parametrize("model", ["usageevent", "usagedaily", "inflightcall", "rollupstate"])
def test_staff_search_everything_and_change_nothing(as_staff, acme, admit, model):
    event(acme)
    admit()

    assert as_staff.get(f"/admin/usage/{model}/?q=acme").status_code == 200
    assert as_staff.get(f"/admin/usage/{model}/add/").status_code == 403
