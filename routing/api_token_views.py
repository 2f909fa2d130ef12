"""API tokens: where owners and admins make them, see what uses them, edit and revoke them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from organizations import api_tokens as tokens
from organizations import clock
from organizations.edits import ChangedMeanwhile, stamp
from organizations.models import ApiToken, Membership
from organizations.permissions import (
    API_SCOPES,
    OrganizationHttpRequest,
    Permission,
    organization_view,
    recently_authenticated,
)
from providers.adapters.key_shapes import model_holds_key
from providers.catalog import PROVIDERS
from routing.call_access import AccessRefused, AccessWords, left_out, make_calling_token, words_of
from routing.forms import may_stand_in_address
from routing.key_models import selectable_keys
from routing.models import Agent
from routing.token_edits import TokenNotEditable, access_of, edit_token, refuse_fixed, token_parts
from routing.token_forms import ApiTokenEditForm, ApiTokenForm, end_of

REVOKED_SHOWN = 20
CALLS = Permission.CALL_AGENTS
CREATOR_LEFT = "Creator left"
KEPT = (*ApiTokenEditForm.base_fields, *(f"direct-{slug}" for slug in PROVIDERS))


@dataclass(frozen=True, slots=True)
class Line:
    token: ApiToken
    may: list[str]
    state: str
    tone: str  # of the badge

    @property
    def is_revocable(self) -> bool:
        return self.token.revoked_at is None

    @property
    def is_editable(self) -> bool:
        return self.is_revocable and self.state != CREATOR_LEFT


@organization_view(Permission.MANAGE_API_TOKENS)
@require_safe
def api_tokens(request: OrganizationHttpRequest) -> HttpResponse:
    return render(request, "routing/api_tokens.html", _context(request, form=_form(request, unsaved=request.GET)))


def _typed(request: OrganizationHttpRequest) -> dict[str, list[str]]:
    typed = {name: request.POST.getlist(name) for name in KEPT if name != "told"}
    holds_key = {**ApiTokenForm.open_fields, "seen": lambda _stamp: False}
    return {
        name: values
        for name, values in typed.items()
        if all(may_stand_in_address(value, holds_key.get(name, model_holds_key)) for value in values)
    }


@organization_view(Permission.MANAGE_API_TOKENS)
@require_POST
@never_cache
@recently_authenticated(back="routing:api-tokens", keep=_typed)
def make(request: OrganizationHttpRequest) -> HttpResponse:
    """The one answer that shows the token. It is no redirect, because nothing may keep the token for the next page."""
    form = _form(request, request.POST)
    if form.is_valid() and not _asks_about_models(request, form):
        try:
            made = make_calling_token(
                organization=request.organization,
                name=form.cleaned_data["name"],
                scopes=form.cleaned_data["scopes"],
                expires_at=end_of(form.cleaned_data["days"], clock.now()),
                access=form.access,
                actor=request.user,
            )
        except AccessRefused as refusal:
            form.refuse(refusal)
        except tokens.TokenNameTaken as refusal:
            form.add_error("name", str(refusal))
        except tokens.TokenNotMade as refusal:
            form.add_error("scopes", str(refusal))
        else:
            # A refusal stays at the field that it is about; the token is shown above.
            answer = _answer(request, {**_context(request), "made": made})
            answer["HX-Reswap"] = "outerHTML show:window:top"
            return answer
    return _answer(request, _context(request, form=form), status=422)


@organization_view(Permission.MANAGE_API_TOKENS)
@require_http_methods(["GET", "POST"])
@recently_authenticated(back="routing:api-tokens")
def revoke(request: OrganizationHttpRequest, token_id: int) -> HttpResponse:
    """GET asks for confirmation on a page of its own, for browsers without scripts."""
    rows = ApiToken.objects.for_organization(request.organization).select_related("organization")
    token = get_object_or_404(rows, pk=token_id)
    if request.method == "GET":
        return render(request, "routing/revoke_api_token.html", {"token": token})
    if tokens.revoke_token(token=token, actor=request.user, now=clock.now()):
        messages.success(request, f"“{token.name}” revoked. It is refused from now on.")
    else:
        messages.info(request, f"“{token.name}” was revoked before.")
    if request.htmx:
        return _answer(request, _context(request))
    return redirect("routing:api-tokens", request.organization.slug)


@organization_view(Permission.MANAGE_API_TOKENS)
@require_http_methods(["GET", "POST"])
@recently_authenticated(back="routing:edit-api-token", keep=_typed, back_to_the_same=True)
def edit(request: OrganizationHttpRequest, token_id: int) -> HttpResponse:
    """What the address holds is shown unsaved."""
    rows = ApiToken.objects.for_organization(request.organization).select_related("organization", "created_by")
    token = get_object_or_404(rows, pk=token_id)
    try:
        refuse_fixed(token, access_of(token))
        if request.method == "GET":
            return _edit_page(request, token, _edit_form(request, token, unsaved=request.GET))
        form = _edit_form(request, token, request.POST)
        if form.is_valid() and not _asks_about_models(request, form):
            is_news = _edited(request, form)
            if is_news is not None:
                said = "saved. Its calls go by that within two seconds." if is_news else "is that already."
                messages.success(request, f"“{form.cleaned_data['name']}” {said}")
                return redirect("routing:api-tokens", request.organization.slug)
    except TokenNotEditable as refusal:
        messages.error(request, str(refusal))
        return redirect("routing:api-tokens", request.organization.slug)
    return _edit_page(request, token, form, status=422)


def _edited(request: OrganizationHttpRequest, form: ApiTokenEditForm) -> bool | None:
    """Whether there was anything to change; None where the form says why not. Raises TokenNotEditable."""
    now, chosen = clock.now(), form.cleaned_data
    try:
        return edit_token(
            token=form.token,
            name=chosen["name"],
            expires_at=form.expires_at(now),
            access=form.access,
            actor=request.user,
            now=now,
            seen=chosen["seen"],
        )
    except AccessRefused as refusal:
        form.refuse(refusal)
    except tokens.TokenNameTaken as refusal:
        form.add_error("name", str(refusal))
    except tokens.ScopesRefused:
        form.add_error(None, "It may do more than you may yourself, so it is not yours to edit.")
    except ChangedMeanwhile as conflict:
        form.add_error(None, str(conflict))
        form.token.refresh_from_db()
        form.forget("seen", stamp(token_parts(form.token, access_of(form.token))))
    return None


def _edit_form(
    request: OrganizationHttpRequest,
    token: ApiToken,
    posted: QueryDict | None = None,
    *,
    unsaved: QueryDict | None = None,
) -> ApiTokenEditForm:
    access = access_of(token)
    return ApiTokenEditForm(
        posted,
        token=token,
        access=access,
        left_out=left_out(request.organization, access) if access else {},
        now=clock.now(),
        maker=request.membership,
        agents=_agents(request),
        keys=selectable_keys(request.organization),
        unsaved=unsaved,
    )


def _edit_page(
    request: OrganizationHttpRequest, token: ApiToken, form: ApiTokenEditForm, *, status: int = 200
) -> HttpResponse:
    rows = ApiToken.objects.for_organization(request.organization).select_related("created_by", "call_access__member")
    stored = rows.get(pk=token.pk)
    context = {
        "token": stored,
        "may": _may(stored, words_of(request.organization, [stored]).get(stored.pk)),
        "is_expired": stored.expires_at is not None and stored.expires_at <= clock.now(),
        "form": form,
    }
    return render(request, "routing/edit_api_token.html", context, status=status)


def _asks_about_models(request: OrganizationHttpRequest, form: ApiTokenForm) -> bool:
    access = form.access
    return access is not None and form.asks_about(left_out(request.organization, access))


def _answer(request: OrganizationHttpRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    template = "routing/api_tokens.html" + ("#tokens-response" if request.htmx else "")
    return render(request, template, context, status=status)


def _context(request: OrganizationHttpRequest, *, form: ApiTokenForm | None = None) -> dict[str, Any]:
    rows = ApiToken.objects.for_organization(request.organization)
    revoked = rows.exclude(revoked_at=None).order_by("-revoked_at", "-pk")[:REVOKED_SHOWN]
    rows = rows.filter(Q(revoked_at=None) | Q(pk__in=revoked.values("pk")))
    newest_first = rows.select_related("created_by", "call_access__member").order_by("-created_at", "-pk")
    # Those that work, then the others by their end.
    shown = sorted(newest_first, key=lambda token: -token.revoked_at.timestamp() if token.revoked_at else -math.inf)
    form = form or _form(request)
    words, now = words_of(request.organization, shown), clock.now()
    lines = []
    for token in shown:
        calls = words.get(token.pk)
        may = _may(token, calls)
        line = _line(token, may, form.members.get(str(token.created_by_id)), now)
        if line.tone == "ok" and calls and calls.is_of_nothing and token.scopes == [CALLS]:
            line = Line(token, may, "Calls nothing", "warn")
        lines.append(line)
    return {"lines": lines, "form": form}


def _form(
    request: OrganizationHttpRequest, posted: QueryDict | None = None, *, unsaved: QueryDict | None = None
) -> ApiTokenForm:
    members = Membership.objects.for_organization(request.organization).select_related("user").order_by("created_at")
    return ApiTokenForm(
        posted,
        maker=request.membership,
        members=list(members),
        agents=_agents(request),
        keys=selectable_keys(request.organization),
        unsaved=unsaved,
    )


def _agents(request: OrganizationHttpRequest) -> list[Agent]:
    agents = Agent.objects.for_organization(request.organization).filter(archived_at=None)
    return list(agents.order_by("name", "pk"))


def _may(token: ApiToken, calls: AccessWords | None) -> list[str]:
    may = [label for scope, label in API_SCOPES.items() if scope in token.scopes and scope != CALLS]
    return may + (calls.lines if calls else [API_SCOPES[CALLS]] if CALLS in token.scopes else [])


def _line(token: ApiToken, may: list[str], creator: Membership | None, now: datetime) -> Line:
    if token.revoked_at is not None:
        return Line(token, may, "Revoked", "")
    if token.expires_at is not None and token.expires_at <= now:
        return Line(token, may, "Expired", "warn")
    if creator is None or not tokens.is_vouched_for(token, creator):
        return Line(token, may, CREATOR_LEFT, "warn")
    return Line(token, may, "Active", "ok")
