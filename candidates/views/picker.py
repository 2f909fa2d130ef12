"""The tab where people are chosen and what their checks cost is told before anything runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from candidates import recency
from candidates.cost_words import expected_charge
from candidates.credit_costs import CREDIT_COSTS, MOST_AT_ONCE, Quote, quote
from candidates.failure_cap import TooManyFailures, refuse_after_failures
from candidates.models import Briefing, Candidate, CandidateCheck
from candidates.selection import SHOW, Selection
from candidates.views.tabs import CANDIDATES, tab_context
from organizations import clock
from organizations.paging import page_of_rows
from organizations.permissions import OrganizationHttpRequest
from routing.actions import CANDIDATE_CHECK

PEOPLE_A_PAGE = 100


def show_picker(
    request: OrganizationHttpRequest, briefing: Briefing, selection: Selection, *, problem: str = ""
) -> HttpResponse:
    """The tab once more with all that was chosen there, as it cannot be done like that."""
    context = tab_context(briefing, CANDIDATES) | picker_context(request, briefing, selection)
    return render(request, "candidates/briefing.html", {**context, "problem": problem}, status=422)


def picker_context(
    request: OrganizationHttpRequest, briefing: Briefing, asked: Selection | None = None
) -> dict[str, Any]:
    """The people to choose from, nobody chosen at first, and what the choice would cost."""
    asked = asked or Selection.read(request.GET)
    page = page_of_rows(request, asked.matching(briefing), by=("-pk",), size=PEOPLE_A_PAGE)
    shown = frozenset(person.pk for person in page)
    listed = asked.count(briefing)
    others = listed - len(page)
    selection = replace(asked, shown=shown, ticked=asked.ticked & shown, others=asked.others and others > 0)
    context = quote_context(request, briefing, selection)
    return {
        **context,
        "listed": listed,
        "page": page,
        "people": _with_price(request, context["quote"], page.rows),
        "others": others,
        "show_choices": SHOW,
        "everybody": Candidate.objects.for_organization(request.organization).exists(),
    }


def quote_with_list(request: OrganizationHttpRequest, briefing: Briefing, selection: Selection) -> dict[str, Any]:
    return {**quote_context(request, briefing, selection), "listed": selection.count(briefing)}


def quote_context(request: OrganizationHttpRequest, briefing: Briefing, selection: Selection) -> dict[str, Any]:
    now = clock.now()
    people = selection.people(briefing, now=now)
    offer = quote(organization=request.organization, briefing=briefing, candidates=people, now=now)
    return {
        "selection": selection,
        "quote": offer,
        "most_at_once": MOST_AT_ONCE,
        "charge": expected_charge(
            organization=request.organization,
            action=CANDIDATE_CHECK.slug,
            briefing=briefing,
            runs=offer.count,
            now=now,
        ),
        "unroutable": _unroutable(request, offer),
    }


def _with_price(
    request: OrganizationHttpRequest, offer: Quote, people: list[Candidate]
) -> list[tuple[Candidate, CandidateCheck.Kind, int]]:
    kinds = recency.kind_for(candidates=people, organization=request.organization, now=clock.now())
    return [(person, kinds[person.pk], CREDIT_COSTS[offer.mode, kinds[person.pk]]) for person in people]


def _unroutable(request: OrganizationHttpRequest, offer: Quote) -> str:
    """Why no check could run now, as a sentence, or nothing."""
    if offer.refusal:
        return str(offer.refusal)
    try:
        refuse_after_failures(organization=request.organization, mode=offer.mode, now=clock.now())
    except TooManyFailures as refusal:
        return str(refusal)
    return ""
