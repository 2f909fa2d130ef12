"""One spelling of a number, wherever one comes from: an address, a form, an option of a command."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.core.management import CommandError, call_command, load_command_class
from django.forms.formsets import ManagementForm

from organizations.reading import LARGEST_ID, whole_number
from organizations.typed_numbers import NotANumber, WholeNumberField, number_argument, typed_number

OURS = ("organizations", "usage", "billing", "providers", "routing", "gateway", "candidates", "config")
ODD = ["1_000", "٣", "１２", "²", "1e3", "0x10", "1.000", "1,5", "1,00", "1,0000", "10,00", "0,100", "1 0", "1,000 000"]
ODD += ["1.0", "5.", "--1", "- 1", "+-1", "50 people", "abc", "", " ", ",", "-", "1,", "1\n2", "½"]
ODD += ["9" * 41, "9" * 5000]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("0", 0), ("7", 7), ("007", 7), (" 12\n", 12), ("1000", 1000), ("1,000", 1000), ("1 000", 1000)],
        *[("12,345,678", 12_345_678), ("1\u00a0000", 1000), ("1\u202f000", 1000)],
        *[("-3", -3), ("−10", -10), ("+5", 5), ("-1,000", -1000), ("9" * 40, int("9" * 40))],
    ],
)
def test_a_typed_number_is_digits_a_sign_and_unambiguous_separators(text, number):
    assert typed_number(text) == number


@pytest.mark.parametrize("text", ODD)
def test_what_may_mean_two_things_or_only_a_program_would_read_is_refused(text):
    with pytest.raises(NotANumber, match="whole number"):
        typed_number(text)


@pytest.mark.parametrize("text", [*ODD, "-1", "+1", " 1", "1,000", str(LARGEST_ID + 1), None])
def test_an_address_holds_plain_digits_or_nothing(text):
    assert whole_number(text) is None


def test_the_largest_number_is_in_and_the_next_one_out():
    assert whole_number(str(LARGEST_ID)) == LARGEST_ID
    assert (whole_number("999", most=999), whole_number("1000", most=999), whole_number("500", most=400)) == (
        999,
        None,
        None,
    )


def test_the_field_of_a_form_says_what_to_do():
    field = WholeNumberField(min_value=1, max_value=50)

    assert field.clean("1 ") == 1
    for text in ("1_0", "٣", "1.5", "abc"):
        with pytest.raises(forms.ValidationError, match="Enter a whole number"):
            field.clean(text)
    for text in ("0", "-1", "51", "1,000"):
        with pytest.raises(forms.ValidationError, match="Enter a number from 1 to 50"):
            field.clean(text)
    with pytest.raises(forms.ValidationError, match="required"):
        field.clean(" ")
    assert WholeNumberField(required=False).clean("") is None
    assert WholeNumberField(min_value=0).widget.attrs["inputmode"] == "numeric"
    assert "inputmode" not in WholeNumberField(min_value=-5).widget.attrs  # phones show digits only, no minus


def test_an_option_of_a_command_says_its_limits():
    with pytest.raises(Exception, match="“1_0” is no whole number from 1 to 9"):
        number_argument(least=1, most=9)("1_0")
    assert number_argument()("-1,000") == -1000


def forms_of_ours() -> Iterator[Any]:
    waiting: list[Any] = [forms.BaseForm]
    while waiting:
        subclasses = waiting.pop().__subclasses__()
        waiting += subclasses
        yield from (each for each in subclasses if each.__module__.startswith(OURS) and each is not ManagementForm)


def test_every_form_reads_its_numbers_by_the_same_field(rf, staff):
    request = rf.get("/admin/")
    request.user = staff
    shown = {f"{form.__module__}.{form.__name__}": getattr(form, "base_fields", {}) for form in forms_of_ours()}
    for model, model_admin in admin.site._registry.items():
        may_edit = model_admin.has_add_permission(request) or model_admin.has_change_permission(request)
        if model._meta.app_label in OURS and may_edit:
            shown[f"admin of {model.__name__}"] = model_admin.get_form(request).base_fields

    others = {
        f"{form}: {name}"
        for form, fields in shown.items()
        for name, field in fields.items()
        if isinstance(field, forms.IntegerField | forms.FloatField) and not isinstance(field, WholeNumberField)
    }

    assert len(shown) > 10
    assert others == set()


def test_every_option_of_every_command_reads_its_numbers_by_the_same_rule():
    for app in apps.get_app_configs():
        for path in Path(app.path).glob("management/commands/[a-z]*.py") if app.name in OURS else ():
            parser = load_command_class(app.name, path.stem).create_parser("manage.py", path.stem)
            mine = {action.dest for action in parser._actions if action.type is int} - {"verbosity"}
            assert mine == set(), path


def test_nobody_else_turns_text_into_numbers():
    """`isdigit` and its like are the mark of one more spelling."""
    allowed = {
        Path("organizations/reading.py"),
        Path("candidates/evidence.py"),  # whether a character of a quote is a digit
        Path("candidates/profiles/names.py"),  # whether a character of a name is one
        Path("usage/amounts.py"),  # whether an amount has any
        Path("config/web/bodies.py"),  # whether a header declares a length
    }
    found = set()
    for app in OURS:
        for path in (settings.BASE_DIR / app).rglob("*.py"):
            relative = path.relative_to(settings.BASE_DIR)
            if relative.parts[:2] in (("providers", "adapters"), ("providers", "simulator")):
                continue  # what providers answer and are sent
            names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
            if names & {"isdigit", "isdecimal", "isnumeric"}:
                found.add(relative)

    assert found - allowed == set()


@pytest.mark.parametrize("amount", ["1_000", "٣", "1.000", "1,5"])
def test_credits_are_not_granted_for_a_number_that_is_none(acme, amount):
    with pytest.raises(CommandError, match="is no amount"):
        call_command("grant_credits", organization="acme", amount=amount, reason="Test")
