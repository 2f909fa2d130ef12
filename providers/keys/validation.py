"""
What a provider says of a key: asked in the background, written down on the key, and learnt from refused calls.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Max, OuterRef, Q, Subquery
from django_q.tasks import async_task

from organizations.audit import events_last
from organizations.models import AuditEvent, Organization, User
from providers.adapters.base import ErrorKind
from providers.adapters.reasons import Reason
from providers.keys.asking import CANNOT_BE_CHECKED, STATUS_OF_ERROR, Finding, ask_provider
from providers.keys.notices import queue_break_notice
from providers.keys.replacement import take_over
from providers.keys.saving import STATUS_FIELDS, locked, record_change
from providers.keys.usage_readings import with_reading
from providers.models import BROKEN_STATUSES, USABLE_STATUSES, AvailableModel, KeyValidation, ProviderKey

MAX_VALIDATIONS_A_MINUTE = 10  # that the people of one organization ask for
REQUESTED = "provider_key.validation_requested"  # what the audit log calls that
LOST_AFTER_SECONDS = 80  # longer than one takes, with a call that proves the key: asking twice may be billed twice
KEEP_DAYS = 90
RUN_FOR_SECONDS = 300  # of the 600 that a scheduled job may take
Status = ProviderKey.Status
# Outcomes that tell nothing of the key itself: what was known of it before goes on holding.
SAYS_NOTHING = (Status.SAVED, Status.RATE_LIMITED, Status.UNREACHABLE)


class KeyDisabled(Exception):
    """A disabled key is not asked about."""

    def __init__(self, label: str) -> None:
        super().__init__(f"The key “{label}” is disabled. Enable it first.")


class TooManyValidations(Exception):
    """The organization asked for as many validations as it may within a minute; nothing was changed."""

    def __init__(self) -> None:
        super().__init__(
            f"Your organization asked for {MAX_VALIDATIONS_A_MINUTE} validations within a minute, which is the most. "
            "Wait a minute, then try again."
        )


@dataclass(frozen=True, slots=True)
class Revalidation:
    """How many keys came out at which status, and how many were not asked about for want of time."""

    outcomes: dict[str, int]
    left: int


def request_validation(*, key: ProviderKey, actor: User | None, now: datetime) -> KeyValidation:
    """
    Validate `key` in the background. While one validation waits, asking again returns that one.

    What is known of the key holds until there is an answer. Raises KeyDisabled and, unless staff ask,
    TooManyValidations.
    """
    with transaction.atomic():
        key = _locked_with_replaced(key)
        queued, is_new = _open_validation(key, now=now)
        if key.status != Status.VALIDATING and not key.has_verdict:
            key.set_status(Status.VALIDATING)
            key.save(update_fields=STATUS_FIELDS)
        if is_new:
            record_change(key, actor, REQUESTED)
            _check_pace(key.organization, actor, now=now)
        validation_id, organization_id = queued.pk, queued.organization_id
        transaction.on_commit(lambda: _queue(validation_id, organization_id))
    return queued


def validate_due_keys(*, now: datetime, older_than: timedelta) -> Revalidation:
    """
    Ask again, here and now, about every key whose last answer is older than `older_than`: the oldest of each
    organization, then the second oldest of each, so that servers which hang take their turn from nobody else.

    Left out are keys that nobody validated yet, disabled ones and pending replacements: those wait for a person.
    Begins no more after RUN_FOR_SECONDS; what is left comes first the next time.
    """
    keys = (
        ProviderKey.objects.filter(replaces=None, organization__closed_at=None)
        .exclude(status__in=[Status.SAVED, Status.VALIDATING, Status.DISABLED])
        .annotate(asked_at=Max("validations__finished_at"))
        .filter(Q(asked_at=None) | Q(asked_at__lte=now - older_than))
        .order_by(F("asked_at").asc(nulls_first=True), "pk")
    )
    ids = _by_turns(list(keys.values_list("pk", "organization_id")))
    outcomes: Counter[str] = Counter()
    begun, started = 0, time.monotonic()
    for key_id in ids:
        elapsed = time.monotonic() - started
        if elapsed > RUN_FOR_SECONDS:
            break
        begun += 1
        with suppress(ProviderKey.DoesNotExist, KeyDisabled):  # removed or disabled since the list was made
            with transaction.atomic():
                waiting, _ = _open_validation(locked(ProviderKey(pk=key_id)), now=now)
            done = validate_key(validation_id=waiting.pk, now=now + timedelta(seconds=elapsed))
            if done:
                outcomes[done.outcome] += 1
    return Revalidation(outcomes=dict(outcomes), left=len(ids) - begun)


def _by_turns(keys: Iterable[tuple[UUID, int]]) -> list[UUID]:
    """The keys, each with its organization, in their order, but the first of each organization before any second."""
    counts: Counter[int] = Counter()
    places = []
    for key_id, organization_id in keys:
        counts[organization_id] += 1
        places.append((counts[organization_id], key_id))
    return [key_id for _, key_id in sorted(places, key=lambda placed: placed[0])]


def validate_key(*, validation_id: int, now: datetime) -> KeyValidation | None:
    """
    Ask the provider about a key and write down what it says; the body of the background task.

    Returns None when nothing waits under that id any more. Running twice, or late for a key that was replaced or
    removed meanwhile, changes nothing. A pending replacement that the provider accepts takes its key's place.
    """
    validation = (
        KeyValidation.objects.select_related("key__organization", "key__replaces")
        .filter(pk=validation_id, state=KeyValidation.State.QUEUED)
        .first()
    )
    if validation is None:
        return None
    finding = ask_provider(validation.key, now=now)
    with transaction.atomic(), events_last():
        try:
            key = _locked_with_replaced(validation.key)
        except ProviderKey.DoesNotExist:
            return None
        settled = KeyValidation.objects.filter(pk=validation.pk, state=KeyValidation.State.QUEUED).update(
            state=KeyValidation.State.DONE,
            outcome=finding.status,
            reason=finding.why.as_json() if finding.why else None,
            finished_at=now,
        )
        if settled and key.secret_version == validation.secret_version:
            if key.replaces and finding.status in USABLE_STATUSES:
                key = take_over(pending=key, now=now)
            _apply_outcome(finding, key, now=now)
        validation.refresh_from_db()
    return validation


def requeue_validations(*, now: datetime, older_than_seconds: int = LOST_AFTER_SECONDS) -> int:
    """Queue again what was requested a while ago and never ran: its task was lost. Returns how many."""
    cutoff = now - timedelta(seconds=older_than_seconds)
    lost = KeyValidation.objects.filter(state=KeyValidation.State.QUEUED, requested_at__lt=cutoff)
    ids = list(lost.values_list("pk", "organization_id"))
    for validation_id, organization_id in ids:
        _queue(validation_id, organization_id)
    return len(ids)


def forget_old_validations(*, now: datetime) -> int:
    """Delete attempts that ended more than KEEP_DAYS ago, but never a key's newest. Returns how many."""
    newest = KeyValidation.objects.filter(key=OuterRef("key")).order_by("-pk").values("pk")[:1]
    old = KeyValidation.objects.filter(state=KeyValidation.State.DONE, finished_at__lt=now - timedelta(days=KEEP_DAYS))
    return old.exclude(pk=Subquery(newest)).delete()[0]


