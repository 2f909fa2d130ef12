"""
Who may do what inside an organization.

Every view under `/o/<slug>/` is wrapped by `organization_view(permission)`: people not logged in go to
the login page, strangers get 404, members without the permission get 403. What would hurt most when done from a
computer left unlocked stands behind `recently_authenticated` as well.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from organizations.models import Membership, Organization, User
from organizations.tenancy import EVERY, scope
from organizations.viewer import viewing

P = ParamSpec("P")
Role = Membership.Role
CURRENT_ORGANIZATION = "organization"  # session key: the slug last visited


class Permission(enum.StrEnum):
    VIEW = "view"  # read results, usage and what things cost
    CHECK_CANDIDATES = "check_candidates"  # import candidates, write briefings, spend credits
    MANAGE_KEYS = "manage_keys"
    MANAGE_ROUTING = "manage_routing"
    MANAGE_SETTINGS = "manage_settings"
    SHARE_RECENCY = "share_recency"  # tells other organizations something
    SHOW_USD = "show_usd"  # decide whether members see what calls cost
    MANAGE_MEMBERS = "manage_members"
    MANAGE_API_TOKENS = "manage_api_tokens"
    MANAGE_WEBHOOK = "manage_webhook"  # tells a server of theirs what the organization uses
    CALL_AGENTS = "call_agents"  # model calls through the gateway, on the organization's keys


_EVERYONE = frozenset({Role.OWNER, Role.ADMIN, Role.MEMBER})
_MANAGERS = frozenset({Role.OWNER, Role.ADMIN})
_OWNERS = frozenset({Role.OWNER})

PERMISSIONS: dict[Permission, frozenset[Role]] = {
    Permission.VIEW: _EVERYONE,
    Permission.CHECK_CANDIDATES: _EVERYONE,
    Permission.MANAGE_KEYS: _MANAGERS,
    Permission.MANAGE_ROUTING: _MANAGERS,
    Permission.MANAGE_SETTINGS: _MANAGERS,
    Permission.SHARE_RECENCY: _OWNERS,
    Permission.SHOW_USD: _OWNERS,
    Permission.MANAGE_MEMBERS: _MANAGERS,
    Permission.MANAGE_API_TOKENS: _MANAGERS,
    Permission.MANAGE_WEBHOOK: _OWNERS,
    Permission.CALL_AGENTS: _EVERYONE,
}

# What an API token can be made for; the rest is for people only.
API_SCOPES: dict[Permission, str] = {
    Permission.VIEW: "Read checks and their results, receipts of model calls, and exports",
    Permission.CHECK_CANDIDATES: "Start checks, which spend credits",
    Permission.CALL_AGENTS: "Call agents through the gateway, at the cost of your keys",
}


class OrganizationHttpRequest(HttpRequest):
    """What a view behind `organization_view` may rely on."""

    user: User
    organization: Organization
    membership: Membership
    memberships: list[Membership]  # all of the person's
    htmx: HtmxDetails


def may(membership: Membership, permission: Permission) -> bool:
    return membership.role in PERMISSIONS[permission]


def memberships_of(user: User) -> list[Membership]:
    """Those in open organizations, by name."""
    with scope(EVERY, "a person's memberships lie in several organizations"):
        return list(
            Membership.objects.filter(user=user, organization__closed_at=None, organization__is_platform=False)
            .select_related("organization")
            .order_by("organization__name", "pk")
        )


def organization_view(
    permission: Permission,
) -> Callable[
    [Callable[Concatenate[OrganizationHttpRequest, P], HttpResponse]],
    Callable[Concatenate[HttpRequest, str, P], HttpResponse],
]:
    """Set `request.organization` and `request.membership` from the URL's slug, or refuse (see module)."""

    def decorate(
        view: Callable[Concatenate[OrganizationHttpRequest, P], HttpResponse],
    ) -> Callable[Concatenate[HttpRequest, str, P], HttpResponse]:
        @wraps(view)
        @login_required
        def wrapped(request: Any, slug: str, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            memberships = memberships_of(request.user)
            membership = next((each for each in memberships if each.organization.slug == slug), None)
            if membership is None:
                raise Http404
            if not may(membership, permission):
                raise PermissionDenied
            request.memberships = memberships
            request.membership = membership
            request.organization = membership.organization
            if request.session.get(CURRENT_ORGANIZATION) != slug:
                request.session[CURRENT_ORGANIZATION] = slug
            organization = membership.organization
            with scope(organization, "the organization of the address"), viewing(sees_usd=membership.sees_usd):
                return view(request, *args, **kwargs)

        wrapped.permission = permission  # type: ignore[attr-defined]  # read by the test of all URLs
        return wrapped  # type: ignore[return-value]  # differs in the names of its parameters only

    return decorate


def recently_authenticated(
    *,
    back: str,
    when: Callable[..., bool] = lambda *_args, **_kwargs: True,
    keep: Callable[[OrganizationHttpRequest], Mapping[str, str | list[str]]] = lambda _request: {},
    back_to_the_same: bool = False,
) -> Callable[
    [Callable[Concatenate[OrganizationHttpRequest, P], HttpResponse]],
    Callable[Concatenate[OrganizationHttpRequest, P], HttpResponse],
]:
    """
    Let a POST through only if the person proved who they are within ACCOUNT_REAUTHENTICATION_TIMEOUT seconds.

    Others are sent to do so and then to the page `back` (a URL name that takes the slug, or, `back_to_the_same`, all
    that the view takes; with a section such as "settings#llm-providers" where the page has some); what they posted is
    kept nowhere, because it may hold a key, but for what `keep` takes from it into the query of that page. `when` is
    called as the view is, and says whether this POST needs it.
    Stands below `organization_view`.
    """

    def decorate(
        view: Callable[Concatenate[OrganizationHttpRequest, P], HttpResponse],
    ) -> Callable[Concatenate[OrganizationHttpRequest, P], HttpResponse]:
        @wraps(view)
        def wrapped(request: OrganizationHttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if request.method == "POST" and when(request, *args, **kwargs) and not is_recently_authenticated(request):
                messages.warning(request, "Nothing was saved yet: confirm that it is you, then do it again.")
                kept = urlencode(keep(request), doseq=True)
                name, _, section = back.partition("#")
                rest = kwargs if back_to_the_same else {}
                url = reverse(name, kwargs={"slug": request.organization.slug, **rest})
                return confirm_first(request, f"{url}{'?' * bool(kept)}{kept}{'#' * bool(section)}{section}")
            return view(request, *args, **kwargs)

        return wrapped  # type: ignore[return-value]  # differs in the names of its parameters only

    return decorate


def is_recently_authenticated(request: HttpRequest) -> bool:
    """By logging in or by confirming later; allauth records both in the session."""
    records = get_authentication_records(request, request.user)
    latest = max((float(record["at"]) for record in records), default=0.0)
    return time.time() - latest < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT


def confirm_first(request: Any, back: str) -> HttpResponse:
    """Send the person to prove who they are, and then to the path `back`."""
    ways = get_adapter().get_reauthentication_methods(request.user)
    page = ways[0]["url"] if ways else reverse("account_reauthenticate")
    url = f"{page}?{urlencode({'next': back})}"
    return HttpResponseClientRedirect(url) if request.htmx else redirect(url)
