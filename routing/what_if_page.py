"""An action under other models: what the models of the organization's own keys would have cost it, dearest last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from organizations import clock
from organizations.models import Organization
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from providers.models import AvailableModel, ProviderKey
from routing.forms import choice_of, may_stand_in_address, write_choice
from routing.resolve import RoutingRow, resolve_all
from routing.table import PRICES, selectable_keys
from usage.days import MONTH, first_day
from usage.what_if import Difference, Estimate, Offered, Past, past_of

ROWS = 50


@dataclass(frozen=True, slots=True)
class KeyModel:
    """A model of a connected key."""

    key: ProviderKey
    offered: Offered
    context_tokens: int | None = None

    @property
    def model(self) -> str:
        return self.offered.model

    @property
    def provider(self) -> str:
        return self.offered.provider


@dataclass(frozen=True, slots=True)
class WhatIfLine:
    of: KeyModel
    is_current: bool
    ran: bool  # nothing else served it: the figure is what was paid
    estimate: Estimate
    difference: Difference | None
    route_url: str


def offered_by(key: ProviderKey, model: str, prices: Sequence[int | None] = (None, None)) -> Offered:
    """`prices` as the provider lists them for the key, of a million tokens in and out."""
    return Offered(key.provider, model, prices[0], prices[1], key.has_no_token_charges)


def models_of_keys(
    organization: Organization, keys: Iterable[ProviderKey], *, also: Iterable[tuple[ProviderKey, str]] = ()
) -> list[KeyModel]:
    """
    What `keys` can call, and what is routed `also`: a model of two keys of one provider stands once, with the older
    key.
    """
    by_id = {key.pk: key for key in keys}
    listed = AvailableModel.objects.for_organization(organization).filter(key__in=list(by_id))
    found: dict[tuple[str, str, str], KeyModel] = {}
    order = {pk: place for place, pk in enumerate(by_id)}
    rows = sorted(
        listed.values_list("key_id", "model", "context_tokens", *PRICES), key=lambda row: (order[row[0]], row[1])
    )
    for key_id, model, context, *prices in rows:
        key = by_id[key_id]
        found.setdefault((key.provider, key.base_url, model), KeyModel(key, offered_by(key, model, prices), context))
    for key, model in also:
        found.setdefault((key.provider, key.base_url, model), KeyModel(key, offered_by(key, model)))
    return list(found.values())


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
    estimate = past.estimate(of.offered)
    return WhatIfLine(
        of=of,
        is_current=is_current,
        ran=is_current and past.is_comparable and past.ran_on(of.provider, of.model),
        estimate=estimate,
        difference=past.difference(estimate),
        route_url=route_url(organization, row, of),
    )


def _current_and_cheapest_first(line: WhatIfLine) -> tuple[bool, bool, int, str, str]:
    cost = line.estimate.nanousd
    return not line.is_current, cost is None, cost or 0, line.of.provider, line.of.model


def _words_of(line: WhatIfLine) -> str:
    return f"{line.of.provider} {line.of.model} {line.of.key.label}".lower()


def _page_of(lines: Sequence[WhatIfLine], number: str | None) -> Page[WhatIfLine]:
    return Paginator(lines, ROWS).get_page(number)
