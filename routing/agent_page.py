"""The page of one agent, whichever of its forms was posted."""

from __future__ import annotations

from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import render

from organizations import clock
from organizations.edits import stamp
from organizations.permissions import OrganizationHttpRequest, Permission, may
from routing.agent_forms import AgentForm, RuleSettingsForm, settings_initial
from routing.agents import agent_parts
from routing.agents_page import agent_lines
from routing.allowed_models import is_allowed
from routing.call_access import TOKENS_SHOWN, count_tokens_calling, tokens_calling
from routing.forms import RouteForm, initial_of
from routing.key_models import selectable_keys
from routing.models import Agent, RoutingRule
from routing.resolve import RoutingRow, resolve_all
from routing.rule_settings import settings_of
from routing.snippets import snippets_for
from routing.table import suggestion_lists
from routing.what_if_page import estimate_in
from usage.days import MONTH, first_day
from usage.what_if import past_of


def agent_of(request: OrganizationHttpRequest, slug: str) -> Agent:
    """Archived ones, too. Raises Http404."""
    agents = Agent.objects.for_organization(request.organization).select_related("organization")
    agent = agents.filter(slug=slug).first()
    if agent is None:
        raise Http404
    return agent


def archived_meanwhile(request: OrganizationHttpRequest, slug: str) -> HttpResponse | None:
    """What to answer to a post about an agent that was archived after its page was shown; None for what is in use."""
    agent = Agent.objects.for_organization(request.organization).filter(slug=slug).exclude(archived_at=None).first()
    if agent is None:
        return None
    return _archived(request, agent, is_refused=True, status=422)


def _archived(request: OrganizationHttpRequest, agent: Agent, *, is_refused: bool = False, status: int) -> HttpResponse:
    context = {"agent": agent, "is_refused": is_refused, "tokens": count_tokens_calling(agent)}
    return render(request, "routing/archived_agent.html", context, status=status)


def row_of(request: OrganizationHttpRequest, action: str) -> RoutingRow:
    """How an action is routed. Raises Http404."""
    rows = resolve_all(organization=request.organization)
    row = next((row for row in rows if row.action.slug == action), None)
    if row is None:
        raise Http404
    return row


def route_form_of(
    request: OrganizationHttpRequest,
    row: RoutingRow,
    *,
    posted: QueryDict | None = None,
    unsaved: QueryDict | None = None,
) -> RouteForm:
    """Bound to `posted`, or with the `unsaved` choice laid over what is stored."""
    keys = selectable_keys(request.organization)
    own = keys if row.rule is None or row.rule.key in keys else [*keys, row.rule.key]
    return RouteForm(posted, row=row, keys=own, initial=initial_of(row, own, unsaved or {}))


def settings_form_of(rule: RoutingRule | None) -> RuleSettingsForm | None:
    """As it is stored; None for what is not routed."""
    if rule is None:
        return None
    stored = settings_of(rule)
    return RuleSettingsForm(initial=settings_initial(stored, stamp(stored.parts)), auto_id="rule-%s", label_suffix="")


def agent_page(
    request: OrganizationHttpRequest,
    agent: Agent,
    *,
    agent_form: AgentForm | None = None,
    route_form: RouteForm | None = None,
    rule_form: RuleSettingsForm | None = None,
    status: int = 200,
) -> HttpResponse:
    """With the form that was refused, if one was."""
    if agent.archived_at:
        return _archived(request, agent, status=status)
    row = row_of(request, agent.slug)
    today = clock.now().date()
    (line,) = agent_lines(request.organization, [(agent, row)], today=today)
    source = row.rule.key if row.rule else row.default if row.is_managed else None
    provider = source.provider if source else ""
    form = route_form or route_form_of(request, row)
    sees_tokens = may(request.membership, Permission.MANAGE_API_TOKENS)
    past = past_of(organization=request.organization, today=today, action=agent.slug)
    context = {
        "agent": agent,
        "row": row,
        "rule": row.rule,
        "action": row.action,
        "line": line,
        "first_day": first_day(today, MONTH),
        "agent_form": agent_form or AgentForm(initial=agent_parts(agent), auto_id="agent-%s", label_suffix=""),
        "seen": stamp(agent_parts(agent)),
        "form": form,
        "lists": suggestion_lists(
            request.organization,
            keys=list(form.keys.values()),
            chosen=[row.rule.model] if row.rule else [],
            past=past,
        ),
        "estimate": estimate_in(form, past) if past.runs else "",
        "rule_form": rule_form or settings_form_of(row.rule),
        "snippets": snippets_for(agent=agent.slug, provider=provider),
        "tokens": [
            (token, provider != "" and not is_allowed(token.call_access.allowed_models, provider, line.model))
            for token in (tokens_calling(agent) if sees_tokens else [])
        ],
        "tokens_shown": TOKENS_SHOWN,
    }
    return render(request, "routing/agent.html", context, status=status)
