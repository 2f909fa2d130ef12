"""Lists of the staff admin over tables that grow: the newest rows, and what is not shown is said."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.filters import AllValuesFieldListFilter, RelatedFieldListFilter
from django.db import connection
from django.db.models import DateField
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from billing.models import CreditHold, LedgerEntry
from organizations import audit, long_lists
from organizations.models import AuditEvent, Organization
from tests.billing.conftest import grant, hold
from tests.builders import import_people
from tests.plans import index_conditions

REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)
EVENTS, ENTRIES, HOLDS = (
    "/admin/organizations/auditevent/",
    "/admin/billing/ledgerentry/",
    "/admin/billing/credithold/",
)
LARGEST_PAGE = 150 * 1024


@pytest.fixture
def few(monkeypatch) -> None:
    monkeypatch.setattr(long_lists, "MOST", 5)


def record(organization: Organization, *targets: str) -> None:
    for target in targets:
        audit.record(organization=organization, actor=None, action="member.added", target=target)


def shown(response) -> list[str]:
    return [row.target for row in response.context["cl"].result_list]


def list_of(request_user, model, **address: str) -> Any:
    request = RequestFactory().get("/", address)
    request.user = request_user
    return admin.site.get_model_admin(model).get_changelist_instance(request)


def test_a_list_is_of_the_newest_rows_and_says_so(as_staff, acme, globex, few):
    record(globex, "old one", "old two")
    record(acme, "a", "b", "c", "d", "e")

    page = as_staff.get(EVENTS)

    assert shown(page) == ["e", "d", "c", "b", "a"]
    assert "The newest 5 of more than 5 audit events. For older ones filter by organization or created at." in said(
        page
    )


def test_a_list_may_end_among_rows_of_one_moment(as_staff, acme, few):
    """A moment of the database's own, which SQLite writes with three decimals and Django with six."""
    holds = CreditHold.objects.bulk_create(CreditHold(organization=acme, amount=1, purpose="check") for _ in range(8))

    rows = as_staff.get(HOLDS).context["cl"].result_list

    assert [row.pk for row in rows] == sorted((each.pk for each in holds), reverse=True)[:5]


def test_a_short_list_is_counted(as_staff, acme, few):
    record(acme, "a", "b", "c", "d", "e")

    page = as_staff.get(EVENTS)

    assert shown(page) == ["e", "d", "c", "b", "a"]
    assert "5 audit events" in said(page)
    assert "newest" not in said(page)
    assert "Show all" not in said(page)


def test_an_organization_has_newest_rows_of_its_own(as_staff, acme, globex, few):
    record(globex, "old one", "old two")
    record(acme, "a", "b", "c", "d", "e", "f")

    assert shown(as_staff.get(EVENTS, {"organization__id__exact": globex.pk})) == ["old two", "old one"]
    assert shown(as_staff.get(EVENTS, {"organization__id__exact": acme.pk})) == ["f", "e", "d", "c", "b"]


@pytest.mark.parametrize("day", ["2026-13-45", "nonsense", ""])
def test_days_that_are_none_narrow_nothing(as_staff, acme, day):
    record(acme, "a", "b")

    page = as_staff.get(EVENTS, {"created_at_from_0": day, "created_at_from_1": "00:00"}, follow=True)

    assert shown(page) == ["b", "a"]


def test_a_search_looks_at_the_newest_and_says_where_it_looked(as_staff, acme, few):
    record(acme, "Findable long ago", "Findable", "b", "c", "d", "e")

    assert shown(as_staff.get(EVENTS, {"q": "findable"})) == ["Findable"]
    assert "1 of the newest 5 audit event." in said(as_staff.get(EVENTS, {"q": "findable"}))
    nothing = as_staff.get(EVENTS, {"q": "nobody"})
    assert "Looked for “nobody” in: Actor label, action, target, organization." in said(nothing)
    assert "0 of the newest 5 audit events." in said(nothing)


def test_a_search_that_finds_too_much_says_so(as_staff, acme, monkeypatch):
    monkeypatch.setattr(long_lists, "MOST_FOUND", 2)
    record(acme, "one", "two", "three")

    page = as_staff.get(EVENTS, {"q": "member.added"})

    assert shown(page) == ["three", "two"]
    assert "The first 2 audit events of more that were found. Add a word to find fewer." in said(page)


def test_an_id_is_found_however_old(as_staff, acme, few):
    grant(acme, 100)
    first, *_ = hold(acme, *[1] * 8)
    old = LedgerEntry.objects.get(hold=first)

    holds = as_staff.get(HOLDS, {"q": str(first.pk)})
    by_hold, by_key = (as_staff.get(ENTRIES, {"q": typed}) for typed in (str(first.pk), f"hold:{first.pk}"))

    assert list(holds.context["cl"].result_list) == [first]
    assert list(by_hold.context["cl"].result_list) == list(by_key.context["cl"].result_list) == [old]
    assert "1 credit hold" in said(holds)


