from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import QueryDict

from organizations.permissions import OrganizationHttpRequest
from organizations.reading import whole_number
from usage import kinds
from usage.consumption import Report
from usage.consumption_form import ConsumptionForm
from usage.forms import UsageFilterForm
from usage.kept import kept_from
from usage.models import UsageEvent
from usage.names import OwnNames, provider_names
from usage.querysets import UsageEventQuerySet
from usage.saved_views import may_change, views_of
from usage.seldom import narrowed

ROWS = 50


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a run was for, and the page that shows it; the apps above know."""

    text: str
    url: str


def events_context(
    request: OrganizationHttpRequest,
    *,
    purposes: Callable[[set[UUID]], Mapping[UUID, Purpose]],
    names: OwnNames,
) -> dict[str, Any]:
    """
    What usage/events.html needs: the calls behind every number of usage and cost, latest first. `purposes` is asked for
    those of the runs on the page.
    """
    known = kinds.known_kinds(request.organization)
    providers, models, actions = ({getattr(kind, name) for kind in known} for name in ("provider", "model", "action"))
    form = UsageFilterForm(request.GET, names=names, models=models)
    form.offer(
        provider=dict.fromkeys({*provider_names(), *providers}), action=dict.fromkeys({*names.actions, *actions})
    )
    calls = UsageEvent.objects.for_organization(request.organization)
    of_each_kind = calls.filter(pk__in=[kind.pk for kind in known])
    calls, of_each_kind = narrowed(form, request.organization, _older_than(request, calls), of_each_kind)
    rows = _latest(form, calls, of_each_kind, ROWS + 1)
    events = rows[:ROWS]
    of_runs = purposes({event.run_id for event in events})
    return {
        "form": form,
        "events": events,
        "calls": [(event, of_runs.get(event.run_id), names.action(event.action)) for event in events],
        "older": rows[ROWS - 1].pk if len(rows) > ROWS else None,
        "is_first_page": "before" not in request.GET,
        "models": form.models,
        "kept_from": None if events else kept_from(),
    }


def consumption_context(
    request: OrganizationHttpRequest, *, now: datetime, names: OwnNames, query: str, path: str = ""
) -> dict[str, Any]:
    """What usage/consumption.html needs: of `query`; `path` is that of the page, where it is shown under another."""
    form = ConsumptionForm(QueryDict(query), names=names, today=now.date())
    form.path = path
    return {
        "form": form,
        "report": Report(request.organization, form, names, now=now).read(),
        "views": [(view, may_change(view, request.membership)) for view in views_of(request.membership)],
        "query": query,
    }


def _older_than(request: OrganizationHttpRequest, calls: UsageEventQuerySet) -> UsageEventQuerySet:
    """Those after the event that `before` names, so that new calls do not move pages; nonsense: all."""
    before = whole_number(request.GET.get("before"))
    last = calls.filter(pk=before).first() if before else None
    return calls.before(last) if last else calls


def _latest(
    form: UsageFilterForm, calls: UsageEventQuerySet, of_each_kind: UsageEventQuerySet, count: int
) -> list[UsageEvent]:
    """The latest `count` of `calls` that the form asks for."""
    most, *few = form.of_time(calls)
    if "run" in form.wanted:
        found, few = [], [most, *few]
    elif form.asks_for_kinds:
        found = kinds.latest(most, count, of=form.of_kinds(of_each_kind))
    else:
        found = list(form.of_kinds(most).latest_first()[:count])
    for others in few:  # by their ids, so that nothing but these is gone through in the order of the page
        found += form.of_kinds(calls.filter(pk__in=others.values("pk"))).latest_first()[:count]
    return sorted(found, key=lambda call: (call.occurred_at, call.pk), reverse=True)[:count]
