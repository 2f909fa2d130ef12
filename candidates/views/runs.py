"""Choosing people for a briefing, the cost of it before anything runs, and the progress after."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from billing.ledger import NotEnoughCredits
from candidates import recency
from candidates.checks import BriefingNotReady, PriceRose, accept_checks
from candidates.credit_costs import CREDIT_COSTS, Quote, quote
from candidates.failure_cap import TooManyFailures, refuse_after_failures
from candidates.models import Briefing, Candidate, CandidateCheck
from candidates.results import latest_checks, progress
from candidates.selection import SHOW, Selection
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from organizations.reading import page_of, whole_number
from routing.actions import CANDIDATE_CHECK
from routing.resolve import RouteUnavailable, resolve

PEOPLE_A_PAGE = 100
RESULTS_A_PAGE = 100
NOBODY = "Nobody is selected. Tick at least one person."


@organization_view(Permission.CHECK_CANDIDATES)
@require_POST
def show_quote(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    """What the selection would cost: beside the button for htmx, else a page of its own to confirm."""
    briefing = _briefing(request, briefing_id)
    selection = Selection.read(request.POST)
    if request.htmx:
        context = {"briefing": briefing, **_quote_context(request, briefing, selection)}
        return render(request, "candidates/_quote.html", context)
    return _confirm(request, briefing, selection, status=200)


@organization_view(Permission.CHECK_CANDIDATES)
@require_POST
def run_checks(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    """
    Start checks of the selection, if the person saw its price: `agreed` credits for `count` people.

    Anything else, and whatever stands in the way, leads to a page that says so and asks again.
    """
    briefing = _briefing(request, briefing_id)
    selection = Selection.read(request.POST)
    people, now = selection.people(briefing), timezone.now()
    offer = quote(organization=request.organization, briefing=briefing, candidates=people, now=now)
    agreed = whole_number(request.POST.get("agreed"))
    if not people:
        return _confirm(request, briefing, selection, problem=NOBODY)
    if agreed is None or whole_number(request.POST.get("count")) != offer.count:
        return _confirm(request, briefing, selection, status=200)
    if offer.total > agreed:
        return _confirm(request, briefing, selection, problem=str(PriceRose(agreed=agreed, price=offer.total)))
    try:
        accepted = accept_checks(
            organization=request.organization,
            briefing=briefing,
            candidates=people,
            actor=request.user,
            now=now,
            agreed_credits=agreed,
        )
    except (BriefingNotReady, NotEnoughCredits, PriceRose, RouteUnavailable, TooManyFailures) as error:
        return _confirm(request, briefing, selection, problem=str(error))
    messages.success(request, " ".join(filter(None, [_started(len(accepted.checks), accepted.skipped), accepted.note])))
    return redirect(f"{reverse('candidates:briefing', args=[request.organization.slug, briefing.pk])}?tab=results")


@organization_view(Permission.VIEW)
@require_GET
@never_cache
def show_progress(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    """The results as they come; asked for every two seconds while something runs."""
    briefing = _briefing(request, briefing_id)
    if not request.htmx:
        return redirect(f"{reverse('candidates:briefing', args=[request.organization.slug, briefing.pk])}?tab=results")
    context = {"briefing": briefing, **results_context(request, briefing)}
    return render(request, "candidates/_progress.html", context)


def results_context(request: HttpRequest, briefing: Briefing) -> dict[str, Any]:
    checks = latest_checks(briefing).select_related("candidate")
    return {
        "progress": progress(briefing, now=timezone.now()),
        "page": page_of(request, checks, size=RESULTS_A_PAGE),
    }


def picker_context(request: OrganizationHttpRequest, briefing: Briefing) -> dict[str, Any]:
    """The people to choose from, all of them chosen at first, and what that would cost."""
    asked = Selection.read(request.GET)
    matching = asked.matching(briefing)
    page = page_of(request, matching, size=PEOPLE_A_PAGE)
    shown = list(page.object_list)
    ids = frozenset(person.pk for person in shown)
    others = page.paginator.count - len(shown)
    selection = Selection(
        query=asked.query, show=asked.show, shown=ids, ticked=ids, others=others > 0, first=asked.first
    )
    context = _quote_context(request, briefing, selection)
    return {
        **context,
        "page": page,
        "people": _with_price(request, context["quote"], shown),
        "others": others,
        "show_choices": SHOW,
        "everybody": Candidate.objects.for_organization(request.organization).exists(),
    }


def _with_price(
    request: OrganizationHttpRequest, offer: Quote, people: list[Candidate]
) -> list[tuple[Candidate, CandidateCheck.Kind, int]]:
    kinds = recency.kind_for(candidates=people, organization=request.organization, now=timezone.now())
    return [(person, kinds[person.pk], CREDIT_COSTS[offer.mode, kinds[person.pk]]) for person in people]


def _quote_context(request: OrganizationHttpRequest, briefing: Briefing, selection: Selection) -> dict[str, Any]:
    people = selection.people(briefing)
    offer = quote(organization=request.organization, briefing=briefing, candidates=people, now=timezone.now())
    return {"selection": selection, "quote": offer, "unroutable": _unroutable(request)}


def _unroutable(request: OrganizationHttpRequest) -> str:
    """Why no check could run now, as a sentence, or nothing."""
    try:
        route = resolve(organization=request.organization, action=CANDIDATE_CHECK.slug)
        refuse_after_failures(organization=request.organization, mode=route.mode, now=timezone.now())
    except (RouteUnavailable, TooManyFailures) as refusal:
        return str(refusal)
    return ""


def _confirm(
    request: OrganizationHttpRequest,
    briefing: Briefing,
    selection: Selection,
    *,
    problem: str = "",
    status: int = 422,
) -> HttpResponse:
    context = {"briefing": briefing, "problem": problem, **_quote_context(request, briefing, selection)}
    return render(request, "candidates/run_confirm.html", context, status=status)


def _briefing(request: OrganizationHttpRequest, briefing_id: int) -> Briefing:
    found = Briefing.objects.for_organization(request.organization).select_related("organization")
    return get_object_or_404(found, pk=briefing_id)


def _started(count: int, skipped: int) -> str:
    started = f"{count} check{'' if count == 1 else 's'} started."
    return f"{started} {skipped} left out: already running." if skipped else started
