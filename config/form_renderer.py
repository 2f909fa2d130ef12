"""
Draws the simple form fields without templates, which take ten times as long: a third of a page of forms.

What it draws is what Django's own templates of the same names do; every other field goes to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.forms.renderers import DjangoTemplates
from django.http import HttpRequest
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

FOLDER: Final = "django/forms/widgets/"
INPUTS: Final = ("input", "text", "password", "hidden", "email", "number", "checkbox", "checkbox_option", "url", "date")


class QuickRenderer(DjangoTemplates):
    def render(self, template_name: str, context: dict[str, Any], request: HttpRequest | None = None) -> str:
        draw = DRAWN.get(template_name)
        return draw(context["widget"]) if draw else super().render(template_name, context, request)


def _input(widget: Mapping[str, Any]) -> SafeString:
    name, value = conditional_escape(widget["name"]), widget["value"]
    shown = "" if value is None else f' value="{conditional_escape(value)}"'
    return mark_safe(f'<input type="{widget["type"]}" name="{name}"{shown}{_attributes(widget["attrs"])}>')  # noqa: S308  # escaped


def _select(widget: Mapping[str, Any]) -> SafeString:
    parts = [f'<select name="{conditional_escape(widget["name"])}"{_attributes(widget["attrs"])}>']
    for group, options, _ in widget["optgroups"]:
        if group:
            parts.append(f'\n  <optgroup label="{conditional_escape(group)}">')
        for option in options:
            value, label = conditional_escape(option["value"]), conditional_escape(option["label"])
            parts.append(f'\n  <option value="{value}"{_attributes(option["attrs"])}>{label}</option>\n')
        if group:
            parts.append("\n  </optgroup>")
    return mark_safe("".join([*parts, "\n</select>"]))  # noqa: S308  # escaped


def _attributes(attributes: Mapping[str, Any]) -> str:
    return "".join(
        f" {conditional_escape(name)}" + ("" if value is True else f'="{conditional_escape(value)}"')
        for name, value in attributes.items()
        if value is not False
    )


DRAWN: Final[Mapping[str, Callable[[Mapping[str, Any]], SafeString]]] = {
    **{f"{FOLDER}{name}.html": _input for name in INPUTS},
    f"{FOLDER}select.html": _select,
}
