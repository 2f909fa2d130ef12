"""Views of *Consumption* that somebody gave a name: made, replaced and deleted; each such change is audited."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlencode

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import QueryDict

from organizations import audit
from organizations.models import Membership, Organization, User
from organizations.names import clean_name
from usage.consumption_form import FILTERS, ConsumptionForm
from usage.models import SavedView
from usage.names import OwnNames
from usage.saved_view import LONGEST_QUERY

MOST_VIEWS = 50  # of a person, and of all that are shared
KEPT = ("metric", "group", "period", "from", "to", *FILTERS, "rows")


class ViewRefused(Exception):
    """str() is a sentence."""


class ViewWithoutName(ViewRefused):
    def __init__(self) -> None:
        super().__init__("Give the view a name of up to 80 characters.")


class ViewNotRead(ViewRefused):
    def __init__(self, problem: str) -> None:
        super().__init__(f"This view cannot be saved. {problem}")


class TooManyViews(ViewRefused):
    def __init__(self) -> None:
        super().__init__(f"There are {MOST_VIEWS} views already. Delete one first.")


class NotYourView(ViewRefused):
    def __init__(self) -> None:
        super().__init__("Somebody else shares this view. They, an owner or an admin can change it.")


def views_of(membership: Membership) -> QuerySet[SavedView]:
    """Those that a member sees, by name: the shared ones and their own."""
    views = SavedView.objects.for_organization(membership.organization)
    return views.filter(Q(is_shared=True) | Q(created_by=membership.user)).order_by("name", "pk")


def may_change(view: SavedView, membership: Membership) -> bool:
    is_manager = membership.role in (Membership.Role.OWNER, Membership.Role.ADMIN)
    return view.created_by_id == membership.user_id or (view.is_shared and is_manager)


def save_view(*, membership: Membership, name: str, query: str, is_shared: bool, now: datetime) -> SavedView:
    """Keep `query` under `name`; a view of the same name is replaced. Raises ViewRefused."""
    name = clean_name(name)
    if not 0 < len(name) <= 80:
        raise ViewWithoutName
    kept = _read(query, now)
    organization, user = membership.organization, membership.user
    with transaction.atomic():
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        alike = SavedView.objects.for_organization(organization).filter(is_shared=is_shared)
        if not is_shared:
            alike = alike.filter(created_by=user)
        view = alike.filter(name=name).first()
        if view is None:
            if alike.count() >= MOST_VIEWS:
                raise TooManyViews
            view = SavedView(organization=organization, name=name, is_shared=is_shared, created_by=user, created_at=now)
        elif view.query == kept:
            return view
        elif not may_change(view, membership):
            raise NotYourView
        view.query = kept
        view.save()
        _record("saved_view.saved", view, user)
    return view


def delete_view(*, view: SavedView, membership: Membership) -> None:
    """Raises NotYourView."""
    if not may_change(view, membership):
        raise NotYourView
    with transaction.atomic():
        view.delete()
        _record("saved_view.deleted", view, membership.user)


def _read(query: str, now: datetime) -> str:
    """What the form of the page reads of it, and nothing else."""
    asked = QueryDict(query)
    form = ConsumptionForm(asked, names=OwnNames(), today=now.date())
    form.is_valid()
    if form.problems:
        raise ViewNotRead(form.problems[0][1])
    kept = urlencode([(name, str(asked[name])) for name in KEPT if asked.get(name)])
    if len(kept) > LONGEST_QUERY:
        raise ViewNotRead("Its address is too long.")
    return kept


def _record(action: str, view: SavedView, user: User) -> None:
    audit.record(organization=view.organization, actor=user, action=action, target=view.name, is_shared=view.is_shared)
