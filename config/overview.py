"""The overview: what wants attention, what was used and what it cost, and how that compares with the days before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from billing import ledger
from billing.pace import charged_by_day, pace
from candidates.check_route import ACTIONS_OF_A_CHECK
from candidates.ended_checks import Ended, Status, briefings_checked, ended_checks, total
from candidates.models import CandidateCheck
from candidates.unit_costs import BY_ACTION, NOT_OF_AGENTS, unit_costs_of
from config import getting_started
from config.anomalies import open_anomalies
from config.anomaly_credits import credits_said
from config.attention import Looked, failed_checks_url, lasting, needs_attention
from organizations import clock
from organizations.models import Organization
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from providers.models import ProviderKey
from routing.actions import DIRECT, DIRECT_NAME, TRIAL, TRIAL_NAME, action_names_of
from routing.resolve import RoutingRow, resolve_all
from routing.table import own_models_of_unserved, troubles
from usage import amounts
from usage.cells import Cell, Totals, grouped, shown, totals
from usage.cost_panel import CostSummary, cost_and_cells
from usage.days import MONTH, WEEK, first_day
from usage.measures import Sums
from usage.models import Mode
from usage.names import action_name
from usage.sparklines import Sparkline, sparkline

LATEST_CHECKS = 8
NAMES_OF_A_CHECK = ("candidate__name", "briefing__title", "briefing__version")
ACTIONS_SHOWN = 5
SEEN = "failed_checks_seen"  # in the session: organization → moment
DAYS_DRAWN = 2 * WEEK


@dataclass(frozen=True, slots=True)
class Figure:
    """How a figure of the last 7 days went: against the 7 days before, in words, and over both as a line."""

    change: str
    line: Sparkline


@dataclass(frozen=True, slots=True)
class Spent:
    """What the calls of one action or agent came to in the last 30 days."""

    name: str
    action: str
    runs: int
    totals: Totals
    url: str

    @property
    def usd_mode(self) -> str:
        """Of the calls that the USD are of, where those of others are hidden."""
        return Mode.BYOK if self.totals.hidden_calls and self.totals.usd_calls else ""


@organization_view(Permission.VIEW)
@require_safe
def overview(request: OrganizationHttpRequest) -> HttpResponse:
    organization, now = request.organization, clock.now()
    today, seen_until = now.date(), _seen_until(request)
    keys = list(ProviderKey.objects.for_organization(organization).defer("ciphertext").order_by("created_at", "pk"))
    rows = resolve_all(organization=organization, keys=keys)
    own = own_models_of_unserved(organization, rows)
    in_trouble = [trouble for trouble in troubles(rows, own) if not trouble.is_meant]
    latest_checks = _latest_checks(organization)
    steps = getting_started.steps(
        organization=organization,
        keys=keys,
        is_routed=any(row.rule for row in rows),
        latest_checks=latest_checks,
    )
    steps_open = not all(step.is_done for step in steps)
    balance = ledger.balance(organization=organization)
    first = first_day(today, MONTH)
    charged = charged_by_day(organization=organization, first=first)
    lasts = pace(organization=organization, today=today, charged=charged, available=balance.available)
    cost, (by_day, by_action) = cost_and_cells(organization=organization, today=today, also=[BY_ACTION])
    ended = ended_checks(organization=organization, first=first, last=today, latest_after=seen_until)
    anomalies = open_anomalies(organization)
    names = _names(organization, rows, [*_dearest(by_action), *(anomaly.action for anomaly in anomalies)])
    briefings = briefings_checked(organization=organization, first=first, last=today)
    context = {
        "cost": cost,
        "balance": balance,
        "credit_balance": balance,  # for the sidebar, that would ask once more
        "lasts": "" if lasts.days_left is None else lasting(lasts.days_left),
        "pace": lasts,
        "checks": total([each for each in ended if each.day >= cost.week_first_day], lambda each: each.count),
        "credits_figure": _counted_figure(charged, today, of="credits charged"),
        "checks_figure": _counted_figure(_completed_by_day(ended), today, of="checks completed"),
        "usd_figure": _usd_figure(by_day, cost, today),
        "tokens_figure": _tokens_figure(by_day, cost, today),
        "steps": steps,
        "steps_done": sum(step.is_done for step in steps),
        "steps_open": steps_open,
        "attention": needs_attention(
            Looked(
                membership=request.membership,
                now=now,
                troubles=in_trouble,
                keys=[key for key in keys if key.replaces_id is None],
                pace=lasts,
                ended=ended,
                seen_until=seen_until,
                anomalies=anomalies,
                names=names,
                credits=credits_said(organization, anomalies),
                is_set_up=not steps_open,
            )
        ),
        "without_model": next(
            (each for each in in_trouble if each.key is None and each.action.slug in ACTIONS_OF_A_CHECK), None
        ),
        "is_managed": any(row.is_managed for row in rows),
        "has_key": any(key.is_usable for key in keys),
        "spent": _spent(organization, names, by_action),
        "spent_url": consumption_url(organization, metric="usd", group="action", period="30d"),
        "unit_costs": unit_costs_of(by_action, ended, briefings),
        "latest_checks": latest_checks,
    }
    return render(request, "config/overview.html", context)


@organization_view(Permission.VIEW)
@require_POST
def failed_checks(request: OrganizationHttpRequest) -> HttpResponse:
    """To the failed checks of the last 7 days that were not looked at; from now on they are."""
    now, seen_until = clock.now(), _seen_until(request)
    first = first_day(now.date(), WEEK)
    if seen_until:
        first = max(first, seen_until.date())
    request.session[SEEN] = {**request.session.get(SEEN, {}), str(request.organization.pk): now.isoformat()}
    return redirect(failed_checks_url(request.organization, first, now.date()))


def consumption_url(organization: Organization, **parameters: str) -> str:
    """Of the page that tells what is used, by what."""
    return f"{reverse('consumption', args=[organization.slug])}?{urlencode(parameters)}"


def _seen_until(request: OrganizationHttpRequest) -> datetime | None:
    moment = request.session.get(SEEN, {}).get(str(request.organization.pk))
    return datetime.fromisoformat(moment) if moment else None


def _latest_checks(organization: Organization) -> list[CandidateCheck]:
    checks = CandidateCheck.objects.for_organization(organization).select_related("candidate", "briefing")
    wanted = ("status", "category", "score", "charged", "price", "accepted_at", *NAMES_OF_A_CHECK)
    return list(checks.only(*wanted).order_by("-accepted_at", "pk")[:LATEST_CHECKS])


def _completed_by_day(ended: Iterable[Ended]) -> dict[date, int]:
    by_day: dict[date, int] = {}
    for each in ended:
        if each.status == Status.COMPLETED:
            by_day[each.day] = by_day.get(each.day, 0) + each.count
    return by_day


def _counted_figure(by_day: dict[date, int], today: date, *, of: str) -> Figure:
    values = [by_day.get(first_day(today, DAYS_DRAWN) + timedelta(days=at), 0) for at in range(DAYS_DRAWN)]
    before, now = sum(values[:WEEK]), sum(values[WEEK:])
    return Figure(_change(now, before, amounts.count(before)), sparkline(values, of=of))


def _usd_figure(cells: Sequence[Cell], cost: CostSummary, today: date) -> Figure:
    before = totals(_week_before(cells, today))
    are_known = not (cost.week.is_incomplete or before.is_incomplete)
    was = amounts.dollars(before.cost_nanousd) if before.cost_nanousd is not None else amounts.NOT_KNOWN
    change = ""
    if before.usd_calls and not before.has_no_token_charges:
        was = amounts.at_least(was, if_incomplete=before.is_incomplete)
        change = _change(cost.week.cost_nanousd if are_known else None, before.cost_nanousd if are_known else None, was)
    elif cost.week.usd_calls:
        change = _change(1, 0, "")
    line = sparkline(
        _values(shown(cells), today, lambda sums: sums.cost_nanousd), of="estimated USD", value=amounts.dollars
    )
    return Figure(change, line)


def _tokens_figure(cells: Sequence[Cell], cost: CostSummary, today: date) -> Figure:
    before = totals(_week_before(cells, today))
    are_known = not (cost.week.unreported_calls or before.unreported_calls)
    was = amounts.at_least(amounts.count(before.tokens), if_incomplete=bool(before.unreported_calls))
    change = _change(cost.week.tokens if are_known else None, before.tokens if are_known else None, was)
    return Figure(change, sparkline(_values(cells, today, lambda sums: sums.tokens), of="tokens"))


def _week_before(cells: Iterable[Cell], today: date) -> list[Cell]:
    first, end = first_day(today, DAYS_DRAWN), first_day(today, WEEK)
    return [cell for cell in cells if cell.day and first <= cell.day < end and cell.sums.calls]


def _values(cells: Iterable[Cell], today: date, value: Callable[[Sums], int]) -> list[int]:
    first = first_day(today, DAYS_DRAWN)
    values = [0] * DAYS_DRAWN
    for cell in cells:
        if cell.day and cell.day >= first:
            values[(cell.day - first).days] += value(cell.sums)
    return values


def _change(now: int | None, before: int | None, was: str) -> str:
    """Against the 7 days before; where one of the two is not known exactly, what it `was`."""
    if now is None or before is None:
        return f"{was} in the 7 days before"
    if not before:
        return "none in the 7 days before" if now else ""
    if now == before:
        return "as in the 7 days before"
    return f"{round(Decimal(100 * (now - before)) / before):+,d}% against the 7 days before"


def _by_action(cells: Iterable[Cell]) -> dict[str, Totals]:
    calling = grouped((cell for cell in cells if cell.sums.calls), lambda cell: cell.action)
    return {action: totals(of_action) for action, of_action in calling.items()}


def _dearest(cells: Iterable[Cell]) -> list[str]:
    """The dearest actions and agents; those without USD by their tokens."""
    sums = _by_action(cells)
    slugs = sorted(sums, key=lambda slug: (-(sums[slug].cost_nanousd or 0), -sums[slug].tokens, slug))
    return slugs[:ACTIONS_SHOWN]


def _names(organization: Organization, rows: Sequence[RoutingRow], slugs: Iterable[str]) -> dict[str, str]:
    names = {**{row.action.slug: row.action.name for row in rows}, DIRECT: DIRECT_NAME, TRIAL: TRIAL_NAME}
    wanted = set(slugs)
    if not names.keys() | NOT_OF_AGENTS >= wanted:  # an archived agent
        names = action_names_of(organization)
    return {slug: action_name(slug, names) for slug in wanted}


def _spent(organization: Organization, names: Mapping[str, str], cells: Sequence[Cell]) -> list[Spent]:
    by_action, runs = _by_action(cells), grouped(cells, lambda cell: cell.action)
    return [
        Spent(
            name=names[slug],
            action=slug,
            runs=sum(cell.sums.runs for cell in runs[slug]),
            totals=by_action[slug],
            url=consumption_url(organization, metric="usd", group="model", period="30d", action=slug),
        )
        for slug in _dearest(cells)
    ]
