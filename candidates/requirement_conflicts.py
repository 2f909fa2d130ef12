"""Two people with the requirements of one briefing open: what each changed, and both shown together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from candidates.models import Briefing, Requirement
from organizations.edits import ChangedMeanwhile, Seen
from organizations.models import User

TITLE, LOCKED = "title", "locked"


def briefing_parts(briefing: Briefing, requirements: Sequence[Requirement], *, locked: bool) -> dict[str, object]:
    """What the form of title and requirements is built from."""
    each = {str(requirement.pk): _facts(requirement) for requirement in requirements}
    return {TITLE: briefing.title, LOCKED: locked, **each}


class BriefingChanged(ChangedMeanwhile):
    def __init__(
        self, seen: Seen, *, briefing: Briefing, parts: Mapping[str, object], reader: User | None, what_to_do: str
    ) -> None:
        super().__init__(
            _what_changed(seen, parts),
            by=briefing.changed_by,
            at=briefing.changed_at,
            reader=reader,
            what_to_do=what_to_do,
        )


@dataclass(slots=True)
class Together:
    """
    The form with what is there now and what somebody typed: theirs where they typed, else what is there.

    `notes` stand beside the rows, "" beside most. `aside` are typed words that have no row any more.
    """

    title: str = ""
    title_note: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)

    def add(self, row: Mapping[str, Any], note: str = "") -> None:
        self.rows.append({name: row.get(name) for name in ("id", "text", "kind", "weight", "remove")})
        self.notes.append(note)


def together(
    seen: Seen,
    *,
    briefing: Briefing,
    requirements: Sequence[Requirement],
    locked: bool,
    typed_title: str,
    typed_rows: Sequence[Mapping[str, Any]],
) -> Together:
    both = Together(title=briefing.title)
    if not seen.showed(TITLE, typed_title) and typed_title != briefing.title:
        both.title = typed_title
        if not seen.showed(TITLE, briefing.title):
            both.title_note = f"Saved meanwhile: {briefing.title}"
    left = {requirement.pk: requirement for requirement in requirements}
    words_there = {requirement.text for requirement in requirements}
    for typed in typed_rows:
        pk, text = typed.get("id"), typed.get("text") or ""
        is_mine = bool(typed.get("remove")) or not seen.showed(
            str(pk), [text, typed.get("kind", ""), typed.get("weight", 0)]
        )
        there = left.pop(pk, None) if pk else None
        if there is not None:
            _add_known(both, typed, there, is_mine=is_mine, seen=seen, locked=locked)
        elif text and is_mine and text not in words_there and not typed.get("remove"):
            if locked:
                both.aside.append(text)
            else:
                both.add({**typed, "id": None}, "Removed meanwhile. If you save, it is added again." if pk else "")
    for there in left.values():
        both.add(_row(there), "" if seen.knew(str(there.pk)) else "Added meanwhile.")
    return both


def _add_known(
    both: Together, typed: Mapping[str, Any], there: Requirement, *, is_mine: bool, seen: Seen, locked: bool
) -> None:
    is_theirs = not seen.showed(str(there.pk), _facts(there))
    saved = f"{there.text} ({there.get_kind_display()}, weight {there.weight})"
    if not is_mine:
        both.add(_row(there), "Changed meanwhile." if is_theirs else "")
        return
    if locked:
        if typed["text"] != there.text:
            both.aside.append(typed["text"])
        typed = {**typed, "text": there.text, "remove": False}
    both.add(typed, f"Saved meanwhile: {saved}" if is_theirs else "")


def _facts(requirement: Requirement) -> list[object]:
    return [requirement.text, requirement.kind, requirement.weight]


def _row(requirement: Requirement) -> dict[str, Any]:
    return {
        "id": requirement.pk,
        "text": requirement.text,
        "kind": requirement.kind,
        "weight": requirement.weight,
    }


def _what_changed(seen: Seen, parts: Mapping[str, object]) -> str:
    if seen.is_empty:
        return "this briefing"
    names = seen.changed(parts)
    others = [name for name in names if name not in (TITLE, LOCKED)]
    changed = sum(name in parts and seen.knew(name) for name in others)
    added = sum(not seen.knew(name) for name in others)
    counts = {"changed": changed, "added": added, "removed": len(others) - changed - added}
    what = ["the title"] if TITLE in names else []
    if others:
        how = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        what.append(f"the requirements ({how})")
    if LOCKED in names:
        what.append("whether the wording is locked")
    return " and ".join(what)
