"""
Lists of the staff admin are narrowed by what they show.

Django lets the address of a list name any field of its model, also one that no page shows: `?digest__startswith=a`
then says, letter by letter, what is stored there.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


class ShownLookups:
    """For every ModelAdmin."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        admin: Any = self
        first = lookup.split("__")[0]
        is_field = first in {field.name for field in admin.model._meta.get_fields()}
        if is_field and first not in _shown(admin, request):
            return False
        return bool(super().lookup_allowed(lookup, value, request))  # type: ignore[misc]  # of the ModelAdmin beside


def _shown(admin: Any, request: HttpRequest) -> set[str]:
    filters = [each[0] if isinstance(each, tuple) else each for each in admin.get_list_filter(request)]
    return {
        admin.model._meta.pk.name,
        admin.date_hierarchy or "",
        *admin.get_list_display(request),
        *admin.get_fields(request),
        *(each.split("__")[0] if isinstance(each, str) else getattr(each, "parameter_name", "") for each in filters),
    }
