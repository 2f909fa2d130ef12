"""
The requirements of a briefing, their lock, and what a change of them means for results that are there.

Once people were checked against a briefing the wording is locked, because verdicts speak of those words;
other words are a new version. Kinds and weights stay free: they only weigh verdicts that are there, so scores
and categories are computed anew without asking a model, for nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Prefetch

from candidates.check_endings import OPEN
from candidates.models import Briefing, CandidateCheck, Requirement, RequirementVerdict
from candidates.prompts.draft import MAX_REQUIREMENT_CHARACTERS, MAX_WEIGHT
from candidates.requirement_conflicts import BriefingChanged, briefing_parts
from candidates.scoring import score
from organizations.edits import Seen
from organizations.models import User
from organizations.names import clean_name
from organizations.storable import storable

MAX_REQUIREMENTS = 30
# Longer than a call to a model and the wait after it may take; a draft without a new call for longer was lost.
DRAFT_PATIENCE = timedelta(minutes=5)
State = Briefing.State


class BriefingRefused(Exception):
    """The briefing cannot be changed like that; the text is a sentence. Nothing was changed."""


class TextsLocked(BriefingRefused):
    """The wording of requirements is locked, because people were checked against them."""

    def __init__(self) -> None:
        super().__init__(
            "People were checked against this briefing, so its requirements keep their wording. Kinds and "
            "weights may change; for other words make a new version."
        )


@dataclass(frozen=True, slots=True)
class RequirementInput:
    """A requirement as somebody wants it; with the id of an existing one, that one is changed."""

    text: str
    kind: str
    weight: int = 1
    id: int | None = None


def save_requirements(
    *,
    briefing: Briefing,
    requirements: Sequence[RequirementInput],
    title: str | None = None,
    now: datetime,
    actor: User | None = None,
    seen: str | None = None,
    use: bool = True,
) -> int:
    """
    Make `requirements`, in this order, those of the briefing: existing ones that are not among them are
    removed. Without `use`, those of a draft or a new version stay to be looked over.

    Returns how many completed checks got another score or category. Raises TextsLocked where the lock
    forbids a change, and BriefingRefused for bad values or while a draft is being written (up to
    DRAFT_PATIENCE before `now`). Raises BriefingChanged where the briefing is not as the form had `seen` it,
    unless it is what is wanted already.
    """
    wanted = [_checked(requirement) for requirement in requirements]
    if len(wanted) > MAX_REQUIREMENTS:
        raise BriefingRefused(f"A briefing has at most {MAX_REQUIREMENTS} requirements.")
    if len({requirement.text.casefold() for requirement in wanted}) < len(wanted):
        raise BriefingRefused("Two requirements are the same. Change or remove one of them.")
    with transaction.atomic():
        locked = Briefing.objects.select_for_update().get(organization=briefing.organization_id, pk=briefing.pk)
        if is_drafting(locked, now=now):
            raise BriefingRefused("The draft is still being written. Wait for it, then change it.")
        title = locked.title if title is None else checked_title(title)
        if seen is not None and not _check_seen(locked, Seen(seen), title=title, wanted=wanted, reader=actor):
            return 0
        locked.title = title
        # A result that arrives now waits for this transaction and is then computed with the new weights.
        list(
            locked.checks.filter(organization=locked.organization_id, status__in=OPEN)
            .order_by("pk")
            .select_for_update()
            .values_list("pk")
        )
        write_requirements(locked, wanted)
        # Whatever was drafted or failed before, the briefing is written now; a late draft finds another run.
        stays = locked.state == State.REVIEW and not use
        locked.set_state(State.REVIEW if stays else State.READY)
        locked.draft_run_id = uuid.uuid4()
        locked.changed_by, locked.changed_at = actor, now
        locked.save()
        changed = _score_again(locked)
    briefing.refresh_from_db()
    return changed


def check_unchanged(briefing: Briefing, seen: str | None, *, reader: User | None) -> None:
    """Raises BriefingChanged where the briefing, locked by the caller, is not as its page had `seen` it."""
    parts = briefing_parts(briefing, ordered_requirements(briefing), locked=is_locked(briefing))
    if seen is not None and Seen(seen).changed(parts):
        todo = "Look at it; a new draft would replace it."
        raise BriefingChanged(Seen(seen), briefing=briefing, parts=parts, reader=reader, what_to_do=todo)


def _check_seen(
    briefing: Briefing, seen: Seen, *, title: str, wanted: Sequence[RequirementInput], reader: User | None
) -> bool:
    """Whether there is anything to save. Raises BriefingChanged."""
    there, locked = ordered_requirements(briefing), is_locked(briefing)
    parts = briefing_parts(briefing, there, locked=locked)
    if not seen.changed(parts):
        return True
    if title == briefing.title and [(each.text, each.kind, each.weight) for each in wanted] == [
        (each.text, each.kind, each.weight) for each in there
    ]:
        return False
    todo = "What you typed stands below, with what was saved meanwhile. Correct what is needed, then save again."
    raise BriefingChanged(seen, briefing=briefing, parts=parts, reader=reader, what_to_do=todo)


def is_locked(briefing: Briefing) -> bool:
    """Whether the texts are locked. Failed checks judged nothing and lock nothing."""
    return (
        briefing.checks.filter(organization=briefing.organization_id)
        .exclude(status=CandidateCheck.Status.FAILED)
        .exists()
    )


def ordered_requirements(briefing: Briefing) -> list[Requirement]:
    return list(
        Requirement.objects.filter(organization=briefing.organization_id, briefing=briefing).order_by("position", "pk")
    )


def is_drafting(briefing: Briefing, *, now: datetime) -> bool:
    """Whether a draft is on its way. One that takes longer than DRAFT_PATIENCE was lost."""
    requested_at = briefing.draft_requested_at
    return briefing.state == State.DRAFTING and requested_at is not None and now - requested_at <= DRAFT_PATIENCE


def write_requirements(briefing: Briefing, wanted: Sequence[RequirementInput]) -> None:
    """
    Replace what is there, in the caller's transaction, which holds the briefing's lock. Raises as above.
    """
    existing = {requirement.pk: requirement for requirement in ordered_requirements(briefing)}
    kept = [each.id for each in wanted if each.id is not None]
    if len(set(kept)) < len(kept) or not set(kept) <= existing.keys():
        raise BriefingRefused("The requirements were changed in the meantime. Reload the page and try again.")
    if is_locked(briefing) and (
        set(kept) != existing.keys() or any(each.id is None or each.text != existing[each.id].text for each in wanted)
    ):
        raise TextsLocked
    Requirement.objects.filter(organization=briefing.organization_id, briefing=briefing).exclude(pk__in=kept).delete()
    for position, each in enumerate(wanted, start=1):
        requirement = (
            existing[each.id]
            if each.id is not None
            else Requirement(organization_id=briefing.organization_id, briefing=briefing)
        )
        requirement.position, requirement.text = position, each.text
        requirement.kind, requirement.weight = each.kind, each.weight
        requirement.save()


def _score_again(briefing: Briefing) -> int:
    requirements = ordered_requirements(briefing)
    changed = []
    for check in _completed_checks(briefing):
        before = check.score, check.category
        check.score, check.category = score(
            requirements, {verdict.requirement_id: verdict.verdict for verdict in check.verdicts.all()}
        )
        if (check.score, check.category) != before:
            changed.append(check)
    CandidateCheck.objects.filter(organization=briefing.organization_id).bulk_update(
        changed, ["score", "category"], batch_size=300
    )
    return len(changed)


def _completed_checks(briefing: Briefing) -> Iterator[CandidateCheck]:
    verdicts = RequirementVerdict.objects.filter(organization=briefing.organization_id).only(
        "check_row_id", "requirement_id", "verdict"
    )
    return (
        CandidateCheck.objects.filter(
            organization=briefing.organization_id, briefing=briefing, status=CandidateCheck.Status.COMPLETED
        )
        .only("pk", "score", "category")
        .prefetch_related(Prefetch("verdicts", queryset=verdicts))
        .iterator(chunk_size=500)
    )


def _checked(requirement: RequirementInput) -> RequirementInput:
    text = " ".join(storable(requirement.text).split())
    if not text:
        raise BriefingRefused("Every requirement needs a text.")
    if len(text) > MAX_REQUIREMENT_CHARACTERS:
        raise BriefingRefused(f"A requirement has at most {MAX_REQUIREMENT_CHARACTERS} characters.")
    if requirement.kind not in Requirement.Kind.values:
        raise BriefingRefused("A requirement is either a must-have or a nice-to-have.")
    if not 1 <= requirement.weight <= MAX_WEIGHT:
        raise BriefingRefused(f"A weight is a whole number from 1 to {MAX_WEIGHT}.")
    return RequirementInput(text, requirement.kind, requirement.weight, requirement.id)


def checked_title(title: str) -> str:
    title = clean_name(title)
    if not title:
        raise BriefingRefused("Give the briefing a title.")
    if len(title) > 200:
        raise BriefingRefused("A title has at most 200 characters.")
    return title
