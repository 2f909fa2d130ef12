"""
What an installation cannot be without, looked at as a whole.

A proof that goes row by row is content with a database that lacks all of them, as a backup does that PostgreSQL made
behind its wall (organizations/tenancy.py): people and organizations are there, and nothing that belongs to anybody.
"""

from __future__ import annotations

from django.db.models import Exists, OuterRef

from organizations.models import AuditEvent, Membership, Organization
from organizations.tenancy import shows_everybody

NAMED = 3


def missing_rows() -> list[str]:
    """What has to be there and is not, as sentences that say what to do; none if nothing is missing."""
    if not shows_everybody():
        return [
            "PostgreSQL shows this session not everybody's rows, so nothing can be said of them: ask by a command of "
            "manage.py."
        ]
    problems = []
    customers = Organization.objects.customers().order_by("slug")
    for what, rows in (("member", Membership.objects.all()), ("audit event", AuditEvent.objects.all())):
        without = customers.filter(~Exists(rows.filter(organization=OuterRef("pk"))))
        slugs = list(without.values_list("slug", flat=True)[: NAMED + 1])
        if slugs:
            named = ", ".join(slugs[:NAMED]) + (" and others" if len(slugs) > NAMED else "")
            problems.append(
                f"Rows are missing: {without.count()} of {customers.count()} organizations have no {what} ({named}), "
                "though each begins with one. If this database was restored from a backup, the backup was made "
                "without everybody's rows: see “Back up” in docs/operations.md."
            )
    return problems
