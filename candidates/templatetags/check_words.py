"""How a check ended and what it cost, for lists of a hundred: as templates in templates they took half of a page."""

from __future__ import annotations

from typing import Final

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from candidates.models import CandidateCheck

register = template.Library()

Status, Category = CandidateCheck.Status, CandidateCheck.Category
NOTHING_YET: Final = format_html('<span class="muted">{}</span>', "—")
FITS: Final[dict[str, tuple[str, str]]] = {
    Category.STRONG: ("ok", Category.STRONG.label),
    Category.POSSIBLE: ("warn", Category.POSSIBLE.label),
    Category.NONE: ("bad", Category.NONE.label),
}
TONES: Final[dict[str, str]] = {Status.COMPLETED: " ok", Status.FAILED: " bad", Status.IN_PROGRESS: " info"}


@register.filter
def outcome(check: CandidateCheck) -> SafeString:
    """How it ended, or where it stands."""
    if check.status == Status.COMPLETED:
        return fit(check.category, check.score)
    return status_badge(check.status, check.get_status_display())


@register.filter
def credits_of(check: CandidateCheck) -> str:
    """What it cost, or what is held for it."""
    if check.charged is not None:
        return f"{check.charged:,}"
    return format_html('<span class="muted">{}{}</span>', f"{check.price:,}", " held" if check.price else "")


@register.filter
def fit(category: str, score: int | None) -> SafeString:
    """Of a completed check, or nothing yet."""
    if category not in FITS:
        return NOTHING_YET
    tone, words = FITS[category]
    return format_html('<span class="badge {}">{} · {}</span>', tone, words, score)


@register.filter
def status_badge(status: str, label: str) -> SafeString:
    return format_html('<span class="badge{}">{}</span>', TONES.get(status, ""), label)
