"""A sum that does not cover everything says so at the number, and its counts lead to exactly the calls they count."""

from __future__ import annotations

import html
import itertools
import re
import uuid
from datetime import timedelta

import pytest
from django.template.loader import render_to_string

from tests.usage.conftest import NOON, TODAY, event, lost_or_failed, rebuild, roll_up
from usage import gaps
from usage.amounts import at_least
from usage.averages import ActionAverages, action_averages
from usage.cost_panel import cost_summary
from usage.models import Mode, UsageEvent
from usage.run_costs import run_cost

pytestmark = pytest.mark.django_db

URL = "/o/acme/consumption/calls/"
Status, NoPrice, Source = UsageEvent.Status, UsageEvent.NoPrice, UsageEvent.PriceSource
COUNT_LINK = re.compile(r'<a [^>]*href="(/o/acme/consumption/calls/\?[^"]+)">\s*([\d,]+) [^<]*</a>')
OWN_SERVER = {"price_source": Source.OWN_SERVER, "cost_nanousd": 0, "provider": "ollama", "model": "llama"}


@pytest.fixture
def mixed_acme(acme):
    """Everything that can be missing, and what only looks like it; one Managed call of each kind beside."""
    for mode, times in ((Mode.BYOK, 2), (Mode.MANAGED, 1)):
        for _ in range(times):
            event(acme, mode=mode, cost_nanousd=410_000_000, output_tokens=100)
            event(acme, mode=mode, cost_nanousd=None, output_tokens=50)
            event(acme, mode=mode, cost_nanousd=None)
            event(acme, mode=mode, cost_nanousd=7, usage_reported=False)
            event(acme, mode=mode, cost_nanousd=None, no_price=NoPrice.NOTHING_USED, usage_reported=True)
            event(acme, mode=mode, **OWN_SERVER, output_tokens=30)
            lost_or_failed(acme, Status.FAILED, mode=mode)
            lost_or_failed(acme, Status.FAILED, mode=mode, no_price=NoPrice.NO_ANSWER)
            lost_or_failed(
                acme, Status.FAILED, mode=mode, no_price=NoPrice.NOT_LISTED, output_tokens=9, usage_reported=True
            )
            lost_or_failed(acme, Status.LOST, mode=mode)
    return acme


def summary_of(organization, *, show_managed_usd=False):
    return cost_summary(organization=organization, today=TODAY, show_managed_usd=show_managed_usd)


def panel(organization, **more) -> str:
    return render_to_string("usage/_cost_summary.html", {"cost": summary_of(organization, **more)})


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_conditions_of_the_database_and_of_python_agree(acme):
    for status, why, reported in itertools.product(Status, ["", *NoPrice], [False, True]):
        cost = {"cost_nanousd": None if why else 5, "price_source": Source.NONE if why else Source.CATALOG}
        event(acme, status=status, no_price=why, usage_reported=reported, **cost)

    for condition, name in (
        (gaps.UNPRICED, "is_unpriced"),
        (gaps.UNKNOWN, "is_unanswered"),
        (gaps.TOKENS_NOT_KNOWN, "are_tokens_unknown"),
        (gaps.NOTHING_TO_PAY, "has_nothing_to_pay"),
    ):
        found = set(UsageEvent.objects.filter(condition))
        assert found == {each for each in UsageEvent.objects.all() if getattr(each, name)}, name


def test_the_usd_say_how_many_calls_they_cover(mixed_acme):
    month = summary_of(mixed_acme).month

    assert (month.calls, month.usd_calls, month.hidden_calls) == (30, 20, 10)
    assert (month.unpriced_calls, month.unknown_calls, month.covered_calls) == (6, 4, 10)
    assert (month.cost_nanousd, month.own_server_calls, month.is_incomplete) == (820_000_014, 2, True)
    assert month.unreported_calls == (1 + 1 + 2) * 3


@pytest.mark.parametrize("show_managed_usd", [False, True])
@pytest.mark.parametrize("page", ["panel", "overview"])
def test_every_count_leads_to_as_many_calls(as_bob, mixed_acme, settings, page, show_managed_usd, monkeypatch):
    settings.KEYFARE_SHOW_MANAGED_USD = show_managed_usd
    monkeypatch.setattr("organizations.clock.now", lambda: NOON)
    text = panel(mixed_acme, show_managed_usd=show_managed_usd) if page == "panel" else as_bob.get("/o/acme/").content
    links = COUNT_LINK.findall(text if isinstance(text, str) else text.decode())

    assert len(links) >= 4
    for address, count in links:
        rows = as_bob.get(html.unescape(address)).context["events"]
        assert len(rows) == int(count.replace(",", "")), address


