"""{% lucide "key" size=16 %}: an icon of Lucide in line, for all templates."""

from __future__ import annotations

from functools import cache

from django import template
from django.utils.safestring import SafeString
from lucide.templatetags import lucide as of_the_package

register = template.Library()


@register.simple_tag
@cache  # the package takes its picture apart and together again each time: a fifth of a small page
def lucide(name: str, *, size: int) -> SafeString:
    drawn: SafeString = of_the_package.lucide(name, size=size)
    return drawn
