"""What a finance person compares: the file of calls, the FOCUS file and the page, to the nano-dollar."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from tests.usage.conftest import NOON, event, roll_up
from usage.cells import read_cells, totals
from usage.exports.periods import Days, Month
from usage.exports.sealing import seal_due_months

from .reading import read
from .test_focus import of_every_kind
from .test_sealing import correct

pytestmark = pytest.mark.django_db(transaction=True)
OCTOBER, NOVEMBER = Month(date(2026, 10, 1)), Month(date(2026, 11, 1))


def on_the_page(organization, month: Month) -> Decimal:
    days = (month.last - month.first).days + 1
    nanousd = totals(read_cells(organization, month.last, days, "mode")).cost_nanousd
    return Decimal(nanousd or 0).scaleb(-9)


def in_files(organization, period) -> tuple[Decimal, Decimal]:
    calls, focus = (read(name, organization, period) for name in ("calls", "focus"))
    return total(row["cost_usd"] for row in calls), total(row["BilledCost"] for row in focus)


def total(amounts: Iterable[str]) -> Decimal:
    return sum((Decimal(amount or 0) for amount in amounts), Decimal(0))


def test_last_month_and_this_month_come_to_the_same_everywhere(acme, globex):
    edge = NOVEMBER.start
    of_every_kind(acme)
    of_every_kind(globex)
    call = event(acme, occurred_at=edge - timedelta(microseconds=1), cost_nanousd=3, price_source="catalog")
    event(
        acme, occurred_at=edge, run_id=call.run_id, run_day=OCTOBER.last, iteration=2, cost_nanousd=5, counts_run=False
    )

    for at in ("not rolled up", "rolled up", "sealed"):
        for month in (OCTOBER, NOVEMBER):
            page = on_the_page(acme, month)
            assert in_files(acme, month) == in_files(acme, Days(month.first, month.last)) == (page, page), at
        roll_up(now=NOON)
        if at == "rolled up":
            assert seal_due_months(now=NOON, others={})

    # From here on the page has corrections where the call was, the books where they were made: together the same.
    sealed = in_files(acme, OCTOBER)
    correct(call, -2)
    event(acme, occurred_at=datetime(2026, 9, 1, tzinfo=call.occurred_at.tzinfo), cost_nanousd=7)

    assert in_files(acme, OCTOBER) == sealed
    assert on_the_page(acme, OCTOBER) == sealed[0] - Decimal("0.000000002")
    pages = sum(on_the_page(acme, month) for month in (Month(date(2026, 9, 1)), OCTOBER, NOVEMBER))
    for files in zip(in_files(acme, OCTOBER), in_files(acme, NOVEMBER), strict=True):
        assert sum(files) == pages
    for month in (OCTOBER, NOVEMBER):
        page = on_the_page(acme, month)
        assert in_files(acme, Days(month.first, month.last)) == (page, page)
