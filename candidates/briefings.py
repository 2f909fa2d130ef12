"""Briefings: what a position asks for, written by hand or drafted by a model from a job description."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django_q.tasks import async_task

from candidates.failures import DRAFT_AGAIN, DRAFT_INTERRUPTED
from candidates.models import FAILED_RANK, Briefing, Candidate, CandidateCheck, Requirement
from candidates.profiles.pictures import text_without_pictures
from candidates.prompts.draft import Draft, DraftRequirement, parse_requirements, requirements_request
from candidates.requirements import (
    DRAFT_PATIENCE,
    BriefingRefused,
    RequirementInput,
    TextsLocked,
    check_unchanged,
    checked_title,
    is_drafting,
    is_locked,
    ordered_requirements,
    save_requirements,
    write_requirements,
)
from candidates.results import latest_checks
from gateway import dispatch
from gateway.asking import NoAnswer, ask_now
from gateway.daily_cap import runs_left_today
from gateway.ticket import Ticket
from organizations import clock
from organizations.models import Organization, User
from organizations.once import Once, do_once
from organizations.storable import storable
from providers.adapters.reasons import Reason
from routing.actions import REQUIREMENT_GENERATION
from routing.resolve import Route, RouteUnavailable, resolve
from usage.days import midnight_before
from usage.models import Mode

UNTITLED = "Untitled briefing"  # until a draft brings a title
MAX_JOB_DESCRIPTION_CHARACTERS = 50_000
State = Briefing.State


class _NotWaitedFor(Exception):
    """Somebody wrote or drafted the briefing anew, or the organization was closed."""


class StillDrafting(BriefingRefused):
    def __init__(self) -> None:
        super().__init__("The draft is still being written.")


class DailyCapReached(BriefingRefused):
    """The organization drafted as often today as Managed mode allows."""

    def __init__(self, cap: int) -> None:
        super().__init__(
            f"Your organization has used its {cap} drafts in Managed mode for today (UTC). Draft again "
            "tomorrow, write the requirements by hand, or route requirement generation to your own key in "
            "Settings."
        )


def create_briefing(
    *,
    organization: Organization,
    title: str,
    actor: User | None,
    now: datetime,
    requirements: Sequence[DraftRequirement] = (),
    job_description: str = "",
    once: Once | None = None,
) -> Briefing:
    """A briefing written by hand, or the one that `once` made before. Raises BriefingRefused."""

    def create() -> str:
        briefing = Briefing.objects.create(
            organization=organization,
            title=checked_title(title),
            job_description=storable(job_description),
            created_by=actor,
        )
        if requirements:
            save_requirements(briefing=briefing, requirements=_as_inputs(requirements), now=now)
        return str(briefing.pk)

    return _made(organization, do_once(organization=organization, once=once, act=create))


def unchecked_candidates(briefing: Briefing) -> QuerySet[Candidate]:
    """
    Whom the organization could check for the first time: nobody completed or running; failed ones are back
    in.
    """
    checked = checked_candidates(briefing).values("candidate_id")
    return Candidate.objects.for_organization(briefing.organization).exclude(pk__in=checked)


def checked_candidates(briefing: Briefing) -> QuerySet[CandidateCheck]:
    """The others, by the one check of each that counts."""
    return latest_checks(briefing).filter(rank__lt=FAILED_RANK)


def new_version(*, briefing: Briefing, actor: User | None, once: Once | None = None) -> Briefing:
    """A copy with free wording, under the next version number of its line; or the one that `once` made before."""

    def copy_it() -> str:
        # Two at once would both take the next number.
        Organization.objects.select_for_update(no_key=True).get(pk=briefing.organization_id)
        mine = Briefing.objects.filter(organization=briefing.organization_id, pk=briefing.pk)
        key_id, model = mine.values_list("key_id", "model").get()  # its key may be gone since it was read
        copy = Briefing.objects.create(
            organization=briefing.organization,
            title=briefing.title,
            job_description=briefing.job_description,
            version=_newest_version(briefing) + 1,
            state=State.REVIEW,
            earlier_version=briefing,
            key_id=key_id,
            model=model,
            created_by=actor,
        )
        Requirement.objects.bulk_create(
            Requirement(
                organization=briefing.organization,
                briefing=copy,
                position=requirement.position,
                text=requirement.text,
                kind=requirement.kind,
                weight=requirement.weight,
            )
            for requirement in ordered_requirements(briefing)
        )
        return str(copy.pk)

    return _made(briefing.organization, do_once(organization=briefing.organization, once=once, act=copy_it))


def _made(organization: Organization, briefing_id: str) -> Briefing:
    made = Briefing.objects.for_organization(organization).select_related("organization").filter(pk=briefing_id).first()
    if made is None:
        raise BriefingRefused("What this form made was deleted since. Open the form anew to make another.")
    return made


def _as_inputs(requirements: Iterable[DraftRequirement]) -> list[RequirementInput]:
    return [RequirementInput(each.text, each.kind, each.weight) for each in requirements]


def _newest_version(briefing: Briefing) -> int:
    """The highest version among all copies of copies that go back to the same first briefing."""
    first = briefing
    while first.earlier_version is not None:
        first = first.earlier_version
    newest, generation = first.version, [first.pk]
    while generation:
        rows = list(
            Briefing.objects.filter(organization=briefing.organization_id, earlier_version__in=generation).values_list(
                "pk", "version"
            )
        )
        newest = max([newest, *(version for _, version in rows)])
        generation = [pk for pk, _ in rows]
    return newest


# Drafting --------------------------------------------------------------------------------------------


def request_draft(
    *,
    organization: Organization,
    job_description: str,
    actor: User | None,
    now: datetime,
    title: str = "",
    briefing: Briefing | None = None,
    once: Once | None = None,
    seen: str | None = None,
) -> Briefing:
    """
    Have requirements drafted from `job_description` in the background: in a new briefing, or again in
    `briefing`; or give the briefing that `once` made before.

    Costs no credits. Raises RouteUnavailable, DailyCapReached (Managed mode), TextsLocked, StillDrafting and other
    BriefingRefused, and BriefingChanged where `briefing` is not as its page had `seen` it; then nothing was started.
    """
    job_description = text_without_pictures(storable(job_description)).strip()
    if not job_description:
        raise BriefingRefused("Paste the job description that the requirements are to be drafted from.")
    if len(job_description) > MAX_JOB_DESCRIPTION_CHARACTERS:
        raise BriefingRefused(f"A job description has at most {MAX_JOB_DESCRIPTION_CHARACTERS:,} characters.")

    def request() -> str:
        # One organization's drafts are admitted one by one: two cannot both be the last of the day.
        locked = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        route = resolve(organization=locked, action=REQUIREMENT_GENERATION.slug)
        if route.mode == Mode.MANAGED and drafts_left_today(organization=locked, now=now) <= 0:
            raise DailyCapReached(settings.KEYFARE_MANAGED_DAILY_RUNS)
        if briefing is None:
            drafted = Briefing(organization=locked, created_by=actor)
        else:
            drafted = Briefing.objects.for_organization(locked).select_for_update().get(pk=briefing.pk)
            if is_drafting(drafted, now=now):
                raise StillDrafting
            if is_locked(drafted):
                raise TextsLocked
            check_unchanged(drafted, seen, reader=actor)
        drafted.title = checked_title(title or drafted.title or UNTITLED)
        drafted.job_description = job_description
        drafted.set_state(State.DRAFTING)
        drafted.draft_requested_at, drafted.draft_run_id = now, uuid.uuid4()
        drafted.save()
        _queue_draft(drafted)
        return str(drafted.pk)

    return _made(organization, do_once(organization=organization, once=once, act=request))


def drafts_left_today(*, organization: Organization, now: datetime) -> int:
    """How many drafts Managed mode still allows today (UTC)."""
    waiting = Briefing.objects.for_organization(organization).filter(
        state=State.DRAFTING, draft_requested_at__gte=midnight_before(now)
    )
    return runs_left_today(
        organization=organization,
        action=REQUIREMENT_GENERATION.slug,
        now=now,
        waiting=filter(None, waiting.values_list("draft_run_id", flat=True)),
    )


def draft_briefing(briefing_id: int, *, now: datetime) -> None:
    """
    Ask the model for the draft and store it, or why there is none. Does nothing unless the briefing waits
    for one.

    Run twice at the same time, the first answer counts.
    """
    briefing = Briefing.objects.select_related("organization").filter(pk=briefing_id, state=State.DRAFTING).first()
    if briefing is None:
        return
    try:
        route = resolve(organization=briefing.organization, action=REQUIREMENT_GENERATION.slug)
        draft = _ask(briefing, route, now)
    except _NotWaitedFor:
        return
    except (RouteUnavailable, NoAnswer) as failure:
        _end_draft(briefing, failure=failure.reason)
    else:
        _end_draft(briefing, draft=draft)


def requeue_drafts(*, now: datetime) -> int:
    """
    Queue again the drafts whose task or worker was lost; one that is lost twice fails. Returns how many
    were queued.
    """
    queued = 0
    overdue = Briefing.objects.filter(state=State.DRAFTING, draft_requested_at__lt=now - DRAFT_PATIENCE)
    for briefing_id in overdue.values_list("pk", flat=True):
        with transaction.atomic():
            briefing = overdue.select_for_update().filter(pk=briefing_id).first()
            if briefing is None:
                continue
            if briefing.why:
                briefing.set_state(State.FAILED, DRAFT_INTERRUPTED)
            else:
                briefing.set_state(State.DRAFTING, DRAFT_AGAIN)
                briefing.draft_requested_at = now
                _queue_draft(briefing)
                queued += 1
            briefing.save()
    return queued


def end_drafts(*, organization: Organization, reason: Reason) -> int:
    """End the drafts that are being written with `reason`; an answer that comes later is dropped. Returns how many."""
    drafting = Briefing.objects.for_organization(organization).filter(state=State.DRAFTING)
    return drafting.update(state=State.FAILED, state_detail="", state_reason=reason.as_json())


def _queue_draft(briefing: Briefing) -> None:
    briefing_id, group = briefing.pk, f"organization {briefing.organization_id}"
    transaction.on_commit(lambda: async_task("candidates.tasks.draft_briefing", briefing_id, group=group))


def _ask(briefing: Briefing, route: Route, now: datetime) -> Draft:
    def prepare(iteration: int) -> Ticket:
        if iteration > 1:
            _go_on_waiting(briefing)
        return dispatch.prepare(
            organization=briefing.organization,
            route=route,
            run_id=briefing.draft_run_id,
            iteration=iteration,
            now=now if iteration == 1 else clock.now(),
        )

    request = requirements_request(model=route.model, job_description=briefing.job_description)
    return ask_now(prepare=prepare, request=route.sent_with(request), read=parse_requirements)


def _go_on_waiting(asked: Briefing) -> None:
    """Count the draft as begun now, as another call takes its time. Raises _NotWaitedFor."""
    if not _waiting_for(asked).update(draft_requested_at=clock.now()):
        raise _NotWaitedFor


def _waiting_for(asked: Briefing) -> QuerySet[Briefing]:
    return Briefing.objects.filter(
        organization=asked.organization_id, pk=asked.pk, state=State.DRAFTING, draft_run_id=asked.draft_run_id
    )


def _end_draft(asked: Briefing, *, draft: Draft | None = None, failure: Reason | None = None) -> None:
    with transaction.atomic():
        briefing = _waiting_for(asked).select_for_update().first()
        if briefing is None:
            return
        if draft is None:
            briefing.set_state(State.FAILED, failure)
        else:
            write_requirements(briefing, _as_inputs(draft.requirements))
            briefing.changed_by, briefing.changed_at = None, clock.now()
            briefing.set_state(State.REVIEW)
            if briefing.title == UNTITLED and draft.title:
                briefing.title = draft.title[:200]
        briefing.save()
