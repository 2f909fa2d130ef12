"""The lookup behind `for_organization`."""

from __future__ import annotations

from organizations.models import AuditEvent, Organization
from tests.builders import NOW


def event_of(organization: Organization) -> AuditEvent:
    return AuditEvent(organization=organization, seq=1, action="key.saved", created_at=NOW)


def test_the_rows_of_an_organization_are_its_own(acme, globex):
    AuditEvent.objects.bulk_create([event_of(acme), event_of(globex)])

    assert AuditEvent.objects.for_organization(acme).get().organization == acme
    assert AuditEvent.objects.exclude(organization__owner=acme).get().organization == globex