def test_an_incomplete_sum_reads_at_least_and_the_rest_stands_beside_it(mixed_acme):
    page = words(panel(mixed_acme))

    assert "Last 7 days: estimated USD at least $0.82 of 10 of 20 model calls: 6 unpriced , 4 without an answer" in page
    assert "2 on your own server : no token charges 10 Managed calls : paid by the operator" in page
    assert "Last 7 days: tokens at least 567" in page
    assert "12 calls without reported tokens" in page
    assert "Estimated USD a day by provider (incomplete)" in page
    assert "At least $0.8200 estimated USD" in page
    assert "10 calls are not in it." in page


def test_a_complete_sum_reads_as_it_is(acme):
    event(acme, cost_nanousd=820_000_000, output_tokens=5)
    lost_or_failed(acme, Status.FAILED)  # refused: costs nothing
    event(acme, cost_nanousd=None, no_price=NoPrice.NOTHING_USED, usage_reported=True)

    page = words(panel(acme))

    assert "$0.82 of 3 model calls" in page
    assert "at least" not in page.lower()
    assert "unpriced" not in page


def test_servers_of_ones_own_cost_nothing_and_are_not_unpriced(as_bob, acme):
    event(acme, **OWN_SERVER, output_tokens=30)
    event(acme, **OWN_SERVER, status=Status.LOST, usage_reported=False)

    page = words(panel(acme))
    assert "Last 7 days: estimated USD no token charges of 2 model calls" in page
    assert "Ollama 2 not reported at least 30 no token charges" in page
    assert "unpriced" not in page
    rows = as_bob.get(URL).content.decode()
    assert rows.count(">no token charges<") == 2
    assert "Ollama" in rows

    event(acme, cost_nanousd=10_000_000, output_tokens=1)
    assert "$0.01 of 3 model calls: 2 on your own server : no token charges" in words(panel(acme))


def test_tokens_that_nobody_reported_are_never_nought(acme):
    event(acme, cost_nanousd=None)

    page = words(panel(acme))

    assert "Last 7 days: tokens not reported 1 call without reported tokens" in page
    assert "0 in" not in page


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("$0.82", "at least $0.82"),
        ("<$0.01", "more than $0"),
        ("unpriced", "unpriced"),
        ("not reported", "not reported"),
    ],
)
def test_only_amounts_are_at_least(amount, expected):
    assert at_least(amount, if_incomplete=True) == expected
    assert at_least(amount, if_incomplete=False) == amount


class TestAverages:
    def of(self, organization) -> ActionAverages:
        found = action_averages(organization=organization, today=TODAY, show_managed_usd=False)
        return found["candidate_check"]

    def test_they_name_their_base(self, acme):
        for cost in (2_000_000, 4_000_000, None):
            event(acme, cost_nanousd=cost, output_tokens=10)
        event(acme, mode=Mode.MANAGED, cost_nanousd=9_000_000, output_tokens=10)

        found = self.of(acme)

        assert (found.usd, found.base) == ("$0.0030", "average of 2 priced runs of 3")
        assert (found.misses_runs, found.is_incomplete, found.hidden_runs) == (True, False, 1)

    def test_a_run_of_which_a_part_is_priced_makes_them_at_least(self, acme):
        run = uuid.uuid4()
        event(acme, run_id=run, cost_nanousd=2_000_000, output_tokens=10)
        event(acme, run_id=run, iteration=2, cost_nanousd=None, counts_partly_priced_run=True)

        found = self.of(acme)

        assert (found.usd, found.base) == ("at least $0.0020", "average of 1 run")
        assert found.tokens == "at least 10"

    def test_runs_on_a_server_of_ones_own_have_no_token_charges(self, acme):
        event(acme, **OWN_SERVER, output_tokens=10)
        assert (self.of(acme).usd, self.of(acme).base) == ("no token charges", "average of 1 run")

        event(acme, cost_nanousd=4_000_000, output_tokens=10)
        found = self.of(acme)
        assert (found.usd, found.base) == ("$0.0020", "average of 2 runs, 1 of them on your own server")

    def test_without_a_price_there_is_none(self, acme):
        event(acme, cost_nanousd=None, output_tokens=10)

        assert (self.of(acme).usd, self.of(acme).base) == ("unpriced", "1 run without a price")

    def test_without_tokens_there_are_none(self, acme):
        event(acme, cost_nanousd=None)

        assert self.of(acme).tokens == "not reported"

    def test_the_calls_of_a_run_are_found_by_the_day_it_began(self, as_bob, acme):
        event(acme, day=TODAY, run_day=TODAY - timedelta(days=1), model="late")
        event(acme, day=TODAY, model="own day")
        event(acme, day=TODAY - timedelta(days=1), model="early")

        def models(query: str) -> set[str]:
            return {row.model for row in as_bob.get(f"{URL}?{query}").context["events"]}

        assert models("from=2026-11-21&by=run") == {"own day"}
        assert models("to=2026-11-20&by=run") == {"late", "early"}
        assert models("day=2026-11-20&by=run") == {"late", "early"}
        assert models("day=2026-11-21") == {"late", "own day"}


