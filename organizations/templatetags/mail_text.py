"""
What people have named, in the plain text of a mail.

A mail speaks for this installation. What somebody else wrote, a name above all, stays inside its sentence: no line of
its own, and nothing that a mail program makes a link of.
"""

from __future__ import annotations

import re
import unicodedata

from django import template

register = template.Library()
LONGEST = 100
UNSEEN = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")
_ADDRESS = re.compile(r"(?<=[^\s.])[.。．｡․﹒](?=[^\W\d_]{2})")  # example.com, ☃.net, but not 3.5 or "Inc. and"


@register.filter
def one_line(text: object) -> str:
    """In one line: line breaks of every kind, and characters that are not seen or turn the direction, are spaces."""
    seen = (" " if unicodedata.category(letter) in UNSEEN else letter for letter in str(text))
    return " ".join("".join(seen).split())


@register.filter
def no_link(text: object) -> str:
    """In one line, and nothing to click: "https://evil.example" reads "https[:]//evil[.]example"."""
    return _ADDRESS.sub("[.]", one_line(text).replace("://", "[:]//")).replace("@", "[at]")


@register.filter
def name(text: object) -> str:
    """In one short line, and nothing to click."""
    line = no_link(text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1].rstrip()}…"
