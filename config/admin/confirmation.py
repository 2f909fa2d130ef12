"""
A fresh confirmation inside the staff admin: nearly every change there would hurt when done from a computer left
unlocked.

Every request that may change something needs a proof of identity within ACCOUNT_REAUTHENTICATION_TIMEOUT seconds. So
does opening a form, lest what is typed there be lost; what was posted is kept nowhere, because it may hold a key. Lists
and pages that can only be read stay open.

The same wrapper around every view answers an id that nothing can have as one that nothing has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from organizations.permissions import confirm_first, is_recently_authenticated

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
# Views that show no form of a change, by name. One that comes later asks until it is named here.
READING = frozenset(
    {
        "app_index",
        "autocomplete_view",
        "catch_all_view",
        "changelist_view",
        "history_view",
        "i18n_javascript",
        "index",
        "password_change_done",
        "search",
        "shortcut",
    }
)


def protect(site: AdminSite) -> None:
    admin_view = site.admin_view

    def guarded_admin_view(view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        """Every view of the admin is wrapped by this, ours and those of libraries."""
        inner = admin_view(view, cacheable)

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            asks = site.has_permission(request) and _is_confirmed_first(view, request)
            if asks and not is_recently_authenticated(request):
                return _confirm(request)
            _refuse_senseless_ids(view, _ids(request, kwargs.get("object_id")))
            response: HttpResponse = inner(request, *args, **kwargs)
            return response

        return update_wrapper(guarded, inner)

    site.admin_view = guarded_admin_view  # type: ignore[method-assign,assignment]


def _is_confirmed_first(view: Callable[..., Any], request: HttpRequest) -> bool:
    name = getattr(view, "__name__", "")
    if name == "logout":
        return False
    if request.method not in SAFE_METHODS:
        return True
    if name == "change_view":
        model_admin: ModelAdmin[Any] = view.__self__  # type: ignore[attr-defined]
        return model_admin.has_change_permission(request)
    return name not in READING


def _ids(request: HttpRequest, object_id: str | None) -> list[str]:
    """Of the address, and of the rows that are ticked in a list."""
    ticked = request.POST.getlist(ACTION_CHECKBOX_NAME)
    return [*ticked, unquote(object_id)] if object_id is not None else ticked


def _refuse_senseless_ids(view: Callable[..., Any], ids: list[str]) -> None:
    """Django asks the permissions of an object by its id, and looks it up, before it knows that none can have that."""
    model_admin = getattr(view, "__self__", None)
    if not ids or not isinstance(model_admin, ModelAdmin):
        return
    key: Any = model_admin.model._meta.pk
    while key.remote_field:
        key = key.target_field
    try:
        for object_id in ids:
            ProhibitNullCharactersValidator()(object_id)
            key.run_validators(key.to_python(object_id))
    except ValidationError:
        raise Http404 from None


def _confirm(request: Any) -> HttpResponse:
    if request.method not in SAFE_METHODS:
        messages.warning(request, "Nothing was saved yet: confirm that it is you, then do it again.")
    if request.htmx:  # a dialog: back to the page that it stands on
        return confirm_first(request, request.htmx.current_url_abs_path or reverse("admin:index"))
    return confirm_first(request, request.get_full_path())
