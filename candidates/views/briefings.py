from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRefresh

from candidates import briefings
from candidates.briefing_archive import archive_briefing, bring_back_briefing, delete_briefing, why_kept
from candidates.briefing_forms import DraftForm, TitleForm, requirement_rows, wanted_requirements
from candidates.briefings import StillDrafting
from candidates.cost_words import expected_charge
from candidates.models import Briefing, Requirement
from candidates.requirement_conflicts import LOCKED, BriefingChanged, Together, together
from candidates.requirements import BriefingRefused, is_drafting, is_locked, ordered_requirements, save_requirements
from candidates.results import Counts, counts_by_briefing
from candidates.views.picker import picker_context
from candidates.views.runs import results_context
from candidates.views.tabs import CANDIDATES, REQUIREMENTS, RESULTS, TABS, tab_context
from organizations import clock
from organizations.edits import FIELD, Seen
from organizations.models import Organization
from organizations.once import once_of_form
from organizations.paging import page_of_rows
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from routing.actions import REQUIREMENT_GENERATION
from routing.resolve import RouteUnavailable, has_model

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class BriefingRow:
    """A line of the list."""

    briefing: Briefing
    musts: int
    nices: int
    checks: Counts


@organization_view(Permission.VIEW)
@require_GET
def briefing_list(request: OrganizationHttpRequest) -> HttpResponse:
    """Those in use, newest first; `?show=archived` the others."""
    briefings_of_all = Briefing.objects.for_organization(request.organization)
    shows_archived = request.GET.get("show") == "archived"
    page = page_of_rows(
        request, briefings_of_all.filter(archived_at__isnull=not shows_archived), by=("-pk",), size=PAGE_SIZE
    )
    context = {
        "page": page,
        "rows": _rows(request.organization, page.rows),
        "shows_archived": shows_archived,
        "archived": briefings_of_all.exclude(archived_at=None).count(),
    }
    return render(request, "candidates/briefings.html", context)


@organization_view(Permission.CHECK_CANDIDATES)
@require_http_methods(["GET", "POST"])
def new_briefing(request: OrganizationHttpRequest) -> HttpResponse:
    """
    Two ways to begin: a draft from a job description (`how=draft`), or a title and an empty list
    (`how=hand`).
    """
    draft_form, title_form = DraftForm(prefix="draft"), TitleForm(prefix="hand")
    refused: Exception | None = None
    if request.method == "POST":
        try:
            if request.POST.get("how") == "hand":
                title_form = TitleForm(request.POST, prefix="hand")
                if title_form.is_valid():
                    briefing = briefings.create_briefing(
                        organization=request.organization,
                        title=title_form.cleaned_data["title"],
                        actor=request.user,
                        now=clock.now(),
                        once=once_of_form(request),
                    )
                    return redirect("candidates:briefing", request.organization.slug, briefing.pk)
            else:
                draft_form = DraftForm(request.POST, prefix="draft")
                if draft_form.is_valid():
                    briefing = briefings.request_draft(
                        organization=request.organization,
                        job_description=draft_form.cleaned_data["job_description"],
                        title=draft_form.cleaned_data["title"],
                        actor=request.user,
                        now=clock.now(),
                        once=once_of_form(request),
                    )
                    return redirect("candidates:briefing", request.organization.slug, briefing.pk)
        except (BriefingRefused, RouteUnavailable) as error:
            refused = error
    context = {
        "draft_form": draft_form,
        "title_form": title_form,
        "refused": refused,
        "draft_charge": _draft_charge(request),
        "drafts_have_model": has_model(organization=request.organization, actions=[REQUIREMENT_GENERATION.slug]),
    }
    return render(request, "candidates/briefing_form.html", context, status=422 if request.method == "POST" else 200)