@pytest.mark.parametrize("query", ["to=9999-12-31", "from=0001-01-01&to=9999-12-31&by=run", "by=run", "day=9999-12-31"])
def test_the_ends_of_the_calendar_are_days_like_others(as_bob, acme, query):
    event(acme)

    assert as_bob.get(f"{URL}?{query}").status_code == 200


def test_a_run_says_what_it_misses(acme):
    run = uuid.uuid4()
    event(acme, run_id=run, cost_nanousd=None, output_tokens=5)
    event(acme, run_id=run, iteration=2, **OWN_SERVER)
    unknown = run_cost(organization=acme, run_id=run)
    assert (unknown.cost_nanousd, unknown.is_incomplete, unknown.own_server_calls) == (None, True, 1)

    event(acme, run_id=run, iteration=3, cost_nanousd=6, price_source=Source.PROVIDER)
    lost_or_failed(acme, Status.LOST, run_id=run)
    found = run_cost(organization=acme, run_id=run)
    assert (found.cost_nanousd, found.unpriced_calls, found.unknown_calls) == (6, 1, 1)
    assert (found.is_reported, found.unreported_calls) == (True, 1)


class TestAdmin:
    def test_lists_say_it_at_the_number_and_name_providers(self, as_staff, mixed_acme):
        roll_up(now=NOON)
        calls = as_staff.get("/admin/usage/usageevent/").content.decode()
        for text in ("unpriced", "not known", "nothing to pay", "no token charges", "$0.4100", "OpenAI", "Ollama"):
            assert text in calls

    def test_daily_figures_say_what_they_do_not_cover(self, as_staff, mixed_acme):
        event(mixed_acme, model="unknown", cost_nanousd=None)
        rebuild(now=NOON)

        rows = [words(row) for row in as_staff.get("/admin/usage/usagedaily/").content.decode().split("<tr")]

        (byok,) = [row for row in rows if "OpenAI gpt-4o BYOK" in row]
        assert "at least $0.8200 6 unpriced, 4 without an answer" in byok
        assert any("unknown" in row and "not known 1 unpriced" in row for row in rows)
        assert any("Ollama" in row and "no token charges –" in row for row in rows)

    def test_the_filters_find_the_calls_of_the_figures(self, as_staff, mixed_acme):
        found = as_staff.get("/admin/usage/usageevent/?mode__exact=managed&price=not_known")
        assert found.context["cl"].result_count == 5
        found = as_staff.get("/admin/usage/usageevent/?provider=ollama")
        assert found.context["cl"].result_count == 3

    def test_the_dashboard_says_what_its_cost_covers(self, as_staff, mixed_acme, monkeypatch):
        monkeypatch.setattr("organizations.clock.now", lambda: NOON)
        figures = {each["label"]: each for each in as_staff.get("/admin/").context["figures"]}

        cost, missing = figures["Managed cost today"], figures["Managed calls of unknown cost"]
        assert (cost["value"], cost["note"]) == ("at least $0.41", "estimated, of 5 of 10 Managed calls")
        assert (missing["value"], missing["note"]) == (5, "3 unpriced, 2 without an answer")
        assert as_staff.get(missing["link"]).context["cl"].result_count == 5
        assert as_staff.get(cost["link"]).context["cl"].result_count == 10
