"""
Whole numbers that people type, into a page or after an option of a command.

Digits 0 to 9, a sign, and thousands separators that can mean nothing else: "1,000" and "1 000" are a thousand. What
may mean two things ("1.000", "1,5"), and what only a program would call a number ("1_000", "٣", "1e3"), is refused.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django import forms

LONGEST = 40
SENTENCE = "Enter a whole number. Write it in digits, such as 1000."
# No-break spaces are what programs put between groups of digits.
_NUMBER = re.compile(
    r"(?P<sign>[-+\u2212]?)"
    r"(?P<digits>[0-9]+|[1-9][0-9]{0,2}(?P<gap>[, \u00a0\u202f])[0-9]{3}(?:(?P=gap)[0-9]{3})*)"
)


class NotANumber(ValueError):
    """The text is no whole number; str() is a sentence."""

    def __init__(self) -> None:
        super().__init__(SENTENCE)


def typed_number(text: str) -> int:
    """The number somebody typed. Raises NotANumber."""
    text = text.strip()
    found = _NUMBER.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        raise NotANumber
    number = int(re.sub("[^0-9]", "", found["digits"]))
    return -number if found["sign"] in ("-", "\u2212") else number


class WholeNumberField(forms.IntegerField):
    """A number typed into a form. Its widget is text: browsers empty a number field that holds a separator."""

    widget = forms.TextInput
    default_error_messages = {"invalid": SENTENCE}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if isinstance(self.min_value, int) and isinstance(self.max_value, int):
            outside = f"Enter a number from {self.min_value:,} to {self.max_value:,}."
            self.error_messages = {"min_value": outside, "max_value": outside, **self.error_messages}

    def to_python(self, value: Any) -> int | None:
        if isinstance(value, int):
            return value
        text = "" if value in self.empty_values else str(value)
        if not text.strip():
            return None
        try:
            return typed_number(text)
        except NotANumber:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        """Digits on the keyboard of a phone, which has no minus there."""
        attrs = super().widget_attrs(widget)
        is_signed = not isinstance(self.min_value, int) or self.min_value < 0
        return attrs if is_signed else {**attrs, "inputmode": "numeric"}


class DecimalField(forms.Field):
    """A number with decimals behind a point, from `least` to `most`; None where nothing is typed."""

    def __init__(self, *, least: Decimal, most: Decimal, places: int, **options: Any) -> None:
        super().__init__(**options)
        self.least, self.most = least, most
        self.widget.attrs |= {"inputmode": "decimal", "autocomplete": "off"}
        self._number = re.compile(rf"[0-9]{{1,12}}(?:\.[0-9]{{1,{places}}})?")

    def to_python(self, value: Any) -> Decimal | None:
        text = "" if value in self.empty_values else str(value).strip()
        if not text:
            return None
        number = Decimal(text) if self._number.fullmatch(text) else None
        if number is None or not self.least <= number <= self.most:
            raise forms.ValidationError(f"Enter a number from {self.least} to {self.most:,}, such as {self.least + 1}.")
        return number


def number_argument(*, least: int | None = None, most: int | None = None) -> Callable[[str], int]:
    """A `type` for argparse: a number typed after an option, within limits if there are any."""
    limits = "".join(f" {word} {limit}" for word, limit in (("from", least), ("to", most)) if limit is not None)

    def read(text: str) -> int:
        try:
            number = typed_number(text)
        except NotANumber:
            number = None
        if number is None or (least is not None and number < least) or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"“{text}” is no whole number{limits}.")
        return number

    return read
