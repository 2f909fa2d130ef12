from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import reswap, retarget, trigger_client_event

from organizations import clock
from organizations.audit import events_last
from organizations.edits import ChangedMeanwhile
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view, recently_authenticated
from providers.cards import keys_of, provider_card
from providers.catalog import PROVIDERS
from providers.keys.destinations import is_private
from providers.models import ProviderKey
from providers.views import KEYS_CHANGED
from routing import offers, services
from routing.actions import actions_of
from routing.call_access import tokens_calling_with
from routing.counterparts import counterpart
from routing.forms import RemoveKeyForm, RouteForm, choice_of, may_stand_in_address, named
from routing.key_models import selectable_keys
from routing.models import RoutingRule
from routing.resolve import RoutingRow, resolve_all
from routing.table import listed_models, route_forms, routing_page
from routing.what_if_page import estimate_in
from usage.averages import ActionAverages
from usage.cells import read_groupings
from usage.days import MONTH, first_day
from usage.what_if import BY_ACTION_MODEL_AND_DAY, past_by_action, past_of

ROUTING_CHANGED = "routingChanged"  # heard by panels that depend on the mode
ROUTES_TAKEN = "routesTaken"  # heard by the table: routes were chosen elsewhere on its page


def panel_context(
    request: OrganizationHttpRequest,
    *,
    keys: Sequence[ProviderKey],
    averages: Mapping[str, ActionAverages],
    now: datetime,
) -> dict[str, Any]:
    """What `routing/_panel.html` needs; everyone in the organization sees it, managers see forms in it."""
    forms = route_forms(request.organization, keys=keys)
    return {"routing": routing_page(request.organization, forms, now=now, averages=averages)}


@organization_view(Permission.VIEW)
@require_GET
def table(request: OrganizationHttpRequest) -> HttpResponse:
    """The table as it is now, with what the page's forms hold unsaved; asked for when keys changed."""
    context = _table_context(request, route_forms(request.organization, unsaved=request.GET))
    return render(request, "routing/_table.html" if request.htmx else "routing/page.html", context)


def _newly_chosen_private_key(request: OrganizationHttpRequest) -> bool:
    """Whether a row that was changed would send its calls into a private network."""
    forms = [form for form in route_forms(request.organization, posted=request.POST) if form.is_valid()]
    chosen = {form.chosen_key for form in forms if form.is_changed}
    return any(key is not None and is_private(key) for key in chosen)


def choices_of(request: OrganizationHttpRequest) -> dict[str, str]:
    """What the table's fields hold, as the page of the table takes it unsaved."""
    names = [f"{action}-{field}" for action in actions_of(request.organization) for field in ("key", "model", "was")]
    posted = {name: request.POST[name] for name in names if name in request.POST}
    return {name: typed for name, typed in posted.items() if may_stand_in_address(typed)}


@organization_view(Permission.MANAGE_ROUTING)
@require_POST
@recently_authenticated(back="routing:table", when=_newly_chosen_private_key, keep=choices_of)
def save(request: OrganizationHttpRequest) -> HttpResponse:
    """Save the changed rows: all of them, or none where one has an error."""
    forms = route_forms(request.organization, posted=request.POST)
    return _saved(request) if save_rows(request, forms) else _refused(request, forms)


def _keeps_private_key(request: OrganizationHttpRequest, key_id: UUID) -> bool:
    """Whether what is chosen on a key's card would send calls into a private network."""
    key = keys_of(request.organization).filter(pk=key_id).first()
    return key is not None and is_private(key)


