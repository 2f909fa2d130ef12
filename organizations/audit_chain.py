"""
The hash chain of the audit log: what a hash covers, and the proof that nothing was changed or left out.

The events of an organization are numbered from 1 (`seq`). Each carries the hash of the one before (`prev_hash`; 64
zeros for the first) and its own: SHA-256, in hexadecimal, of the JSON array

    ["keyfare/audit/1", organization id, seq, prev_hash, actor id or null, actor_label, action, target, details,
     created_at]

written without spaces, non-ASCII characters as \\uXXXX, the names in `details` sorted, the time in UTC with six
digits after the second ("2026-01-31T23:59:59.000000Z"). Nothing of it depends on the database. `AuditHead` keeps
the last number and hash of each organization, so that a missing end is seen, too.

Whoever may write to the database, lift its triggers and compute hashes can write another history; it then has
another head. `manage.py verify_audit` prints the heads: keep them elsewhere and compare.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC

from django.db import connection, transaction

from organizations.models import AuditEvent, AuditHead, Organization

FORMAT = "keyfare/audit/1"
NO_HASH = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditReport:
    """`broken_seq` is the first number at which the chain does not hold, and `problem` a sentence; else None and ""."""

    events: int
    seq: int
    hash: str
    broken_seq: int | None = None
    problem: str = ""


def serialized(event: AuditEvent) -> bytes:
    """The bytes that `event.hash` is the SHA-256 of."""
    created_at = event.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    content = [
        FORMAT,
        event.organization_id,
        event.seq,
        event.prev_hash,
        event.actor_id,
        event.actor_label,
        event.action,
        event.target,
        event.details,
        created_at,
    ]
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def hash_of(event: AuditEvent) -> str:
    return hashlib.sha256(serialized(event)).hexdigest()


def verify_audit(*, organization: Organization) -> AuditReport:
    """
    Follow the organization's chain from its first event to its head.

    May run while events are written: it reads the state of one moment. On SQLite writers wait for it.
    """
    with _one_moment():
        head = AuditHead.objects.for_organization(organization).first()
        seq, last_hash, events = 0, NO_HASH, 0
        rows = AuditEvent.objects.for_organization(organization).order_by("seq")
        for event in rows.iterator(chunk_size=2000):
            problem = _problem(event, seq + 1, last_hash)
            if problem:
                return AuditReport(rows.count(), seq, last_hash, seq + 1, problem)
            seq, last_hash, events = event.seq, event.hash, events + 1
        kept_seq, kept_hash = (head.seq, head.hash) if head else (0, NO_HASH)
    if kept_seq > seq:
        problem = f"Event {seq + 1} is missing: the log ends with event {seq}, but {kept_seq} were written."
        return AuditReport(events, seq, last_hash, seq + 1, problem)
    if (kept_seq, kept_hash) != (seq, last_hash):
        problem = f"The head of the log tells of another event {kept_seq or 1} than the log itself."
        return AuditReport(events, seq, last_hash, kept_seq or 1, problem)
    return AuditReport(events, seq, last_hash)


def _problem(event: AuditEvent, expected_seq: int, last_hash: str) -> str:
    if event.seq != expected_seq:
        return f"Event {expected_seq} is missing: event {event.seq} stands in its place."
    if event.hash != hash_of(event):
        return f"Event {event.seq} was altered: its hash is not that of what it says."
    if event.prev_hash != last_hash:
        return f"Event {event.seq} does not follow from the one before: one of them was replaced."
    return ""


@contextmanager
def _one_moment() -> Iterator[None]:
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if connection.vendor == "postgresql" and outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
