from __future__ import annotations

from typing import Any

from billing import statement
from organizations import clock
from organizations.paging import page_of_rows
from organizations.permissions import OrganizationHttpRequest

LINES_A_PAGE = 50
SHOWN = {"all": "All entries", "spent": "Charged, 30 days", "held": "Held now", "granted": "Granted"}


def credits_context(request: OrganizationHttpRequest) -> dict[str, Any]:
    """What billing/credits.html needs: the balance and its movements; `?show=` narrows them to one number's."""
    today = clock.now().date()
    show = request.GET.get("show", "all")
    show = show if show in SHOWN else "all"
    found = statement.entries(organization=request.organization, show=show, today=today)
    page = page_of_rows(request, found, by=("-seq",), size=LINES_A_PAGE)
    return {
        "summary": statement.credit_summary(organization=request.organization, today=today),
        "shown": SHOWN,
        "show": show,
        "page": page,
        "lines": [statement.line(entry) for entry in page],
    }
