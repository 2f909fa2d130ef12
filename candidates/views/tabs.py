"""The parts of a briefing's page, and what all of them need."""

from __future__ import annotations

from typing import Any

from candidates.briefing_archive import why_kept
from candidates.models import Briefing, Requirement
from candidates.requirement_conflicts import briefing_parts
from candidates.requirements import is_locked, ordered_requirements
from organizations.edits import stamp

RESULTS, CANDIDATES, REQUIREMENTS = "results", "candidates", "requirements"
TABS = {RESULTS: "Results", CANDIDATES: "Check candidates", REQUIREMENTS: "Requirements"}


def tab_context(
    briefing: Briefing, tab: str, *, requirements: list[Requirement] | None = None, locked: bool | None = None
) -> dict[str, Any]:
    """For candidates/briefing.html, whichever tab is open."""
    requirements = ordered_requirements(briefing) if requirements is None else requirements
    locked = is_locked(briefing) if locked is None else locked
    return {
        "briefing": briefing,
        "requirements": requirements,
        "locked": locked,
        "seen": stamp(briefing_parts(briefing, requirements, locked=locked)),
        "tabs": TABS,
        "tab": tab,
        "is_overdue": briefing.state == Briefing.State.DRAFTING,
        "is_deletable": tab == REQUIREMENTS and not locked and not why_kept(briefing),
    }
