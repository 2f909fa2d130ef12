"""What a rule says beside key and model: of an agent on its own page, of other actions on a page here."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from organizations import clock
from organizations.edits import ChangedMeanwhile, stamp
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from routing.agent_forms import RuleSettingsForm
from routing.agent_page import agent_of, agent_page, archived_meanwhile, row_of, settings_form_of
from routing.models import RoutingRule
from routing.own_models import newest
from routing.resolve import RoutingRow
from routing.rule_settings import LeavesOut, pause_routing, resume_routing, save_rule_settings, settings_of
from routing.services import RuleRefused


@organization_view(Permission.VIEW)
@require_safe
def rule(request: OrganizationHttpRequest, action: str) -> HttpResponse:
    row = row_of(request, action)
    if row.action.is_agent:
        return redirect("routing:agent", request.organization.slug, action)
    return _rule_page(request, row)


def _rule_page(
    request: OrganizationHttpRequest, row: RoutingRow, form: RuleSettingsForm | None = None, *, status: int = 200
) -> HttpResponse:
    context = {
        "row": row,
        "action": row.action,
        "rule": row.rule,
        "rule_form": form or settings_form_of(row.rule),
        "has_own_models": row.action.slug in newest(request.organization),
    }
    return render(request, "routing/rule.html", context, status=status)


@organization_view(Permission.MANAGE_ROUTING)
@require_POST
def save(request: OrganizationHttpRequest, action: str) -> HttpResponse:
    if refused := archived_meanwhile(request, action):
        return refused
    row = row_of(request, action)
    form = RuleSettingsForm(request.POST, auto_id="rule-%s", label_suffix="")
    if form.is_valid():
        try:
            before = row.rule.version if row.rule else 0
            saved = save_rule_settings(
                organization=request.organization,
                action=action,
                settings=form.settings,
                actor=request.user,
                seen=form.cleaned_data["seen"],
                told=form.cleaned_data["told"].split(),
            )
        except RuleRefused as refusal:
            form.refuse(refusal)
        except LeavesOut as refusal:
            form.ask_about(refusal)
        except ChangedMeanwhile as conflict:
            form.add_error(None, str(conflict))
            stored = RoutingRule.objects.for_organization(request.organization).get(action=action)
            form.forget("seen", stamp(settings_of(stored).parts))
        else:
            said = "Saved: calls are sent so from now on." if saved.version != before else "There was nothing to save."
            messages.success(request, said)
            return _back(request, row)
    if row.rule is None:
        raise Http404
    if row.action.is_agent:
        return agent_page(request, agent_of(request, action), rule_form=form, status=422)
    return _rule_page(request, row, form, status=422)


@organization_view(Permission.MANAGE_ROUTING)
@require_POST
def pause(request: OrganizationHttpRequest, action: str) -> HttpResponse:
    if refused := archived_meanwhile(request, action):
        return refused
    row = row_of(request, action)
    try:
        is_news = pause_routing(organization=request.organization, action=action, actor=request.user, now=clock.now())
    except RuleRefused as refusal:
        messages.error(request, str(refusal))
    else:
        said = "paused. Nothing runs by it until it is resumed." if is_news else "is paused already."
        messages.success(request, f"{row.action.name} {said}")
    return _back(request, row)


@organization_view(Permission.MANAGE_ROUTING)
@require_POST
def resume(request: OrganizationHttpRequest, action: str) -> HttpResponse:
    if refused := archived_meanwhile(request, action):
        return refused
    row = row_of(request, action)
    try:
        is_news = resume_routing(organization=request.organization, action=action, actor=request.user)
    except RuleRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"{row.action.name} {'runs again.' if is_news else 'was not paused.'}")
    return _back(request, row)


def _back(request: OrganizationHttpRequest, row: RoutingRow) -> HttpResponse:
    name = "routing:agent" if row.action.is_agent else "routing:rule"
    return redirect(name, request.organization.slug, row.action.slug)
