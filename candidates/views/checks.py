from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from billing.ledger import NotEnoughCredits
from candidates.acceptance import BriefingNotReady, PriceRose
from candidates.check_endings import OPEN
from candidates.check_filters import CheckFilterForm
from candidates.check_requests import accept_check
from candidates.cost_words import charge_of_failed, expected_charge
from candidates.credit_costs import quote
from candidates.failure_cap import TooManyFailures
from candidates.models import CandidateCheck, RequirementVerdict
from organizations import clock
from organizations.once import once_of_form
from organizations.paging import page_of_rows
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from organizations.reading import whole_number
from routing.actions import CANDIDATE_CHECK
from routing.resolve import Route, RouteUnavailable
from usage.kept import may_have_left
from usage.names import provider_name
from usage.run_costs import run_cost

PAGE_SIZE = 50


@organization_view(Permission.VIEW)
@require_GET
def check_list(request: OrganizationHttpRequest) -> HttpResponse:
    """All checks of the organization, latest first, narrowed by what the address says."""
    form = CheckFilterForm(request.GET, organization=request.organization)
    checks = CandidateCheck.objects.for_organization(request.organization)
    found = form.narrow(checks).select_related("candidate", "briefing", "created_by")
    page = page_of_rows(request, found, by=("-accepted_at", "pk"), size=PAGE_SIZE)
    return render(request, "candidates/checks.html", {"form": form, "page": page, "found": found.count()})


@organization_view(Permission.VIEW)
@require_GET
@never_cache
def check_page(request: OrganizationHttpRequest, check_id: str) -> HttpResponse:
    """
    One check: verdicts with their evidence, the fit, what it cost and who paid. Asks again while it runs.
    """
    check = _check(request, check_id)
    template = "candidates/check.html#check" if request.htmx else "candidates/check.html"
    return render(request, template, _context(request, check))


@organization_view(Permission.CHECK_CANDIDATES)
@require_POST
def check_again(request: OrganizationHttpRequest, check_id: str) -> HttpResponse:
    """Check the same person against the same briefing once more, for no more than the `agreed` credits."""
    check = _check(request, check_id)
    try:
        running, note = accept_check(
            organization=request.organization,
            briefing=check.briefing,
            candidate=check.candidate,
            actor=request.user,
            now=clock.now(),
            once=once_of_form(request),
            agreed_credits=whole_number(request.POST.get("agreed")) or 0,
        )
    except (BriefingNotReady, NotEnoughCredits, PriceRose, RouteUnavailable, TooManyFailures) as error:
        context = {**_context(request, check), "problem": str(error)}
        return render(request, "candidates/check.html", context, status=422)
    if note:
        messages.success(request, note)
    return redirect("candidates:check", request.organization.slug, running.pk)


def _check(request: OrganizationHttpRequest, check_id: str) -> CandidateCheck:
    checks = CandidateCheck.objects.for_organization(request.organization)
    related = checks.select_related("candidate", "briefing", "profile", "created_by", "organization")
    return get_object_or_404(related, pk=check_id)


def _context(request: OrganizationHttpRequest, check: CandidateCheck) -> dict[str, Any]:
    route = Route.from_json(check.route)
    is_open = check.status in OPEN
    offer, charge, now = None, "", clock.now()
    if not is_open:
        offer = quote(
            organization=request.organization,
            briefing=check.briefing,
            candidates=[check.candidate],
            now=now,
        )
        charge = expected_charge(
            organization=request.organization,
            action=CANDIDATE_CHECK.slug,
            briefing=check.briefing,
            runs=offer.count,
            now=now,
        )
    cost = run_cost(organization=request.organization, run_id=check.run_id)
    return {
        "check": check,
        "briefing": check.briefing,
        "candidate": check.candidate,
        "is_open": is_open,
        "route": route,
        "provider_name": provider_name(route.provider),
        "verdicts": RequirementVerdict.objects.for_organization(request.organization)
        .filter(check_row=check)
        .select_related("requirement")
        .order_by("requirement__kind", "requirement__position", "pk"),
        "cost": cost,
        "calls_have_left": not cost.calls and may_have_left(check.accepted_at),
        "charge_of_failed": charge_of_failed(check) if check.status == CandidateCheck.Status.FAILED else "",
        "quote": offer if offer and offer.count else None,
        "charge": charge,
    }
