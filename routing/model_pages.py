"""Models: one page over all keys of the organization, and one for each provider with its keys and addresses."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from organizations import clock
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from organizations.storable import storable
from providers.cards import TONES, keys_of, reported_limits
from providers.catalog import PROVIDERS
from routing.forms import may_stand_in_address
from routing.model_list import BY_MODEL, ORDERS, model_lines
from routing.notices import ALWAYS, cheaper_told, dismiss, ending_told, last_look, notices_of
from routing.resolve import resolve_all
from usage.cells import read_groupings
from usage.days import MONTH, first_day

ROWS = 50
MOST_NAMED = 5  # of those that are new


@organization_view(Permission.VIEW)
@require_safe
def models(request: OrganizationHttpRequest) -> HttpResponse:
    return render(request, "routing/models.html", _context(request))


@organization_view(Permission.VIEW)
@require_safe
def provider(request: OrganizationHttpRequest, provider: str) -> HttpResponse:
    if provider not in PROVIDERS:
        raise Http404
    context = _context(request, provider)
    keys = [key for key in context["keys"] if key.provider == provider]
    shown = [(key, TONES[key.state.status], reported_limits(key.provider_limits)) for key in keys]
    return render(request, "routing/provider_models.html", {**context, "shown_keys": shown})


@organization_view(Permission.MANAGE_ROUTING)
@require_POST
def read_notice(request: OrganizationHttpRequest) -> HttpResponse:
    """Somebody has read what was told: it is not told again."""
    mark = storable(request.POST.get("told", ""))
    dismiss(organization=request.organization, mark=mark, actor=request.user, now=clock.now())
    if request.htmx:
        return HttpResponse()
    return redirect("routing:models", request.organization.slug)


def _context(request: OrganizationHttpRequest, provider: str = "") -> dict[str, Any]:
    now = clock.now()
    first = first_day(now.date(), MONTH)
    keys = list(keys_of(request.organization))
    rows = resolve_all(organization=request.organization, keys=keys)
    (cells,) = read_groupings(request.organization, first, now.date(), BY_MODEL)
    lines = model_lines(request.organization, keys, rows, cells, now=now, provider=provider)
    typed = request.GET.get("q", "").strip()
    words = typed.lower().split() if may_stand_in_address(typed) else []
    order = request.GET.get("sort", "")
    order = order if order in ORDERS else next(iter(ORDERS))
    found = [line for line in lines if all(word in line.words for word in words)]
    found.sort(key=lambda line: (*ORDERS[order][1](line), line.provider, line.model))
    notices = notices_of(request.organization)
    look = last_look(notices)
    new = [line for line in lines if line.listed_since and (look is None or line.listed_since > look)]
    rules = {row.action.slug: row.rule for row in rows if row.rule}
    names = {row.action.slug: row.action.name for row in rows}
    ending = [(line.provider, line.model, line.ends_on, line.users) for line in lines if line.ends_on and line.users]
    return {
        "new": [line.model for line in new[:MOST_NAMED]],
        "new_count": len(new),
        "new_since": look or ALWAYS,
        "told": [*ending_told(notices, ending), *(cheaper_told(notices, rules, names) if not provider else ())],
        "provider": PROVIDERS.get(provider),
        "providers": [(each, sum(key.provider == each.slug for key in keys)) for each in PROVIDERS.values()],
        "keys": keys,
        "page": Paginator(found, ROWS).get_page(request.GET.get("page")),
        "total": len(lines),
        "query": typed if words else "",
        "orders": [(name, words) for name, (words, _) in ORDERS.items()],
        "order": order,
        "first_day": first,
    }
