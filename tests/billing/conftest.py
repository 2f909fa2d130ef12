from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from billing import ledger
from billing.models import CreditAccount, CreditHold, CreditLot, HoldAllocation, LedgerEntry
from billing.verification import verify_ledger
from organizations.models import AuditEvent, Organization
from tests.serving_role import as_owner


def grant(organization: Organization, amount: int, key: str = "first grant") -> LedgerEntry:
    return ledger.grant_credits(organization=organization, amount=amount, reason="A promise kept", idempotency_key=key)


def hold(organization: Organization, *amounts: int) -> list[CreditHold]:
    return ledger.hold_credits(organization=organization, requests=[request(amount) for amount in amounts])


def request(amount: int, purpose: str = "Candidate check: Mira Holt") -> ledger.HoldRequest:
    return ledger.HoldRequest(id=uuid.uuid4(), amount=amount, purpose=purpose)


def lots(organization: Organization) -> list[tuple[int, int, int]]:
    """(amount, remaining, held) of each lot in burn order."""
    found = CreditLot.objects.for_organization(organization).order_by("created_seq")
    return list(found.values_list("amount", "remaining", "held"))


def rows() -> list[Any]:
    """Everything the ledger keeps, to be compared before and after."""
    tables = (CreditAccount, CreditLot, CreditHold, HoldAllocation, LedgerEntry, AuditEvent)
    return [list(table._default_manager.order_by("pk").values()) for table in tables]


@contextmanager
def lifted_triggers() -> Iterator[None]:
    """Inside, the ledger can be tampered with; for tests that end with a rollback."""
    with as_owner(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE billing_ledgerentry DISABLE TRIGGER USER")
        else:
            cursor.execute("DROP TRIGGER billing_ledgerentry_append_only_update")
            cursor.execute("DROP TRIGGER billing_ledgerentry_append_only_delete")
    yield


@pytest.fixture(autouse=True)
def _every_ledger_is_sound_in_the_end(request: pytest.FixtureRequest) -> Iterator[None]:
    if "acme" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("acme")
    yield
    for organization in Organization.objects.all():
        assert verify_ledger(organization=organization) == []
