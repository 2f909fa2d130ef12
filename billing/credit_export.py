"""
What was paid in credits, as FOCUS 1.4 has it for a virtual currency. What a credit was bought for, if for anything, is
not known here, so costs in USD stand as 0, and `x_CostBasis` says so. Columns and words belong to the layout of sealed
months, see usage/exports/sealing.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from django.db.models import Count

from billing.models import LedgerEntry
from organizations.models import Organization
from organizations.tenancy import scope
from usage.days import end_of_day, start_of_day
from usage.exports.cells import NOTHING, Piece, heading, number, piece, text
from usage.exports.focus import midnight
from usage.exports.periods import Days, Month, Period
from usage.exports.words import Words
from usage.ingest import UtcDay

COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "HostProviderName",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "x_CostBasis",
)


def credits_file(organization: Organization, period: Period, words: Words) -> Iterator[Piece]:
    """One row a day and price: what the ledger charged, by the day it did."""
    yield heading(COLUMNS)
    with scope(organization, "an export of the organization"):
        charged = list(
            LedgerEntry.objects.for_organization(organization)
            .filter(
                kind=LedgerEntry.Kind.CAPTURE,
                created_at__range=(start_of_day(period.first), end_of_day(period.last)),
                d_posted__lt=0,
            )
            .order_by()
            .annotate(day=UtcDay("created_at"))
            .values_list("day", "d_posted")
            .annotate(count=Count("*"))
            .order_by("day", "-d_posted")
        )
    yield piece([_row(words, period, _day(day), -change, count) for day, change, count in charged])


def _day(found: date | str) -> date:
    """SQLite has it as text."""
    return date.fromisoformat(found) if isinstance(found, str) else found


def _row(words: Words, period: Month | Days, day: date, credits: int, checks: int) -> list[str]:
    month = period if isinstance(period, Month) else Month.of(day)
    slug, name = words.account
    cells = {
        "BilledCost": "0",
        "BillingAccountId": text(slug),
        "BillingAccountName": text(name),
        "BillingCurrency": "USD",
        "BillingPeriodEnd": midnight(month.next.first),
        "BillingPeriodStart": midnight(month.first),
        "ChargeCategory": "Usage",
        "ChargeClass": NOTHING,
        "ChargeDescription": f"Candidate checks at {credits} {'credit' if credits == 1 else 'credits'} each",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": midnight(day + timedelta(days=1)),
        "ChargePeriodStart": midnight(day),
        "ConsumedQuantity": number(checks),
        "ConsumedUnit": "Checks",
        "ContractedCost": "0",
        "EffectiveCost": "0",
        "HostProviderName": NOTHING,
        "InvoiceIssuerName": "Operator of Keyfare",
        "ListCost": "0",
        "PricingCategory": "Standard",
        "PricingCurrency": "credits",
        "PricingCurrencyContractedUnitPrice": number(credits),
        "PricingCurrencyEffectiveCost": number(credits * checks),
        "PricingCurrencyListUnitPrice": number(credits),
        "PricingQuantity": number(checks),
        "PricingUnit": "Checks",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Keyfare",
        "ServiceProviderName": "Keyfare",
        "ServiceSubcategory": "Generative AI",
        "SkuId": "keyfare/candidate-check",
        "SkuMeter": "Candidate checks",
        "SkuPriceId": f"keyfare/candidate-check/{credits}",
        "x_CostBasis": "credits; their worth in USD is not known",
    }
    return [cells[column] for column in COLUMNS]
