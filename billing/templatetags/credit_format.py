from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def signed(credits: int) -> str:
    """A change with its sign ("+1,200", "−4"); a dash for none."""
    if credits == 0:
        return "–"
    return f"+{credits:,}" if credits > 0 else f"−{-credits:,}"
