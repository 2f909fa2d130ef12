"""Fields look as Django's own templates draw them."""

from __future__ import annotations

from datetime import date

import pytest
from django import forms
from django.forms.renderers import DjangoTemplates
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from config.form_renderer import DRAWN, QuickRenderer

NASTY = """<b> & "two" 'one' {{ x }}"""
GROUPS = [("", "None"), ("Of a <group>", [("a&b", NASTY), (2, mark_safe("<i>safe</i>"))]), (None, "null"), (0, "zero")]
ATTRS = {"id": "it", "class": NASTY, "required": True, "disabled": False, "maxlength": 9_999, "data-none": None}
ATTRS |= {"data-safe": mark_safe("<i>"), "data-lazy": gettext_lazy("Yes"), 'odd"name': "1"}
SIMPLE = [
    forms.TextInput(ATTRS),
    forms.PasswordInput(ATTRS),
    forms.PasswordInput(ATTRS, render_value=True),
    forms.HiddenInput(ATTRS),
    forms.EmailInput(ATTRS),
    forms.NumberInput(ATTRS),
    forms.URLInput(ATTRS),
    forms.DateInput(ATTRS),
    forms.CheckboxInput(ATTRS),
    forms.Select(ATTRS, choices=GROUPS),
    forms.SelectMultiple(ATTRS, choices=GROUPS),
]


@pytest.mark.parametrize("widget", SIMPLE, ids=lambda widget: type(widget).__name__)
@pytest.mark.parametrize("value", [None, "", NASTY, 0, 2, 12_345, True, date(2026, 11, 2), mark_safe("<i>"), ["a&b"]])
def test_a_field_is_drawn_as_djangos_templates_draw_it(widget: forms.Widget, value: object) -> None:
    name = 'na"me'

    quick = widget.render(name, value, {"aria-label": NASTY}, QuickRenderer())

    assert quick == widget.render(name, value, {"aria-label": NASTY}, DjangoTemplates())


@pytest.mark.parametrize("widget", [forms.Textarea(ATTRS), forms.RadioSelect(ATTRS, choices=GROUPS)])
def test_other_fields_are_left_to_djangos_templates(widget: forms.Widget) -> None:
    assert widget.template_name not in DRAWN
    assert widget.render("name", "a&b", {}, QuickRenderer()) == widget.render("name", "a&b", {}, DjangoTemplates())


def test_forms_are_drawn_by_it(settings: object) -> None:
    assert isinstance(forms.Form().renderer, QuickRenderer)
