from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from billing import statement
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view

LINES_A_PAGE = 50
SHOWN = {"all": "All entries", "spent": "Charged, 30 days", "held": "Held now", "granted": "Granted"}


@organization_view(Permission.VIEW)
@require_safe
def credits(request: OrganizationHttpRequest) -> HttpResponse:
    """The balance and every movement behind it; `?show=` narrows them to those behind one number."""
    return render(request, "billing/credits.html", credits_context(request))


def credits_context(request: OrganizationHttpRequest) -> dict[str, Any]:
    """What billing/credits.html needs; for a page of an app above that extends it."""
    today = timezone.now().date()
    show = request.GET.get("show", "all")
    show = show if show in SHOWN else "all"
    found = statement.entries(organization=request.organization, show=show, today=today)
    page = Paginator(found, LINES_A_PAGE).get_page(request.GET.get("page"))
    return {
        "summary": statement.credit_summary(organization=request.organization, today=today),
        "shown": SHOWN,
        "show": show,
        "page": page,
        "lines": [statement.line(entry) for entry in page],
    }
