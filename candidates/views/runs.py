"""Starting the checks of those who were chosen, for the price that was shown, and their progress after."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from billing.ledger import NotEnoughCredits
from candidates.acceptance import BriefingNotReady, PriceRose
from candidates.check_requests import accept_selection
from candidates.credit_costs import MOST_AT_ONCE, quote
from candidates.failure_cap import TooManyFailures
from candidates.models import Briefing
from candidates.results import latest_checks, progress
from candidates.selection import Selection, Who
from candidates.views.picker import quote_with_list, show_picker
from organizations import clock
from organizations.once import earlier_result, once_of_form
from organizations.paging import page_of_rows
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from organizations.reading import whole_number
from routing.resolve import RouteUnavailable

RESULTS_A_PAGE = 100
SHOWN = (
    "status",
    "category",
    "score",
    "failure",
    "failure_reason",
    "kind",
    "charged",
    "price",
    "completed_at",
    "rank",
    "candidate__name",
)
NOBODY = {
    Who.TICKED: "Nobody is selected. Tick at least one person. To check everybody in the list, choose so above it.",
    Who.LISTED: "Nobody in this list can be checked now.",
    Who.AFFORDABLE: "Your credits pay for nobody in this list. Ask the operator of this installation for more.",
}

TOO_MANY = (
    f"At most {MOST_AT_ONCE:,} people can be checked at once. Write {MOST_AT_ONCE:,} into “At most”, and check the "
    "rest after them."
)


@organization_view(Permission.CHECK_CANDIDATES)
@require_POST
def show_quote(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    """What the selection would cost: beside the button for htmx, else a page of its own to confirm."""
    briefing = _briefing(request, briefing_id)
    selection = Selection.read(request.POST)
    if request.htmx:
        context = {"briefing": briefing, **quote_with_list(request, briefing, selection)}
        return render(request, "candidates/_quote.html", context, status=422 if selection.problem else 200)
    if selection.problem:
        return show_picker(request, briefing, selection)
    return _confirm(request, briefing, selection, status=200)


@organization_view(Permission.CHECK_CANDIDATES)
@require_POST
def run_checks(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    """
    Start checks of the selection, if the person saw its price: `agreed` credits for `count` people.

    A selection that cannot be checked is shown again as it was, with what to change. Anything else leads to a page
    that says what stands in the way, or what it costs, and asks again.
    """
    briefing = _briefing(request, briefing_id)
    selection, now = Selection.read(request.POST), clock.now()
    if selection.problem:
        return show_picker(request, briefing, selection)
    once = once_of_form(request)
    # Whoever asks again cannot be asked to confirm a price anew: the people were checked or are being checked.
    if once and (before := earlier_result(organization=request.organization, once=once)):
        return _started(request, briefing, before)
    people = selection.people(briefing, now=now)
    # Found once; more than can be checked are only counted, as of them many may be being checked already.
    found = list(people[: MOST_AT_ONCE + 1])
    candidates = found if len(found) <= MOST_AT_ONCE else people
    offer = quote(organization=request.organization, briefing=briefing, candidates=candidates, now=now)
    if not offer.count and not offer.skipped:
        return show_picker(request, briefing, selection, problem=NOBODY[selection.who])
    if offer.count > MOST_AT_ONCE:
        return show_picker(request, briefing, selection, problem=TOO_MANY)
    if offer.missing:
        problem = str(NotEnoughCredits(needed=offer.total, available=offer.available))
        return show_picker(request, briefing, selection, problem=problem)
    agreed = whole_number(request.POST.get("agreed"))
    if agreed is None or whole_number(request.POST.get("count")) != offer.count:
        return _confirm(request, briefing, selection, status=200)
    try:
        started = accept_selection(
            organization=request.organization,
            briefing=briefing,
            candidates=list(candidates),
            actor=request.user,
            now=now,
            once=once,
            agreed_credits=agreed,
        )
    except NotEnoughCredits as error:
        return show_picker(request, briefing, selection, problem=str(error))
    except (BriefingNotReady, PriceRose, RouteUnavailable, TooManyFailures) as error:
        return _confirm(request, briefing, selection, problem=str(error))
    return _started(request, briefing, started)


@organization_view(Permission.VIEW)
@require_GET
@never_cache
def show_progress(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    """The results as they come; asked for every two seconds while something runs."""
    briefing = _briefing(request, briefing_id)
    if not request.htmx:
        return redirect(f"{reverse('candidates:briefing', args=[request.organization.slug, briefing.pk])}?tab=results")
    context = {"briefing": briefing, **results_context(request, briefing, now=clock.now())}
    return render(request, "candidates/_progress.html", context)


def results_context(request: HttpRequest, briefing: Briefing, *, now: datetime) -> dict[str, Any]:
    checks = latest_checks(briefing).select_related("candidate").only(*SHOWN)
    return {
        "progress": progress(briefing, now=now),
        "page": page_of_rows(request, checks, by=("rank", "-candidate_id"), size=RESULTS_A_PAGE),
    }


def _confirm(
    request: OrganizationHttpRequest,
    briefing: Briefing,
    selection: Selection,
    *,
    problem: str = "",
    status: int = 422,
) -> HttpResponse:
    context = {"briefing": briefing, "problem": problem, **quote_with_list(request, briefing, selection)}
    return render(request, "candidates/run_confirm.html", context, status=status)


def _briefing(request: OrganizationHttpRequest, briefing_id: int) -> Briefing:
    found = Briefing.objects.for_organization(request.organization).select_related("organization")
    return get_object_or_404(found, pk=briefing_id)


def _started(request: OrganizationHttpRequest, briefing: Briefing, sentence: str) -> HttpResponse:
    messages.success(request, sentence)
    return redirect(f"{reverse('candidates:briefing', args=[request.organization.slug, briefing.pk])}?tab=results")
