"""What was paid in credits, as a FOCUS file: held against the model of focus-data-toolkit, and against the ledger."""

from __future__ import annotations

import uuid
from datetime import UTC, timedelta

import pytest
from focus_data_toolkit.model import column_spec, dataset_columns, lint_focus_1_4_structure

from billing.credit_export import COLUMNS, credits_file
from billing.ledger import Capture, HoldRequest, capture_holds, grant_credits, hold_credits, open_account, release_hold
from billing.models import LedgerEntry
from organizations.models import Organization
from tests.usage.exports.reading import content_of, rows_of
from usage.exports.periods import Days, Month
from usage.exports.words import Words

pytestmark = pytest.mark.django_db
DATASET = "Cost and Usage"


def charge(organization: Organization, *amounts: int) -> None:
    open_account(organization=organization)
    grant_credits(organization=organization, amount=1_000, reason="Start", idempotency_key=str(uuid.uuid4()))
    requests = [HoldRequest(id=uuid.uuid4(), amount=5, purpose="Candidate check") for _ in amounts]
    hold_credits(organization=organization, requests=requests)
    capture_holds(
        organization=organization,
        captures=[Capture(request.id, amount) for request, amount in zip(requests, amounts, strict=True)],
    )


def read(organization: Organization, period: Month | Days) -> list[dict[str, str]]:
    return rows_of(content_of(credits_file(organization, period, Words.of_today(organization))))


def this_month(organization: Organization) -> Month:
    return Month.of(
        LedgerEntry.objects.filter(organization=organization).latest("seq").created_at.astimezone(UTC).date()
    )


def test_the_file_is_well_formed_but_for_its_currency(acme):
    charge(acme, 4, 1)

    rows = read(acme, this_month(acme))

    assert tuple(rows[0]) == COLUMNS
    mandatory = {
        name for name in dataset_columns(DATASET) if column_spec(DATASET, name)["feature_level"] == "Mandatory"
    }
    assert mandatory <= set(COLUMNS)
    report = lint_focus_1_4_structure(DATASET, rows, supported_conditions=["SupportsUnitPricing"])
    # FOCUS takes virtual currencies by name (CurrencyFormat); the toolkit knows those of ISO 4217 only.
    assert {(each.column, each.rule) for each in report.violations} == {("PricingCurrency", "bad_currency")}


def test_the_rows_come_to_what_the_ledger_charged(acme, globex):
    charge(acme, 4, 1, 4, 0, 2)
    charge(globex, 3)
    hold = HoldRequest(id=uuid.uuid4(), amount=5, purpose="Candidate check that fails")
    hold_credits(organization=acme, requests=[hold])
    release_hold(organization=acme, hold_id=hold.id)

    rows = read(acme, this_month(acme))

    assert [
        (row["PricingCurrencyListUnitPrice"], row["PricingQuantity"], row["PricingCurrencyEffectiveCost"])
        for row in rows
    ] == [("1", "1", "1"), ("2", "1", "2"), ("4", "2", "8")]
    assert {row["PricingCurrency"] for row in rows} == {"credits"}
    captured = LedgerEntry.objects.filter(organization=acme, kind="capture")
    assert sum(int(row["PricingCurrencyEffectiveCost"]) for row in rows) == -sum(each.d_posted for each in captured)


def test_a_charge_is_of_the_day_it_was_made(acme):
    charge(acme, 4)
    today = LedgerEntry.objects.filter(organization=acme).latest("seq").created_at.astimezone(UTC).date()
    yesterday = today - timedelta(days=1)

    (row,) = read(acme, Days(today, today))

    assert row["ChargePeriodStart"] == f"{today}T00:00:00Z"
    assert row["BillingPeriodStart"] == f"{today.replace(day=1)}T00:00:00Z"
    assert read(acme, Days(yesterday, yesterday)) == []