@organization_view(Permission.CHECK_CANDIDATES)
@require_http_methods(["GET", "POST"])
def briefing_page(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    """
    A briefing with its tabs; POST saves title and requirements. While a draft is written the page asks
    again.
    """
    briefing = _briefing(request, briefing_id)
    now = clock.now()
    if is_drafting(briefing, now=now) and request.method == "GET":
        template = "candidates/briefing_drafting.html"
        return render(request, f"{template}#drafting" if request.htmx else template, {"briefing": briefing})
    if request.htmx and request.method == "GET":
        return HttpResponseClientRefresh()
    requirements = ordered_requirements(briefing)
    locked = is_locked(briefing)
    title_form = TitleForm(initial={"title": briefing.title})
    rows = requirement_rows(requirements, locked=locked)
    tab, shown = _tab(request, briefing, requirements, locked), Together()
    refused: Exception | None = None
    sent_back: dict[str, str] = {}
    if request.method == "POST":
        tab, seen = REQUIREMENTS, request.POST.get(FIELD)
        was_locked = locked
        if seen is not None:
            sent_back = {FIELD: seen}  # whatever is wrong beside, what changed meanwhile is still to be said
            was_locked = Seen(seen).showed(LOCKED, True)
        title_form = TitleForm(request.POST, initial={"title": briefing.title})
        rows = requirement_rows(requirements, locked=was_locked, data=request.POST)
        if title_form.is_valid() and rows.is_valid():
            try:
                changed = save_requirements(
                    briefing=briefing,
                    requirements=wanted_requirements(rows),
                    title=title_form.cleaned_data["title"],
                    now=now,
                    actor=request.user,
                    seen=seen,
                    use="use" in request.POST,
                )
            except BriefingChanged as conflict:
                refused = conflict
                briefing = _briefing(request, briefing_id)
                requirements, locked = ordered_requirements(briefing), is_locked(briefing)
                shown = together(
                    Seen(seen or ""),
                    briefing=briefing,
                    requirements=requirements,
                    locked=locked,
                    typed_title=title_form.cleaned_data["title"],
                    typed_rows=rows.cleaned_data,
                )
                sent_back = {}
                title_form = TitleForm(initial={"title": shown.title})
                rows = requirement_rows(requirements, locked=locked, shown=shown)
            except BriefingRefused as error:
                refused, locked = error, was_locked
            else:
                messages.success(request, _saved(changed))
                return redirect(f"{request.path}?tab={CANDIDATES if 'use' in request.POST else REQUIREMENTS}")
        else:
            locked = was_locked
    context: dict[str, Any] = {
        **tab_context(briefing, tab, requirements=requirements, locked=locked),
        "title_form": title_form,
        "rows": rows,
        "refused": refused,
        **sent_back,
        "shown": shown,
        "draft_charge": _draft_charge(request) if briefing.state != Briefing.State.READY else "",
    }
    is_wrong = request.method == "POST"
    if tab == RESULTS:
        context |= results_context(request, briefing, now=now)
    elif tab == CANDIDATES and briefing.state != Briefing.State.REVIEW:
        context |= picker_context(request, briefing)
        is_wrong = bool(context["selection"].problem)
    return render(request, "candidates/briefing.html", context, status=422 if is_wrong else 200)


@organization_view(Permission.CHECK_CANDIDATES)
@require_POST
def draft_again(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    briefing = _briefing(request, briefing_id)
    try:
        briefings.request_draft(
            organization=request.organization,
            job_description=briefing.job_description,
            actor=request.user,
            now=clock.now(),
            briefing=briefing,
            seen=request.POST.get(FIELD),
        )
    except StillDrafting:
        pass  # as the page says that this leads to
    except (BriefingChanged, BriefingRefused, RouteUnavailable) as error:
        messages.error(request, str(error))
    return redirect("candidates:briefing", request.organization.slug, briefing.pk)


@organization_view(Permission.CHECK_CANDIDATES)
@require_POST
def copy_briefing(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    briefing = _briefing(request, briefing_id)
    try:
        copy = briefings.new_version(briefing=briefing, actor=request.user, once=once_of_form(request))
    except BriefingRefused as error:
        messages.error(request, str(error))
        return redirect("candidates:briefing", request.organization.slug, briefing.pk)
    messages.success(request, f"Version {copy.version} made. Change its requirements, then use them.")
    return redirect("candidates:briefing", request.organization.slug, copy.pk)


@organization_view(Permission.CHECK_CANDIDATES)
@require_POST
def archive(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    briefing = _briefing(request, briefing_id)
    archive_briefing(briefing=briefing, now=clock.now())
    messages.success(request, f"“{briefing}” is archived. Its results stay; bring it back to check more people.")
    return redirect("candidates:briefings", request.organization.slug)


@organization_view(Permission.CHECK_CANDIDATES)
@require_POST
def bring_back(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    briefing = _briefing(request, briefing_id)
    bring_back_briefing(briefing=briefing)
    messages.success(request, f"“{briefing}” is in use again.")
    return redirect("candidates:briefing", request.organization.slug, briefing.pk)


@organization_view(Permission.CHECK_CANDIDATES)
@require_http_methods(["GET", "POST"])
def delete(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    """Asks first; without JavaScript, too."""
    briefing = _briefing(request, briefing_id)
    if request.method == "GET" and not why_kept(briefing):
        return render(request, "candidates/briefing_delete.html", {"briefing": briefing})
    try:
        delete_briefing(briefing=briefing, actor=request.user)
    except BriefingRefused as refused:
        messages.error(request, str(refused))
        return redirect("candidates:briefing", request.organization.slug, briefing.pk)
    messages.success(request, f"“{briefing}” is deleted.")
    return redirect("candidates:briefings", request.organization.slug)


def _briefing(request: OrganizationHttpRequest, briefing_id: int) -> Briefing:
    found = Briefing.objects.for_organization(request.organization).select_related("organization", "key")
    return get_object_or_404(found, pk=briefing_id)


def _tab(
    request: OrganizationHttpRequest, briefing: Briefing, requirements: Sequence[Requirement], locked: bool
) -> str:
    """The tab asked for, else the one where the next step is."""
    asked = request.GET.get("tab", "")
    if asked in TABS:
        return asked
    if not requirements or briefing.state != Briefing.State.READY:
        return REQUIREMENTS
    return RESULTS if locked or briefing.checks.for_organization(request.organization).exists() else CANDIDATES


def _rows(organization: Organization, shown: Sequence[Briefing]) -> list[BriefingRow]:
    requirements = Requirement.objects.for_organization(organization).filter(
        briefing__in=[briefing.pk for briefing in shown]
    )
    kinds = Counter(requirements.values_list("briefing_id", "kind"))
    checks = counts_by_briefing(organization, shown)
    return [
        BriefingRow(
            briefing,
            kinds[briefing.pk, Requirement.Kind.MUST],
            kinds[briefing.pk, Requirement.Kind.NICE],
            checks[briefing.pk],
        )
        for briefing in shown
    ]


def _draft_charge(request: OrganizationHttpRequest) -> str:
    return expected_charge(organization=request.organization, action=REQUIREMENT_GENERATION.slug, now=clock.now())


def _saved(changed: int) -> str:
    if not changed:
        return "Requirements saved."
    return f"Requirements saved. {changed} result{'s' if changed > 1 else ''} computed anew, without a model call."
