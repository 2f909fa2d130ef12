"""The audit log: every change of keys, routing, members and credits leaves one row."""

from __future__ import annotations

from organizations.models import AuditEvent, Organization, User


def record(
    *, organization: Organization, actor: User | None, action: str, target: str = "", **details: str | int | bool | None
) -> AuditEvent:
    """
    Write one audit event, in the caller's transaction.

    `action` is `noun.verb_in_past` ("provider_key.saved"); `actor` is None when the system itself acted.
    Never pass a key or any part of one but its last four characters.
    """
    return AuditEvent.objects.create(
        organization=organization,
        actor=actor,
        actor_label=actor.email if actor else "system",
        action=action,
        target=target[:200],
        details=details,
    )
