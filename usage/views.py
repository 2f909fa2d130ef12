from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from organizations.reading import whole_number
from usage.forms import UsageFilterForm
from usage.models import UsageDaily, UsageEvent, UsageEventQuerySet

ROWS = 50
KNOWN = 500  # combinations that the filters suggest


@organization_view(Permission.VIEW)
@require_GET
def events(request: OrganizationHttpRequest) -> HttpResponse:
    """The calls behind every number of usage and cost, latest first."""
    form = UsageFilterForm(request.GET)
    found = form.narrow(UsageEvent.objects.for_organization(request.organization))
    rows = list(_older_than(request, found).order_by("-occurred_at", "-id")[: ROWS + 1])
    daily = UsageDaily.objects.for_organization(request.organization).order_by()
    known = set(daily.values_list("provider", "model", "action").distinct()[:KNOWN])
    known |= {(event.provider, event.model, event.action) for event in rows}
    providers, models, actions = ({row[at] for row in known} for at in range(3))
    form.offer_providers(providers)
    context = {
        "form": form,
        "events": rows[:ROWS],
        "older": rows[ROWS - 1].pk if len(rows) > ROWS else None,
        "is_first_page": "before" not in request.GET,
        "show_managed_usd": settings.KEYFARE_SHOW_MANAGED_USD,
        "suggestions": {
            "model": sorted(models),
            "action": sorted(actions),
        },
    }
    return render(request, "usage/events.html", context)


def _older_than(request: OrganizationHttpRequest, found: UsageEventQuerySet) -> UsageEventQuerySet:
    """Those after the event that `before` names, so that new calls do not move pages; nonsense: all."""
    before = whole_number(request.GET.get("before"))
    last = UsageEvent.objects.for_organization(request.organization).filter(pk=before).first() if before else None
    return found.before(last) if last else found
