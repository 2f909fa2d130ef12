"""Pages that begin where another one ended: every row once, in order, both ways, whatever stands in the address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.test import RequestFactory

from billing.models import CreditHold
from organizations.models import User
from organizations.paging import PageOfRows, page_of_rows

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NEWEST_FIRST, OLDEST_FIRST, BY_NUMBER = ("-created_at", "pk"), ("created_at", "-pk"), ("-pk",)


def people(count: int) -> None:
    """Three came at each moment."""
    User.objects.bulk_create(User(email=f"{number}@people.example") for number in range(count))
    for number, person in enumerate(User.objects.order_by("email")):
        User.objects.filter(pk=person.pk).update(created_at=NOW + timedelta(microseconds=number // 3))


def page(by: tuple[str, ...], **address: str | None) -> PageOfRows[User]:
    return page_of_rows(
        RequestFactory().get("/", {name: value for name, value in address.items() if value is not None}),
        User.objects.all(),
        by=by,
        size=4,
    )


@pytest.mark.parametrize("by", [NEWEST_FIRST, OLDEST_FIRST, BY_NUMBER])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 8, 14])
def test_next_leads_through_all_rows_and_previous_back(db, by, count):
    people(count)
    pages = [page(by)]
    while pages[-1].after:
        pages.append(page(by, after=pages[-1].after))

    assert [row for each in pages for row in each] == list(User.objects.order_by(*by))
    assert {len(each) for each in pages[:-1]} <= {4}
    for earlier, later in pairwise(pages):
        assert page(by, before=later.before).rows == earlier.rows
    assert pages[0].before is None


def test_who_comes_or_goes_meanwhile_moves_no_page(db):
    people(9)
    first = page(BY_NUMBER)
    second = page(BY_NUMBER, after=first.after)

    User.objects.create(email="new@people.example")
    User.objects.filter(pk=first.rows[-1].pk)._raw_delete("default")  # nothing refers to them

    assert page(BY_NUMBER, after=first.after).rows == second.rows


def test_moments_that_the_database_gives_are_refused(db):
    with pytest.raises(TypeError):
        page_of_rows(RequestFactory().get("/"), CreditHold.objects.all(), by=("-created_at", "pk"), size=4)


def test_where_nothing_is_left_the_first_page_is_shown(db):
    people(3)
    (last,) = User.objects.order_by("pk")[:1]

    assert len(page(BY_NUMBER, after=str(last.pk))) == 3
    assert len(page(BY_NUMBER, before=str(last.pk + 1))) == 3


@pytest.mark.parametrize(
    "text", ["", "_", "x", "1", "1_2_3", "٣_1", "-1_1", f"{'9' * 30}_1", f"1_{'9' * 5000}", "1_\x00", "2026-11-21_1"]
)
def test_nonsense_and_numbers_of_pages_lead_to_the_first_page(db, text):
    people(9)

    for name in ("after", "before", "page"):
        assert page(NEWEST_FIRST, **{name: text}).rows == page(NEWEST_FIRST).rows
