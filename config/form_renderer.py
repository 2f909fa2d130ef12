"""
Draws the simple form fields without templates, which take ten times as long: a third of a page of forms.

What it draws is what Django's own templates of the same names do; every other field goes to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from django.forms.renderers import DjangoTemplates
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

FOLDER: Final = "django/forms/widgets/"
INPUTS: Final = ("input", "text", "password", "hidden", "email", "number", "checkbox", "checkbox_option", "url", "date")


class QuickRenderer(DjangoTemplates):
    def render(self, template_name: str, context: dict[str, Any], request: HttpRequest | None = None) -> str:
        draw = DRAWN.get(template_name)
        return draw(context["widget"]) if draw else super().render(template_name, context, request)


def _input(widget: Mapping[str, Any]) -> SafeString:
    value = "" if widget["value"] is None else format_html(' value="{}"', widget["value"])
    return format_html(
        '<input type="{}" name="{}"{}{}>', widget["type"], widget["name"], value, _attributes(widget["attrs"])
    )


def _select(widget: Mapping[str, Any]) -> SafeString:
    groups = [
        format_html('\n  <optgroup label="{}">{}\n  </optgroup>', label, _options(options))
        if label
        else _options(options)
        for label, options, _ in widget["optgroups"]
    ]
    return format_html(
        '<select name="{}"{}>{}\n</select>', widget["name"], _attributes(widget["attrs"]), _together(groups)
    )


def _options(options: Iterable[Mapping[str, Any]]) -> SafeString:
    return format_html_join(
        "",
        '\n  <option value="{}"{}>{}</option>\n',
        ((option["value"], _attributes(option["attrs"]), option["label"]) for option in options),
    )


def _attributes(attributes: Mapping[str, Any]) -> SafeString:
    return _together(
        format_html(" {}", name) if value is True else format_html(' {}="{}"', name, value)
        for name, value in attributes.items()
        if value is not False
    )


def _together(parts: Iterable[SafeString]) -> SafeString:
    return format_html_join("", "{}", ((part,) for part in parts))


DRAWN: Final[Mapping[str, Callable[[Mapping[str, Any]], SafeString]]] = {
    **{f"{FOLDER}{name}.html": _input for name in INPUTS},
    f"{FOLDER}select.html": _select,
}
