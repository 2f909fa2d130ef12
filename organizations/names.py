"""
Names that people give: to organizations, tokens, keys, briefings, themselves.

A page prints a name beside what it says itself, so a name is one line and holds nothing unseen: no character that turns
the direction of what follows, none that makes two different names look the same or a name look empty. What is unseen
and yet part of how a script or an emoji is written, stays where it is that. Dropped, not refused: nobody typed it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from django import forms
from django.db import models

JOINERS = "\u200c\u200d"
SEEN_MARKS = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")  # signs around numbers
BLANK_LETTERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
TOO_LONG = "Use %(limit_value)d characters at most; these are %(show_value)d."
_NO_BLANKS = dict.fromkeys(map(ord, BLANK_LETTERS))
FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")  # England's, Scotland's
JOINED_NEVER = ("LATIN", "GREEK", "CYRILLIC", "DIGIT")


def clean_name(text: str) -> str:
    """`text` in one line, without what is not seen. The same again for what is clean."""
    kept = text.translate(_NO_BLANKS) if text.isprintable() else "".join(_kept(text))
    return " ".join(kept.split())


class NameFormField(forms.CharField):
    default_error_messages = {"max_length": TOO_LONG}

    def to_python(self, value: Any) -> str:
        return clean_name(super().to_python(value) or "")


if TYPE_CHECKING:
    _CharField = models.CharField[str, str]
else:
    _CharField = models.CharField


class NameField(_CharField):
    """Clean by whatever door a name comes: a form, a service, an import, a lookup."""

    def deconstruct(self) -> Any:
        """A column of text like any other, for migrations."""
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.CharField", args, options

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return clean_name(value) if isinstance(value, str) else value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """The row in hand has the name that is stored, for what is said of it next."""
        value = super().pre_save(model_instance, add)
        if isinstance(value, str):
            value = clean_name(value)
            setattr(model_instance, self.attname, value)
        return value

    def formfield(self, **options: Any) -> Any:
        return super().formfield(**{"form_class": NameFormField, **options})


def _kept(text: str) -> list[str]:
    flags = {place for found in FLAG.finditer(text) for place in range(*found.span())}
    kept: list[str] = []
    for place, letter in enumerate(text):
        category = unicodedata.category(letter)
        if category in ("Cc", "Zl", "Zp"):
            kept.append(" ")
        elif letter in JOINERS:
            if kept and place + 1 < len(text) and _may_be_joined(kept[-1]) and _may_be_joined(text[place + 1]):
                kept.append(letter)
        elif place in flags or SEEN_MARKS.match(letter) or not (category in ("Cf", "Cs") or letter in BLANK_LETTERS):
            kept.append(letter)
    return kept


def _may_be_joined(letter: str) -> bool:
    """Letters of Arabic, Indic and other scripts, their vowel signs, and emoji; a variation selector belongs to one."""
    category = unicodedata.category(letter)
    return category[0] in "LMS" and not letter.isascii() and not unicodedata.name(letter, "").startswith(JOINED_NEVER)
