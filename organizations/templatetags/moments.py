from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@register.filter
def moment(value: datetime) -> SafeString:
    """A moment in UTC, the second in its title: a third of what three `date` filters cost in a list of a hundred."""
    at = value.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{} {} {}</time>',
        at.isoformat(),
        at.strftime("%Y-%m-%d %H:%M:%S"),
        at.day,
        MONTHS[at.month - 1],
        at.strftime("%Y, %H:%M"),
    )
