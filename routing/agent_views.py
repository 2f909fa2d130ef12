"""Agents: their list, a new one from its name to what a client needs, and the page of each."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from organizations import clock
from organizations.api_tokens import TokenNotMade
from organizations.edits import ChangedMeanwhile
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view, recently_authenticated
from providers.adapters.key_shapes import model_holds_key
from providers.keys.destinations import is_private
from providers.models import ProviderKey
from routing.actions import Action
from routing.agent_forms import AgentForm, NewAgentForm
from routing.agent_page import agent_of, agent_page, archived_meanwhile, route_form_of, row_of
from routing.agents import AgentRefused, archive_agent, bring_back_agent, edit_agent, open_agent
from routing.agents_page import agents_context
from routing.call_access import count_tokens_calling
from routing.counterparts import counterpart
from routing.forms import may_stand_in_address
from routing.key_models import selectable_keys
from routing.models import Agent
from routing.resolve import RoutingRow
from routing.services import RuleRefused
from routing.snippets import snippets_for
from routing.table import listed_models, suggestion_lists
from routing.token_forms import end_of
from routing.views import choices_of, save_rows

KEPT = ("name", "description", "slug", "key", "model", "makes_token", "days")
# What is not there yet has no route.
UNBORN = RoutingRow(Action(slug="", name="", description="", work="", is_agent=True), None, None, None)


@organization_view(Permission.VIEW)
@require_safe
def agents(request: OrganizationHttpRequest) -> HttpResponse:
    return render(request, "routing/agents.html", agents_context(request.organization, today=clock.now().date()))


def _typed(request: OrganizationHttpRequest) -> dict[str, str]:
    holds_key = dict.fromkeys(KEPT, model_holds_key) | NewAgentForm.open_fields
    typed = {name: request.POST[name] for name in KEPT if name in request.POST}
    return {name: text for name, text in typed.items() if may_stand_in_address(text, holds_key[name])}


@organization_view(Permission.MANAGE_ROUTING)
@require_http_methods(["GET", "POST"])
@never_cache
@recently_authenticated(back="routing:new-agent", keep=_typed)
def new(request: OrganizationHttpRequest) -> HttpResponse:
    """
    From a name to what a client needs. GET shows what was chosen so far, with a model of the key that was.

    Like that of the API tokens' page, the answer that shows the token is no redirect.
    """
    keys = selectable_keys(request.organization)
    if request.method == "GET":
        return _new(request, NewAgentForm(row=UNBORN, keys=keys, initial=_begun(request, keys)), keys)
    form = NewAgentForm(request.POST, row=UNBORN, keys=keys)
    if not form.is_valid():
        return _new(request, form, keys, status=422)
    chosen = form.cleaned_data
    try:
        agent, made = open_agent(
            organization=request.organization,
            name=chosen["name"],
            slug=chosen["slug"],
            description=chosen["description"],
            key=form.chosen_key,
            model=chosen["model"],
            with_token=chosen["makes_token"],
            token_expires_at=end_of(chosen["days"], clock.now()),
            actor=request.user,
        )
    except AgentRefused as refusal:
        form.add_error(refusal.field, str(refusal))
    except RuleRefused as refusal:
        form.add_error("model", str(refusal))
    except TokenNotMade as refusal:
        form.add_error("makes_token", str(refusal))
    except ProviderKey.DoesNotExist:
        form.add_error("key", "This key was removed meanwhile. Choose another one.")
    else:
        if made is None:
            messages.success(request, f"{agent.name} is ready.")
            return redirect("routing:agent", request.organization.slug, agent.slug)
        provider = form.chosen_key.provider if form.chosen_key else ""
        snippets = snippets_for(agent=agent.slug, provider=provider, token=made.value)
        context = {"agent": agent, "made": made, "snippets": snippets, "is_routed": bool(provider)}
        return render(request, "routing/agent_made.html", context)
    return _new(request, form, keys, status=422)


def _begun(request: OrganizationHttpRequest, keys: list[ProviderKey]) -> dict[str, Any]:
    """What the form begins with: what the address holds, and a model that the chosen key can call."""
    begun: dict[str, Any] = {name: request.GET[name] for name in KEPT if name in request.GET}
    key = next((key for key in keys if str(key.pk) == begun.get("key")), None)
    if key is None:
        begun.pop("key", None)
        if len(keys) == 1 and "key" not in request.GET:
            key = keys[0]
            begun["key"] = str(key.pk)
    model, listed = begun.get("model", ""), listed_models(key)
    if key is None:
        begun["model"] = ""
    elif not model or (listed and model not in listed):
        begun["model"] = counterpart(row=UNBORN, key=key)
    is_unticked = "days" in request.GET and "makes_token" not in request.GET
    return {**begun, "makes_token": not is_unticked}


def _new(
    request: OrganizationHttpRequest, form: NewAgentForm, keys: list[ProviderKey], *, status: int = 200
) -> HttpResponse:
    context = {"form": form, "lists": suggestion_lists(request.organization, keys=keys), "has_keys": bool(keys)}
    return render(request, "routing/new_agent.html", context, status=status)


@organization_view(Permission.VIEW)
@require_safe
def agent(request: OrganizationHttpRequest, agent: str) -> HttpResponse:
    """What the address holds of a route is shown unsaved."""
    row = agent_of(request, agent)
    form = None
    if f"{row.slug}-key" in request.GET and row.archived_at is None:
        form = route_form_of(request, row_of(request, row.slug), unsaved=request.GET)
    return agent_page(request, row, route_form=form)


@organization_view(Permission.MANAGE_ROUTING)
@require_POST
def edit(request: OrganizationHttpRequest, agent: str) -> HttpResponse:
    if refused := archived_meanwhile(request, agent):
        return refused
    row = agent_of(request, agent)
    form = AgentForm(request.POST, auto_id="agent-%s", label_suffix="")
    if form.is_valid():
        try:
            edit_agent(agent=row, **form.cleaned_data, actor=request.user, seen=request.POST.get("seen", ""))
        except AgentRefused as refusal:
            form.add_error(refusal.field, str(refusal))
        except ChangedMeanwhile as conflict:
            row.refresh_from_db()
            form.add_error(None, str(conflict))
        else:
            messages.success(request, "Agent saved.")
            return redirect("routing:agent", request.organization.slug, row.slug)
    return agent_page(request, row, agent_form=form, status=422)


def _newly_chosen_private_key(request: OrganizationHttpRequest, agent: str) -> bool:
    """Whether its calls would leave for a private network from now on."""
    if archived_meanwhile(request, agent):
        return False
    form = route_form_of(request, row_of(request, agent), posted=request.POST)
    return form.is_valid() and form.is_changed and form.chosen_key is not None and is_private(form.chosen_key)


@organization_view(Permission.MANAGE_ROUTING)
@require_POST
@recently_authenticated(back="routing:agent", when=_newly_chosen_private_key, keep=choices_of, back_to_the_same=True)
def route(request: OrganizationHttpRequest, agent: str) -> HttpResponse:
    """The route of one agent, as the routing table saves it."""
    if refused := archived_meanwhile(request, agent):
        return refused
    row = agent_of(request, agent)
    form = route_form_of(request, row_of(request, agent), posted=request.POST)
    if save_rows(request, [form]):
        return redirect("routing:agent", request.organization.slug, row.slug)
    return agent_page(request, row, route_form=form, status=422)


@organization_view(Permission.MANAGE_ROUTING)
@require_http_methods(["GET", "POST"])
def archive(request: OrganizationHttpRequest, agent: str) -> HttpResponse:
    """GET asks first, and says what ends."""
    row: Agent = agent_of(request, agent)
    if request.method == "GET":
        return render(request, "routing/archive_agent.html", {"agent": row, "tokens": count_tokens_calling(row)})
    if archive_agent(agent=row, actor=request.user, now=clock.now()):
        messages.success(request, f"{row.name} is archived. Its calls are refused from now on, its figures stay.")
    else:
        messages.info(request, f"{row.name} was archived before.")
    return redirect("routing:agents", request.organization.slug)


@organization_view(Permission.MANAGE_ROUTING)
@require_POST
def bring_back(request: OrganizationHttpRequest, agent: str) -> HttpResponse:
    row = agent_of(request, agent)
    try:
        is_news = bring_back_agent(agent=row, actor=request.user)
    except AgentRefused as refusal:
        messages.error(request, str(refusal))
    else:
        said = f"is in use again. {_still_needed(row)}".strip() if is_news else "was not archived."
        messages.success(request, f"{row.name} {said}")
    return redirect("routing:agent", request.organization.slug, row.slug)


def _still_needed(agent: Agent) -> str:
    needed = ["route it"] if not agent.managed_model else []
    needed += ["give it a token"] if not count_tokens_calling(agent) else []
    return f"{', and '.join(needed)}.".capitalize() if needed else ""
