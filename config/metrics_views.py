"""The pages of *Metrics*. usage/ reads and sums; what runs were for, and what things are called, is known above it."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponsePermanentRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from config.own_names import own_names
from config.purposes import purposes_of
from gateway.receipts import read_receipt
from organizations import clock
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from routing.models import Agent
from usage import saved_views
from usage.run_list import runs_context
from usage.views import consumption_context, events_context


@organization_view(Permission.VIEW)
@require_safe
def consumption_page(request: OrganizationHttpRequest) -> HttpResponse:
    """What was used and what it cost, by what, and what changed."""
    query = request.META.get("QUERY_STRING", "")
    context = consumption_context(request, now=clock.now(), names=own_names(request.organization), query=query)
    return render(request, "usage/consumption.html", context)


@organization_view(Permission.VIEW)
@require_POST
def save_view(request: OrganizationHttpRequest) -> HttpResponse:
    """The address that a person looks at, under a name; or the page again, with what was typed and why it is not."""
    query, name = request.POST.get("query", ""), request.POST.get("name", "")
    is_shared, now = request.POST.get("is_shared") == "on", clock.now()
    try:
        view = saved_views.save_view(
            membership=request.membership, name=name, query=query, is_shared=is_shared, now=now
        )
    except saved_views.ViewRefused as refusal:
        context = consumption_context(
            request, now=now, names=own_names(request.organization), query=query, path=_consumption_url(request, "")
        )
        context["not_saved"] = {"name": name, "is_shared": is_shared, "why": str(refusal)}
        return render(request, "usage/consumption.html", context, status=422)
    messages.success(request, f"View “{view.name}” saved.")
    return redirect(_consumption_url(request, view.query))


@organization_view(Permission.VIEW)
@require_POST
def delete_view(request: OrganizationHttpRequest, view_id: int) -> HttpResponse:
    view = get_object_or_404(saved_views.views_of(request.membership), pk=view_id)
    try:
        saved_views.delete_view(view=view, membership=request.membership)
    except saved_views.NotYourView as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"View “{view.name}” deleted.")
    return redirect(_consumption_url(request, ""))


def _consumption_url(request: OrganizationHttpRequest, query: str) -> str:
    return f"{reverse('consumption', args=[request.organization.slug])}{'?' * bool(query)}{query}"


@organization_view(Permission.VIEW)
@require_safe
def calls_page(request: OrganizationHttpRequest) -> HttpResponse:
    """Every model call; those of a check lead to it."""
    purposes = partial(purposes_of, request.organization)
    context = events_context(request, purposes=purposes, names=own_names(request.organization, request.GET))
    return render(request, "usage/events.html", context)


@organization_view(Permission.VIEW)
@require_safe
def runs_page(request: OrganizationHttpRequest) -> HttpResponse:
    """Every run; those of a check lead to it."""
    purposes = partial(purposes_of, request.organization)
    names = own_names(request.organization, request.GET)
    context = runs_context(request, purposes=purposes, names=names, now=clock.now())
    return render(request, "usage/runs.html", context)


@organization_view(Permission.VIEW)
@require_safe
def call_page(request: OrganizationHttpRequest, call_id: UUID) -> HttpResponse:
    """The receipt of one call; one under way is told as such."""
    receipt = read_receipt(organization=request.organization, call_id=call_id)
    if receipt is None:
        raise Http404
    purpose = purposes_of(request.organization, {receipt.run_id}).get(receipt.run_id)
    is_agent = Agent.objects.for_organization(request.organization).filter(slug=receipt.action).exists()
    return render(request, "usage/call.html", {"receipt": receipt, "purpose": purpose, "is_agent": is_agent})


@organization_view(Permission.VIEW)
@require_safe
def calls_of_before(request: OrganizationHttpRequest) -> HttpResponse:
    """The address of before: bookmarks and links in mails keep their filters."""
    return _moved(request, reverse("calls", args=[request.organization.slug]))


@organization_view(Permission.VIEW)
@require_safe
def call_of_before(request: OrganizationHttpRequest, call_id: UUID) -> HttpResponse:
    if read_receipt(organization=request.organization, call_id=call_id) is None:
        raise Http404
    return _moved(request, reverse("call", args=[request.organization.slug, call_id]))


def _moved(request: OrganizationHttpRequest, url: str) -> HttpResponse:
    query = request.META.get("QUERY_STRING", "")
    return HttpResponsePermanentRedirect(f"{url}{'?' * bool(query)}{query}")