@organization_view(Permission.MANAGE_ROUTING)
@require_http_methods(["GET", "POST"])
@recently_authenticated(back="settings#llm-providers", when=_keeps_private_key)
def use_key(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """What a key's card offers: to route actions to it. GET shows it as it is now, with what was typed meanwhile."""
    key = keys_of(request.organization).filter(pk=key_id).first()
    if key is None:
        raise Http404
    if request.method == "GET":
        now = clock.now()
        cells = read_groupings(request.organization, first_day(now.date(), MONTH), now.date(), BY_ACTION_MODEL_AND_DAY)
        pasts = past_by_action(cells[0], today=now.date())
        return _offer(request, offers.offer_of(request.organization, key, typed=request.GET, pasts=pasts, now=now))
    offer = offers.offer_of(request.organization, key, posted=request.POST, now=clock.now())
    chosen = [line.form for line in offer.lines if line.is_ticked]
    if not chosen or not save_rows(request, chosen):
        problem = "" if chosen else "Tick what this key is to be used for."
        return _offer(request, replace(offer, problem=problem), status=422)
    if not request.htmx:
        return redirect(_settings_url(request, "llm-routing"))
    response = _offer(request, offers.offer_of(request.organization, key, now=clock.now()))
    for changed in (ROUTES_TAKEN, ROUTING_CHANGED):  # what hears them may stand in what is swapped now
        response = trigger_client_event(response, changed, after="settle")
    return response


def _offer(request: OrganizationHttpRequest, offer: offers.Offer, *, status: int = 200) -> HttpResponse:
    part = "routing/_use_key.html" if request.method == "GET" else "routing/use_key.html#use-response"
    return render(request, part if request.htmx else "routing/use_key.html", {"offer": offer}, status=status)


@organization_view(Permission.MANAGE_ROUTING)
@require_POST
def reset(request: OrganizationHttpRequest, action: str) -> HttpResponse:
    posted = route_forms(request.organization, posted=request.POST)
    form = next((each for each in posted if each.row.action.slug == action), None)
    if form is None:
        raise Http404
    form.is_valid()  # whatever else stands in the row is given up
    try:
        services.reset_routing(organization=request.organization, action=action, actor=request.user, seen=form.seen)
    except ChangedMeanwhile as conflict:
        _refuse(request, form, conflict)
        others = route_forms(request.organization, unsaved=choices_of(request))
        return _refused(request, [form if each.row.action.slug == action else each for each in others])
    uses = "uses the managed default" if form.row.is_managed else "is not routed any more: no model serves it"
    messages.success(request, f"{form.row.action.name} {uses}.")
    unsaved = {name: str(value) for name, value in request.POST.items() if not name.startswith(f"{action}-")}
    return _saved(request, unsaved)


@organization_view(Permission.MANAGE_ROUTING)
@require_GET
def model_field(request: OrganizationHttpRequest, action: str) -> HttpResponse:
    """The model field of one row, for the key just chosen there: one that it cannot call gives way to a counterpart."""
    forms = route_forms(request.organization, unsaved=request.GET)
    form = next((form for form in forms if form.row.action.slug == action), None)
    key_id = request.GET.get(f"{action}-key", "")
    if form is None or (key_id and key_id not in form.keys):
        raise Http404
    listed = listed_models(form.keys.get(key_id))
    if not key_id or not form.initial["model"] or (listed and form.initial["model"] not in listed):
        stored_key, stored_model = choice_of(form.row.rule)
        chosen = form.keys.get(key_id)
        proposed = counterpart(row=form.row, key=chosen) if chosen else ""
        form.initial["model"] = stored_model if key_id == stored_key else proposed
    estimate = ""
    if key_id:
        form.initial["key"] = key_id
        past = past_of(organization=request.organization, today=clock.now().date(), action=action)
        estimate = estimate_in(form, past) if past.runs else ""
    return render(request, "routing/_model_field.html", {"form": form, "estimate": estimate})


@organization_view(Permission.MANAGE_KEYS)
@require_http_methods(["GET", "POST"])
@recently_authenticated(back="settings#llm-providers")
def remove_key(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """Ask before a key goes what the actions that use it are to use from then on; then remove it."""
    key = keys_of(request.organization).filter(pk=key_id).first()
    if key is None:
        raise Http404
    uses = services.uses_of(key)
    form = _remove_form(request, key, uses) if uses else None
    if request.method == "POST" and (form is None or form.is_valid()):
        try:
            services.remove_provider_key(
                key=key,
                reset_actions=bool(form and form.cleaned_data["instead"] == form.RESET),
                successor=form.successor if form else None,
                model=form.cleaned_data["model"] if form else "",
                shown=form.cleaned_data["actions"].split() if form else (),
                actor=request.user,
            )
        except services.KeyInUse as refusal:  # somebody routed an action to it just now
            uses = list(refusal.uses)
            form = _remove_form(request, key, uses)
            form.is_valid()
            form.ask_about(refusal)
        except services.RuleRefused as refusal:
            assert form is not None  # noqa: S101  # only what a key serves is moved
            form.add_error("model", str(refusal))
        except ProviderKey.DoesNotExist:
            if not keys_of(request.organization).filter(pk=key_id).exists():
                raise Http404 from None
            assert form is not None  # noqa: S101  # the successor came from it
            form.add_error("instead", "This key was removed meanwhile. Choose another one.")
        else:
            messages.success(request, "Key removed.")
            return _key_removed(request, key)
    context = {
        "key": key,
        "provider": PROVIDERS[key.provider],
        "uses": uses,
        "calling_tokens": tokens_calling_with(key),
        "form": form,
        "models": sorted(listed_models(form.successor)) if form else [],
    }
    template = "routing/_remove_key.html" if request.htmx else "routing/remove_key.html"
    return render(request, template, context, status=422 if form and form.errors else 200)


def _remove_form(request: OrganizationHttpRequest, key: ProviderKey, uses: Sequence[services.KeyUse]) -> RemoveKeyForm:
    """Bound when posted; else with the choice made so far, and with the model where all actions have the same."""
    others = [other for other in selectable_keys(request.organization) if other.pk != key.pk]
    rows = resolve_all(organization=request.organization)
    unrouted = _unrouted([row for row in rows if row.rule and row.rule.key_id == key.pk], uses)
    only_actions = all(use.is_action for use in uses)
    if request.method == "POST":
        return RemoveKeyForm(request.POST, key=key, others=others, unrouted=unrouted, only_actions=only_actions)
    models = set(key.routing_rules.values_list("model", flat=True))
    initial = {
        "instead": request.GET.get("instead", ""),
        "actions": named(uses),
        "model": request.GET.get("model") or (models.pop() if len(models) == 1 else ""),
    }
    form = RemoveKeyForm(key=key, others=others, unrouted=unrouted, only_actions=only_actions, initial=initial)
    listed = listed_models(form.successor)
    if form.successor and (not form.initial["model"] or (listed and form.initial["model"] not in listed)):
        first = next((row for row in rows if row.rule and row.rule.key_id == key.pk), None)
        form.initial["model"] = counterpart(row=first, key=form.successor) if first else ""
    return form


def _unrouted(rows: Sequence[RoutingRow], uses: Sequence[services.KeyUse]) -> str:
    """What becomes of these without a key of the organization's own, or of their own."""
    words = {row.unrouted for row in rows}
    of_actions = words.pop() if len(words) == 1 else "Managed default where there is one, else no key"
    if all(use.is_action for use in uses):
        return of_actions
    return f"{of_actions}; briefings: as the action is routed" if rows else "As the action is routed"


def save_rows(request: OrganizationHttpRequest, forms: list[RouteForm]) -> bool:
    """Save those of the rows that were changed, all or none; if none, their forms say why."""
    are_valid = [form.is_valid() for form in forms]
    if not all(are_valid):
        return False
    changed = [form for form in forms if form.is_changed]
    with transaction.atomic(), events_last():
        services.lock_routes(request.organization)
        services.lock_keys(request.organization, [form.chosen_key for form in changed if form.chosen_key])
        saved = [_save_row(request, form) for form in changed]
        if not all(saved):
            transaction.set_rollback(True)
            return False
    if changed:
        messages.success(request, "Routing saved.")
    else:
        messages.info(request, "No route was changed, so there was nothing to save.")
    return True


def _save_row(request: OrganizationHttpRequest, form: RouteForm) -> bool:
    """Whether the row was saved; if not, its form says why."""
    action = form.row.action.slug
    key = form.chosen_key
    try:
        if key is None:
            services.reset_routing(organization=request.organization, action=action, actor=request.user, seen=form.seen)
            return True
        services.save_routing(
            organization=request.organization,
            action=action,
            key=key,
            model=form.cleaned_data["model"],
            actor=request.user,
            seen=form.seen,
        )
    except ChangedMeanwhile as conflict:
        _refuse(request, form, conflict)
    except services.RuleRefused as refusal:
        form.add_error("model", str(refusal))
    except ProviderKey.DoesNotExist:
        form.add_error("key", "This key was removed meanwhile. Choose another one.")
    return form.is_valid()


def _refuse(request: OrganizationHttpRequest, form: RouteForm, conflict: ChangedMeanwhile) -> None:
    rules = RoutingRule.objects.for_organization(request.organization).select_related("key", "updated_by")
    form.refuse(conflict, rules.filter(action=form.row.action.slug).first())


def _refused(request: OrganizationHttpRequest, forms: list[RouteForm]) -> HttpResponse:
    template = "routing/page.html#table-response" if request.htmx else "routing/page.html"
    return render(request, template, _table_context(request, forms), status=422)


def _table_context(request: OrganizationHttpRequest, forms: list[RouteForm]) -> dict[str, Any]:
    return {"routing": routing_page(request.organization, forms, now=clock.now())}


def _settings_url(request: OrganizationHttpRequest, anchor: str) -> str:
    return f"{reverse('settings', args=[request.organization.slug])}#{anchor}"


def _saved(request: OrganizationHttpRequest, unsaved: dict[str, str] | None = None) -> HttpResponse:
    if not request.htmx:
        return redirect(_settings_url(request, "llm-routing"))
    context = _table_context(request, route_forms(request.organization, unsaved=unsaved))
    return trigger_client_event(render(request, "routing/page.html#table-response", context), ROUTING_CHANGED)


def _key_removed(request: OrganizationHttpRequest, key: ProviderKey) -> HttpResponse:
    if not request.htmx:
        return redirect(_settings_url(request, f"provider-{key.provider}"))
    card = provider_card(request.organization, PROVIDERS[key.provider], now=clock.now())
    response = render(request, "providers/page.html#card-response", {"card": card})
    response = reswap(retarget(response, f"#provider-{key.provider}"), "outerHTML")
    return trigger_client_event(response, KEYS_CHANGED)
