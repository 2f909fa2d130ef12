"""The staff admin as a whole: who may enter it, how its lists look, and the models that are registered here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.shortcuts import redirect
from unfold.templatetags import unfold_list

from config.admin import accounts, confirmation, organizations, second_factor, tasks, words

__all__ = ["accounts", "organizations", "tasks"]  # these register models

# Unfold repeats them in each cell of a list, five times what the cell says; static/keyfare/admin.css has them once.
for repeated in (unfold_list.ROW_CLASSES, unfold_list.CHECKBOX_CLASSES, unfold_list.LINK_CLASSES):
    repeated.clear()

words.speak()
second_factor.protect(admin.site)
confirmation.protect(admin.site)


def own_password_page(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
    """Staff change their password where everybody does, and hear of it by mail."""
    return redirect("account_change_password")


admin.site.password_change = own_password_page  # type: ignore[method-assign]
