"""The page of cost anatomy: of a month, of an action or agent in it, or of a run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from organizations import clock
from organizations.models import Organization
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from routing.actions import action_names_of
from usage.anatomy import MOST_CALLS_OF_A_RUN, of_period, of_run
from usage.anatomy_form import AnatomyForm
from usage.anatomy_words import sentences
from usage.days import last_of_month, months_before
from usage.names import action_name

MOST_MONTHS = 13
ACTIONS_SHOWN = 20


@organization_view(Permission.VIEW)
@require_safe
def anatomy_page(request: OrganizationHttpRequest) -> HttpResponse:
    """What the input of calls was made of, and what each part of it cost."""
    today, names = clock.now().date(), action_names_of(request.organization)
    form = AnatomyForm(request.GET)
    if run_id := form.wanted.get("run"):
        run = of_run(request.organization, run_id, today=today)
        if run is None:
            raise Http404
        name = action_name(run.action, names)
        context = {"run": run, "run_id": run_id, "name": name, "sentences": list(sentences(run.anatomy))}
        return render(request, "usage/anatomy_of_run.html", {**context, "most": MOST_CALLS_OF_A_RUN})
    month = form.wanted.get("month") or today.replace(day=1)
    last = min(last_of_month(month), max(today, month))
    action = form.wanted.get("action", "")
    period = of_period(request.organization, month, last, action=action)
    used = {row.slug: action_name(row.slug, names) for row in period.actions}
    form.offer(months=_months(request.organization, today), actions={**names, **used})
    context = {
        "form": form,
        "month": month,
        "last": last,
        "is_over": last < today,
        "action": action,
        "name": action_name(action, names),
        "period": period,
        "anatomy": period.anatomy,
        "sentences": list(sentences(period.anatomy)) if period.anatomy else [],
        "actions": [(row, used[row.slug]) for row in period.actions[:ACTIONS_SHOWN]],
        "more_actions": max(len(period.actions) - ACTIONS_SHOWN, 0),
    }
    return render(request, "usage/anatomy.html", context)


def _months(organization: Organization, today: date) -> Iterator[date]:
    """Those of the last year in which there may be calls, the latest first."""
    month = today.replace(day=1)
    for _ in range(MOST_MONTHS):
        yield month
        if month <= organization.created_at.date():
            return
        month = months_before(month, 1)
