from __future__ import annotations

import uuid

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from organizations.once import FIELD

register = template.Library()


@register.simple_tag
def once() -> SafeString:
    """A hidden field by which what the form asks for is done once (`organizations/once.py`)."""
    return format_html('<input type="hidden" name="{}" value="{}">', FIELD, uuid.uuid4().hex)
