from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.utils import timezone

from billing import statement
from organizations.permissions import OrganizationHttpRequest

LINES_A_PAGE = 50
SHOWN = {"all": "All entries", "spent": "Charged, 30 days", "held": "Held now", "granted": "Granted"}


def credits_context(request: OrganizationHttpRequest) -> dict[str, Any]:
    """What billing/credits.html needs: the balance and its movements; `?show=` narrows them to one number's."""
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
