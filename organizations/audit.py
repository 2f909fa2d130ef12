"""
The audit log: every change of keys, routing, members and credits leaves one row.

Rows are chained by hashes (`organizations/audit_chain.py`). So writers of one organization take turns: the row of
`AuditHead` stays locked from the first event of a transaction to its end. Record last, when everything else is
locked and changed already; where a transaction records more than once, `events_last()` sees to it. Then nobody
waits for another lock while holding this one, and no two transactions wait for each other (docs/locking.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection, transaction

from organizations import clock
from organizations.audit_chain import NO_HASH, hash_of
from organizations.models import AuditEvent, AuditHead, Organization, User

_waiting: ContextVar[list[AuditEvent] | None] = ContextVar("waiting_audit_events", default=None)


def record(
    *, organization: Organization, actor: User | None, action: str, target: str = "", **details: str | int | bool | None
) -> AuditEvent:
    """
    Write one audit event, in the caller's transaction.

    `action` is `noun.verb_in_past` ("provider_key.saved"); `actor` is None when the system itself acted.
    Never pass a key or any part of one but its last four characters.
    """
    event = AuditEvent(
        organization=organization,
        actor=actor,
        actor_label=actor.email if actor else "system",
        action=action,
        target=target[:200],
        details=details,
        created_at=clock.now(),
    )
    waiting = _waiting.get()
    if waiting is None:
        _append(event)
    else:
        waiting.append(event)
    return event


@contextmanager
def events_last() -> Iterator[None]:
    """
    Events recorded inside are written when the outermost such block ends; open it inside `transaction.atomic()`.

    An exception, or a transaction marked for rollback, drops them together with what they tell of.
    """
    outer = _waiting.get()
    events: list[AuditEvent] = []
    token = _waiting.set(events)
    try:
        yield
    finally:
        _waiting.reset(token)
    if outer is not None:
        outer += events
    elif not connection.needs_rollback:
        for event in sorted(events, key=lambda event: event.organization_id):  # heads in one order, events as they came
            _append(event)


def _append(event: AuditEvent) -> None:
    with transaction.atomic():
        head = _locked_head(event.organization)
        event.seq, event.prev_hash = head.seq + 1, head.hash
        event.hash = hash_of(event)
        event.save(force_insert=True)
        AuditHead.objects.filter(pk=head.pk).update(seq=event.seq, hash=event.hash)


def _locked_head(organization: Organization) -> AuditHead:
    heads = AuditHead.objects.for_organization(organization).select_for_update()
    head = heads.first()
    if head is None:  # the first event of all; of two at once, the second waits here for the first
        AuditHead.objects.bulk_create([AuditHead(organization=organization, hash=NO_HASH)], ignore_conflicts=True)
        head = heads.get()
    return head
