"""API tokens: where owners and admins make them, see what uses them, and revoke them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from organizations import api_tokens as tokens
from organizations import clock
from organizations.forms import ApiTokenForm
from organizations.models import ApiToken, Membership
from organizations.permissions import (
    API_SCOPES,
    OrganizationHttpRequest,
    Permission,
    organization_view,
    recently_authenticated,
)

REVOKED_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Line:
    token: ApiToken
    scopes: list[str]
    state: str
    tone: str  # of the badge

    @property
    def is_revocable(self) -> bool:
        return self.token.revoked_at is None


@organization_view(Permission.MANAGE_API_TOKENS)
@require_safe
def api_tokens(request: OrganizationHttpRequest) -> HttpResponse:
    return render(request, "organizations/api_tokens.html", _context(request))


@organization_view(Permission.MANAGE_API_TOKENS)
@require_POST
@never_cache
@recently_authenticated(back="organizations:api-tokens")
def make(request: OrganizationHttpRequest) -> HttpResponse:
    """The one answer that shows the token. It is no redirect, because nothing may keep the token for the next page."""
    form, now = ApiTokenForm(request.POST), clock.now()
    if form.is_valid():
        days = form.cleaned_data["days"]
        try:
            made = tokens.make_token(
                organization=request.organization,
                name=form.cleaned_data["name"],
                scopes=form.cleaned_data["scopes"],
                expires_at=now + timedelta(days=days) if days != form.NEVER else None,
                actor=request.user,
            )
        except tokens.TokenNameTaken as refusal:
            form.add_error("name", str(refusal))
        except tokens.TokenNotMade as refusal:
            form.add_error("scopes", str(refusal))
        else:
            return _answer(request, {**_context(request), "made": made})
    return _answer(request, _context(request, form=form), status=422)


@organization_view(Permission.MANAGE_API_TOKENS)
@require_http_methods(["GET", "POST"])
@recently_authenticated(back="organizations:api-tokens")
def revoke(request: OrganizationHttpRequest, token_id: int) -> HttpResponse:
    """GET asks for confirmation on a page of its own, for browsers without scripts."""
    rows = ApiToken.objects.for_organization(request.organization).select_related("organization")
    token = get_object_or_404(rows, pk=token_id)
    if request.method == "GET":
        return render(request, "organizations/revoke_api_token.html", {"token": token})
    if tokens.revoke_token(token=token, actor=request.user, now=clock.now()):
        messages.success(request, f"“{token.name}” revoked. It is refused from now on.")
    else:
        messages.info(request, f"“{token.name}” was revoked before.")
    if request.htmx:
        return _answer(request, _context(request))
    return redirect("organizations:api-tokens", request.organization.slug)


def _answer(request: OrganizationHttpRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    template = "organizations/api_tokens.html" + ("#tokens-response" if request.htmx else "")
    return render(request, template, context, status=status)


def _context(request: OrganizationHttpRequest, *, form: ApiTokenForm | None = None) -> dict[str, Any]:
    rows = ApiToken.objects.for_organization(request.organization).select_related("created_by")
    shown = [
        *rows.filter(revoked_at=None).order_by("-created_at", "-pk"),
        *rows.exclude(revoked_at=None).order_by("-revoked_at", "-pk")[:REVOKED_SHOWN],
    ]
    members = {member.user_id: member for member in Membership.objects.for_organization(request.organization)}
    now = clock.now()
    return {
        "lines": [_line(token, members.get(token.created_by_id), now) for token in shown],
        "form": form or ApiTokenForm(),
    }


def _line(token: ApiToken, creator: Membership | None, now: datetime) -> Line:
    scopes = [label for scope, label in API_SCOPES.items() if scope in token.scopes]
    if token.revoked_at is not None:
        return Line(token, scopes, "Revoked", "")
    if token.expires_at is not None and token.expires_at <= now:
        return Line(token, scopes, "Expired", "warn")
    if creator is None or not tokens.is_vouched_for(token, creator):
        return Line(token, scopes, "Creator left", "warn")
    return Line(token, scopes, "Active", "ok")
