from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from organizations.permissions import OrganizationHttpRequest
from organizations.reading import whole_number
from usage.forms import UsageFilterForm
from usage.models import UsageDaily, UsageEvent, UsageEventQuerySet

ROWS = 50
KNOWN = 500  # combinations that the filters suggest


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a run was for, and the page that shows it; the apps above know."""

    text: str
    url: str


def events_context(
    request: OrganizationHttpRequest, *, purposes: Callable[[set[UUID]], Mapping[UUID, Purpose]]
) -> dict[str, Any]:
    """
    What usage/events.html needs: the calls behind every number of usage and cost, latest first. `purposes` is asked for
    those of the runs on the page.
    """
    form = UsageFilterForm(request.GET)
    found = form.narrow(UsageEvent.objects.for_organization(request.organization))
    rows = list(_older_than(request, found).order_by("-occurred_at", "-id")[: ROWS + 1])
    daily = UsageDaily.objects.for_organization(request.organization).order_by()
    known = set(daily.values_list("provider", "model", "action").distinct()[:KNOWN])
    known |= {(event.provider, event.model, event.action) for event in rows}
    providers, models, actions = ({row[at] for row in known} for at in range(3))
    form.offer(providers=providers, actions=actions)
    events = rows[:ROWS]
    of_runs = purposes({event.run_id for event in events})
    return {
        "form": form,
        "events": events,
        "calls": [(event, of_runs.get(event.run_id)) for event in events],
        "older": rows[ROWS - 1].pk if len(rows) > ROWS else None,
        "is_first_page": "before" not in request.GET,
        "show_managed_usd": settings.KEYFARE_SHOW_MANAGED_USD,
        "models": sorted(models),
    }


def _older_than(request: OrganizationHttpRequest, found: UsageEventQuerySet) -> UsageEventQuerySet:
    """Those after the event that `before` names, so that new calls do not move pages; nonsense: all."""
    before = whole_number(request.GET.get("before"))
    last = UsageEvent.objects.for_organization(request.organization).filter(pk=before).first() if before else None
    return found.before(last) if last else found
