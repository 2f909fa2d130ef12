"""The pages that are composed from all apps; the overview has a module of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

import billing.views
import organizations.views
import providers.views
import routing.views
from billing.statement import StatementLine
from candidates.check_route import ACTIONS_OF_A_CHECK
from candidates.credit_costs import CREDIT_COSTS
from candidates.models import CandidateCheck
from config.context import Page
from config.guides import guide
from config.purposes import check_url
from organizations import clock
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from providers.cards import keys_of
from providers.models import ProviderKey
from routing.own_models import has_own_models
from routing.resolve import has_model, working_defaults
from routing.table import RouteLine, troubles
from usage.cells import add_up, read_cells
from usage.cost_panel import cost_and_averages
from usage.days import MONTH, first_day
from usage.models import Mode

FREE_CHECKS_SHOWN = 20
SETTINGS_SECTIONS = ("llm-providers", "llm-routing", "candidate-recency-window")
Kind = CandidateCheck.Kind


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """To the organization last visited, else to the first; people without one read what to do."""
    organization = Page(request).organization
    if organization is None:
        return render(request, "config/no_organization.html")
    return redirect("overview", organization.slug)


@require_safe
@login_required
def current_settings(request: HttpRequest, section: str = "") -> HttpResponse:
    """`/settings#…` in instructions: the browser keeps the anchor through this redirect. `/settings/…` is the same."""
    organization = Page(request).organization
    if organization is None:
        return redirect("home")
    return redirect(
        _section_url(organization.slug, section) if section else reverse("settings", args=[organization.slug])
    )


@organization_view(Permission.VIEW)
@require_safe
def settings_section(request: OrganizationHttpRequest, section: str) -> HttpResponse:
    """A section by an address without "#", which leads there through a login that runs without scripts, too."""
    return redirect(_section_url(request.organization.slug, section))


def _section_url(slug: str, section: str) -> str:
    if section not in SETTINGS_SECTIONS:
        raise Http404
    return f"{reverse('settings', args=[slug])}#{section}"


@organization_view(Permission.VIEW)
@require_safe
def settings_page(request: OrganizationHttpRequest) -> HttpResponse:
    now = clock.now()
    cost, averages = cost_and_averages(organization=request.organization, today=now.date())
    keys = list(keys_of(request.organization))
    routes = routing.views.panel_context(request, keys=keys, averages=averages, now=now)
    context = {
        "cost": cost,
        **providers.views.panel_context(keys, now=now),
        **routes,
        "mode_note": _mode_note(routes["routing"].lines),
        **organizations.views.recency_panel_context(request),
    }
    return render(request, "config/settings.html", context)


@organization_view(Permission.VIEW)
@require_safe
def credits_page(request: OrganizationHttpRequest) -> HttpResponse:
    """The balance, every movement behind it, and the checks that cost 0 and so have no ledger entry."""
    free = CandidateCheck.objects.for_organization(request.organization).filter(
        status=CandidateCheck.Status.COMPLETED, charged=0
    )
    movements = billing.views.credits_context(request)
    free_checks = list(free.select_related("candidate", "briefing").order_by("-completed_at", "pk")[:FREE_CHECKS_SHOWN])
    defaults = working_defaults()
    is_served = has_model(organization=request.organization, actions=ACTIONS_OF_A_CHECK, defaults=defaults)
    context = {
        **movements,
        "credit_balance": movements["summary"],  # for the sidebar, that would ask once more
        "lines": _with_checks(request, movements["lines"]),
        "free_checks": free_checks,
        "free_checks_count": free.count() if len(free_checks) == FREE_CHECKS_SHOWN else len(free_checks),
        "prices": [
            (payer, CREDIT_COSTS[mode, Kind.NEW], CREDIT_COSTS[mode, Kind.RECENT])
            for mode, payer in ((Mode.MANAGED, "Managed keys"), (Mode.BYOK, "Your own keys (BYOK)"))
            if mode == Mode.BYOK or defaults.keys() >= set(ACTIONS_OF_A_CHECK)
        ],
        "has_model": is_served,
        "has_own_models": not is_served and has_own_models(request.organization, ACTIONS_OF_A_CHECK),
    }
    return render(request, "config/credits.html", context)


@organization_view(Permission.VIEW)
@require_safe
def guide_page(request: OrganizationHttpRequest, name: str) -> HttpResponse:
    """A document of docs/; that on BYOK with this organization's own figures, where there are some."""
    title, body = guide(name, request.organization.slug)
    figures = _own_key_figures(request) if name == "byok" else {}
    return render(
        request, "config/guide.html", {"title": title, "body": body, "has_managed": bool(working_defaults()), **figures}
    )


def _own_key_figures(request: OrganizationHttpRequest) -> dict[str, Any]:
    """What calls on the organization's own keys were made of, over the last 30 days."""
    today = clock.now().date()
    cells = read_cells(request.organization, today, MONTH, "mode")
    own = add_up([cell for cell in cells if cell.mode == Mode.BYOK])
    return {
        "own": own,
        "first_day": first_day(today, MONTH),
        "calls_a_run": f"{own.calls / own.runs:.2f}" if own.runs else "–",
    }


def _with_checks(request: OrganizationHttpRequest, lines: Sequence[StatementLine]) -> list[StatementLine]:
    """The ledger knows checks by their ids; people read whom they were about."""
    checks = CandidateCheck.objects.for_organization(request.organization).select_related("candidate")
    by_hold = {check.hold_id: check for check in checks.filter(hold__in=[line.hold_id for line in lines])}
    return [
        replace(
            line,
            purpose=f"Check of {check.candidate.name}",
            url=check_url(request.organization, check),
        )
        if (check := by_hold.get(line.hold_id))
        else line
        for line in lines
    ]


@dataclass(frozen=True, slots=True)
class ModeNote:
    tone: str
    text: str
    key: ProviderKey | None = None  # the broken one


def _mode_note(lines: Iterable[RouteLine]) -> ModeNote:
    """What checks run on and cost; or why none can run now, which leaves nothing to say about the price."""
    used = [line for line in lines if line.row.action.slug in ACTIONS_OF_A_CHECK]
    for trouble in troubles((line.row for line in used), {line.row.action.slug: line.own_models for line in used}):
        broken = None if trouble.is_paused else trouble.key
        return ModeNote("bad" if broken else "warn", trouble.sentence, broken)
    mode = Mode.BYOK if all(line.row.rule for line in used) else Mode.MANAGED
    new, recent = CREDIT_COSTS[mode, Kind.NEW], CREDIT_COSTS[mode, Kind.RECENT]
    why = (
        "every action that a check calls runs on your own key"
        if mode == Mode.BYOK
        else "not every action that a check calls runs on your own key"
    )
    text = f"Checks run in {mode.label} mode, because {why}. A new check costs {new}, an existing recent one {recent}."
    if mode == Mode.MANAGED and any(line.own_models for line in used):
        text += f" Those of briefings with a model of their own run in {Mode.BYOK.label} mode."
    return ModeNote("info", text)
