"""
Who may do what inside an organization.

Every view under `/o/<slug>/` is wrapped by `organization_view(permission)`: people not logged in go to
the login page, strangers get 404, members without the permission get 403.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django_htmx.middleware import HtmxDetails

from organizations.models import Membership, Organization, User

P = ParamSpec("P")
Role = Membership.Role
CURRENT_ORGANIZATION = "organization"  # session key: the slug last visited


class Permission(enum.StrEnum):
    VIEW = "view"  # read results, usage and what things cost
    CHECK_CANDIDATES = "check_candidates"  # import candidates, write briefings, spend credits
    MANAGE_KEYS = "manage_keys"
    MANAGE_ROUTING = "manage_routing"
    MANAGE_SETTINGS = "manage_settings"
    MANAGE_MEMBERS = "manage_members"


_EVERYONE = frozenset({Role.OWNER, Role.ADMIN, Role.MEMBER})
_MANAGERS = frozenset({Role.OWNER, Role.ADMIN})

PERMISSIONS: dict[Permission, frozenset[Role]] = {
    Permission.VIEW: _EVERYONE,
    Permission.CHECK_CANDIDATES: _EVERYONE,
    Permission.MANAGE_KEYS: _MANAGERS,
    Permission.MANAGE_ROUTING: _MANAGERS,
    Permission.MANAGE_SETTINGS: _MANAGERS,
    Permission.MANAGE_MEMBERS: _MANAGERS,
}


class OrganizationHttpRequest(HttpRequest):
    """What a view behind `organization_view` may rely on."""

    user: User
    organization: Organization
    membership: Membership
    htmx: HtmxDetails


def may(membership: Membership, permission: Permission) -> bool:
    return membership.role in PERMISSIONS[permission]


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
            membership = (
                Membership.objects.select_related("organization")
                .filter(user=request.user, organization__in=Organization.objects.of_user(request.user))
                .filter(organization__slug=slug)
                .first()
            )
            if membership is None:
                raise Http404
            if not may(membership, permission):
                raise PermissionDenied
            request.organization = membership.organization
            request.membership = membership
            if request.session.get(CURRENT_ORGANIZATION) != slug:
                request.session[CURRENT_ORGANIZATION] = slug
            return view(request, *args, **kwargs)

        wrapped.permission = permission  # type: ignore[attr-defined]  # read by the test of all URLs
        return wrapped  # type: ignore[return-value]  # differs in the names of its parameters only

    return decorate
