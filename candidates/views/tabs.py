"""The parts of a briefing's page, and what all of them need."""

from __future__ import annotations

from typing import Any

from candidates.models import Briefing, Requirement
from candidates.requirements import is_locked, ordered_requirements

RESULTS, CANDIDATES, REQUIREMENTS = "results", "candidates", "requirements"
TABS = {RESULTS: "Results", CANDIDATES: "Check candidates", REQUIREMENTS: "Requirements"}


def tab_context(
    briefing: Briefing, tab: str, *, requirements: list[Requirement] | None = None, locked: bool | None = None
) -> dict[str, Any]:
    """For candidates/briefing.html, whichever tab is open."""
    return {
        "briefing": briefing,
        "requirements": ordered_requirements(briefing) if requirements is None else requirements,
        "locked": is_locked(briefing) if locked is None else locked,
        "tabs": TABS,
        "tab": tab,
        "is_overdue": briefing.state == Briefing.State.DRAFTING,
    }