def mark_key_refused(*, key_id: UUID, secret_version: int, kind: ErrorKind, why: Reason, now: datetime) -> None:
    """
    A call was refused because of the key itself: show that on the key, so that later calls stop at once.

    A call that left with a secret which was replaced meanwhile says nothing about the new one.
    """
    if kind in (ErrorKind.INVALID, ErrorKind.NO_CREDIT):
        with transaction.atomic():
            keys = ProviderKey.objects.filter(pk=key_id, secret_version=secret_version, status__in=USABLE_STATUSES)
            broke = keys.update(
                status=STATUS_OF_ERROR[kind],
                status_detail="",
                status_reason=why.as_json(),
                validated_at=now,
                must_prove_by_call=True,
                break_notice=ProviderKey.BreakNotice.DUE,
            )
            if broke:
                key = locked(ProviderKey(pk=key_id))
                record_change(key, None, "provider_key.broke")
                queue_break_notice(key)


def note_keys_used(*, key_ids: Iterable[UUID], now: datetime) -> None:
    """Write down that calls left with the keys; at most once a minute, so that busy keys are no hot rows."""
    unnoted = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(minutes=1))
    for key_id in key_ids:  # one by one: nobody else locks two of different organizations at once
        ProviderKey.objects.filter(unnoted, pk=key_id).update(last_used_at=now)