@pytest.mark.parametrize("address", [{}, {"p": "2"}, {"q": "nothing"}, {"o": "3"}, {"state__exact": "pending"}])
def test_no_list_reads_more_than_the_newest(as_staff, acme, few, address):
    grant(acme, 100)
    hold(acme, *[1] * 12)

    with CaptureQueriesContext(connection) as asked:
        as_staff.get(HOLDS, address)

    reads = [query["sql"] for query in asked if 'FROM "billing_credithold"' in query["sql"]]
    where_they_end, *others = reads
    assert "OFFSET 4" in where_they_end
    assert others
    assert all('"billing_credithold"."created_at" >= ' in sql for sql in others if " IN (" not in sql), others


def test_a_hundred_rows_of_the_widest_lists_are_no_heavy_page(as_staff, acme):
    grant(acme, 1000)
    hold(acme, *[1] * 100)

    for address, rows in ((ENTRIES, 100), (HOLDS, 100)):
        page = as_staff.get(address)
        assert len(page.context["cl"].result_list) == rows
        assert len(page.content) < LARGEST_PAGE, (address, len(page.content))


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
def test_no_filter_asks_for_all_there_is(staff, acme, model):
    """Neither all values of a column nor all rows of another table; choices are fixed, or looked up as one types."""
    changelist = list_of(staff, model)

    for chosen in changelist.filter_specs:
        assert not isinstance(chosen, AllValuesFieldListFilter), chosen
        assert isinstance(chosen, AutocompleteSelectFilter) or not isinstance(chosen, RelatedFieldListFilter), chosen
    assert not admin.site.get_model_admin(model).date_hierarchy
    assert isinstance(changelist, long_lists.NewestFirst)


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
def test_every_list_is_filtered_by_organization_and_time_where_rows_have_them(staff, acme, model):
    changelist = list_of(staff, model)
    fields = {field.name: field for field in model._meta.fields}
    has_time = any(isinstance(fields.get(name), DateField) for name in changelist.list_display)

    of_organizations = [each for each in changelist.narrowing if isinstance(each, AutocompleteSelectFilter)]
    of_times = [each for each in changelist.filter_specs if isinstance(each, long_lists.OF_TIMES)]

    assert len([each for each in of_organizations if each.field_path == "organization"]) == ("organization" in fields)
    assert len(of_times) == has_time


def test_a_time_by_which_a_list_is_not_ordered_is_looked_for_among_its_newest(as_staff, acme, few):
    import_people(acme, *"abcdefgh")

    with CaptureQueriesContext(connection) as asked:
        page = as_staff.get("/admin/candidates/candidate/", {"created_at_from_0": "2020-01-01"})

    assert "5 of the newest 5 candidates. For older ones filter by organization." in said(page)
    where_they_end, *others = [query["sql"] for query in asked if 'FROM "candidates_candidate"' in query["sql"]]
    assert "created_at" not in where_they_end.partition("WHERE")[2]
    assert all('"candidates_candidate"."id" >= ' in sql for sql in others if " IN (" not in sql), others


@pytest.mark.parametrize(
    "model",
    [model for model in REGISTERED if model._meta.app_label in ("billing", "candidates", "organizations")],
    ids=lambda model: model._meta.label,
)
def test_an_index_gives_the_newest_of_everybody(staff, model):
    newest_by = list_of(staff, model).newest_by

    if newest_by not in ("", "pk"):
        assert [f"-{newest_by}", "-id"] in [index.fields for index in model._meta.indexes]


@pytest.mark.parametrize("model", [AuditEvent, CreditHold, LedgerEntry])
def test_the_newest_are_found_without_a_sort(staff, acme, model):
    rows = list_of(staff, model).queryset.order_by(f"-{list_of(staff, model).newest_by}", "-pk").values_list("pk")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # of a small table it would rather read everything
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")

    plan = rows[:5].explain()

    assert "_of_everybody" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


def test_an_index_leads_to_where_the_newest_end_within_a_moment(staff, acme, few):
    record(acme, *"abcdefgh")

    rows = list_of(staff, AuditEvent).queryset.order_by("-created_at", "-pk").values_list("pk")
    with CaptureQueriesContext(connection) as queries:
        assert len(rows) == 5

    conditions = index_conditions(queries[0]["sql"], in_order=True)
    both = "ROW(created_at, id) >= " if connection.vendor == "postgresql" else "created_at>?"
    assert any(both in condition for condition in conditions), conditions


def test_organizations_to_filter_by_are_looked_up_as_one_types(as_staff, acme, globex):
    assert globex.name not in said(as_staff.get(HOLDS))

    answer = as_staff.get(
        "/admin/autocomplete/",
        {"app_label": "billing", "model_name": "credithold", "field_name": "organization", "term": "glob"},
    )

    assert answer.json()["results"] == [{"id": str(globex.pk), "text": globex.name}]


def said(response) -> str:
    return " ".join(response.content.decode().split())
