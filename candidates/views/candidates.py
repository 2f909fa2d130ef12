from __future__ import annotations

from django.db.models import Count, OuterRef, Subquery
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_http_methods

from candidates.forms import ImportForm
from candidates.models import Candidate, CandidateCheck, Profile
from candidates.profiles.importing import import_profiles
from candidates.profiles.links import normalize_link
from candidates.profiles.reading import read_profile
from candidates.search import count_found, found_by
from organizations.paging import page_of_rows
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from organizations.reading import whole_number
from organizations.storable import storable

PAGE_SIZE = 50
LAST_VERSION = 2**31 - 1
SHOWN_ERRORS = 200
STATUSES = dict(CandidateCheck.Status.choices)


@organization_view(Permission.VIEW)
@require_GET
def candidate_list(request: OrganizationHttpRequest) -> HttpResponse:
    """Everybody whom the organization imported, newest first; `?q=` has words of name, headline or e-mail begin so."""
    candidates = Candidate.objects.for_organization(request.organization)
    query = storable(request.GET.get("q", "")).strip()[:200]
    found = found_by(candidates, request.organization, query)
    checks = CandidateCheck.objects.for_organization(request.organization).filter(candidate=OuterRef("pk"))
    completed = checks.filter(status=CandidateCheck.Status.COMPLETED).order_by("-completed_at")
    page = page_of_rows(request, found, by=("-pk",), size=PAGE_SIZE)
    # The counts are taken for the people of the page only, not for everybody before the page is cut.
    shown = (
        candidates.filter(pk__in=[candidate.pk for candidate in page])
        .annotate(
            check_count=Count("checks"),
            last_category=Subquery(completed.values("category")[:1]),
            last_score=Subquery(completed.values("score")[:1]),
            last_status=Subquery(checks.order_by("-accepted_at").values("status")[:1]),
        )
        .order_by("-pk")
    )
    total = candidates.count()
    found_count = count_found(request.organization, query) if query else total
    context = {
        "page": page,
        "candidates": [(candidate, STATUSES.get(candidate.last_status, "")) for candidate in shown],
        "query": query,
        "found": found_count,
        "total": total,
    }
    return render(request, "candidates/list.html", context)


@organization_view(Permission.CHECK_CANDIDATES)
@require_http_methods(["GET", "POST"])
def import_candidates(request: OrganizationHttpRequest) -> HttpResponse:
    """
    Import a file or pasted profiles and show the report.

    The report is the answer to the POST itself: reloading it imports the same again, which adds nothing.
    """
    form, report, status = ImportForm(), None, 200
    if request.method == "POST":
        form = ImportForm(request.POST, request.FILES)
        if form.is_valid():
            report = import_profiles(
                organization=request.organization, rows=form.cleaned_data["rows"], actor=request.user
            )
            if not report.errors:
                form = ImportForm()
        else:
            status = 422
    context = {
        "form": form,
        "report": report,
        "shown_errors": report.errors[:SHOWN_ERRORS] if report else (),
        "hidden_errors": max(0, len(report.errors) - SHOWN_ERRORS) if report else 0,
    }
    template = "candidates/import.html#panel" if request.htmx else "candidates/import.html"
    return render(request, template, context, status=status)


@organization_view(Permission.VIEW)
@require_GET
def candidate_detail(request: OrganizationHttpRequest, candidate_id: int) -> HttpResponse:
    """A person's profile (`?version=` an earlier one), its versions and its checks."""
    candidate = get_object_or_404(Candidate.objects.for_organization(request.organization), pk=candidate_id)
    versions = Profile.objects.for_organization(request.organization).filter(candidate=candidate)
    profile: Profile | None
    if "version" in request.GET:
        profile = get_object_or_404(versions, version=whole_number(request.GET["version"], most=LAST_VERSION))
    else:
        profile = versions.order_by("-version").first()
    content = read_profile(profile.content if profile else {})
    checks = (
        CandidateCheck.objects.for_organization(request.organization)
        .filter(candidate=candidate)
        .select_related("briefing")
    )
    context = {
        "candidate": candidate,
        "profile": profile,
        "content": content,
        "links": [link for link in content.links if normalize_link(link.address) != candidate.link],
        "versions": versions.defer("content").order_by("-version"),
        "page": page_of_rows(request, checks, by=("-accepted_at", "pk"), size=PAGE_SIZE),
    }
    return render(request, "candidates/detail.html", context)