def _locked_with_replaced(key: ProviderKey) -> ProviderKey:
    """`key` locked; of a pending replacement the key it replaces too, in the order of docs/locking.md."""
    if key.replaces_id is None:
        return locked(key)
    Organization.objects.select_for_update(no_key=True).get(pk=key.organization_id)  # taking over seals anew
    serving = locked(ProviderKey(pk=key.replaces_id))
    pending = ProviderKey.objects.select_related("organization", "created_by").select_for_update(of=("self",))
    key = pending.get(pk=key.pk)
    key.replaces = serving
    return key


def _open_validation(key: ProviderKey, *, now: datetime) -> tuple[KeyValidation, bool]:
    """The validation that waits for the locked `key`, and whether it is a new one. Raises KeyDisabled."""
    if key.status == Status.DISABLED:
        raise KeyDisabled(key.label)
    queued = key.validations.filter(state=KeyValidation.State.QUEUED).first()
    if queued:
        return queued, False
    queued = KeyValidation.objects.create(
        organization=key.organization, key=key, secret_version=key.secret_version, requested_at=now
    )
    return queued, True


def _check_pace(organization: Organization, actor: User | None, *, now: datetime) -> None:
    """
    Raises TooManyValidations if the request just recorded is one too many, so that nobody probes addresses with them.

    Counted in the audit log, which keeps what was asked about keys that were removed since; the event just written
    locks it until the end of the transaction, so requests of one organization are counted one after the other.
    """
    if actor and actor.is_staff:
        return
    asked = AuditEvent.objects.for_organization(organization).filter(
        action=REQUESTED, created_at__gt=now - timedelta(minutes=1)
    )
    if asked.exclude(actor__is_staff=True).count() > MAX_VALIDATIONS_A_MINUTE:
        raise TooManyValidations


def _queue(validation_id: int, organization_id: int) -> None:
    async_task("providers.tasks.validate_key", validation_id, group=f"organization {organization_id}")


def _apply_outcome(finding: Finding, key: ProviderKey, *, now: datetime) -> None:
    if key.status == Status.DISABLED:  # a replacement took over while it was switched off
        return key.save()
    was_usable = key.status in USABLE_STATUSES
    if finding.is_proven or finding.is_refused:
        key.must_prove_by_call = finding.is_refused
    if finding.status in SAYS_NOTHING and key.has_verdict:
        key.set_last_check(now, _of_the_check(finding.why))
    else:
        key.set_status(finding.status, finding.why)
        key.validated_at = now
        key.set_last_check()
    if key.status in USABLE_STATUSES:
        key.break_notice = ProviderKey.BreakNotice.NONE
    elif was_usable and key.status in BROKEN_STATUSES:
        key.break_notice = ProviderKey.BreakNotice.DUE
        record_change(key, None, "provider_key.broke")
        queue_break_notice(key)
    if finding.status == Status.CONNECTED:
        key.provider_limits = with_reading(finding.limits, key.provider_limits, now=now)
        known = dict(key.available_models.values_list("model", "listed_since"))
        key.available_models.all().delete()
        AvailableModel.objects.bulk_create(
            AvailableModel(
                organization=key.organization,
                key=key,
                model=model.id,
                name=model.name,
                context_tokens=model.context_tokens,
                input_nanousd_per_mtok=model.input_nanousd_per_mtok,
                output_nanousd_per_mtok=model.output_nanousd_per_mtok,
                listed_since=known.get(model.id, now if known else None),
                ends_on=model.ends_on,
            )
            for model in finding.models
        )
    key.save()


def _of_the_check(why: Reason | None) -> Reason | None:
    """What a check failed for, without what it says of a key that was never checked."""
    because = why.parameters.get("because") if why and why.code == CANNOT_BE_CHECKED else None
    return because if isinstance(because, Reason) else why
