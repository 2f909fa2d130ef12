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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from itertools import groupby, islice
from operator import attrgetter

from organizations.models import AuditEvent, AuditHead, Organization
from organizations.one_moment import one_moment

FORMAT = "keyfare/audit/1"
NO_HASH = "0" * 64
AT_ONCE = 100  # organizations whose logs are read as of one moment


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
    """Follow the organization's chain from its first event to its head."""
    ((_, report),) = verify_audits([organization])
    return report


def verify_audits(organizations: Iterable[Organization]) -> Iterator[tuple[Organization, AuditReport]]:
    """
    Each organization with what its chain tells, in their order.

    May run while events are written: it reads the state of one moment, of some organizations after others.
    """
    left = iter(organizations)
    while batch := list(islice(left, AT_ONCE)):
        with one_moment():
            heads = {head.organization_id: head for head in AuditHead.objects.filter(organization__in=batch)}
            events = AuditEvent.objects.filter(organization__in=batch).order_by("organization", "seq")
            logs = groupby(events.iterator(chunk_size=2000), key=attrgetter("organization_id"))
            chains = {organization_id: _follow(log) for organization_id, log in logs}
        for organization in batch:
            yield organization, _ended(chains.get(organization.pk, _follow(())), heads.get(organization.pk))


def _follow(log: Iterable[AuditEvent]) -> AuditReport:
    """As far as the chain holds."""
    events, seq, last_hash, problem = 0, 0, NO_HASH, ""
    for event in log:
        events += 1
        problem = problem or _problem(event, seq + 1, last_hash)
        if not problem:
            seq, last_hash = event.seq, event.hash
    return AuditReport(events, seq, last_hash, seq + 1 if problem else None, problem)


def _ended(chain: AuditReport, head: AuditHead | None) -> AuditReport:
    """Whether it ends where its head says."""
    kept_seq, kept_hash = (head.seq, head.hash) if head else (0, NO_HASH)
    if chain.problem or (kept_seq, kept_hash) == (chain.seq, chain.hash):
        return chain
    if kept_seq > chain.seq:
        problem = f"Event {chain.seq + 1} is missing: the log ends with event {chain.seq}, but {kept_seq} were written."
        return replace(chain, broken_seq=chain.seq + 1, problem=problem)
    problem = f"The head of the log tells of another event {kept_seq or 1} than the log itself."
    return replace(chain, broken_seq=kept_seq or 1, problem=problem)


def _problem(event: AuditEvent, expected_seq: int, last_hash: str) -> str:
    if event.seq != expected_seq:
        return f"Event {expected_seq} is missing: event {event.seq} stands in its place."
    if event.hash != hash_of(event):
        return f"Event {event.seq} was altered: its hash is not that of what it says."
    if event.prev_hash != last_hash:
        return f"Event {event.seq} does not follow from the one before: one of them was replaced."
    return ""
