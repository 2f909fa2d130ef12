"""
Trials: up to ten finished checks asked once more of another model, on the organization's own key.

Quoted first, by list prices. Calls leave as every other does, and stand in the books under an action of their own; what
comes of them is kept apart from the checks, and costs no credits.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django_q.tasks import async_task

from candidates import failures
from candidates.models import Briefing, CandidateCheck, Requirement, Trial, TrialCheck
from candidates.prompts.check import Verdict, parse_verdicts
from candidates.trial_quotes import quote_trial, requests_of
from gateway import asking, dispatch
from gateway.asking import NoAnswer
from gateway.dispatch import Planned
from gateway.ticket import Ticket
from gateway.writer import Writer, open_writer
from organizations import clock
from organizations.audit import record
from organizations.models import Organization, User
from organizations.once import Once, do_once
from organizations.tenancy import scope
from providers.adapters.base import ChatRequest
from providers.adapters.reasons import Reason
from providers.egress.connections import Egress, open_client
from providers.models import ProviderKey
from routing.actions import CANDIDATE_CHECK, TRIAL
from routing.models import RoutingRule
from routing.resolve import Route, RouteUnavailable
from routing.services import check_allowed, lock_chosen_key, lock_routes
from usage.models import Mode

logger = logging.getLogger(__name__)

MOST_CHECKS = 10
MOST_ATTEMPTS = 2
Status = TrialCheck.Status


class TrialRefused(Exception):
    """It cannot be run so; the text is a sentence."""


class QuoteRose(TrialRefused):
    def __init__(self) -> None:
        super().__init__("This may cost more than was shown before. Look again and confirm.")


class _LeaseLost(Exception):
    """Another worker has the trial, or it ended."""


def finished_checks(briefing: Briefing) -> list[CandidateCheck]:
    """Those that a trial may take: the one that counts of each person, where it completed; best fit first."""
    checks = CandidateCheck.objects.for_organization(briefing.organization).filter(
        briefing=briefing, is_latest=True, status=CandidateCheck.Status.COMPLETED
    )
    return list(checks.select_related("candidate").order_by("rank", "-candidate_id")[:100])


def request_trial(
    *,
    briefing: Briefing,
    checks: Sequence[CandidateCheck],
    key: ProviderKey,
    model: str,
    actor: User | None,
    now: datetime,
    agreed_nanousd: int | None,
    once: Once | None = None,
) -> Trial:
    """
    Have these checks asked of `model` in the background, for what was agreed at most; or the trial that `once` made.

    Raises TrialRefused, QuoteRose, routing.services.RuleRefused, and ProviderKey.DoesNotExist where the key is gone.
    """
    organization = briefing.organization
    if not 1 <= len(checks) <= MOST_CHECKS:
        raise TrialRefused(f"Choose from 1 to {MOST_CHECKS} checks.")

    def request() -> str:
        lock_routes(organization)
        chosen = lock_chosen_key(organization, key, model)
        rule = RoutingRule.objects.for_organization(organization).filter(action=CANDIDATE_CHECK.slug).first()
        check_allowed(rule, CANDIDATE_CHECK, chosen, model)
        quote = quote_trial(briefing=briefing, checks=checks, key=chosen, model=model, now=now)
        if quote.is_above(agreed_nanousd):
            raise QuoteRose
        route = Route(
            action=TRIAL,
            provider=chosen.provider,
            model=model,
            key_id=chosen.pk,
            key_label=chosen.label,
            mode=Mode.BYOK,
            is_own_model=True,
        )
        trial = Trial.objects.create(
            organization=organization,
            briefing=briefing,
            route=route.as_json(),
            most_nanousd=quote.most,
            requested_at=now,
            created_by=actor,
        )
        TrialCheck.objects.bulk_create(
            TrialCheck(organization=organization, trial=trial, check_row=check) for check in checks
        )
        record(
            organization=organization,
            actor=actor,
            action="trial.started",
            target=f"Briefing {briefing.pk}: {briefing}",
            provider=chosen.provider,
            key_label=chosen.label,
            model=model,
            checks=len(checks),
        )
        _queue(trial)
        return str(trial.pk)

    trial_id = do_once(organization=organization, once=once, act=request)
    return Trial.objects.for_organization(organization).get(pk=trial_id)


def run_trial(trial_id: uuid.UUID) -> None:
    """Ask about all checks of the trial that wait. Does nothing where it ended, or another worker has it."""
    claimed = _claim(trial_id, clock.now())
    if claimed is not None:
        async_to_sync(_run)(*claimed)


def requeue_trials(*, now: datetime) -> int:
    """Queue again the trials whose task or worker was lost. Returns how many."""
    waiting = Trial.objects.filter(ended_at=None).filter(
        Q(lease_until__lt=now) | Q(lease_until=None, requested_at__lt=now - timedelta(seconds=60))
    )
    lost = list(waiting.only("pk", "organization_id"))
    for trial in lost:
        _queue(trial)
    return len(lost)


def end_trials(*, organization: Organization, reason: Reason) -> int:
    """End those that run; answers that come later are dropped. Returns how many."""
    with transaction.atomic():
        running = Trial.objects.for_organization(organization).filter(ended_at=None)
        ids = list(running.select_for_update(of=("self",)).values_list("pk", flat=True))
        _fail_the_rest(organization.pk, ids, reason)
        return running.filter(pk__in=ids).update(ended_at=clock.now(), lease_token=None, lease_until=None)


def _queue(trial: Trial) -> None:
    trial_id, group = str(trial.pk), f"organization {trial.organization_id}"
    transaction.on_commit(lambda: async_task("candidates.tasks.run_trial", trial_id, group=group))


# The work -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ask:
    pk: int
    run_id: uuid.UUID
    request: ChatRequest
    requirements: Sequence[Requirement]
    text: str
    first: Ticket | RouteUnavailable


def _claim(trial_id: uuid.UUID, now: datetime) -> tuple[Trial, list[_Ask]] | None:
    with transaction.atomic():
        free = Q(lease_until=None) | Q(lease_until__lt=now)
        trials = Trial.objects.filter(free, pk=trial_id, ended_at=None).select_related("organization", "briefing")
        trial = trials.select_for_update(of=("self",), skip_locked=True).first()
        if trial is None:
            return None
        if trial.attempts >= MOST_ATTEMPTS:
            _fail_the_rest(trial.organization_id, [trial.pk], failures.TRIAL_INTERRUPTED)
            trial.ended_at, trial.lease_token, trial.lease_until = now, None, None
            trial.save(update_fields=["ended_at", "lease_token", "lease_until"])
            return None
        trial.attempts += 1
        trial.lease_token, trial.lease_until = uuid.uuid4(), _lease(now)
        trial.save(update_fields=["attempts", "lease_token", "lease_until"])
    with scope(trial.organization, "a trial of one organization"):
        return trial, _asks(trial, now)


def _asks(trial: Trial, now: datetime) -> list[_Ask]:
    rows = list(
        TrialCheck.objects.for_organization(trial.organization)
        .filter(trial=trial, status=Status.PENDING)
        .select_related("check_row")
        .order_by("pk")
    )
    route = Route.from_json(trial.route)
    requests = requests_of(trial.briefing, [row.check_row for row in rows], route.model)
    planned = [Planned(route, row.run_id) for row in rows]
    tickets = dispatch.prepare_many(organization=trial.organization, calls=planned, now=now) if rows else []
    return [
        _Ask(row.pk, row.run_id, *requests[row.check_row_id], ticket) for row, ticket in zip(rows, tickets, strict=True)
    ]


async def _run(trial: Trial, asks: Sequence[_Ask]) -> None:
    async with open_client() as client, open_writer() as writer:
        outcomes = await asyncio.gather(*(_ask_one(client, writer, trial, ask) for ask in asks), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):  # a bug of ours, or the database is gone: it is claimed again
            logger.error("A check of trial %s was interrupted", trial.pk, exc_info=outcome)
    await sync_to_async(_end)(trial)


async def _ask_one(client: Egress, writer: Writer, trial: Trial, ask: _Ask) -> None:
    def prepare(iteration: int) -> Ticket:
        now = clock.now()
        with scope(trial.organization, "a trial of one organization"):
            if not _held(trial).update(lease_until=_lease(now)):
                raise _LeaseLost
            return dispatch.prepare(
                organization=trial.organization,
                route=Route.from_json(trial.route),
                run_id=ask.run_id,
                iteration=iteration,
                now=now,
            )

    def read(text: str) -> list[Verdict]:
        return parse_verdicts(text, ask.requirements, ask.text)

    outcome: Sequence[Verdict] | Reason
    try:
        if not isinstance(ask.first, Ticket):
            raise ask.first
        outcome = await asking.ask(client, writer, first=ask.first, prepare=prepare, request=ask.request, read=read)
    except _LeaseLost:
        return
    except (RouteUnavailable, NoAnswer) as failure:
        outcome = failure.reason
    await sync_to_async(_write)(trial, ask.pk, outcome)


def _write(trial: Trial, pk: int, outcome: Sequence[Verdict] | Reason) -> None:
    with scope(trial.organization, "a trial of one organization"), transaction.atomic():
        if not _held(trial).update(lease_until=_lease(clock.now())):
            return
        row = TrialCheck.objects.for_organization(trial.organization).filter(pk=pk, status=Status.PENDING)
        if isinstance(outcome, Reason):
            row.update(status=Status.FAILED, failure_reason=outcome.as_json())
        else:
            row.update(status=Status.COMPLETED, verdicts={str(each.requirement_id): _as_json(each) for each in outcome})


def _as_json(verdict: Verdict) -> dict[str, str]:
    return {
        "verdict": str(verdict.verdict),
        "claimed": str(verdict.claimed),
        "quote": verdict.quote,
        "reason": verdict.reason,
    }


def _end(trial: Trial) -> None:
    with scope(trial.organization, "a trial of one organization"), transaction.atomic():
        waiting = TrialCheck.objects.for_organization(trial.organization).filter(trial=trial, status=Status.PENDING)
        if not waiting.exists():
            _held(trial).update(ended_at=clock.now(), lease_token=None, lease_until=None)


def _fail_the_rest(organization_id: int, trials: Sequence[uuid.UUID], reason: Reason) -> None:
    waiting = TrialCheck.objects.for_organization(organization_id).filter(trial__in=trials, status=Status.PENDING)
    waiting.update(status=Status.FAILED, failure_reason=reason.as_json())


def _held(trial: Trial) -> QuerySet[Trial]:
    """The row, as long as the lease of this worker stands in it."""
    rows: QuerySet[Trial] = Trial.objects.for_organization(trial.organization_id)
    return rows.filter(pk=trial.pk, lease_token=trial.lease_token, ended_at=None)


def _lease(now: datetime) -> datetime:
    """Longer than one call and the wait before it; renewed with each."""
    return now + timedelta(seconds=2 * settings.KEYFARE_CALL_TIMEOUT_SECONDS + asking.LONGEST_WAIT_SECONDS)
