"""{% lucide "key" size=16 %}: an icon of Lucide in line, for all templates."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from django import template
from django.utils.safestring import SafeString, mark_safe
from lucide.templatetags import lucide as of_the_package

register = template.Library()

NUMBER: Final = r"-?(?:\d+\.?\d*|\.\d+)"
LINES: Final = re.compile(r'(?:\s*<path d="[^"]*" />)+')
LINE: Final = re.compile(r'd="([^"]*)"')
BEGINNING: Final = re.compile(rf"^m\s*({NUMBER})[\s,]*({NUMBER})\s*(?=({NUMBER})?)")


@register.simple_tag
@cache  # the package takes its picture apart and together again each time: a fifth of a small page
def lucide(name: str, *, size: int) -> SafeString:
    """Its lines drawn in one go: a page has some forty icons, and browser and network have to take in each element."""
    drawn = of_the_package.lucide(name, size=size)
    drawn = LINES.sub(lambda lines: f'<path d="{joined(LINE.findall(lines[0]))}" />', drawn)
    return mark_safe(drawn.replace("\n", "").replace("  ", ""))  # noqa: S308  # of the package


def joined(lines: list[str]) -> str:
    """One path of several, each of which begins where it did: "m" counts from the corner only in the first."""
    return "".join(BEGINNING.sub(_from_the_corner, line) for line in lines)


def _from_the_corner(beginning: re.Match[str]) -> str:
    x, y, line = beginning.groups()
    return f"M{x} {y}{'l' if line else ''}"
