"""An action under other models: what the models of the organization's own keys would have cost it, dearest last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_safe

from organizations import clock
from organizations.models import Organization
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from routing.forms import RouteForm, choice_of, may_stand_in_address, write_choice
from routing.key_models import PRICES, KeyModel, models_of_keys, offered_by, selectable_keys
from routing.resolve import RoutingRow, resolve_all
from routing.table import route_forms
from usage.days import MONTH, first_day
from usage.what_if import Difference, Estimate, Past, past_of

ROWS = 25


@dataclass(frozen=True, slots=True)
class WhatIfLine:
    of: KeyModel
    is_current: bool
    ran: bool  # nothing else served it: the figure is what was paid
    estimate: Estimate
    difference: Difference | None
    route_url: str


def route_url(organization: Organization, row: RoutingRow, of: KeyModel) -> str:
    """The page on which the action's route is chosen, with this model filled in and not saved."""
    slug = row.action.slug
    held = {
        f"{slug}-key": str(of.key.pk),
        f"{slug}-model": of.model,
        f"{slug}-was": write_choice(choice_of(row.rule)),
    }
    if row.action.is_agent:
        page = reverse("routing:agent", args=[organization.slug, slug])
    else:
        page = reverse("routing:table", args=[organization.slug])
    return f"{page}?{urlencode(held)}"


@organization_view(Permission.VIEW)
@require_safe
def what_if(request: OrganizationHttpRequest) -> HttpResponse:
    rows = resolve_all(organization=request.organization)
    wanted = request.GET.get("action", "")
    row = next((row for row in rows if row.action.slug == wanted), rows[0] if rows and not wanted else None)
    if row is None:
        raise Http404
    today = clock.now().date()
    past = past_of(organization=request.organization, today=today, action=row.action.slug)
    typed = request.GET.get("q", "").strip()
    query = typed if may_stand_in_address(typed) else ""
    lines = what_if_lines(request.organization, row, past)
    current = next((line for line in lines if line.is_current), None)
    found = [line for line in lines if not line.is_current and query.lower() in _words_of(line)]
    context = {
        "row": row,
        "actions": [each.action for each in rows],
        "past": past,
        "current": current,
        "page": _page_of(found, request.GET.get("page")),
        "query": query,
        "first_day": first_day(today, MONTH),
        "has_keys": bool(lines),
    }
    return render(request, "routing/what_if.html", context)


@organization_view(Permission.MANAGE_ROUTING)
@require_GET
def estimate(request: OrganizationHttpRequest, action: str) -> HttpResponse:
    """Beside the model field of one action: what the model that stands there would have cost it."""
    forms = route_forms(request.organization, unsaved=request.GET)
    form = next((form for form in forms if form.row.action.slug == action), None)
    if form is None:
        raise Http404
    past = past_of(organization=request.organization, today=clock.now().date(), action=action)
    return render(request, "routing/_estimate.html", {"form": form, "estimate": estimate_in(form, past)})


def estimate_in(form: RouteForm, past: Past) -> str:
    """Of key and model that stand in the form; "" where there is no key of the organization's own."""
    held = {name: form.data.get(form.add_prefix(name)) for name in ("key", "model")} if form.is_bound else form.initial
    key, model = form.keys.get(held.get("key") or ""), held.get("model") or ""
    if key is None or not model:
        return ""
    listed = key.available_models.filter(organization=key.organization_id, model=model)
    prices = listed.values_list(*PRICES).first()
    return past.estimate(offered_by(key, model, prices or (None, None))).words


def what_if_lines(organization: Organization, row: RoutingRow, past: Past) -> list[WhatIfLine]:
    """The model that serves it now first, then the cheapest first, then those of which nobody can tell."""
    keys = selectable_keys(organization)
    routed = [(row.rule.key, row.rule.model)] if row.rule else []
    lines = [_line(organization, row, past, of) for of in models_of_keys(organization, keys, also=routed)]
    return sorted(lines, key=_current_and_cheapest_first)


def _line(organization: Organization, row: RoutingRow, past: Past, of: KeyModel) -> WhatIfLine:
    is_current = bool(
        row.rule
        and (row.rule.key.provider, row.rule.key.base_url) == (of.provider, of.key.base_url)
        and row.rule.model == of.model
    )
    return WhatIfLine(
        of=of,
        is_current=is_current,
        ran=is_current and past.paid is past and past.is_comparable and past.ran_on(of.provider, of.model),
        estimate=past.estimate(of.offered),
        difference=past.difference(of.offered),
        route_url=route_url(organization, row, of),
    )


def _current_and_cheapest_first(line: WhatIfLine) -> tuple[bool, bool, int, str, str]:
    cost = line.estimate.nanousd
    return not line.is_current, cost is None, cost or 0, line.of.provider, line.of.model


def _words_of(line: WhatIfLine) -> str:
    return f"{line.of.provider} {line.of.model} {line.of.key.label}".lower()


def _page_of(lines: Sequence[WhatIfLine], number: str | None) -> Page[WhatIfLine]:
    return Paginator(lines, ROWS).get_page(number)
