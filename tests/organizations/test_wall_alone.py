"""
The wall in the database, alone: what PostgreSQL keeps apart when no query says whose rows it wants.

Every comparison of an `organization_id` is taken out of the queries of a request, whoever wrote them: querysets,
managers, reverse relations, SQL by hand. What remains is row-level security. The whole matrix of
tests/test_urls_and_roles.py is asked again that way; at the end it is asked without policies, where it has to fail.
Where code opens EVERY (tests/organizations/test_scopes.py names the places) there is no wall, and filters stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import MultipleObjectsReturned
from django.db import DatabaseError, ProgrammingError, connection, transaction
from django.test import Client

from candidates import check_work, result_writer
from candidates.worker import run_pending_checks
from gateway import dispatch
from organizations import tenancy
from organizations.tenancy import EVERY, scope
from tests.conftest import logged_in
from tests.serving_role import as_owner
from tests.test_urls_and_roles import (
    METHODS,
    OF_AN_ORGANIZATION,
    ORGANIZATION_URLS,
    SECRET,
    Tenant,
    ask,
    contents,
    strangers_own,
    test_a_stranger_cannot_tell_an_organization_from_one_that_is_absent,
    test_fields_that_no_form_has_change_nothing,
    test_ids_of_another_organization_are_as_absent_under_ones_own_address,
    test_ids_of_another_organization_in_bodies_and_queries_are_as_absent,
    test_searches_filters_and_pages_find_nothing_of_another_organization,
    world,
)

__all__ = [
    "strangers_own",
    "test_a_stranger_cannot_tell_an_organization_from_one_that_is_absent",
    "test_fields_that_no_form_has_change_nothing",
    "test_ids_of_another_organization_are_as_absent_under_ones_own_address",
    "test_ids_of_another_organization_in_bodies_and_queries_are_as_absent",
    "test_searches_filters_and_pages_find_nothing_of_another_organization",
    "world",
]

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="needs PostgreSQL: SQLite has no row-level security"
)
SAYS_WHOSE = re.compile(r'"?\b\w+"?\."?organization_id"? (?:= (%s)|IN \((%s(?:, %s)*)\))')
TENANT_ROWS = {
    model._meta.db_table: model._default_manager
    for model in apps.get_models()
    if model._meta.db_table in tenancy.tenant_tables(apps)
}
CONFUSED = (AssertionError, MultipleObjectsReturned)


class Filters:
    """Takes the organization out of the queries of requests, and counts them."""

    def __init__(self) -> None:
        self.are_on = False
        self.taken_out = 0

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not self.are_on and tenancy._scope.get() != EVERY:
            sql, count = SAYS_WHOSE.subn(self._anything, sql)
            self.taken_out += count
        return execute(sql, params, many, context)

    @staticmethod
    def _anything(found: re.Match[str]) -> str:
        return f"array[{found[1] or found[2]}]::bigint[] IS NOT NULL"


@pytest.fixture(autouse=True)
def no_filters(world, strangers_own) -> Iterator[Filters]:
    filters = Filters()
    with connection.execute_wrapper(filters):
        yield filters


def leaks(client: Client, own: Tenant, names: Iterable[str]) -> list[tuple[str, str]]:
    """URL names and methods of pages and fragments, under the own address, that say something of Acme."""
    found = []
    for url in ORGANIZATION_URLS:
        for method in METHODS if url.name in names else ():
            for headers in ({}, {"HTTP_HX_REQUEST": "true"}):
                client.defaults.update(headers)
                response = ask(client, method, url.address(own.ids))
                said = f"{response.headers}{response.content.decode()}".lower()
                if SECRET.lower() in said or "@acme.example" in said:
                    found.append((url.name, method))
            client.defaults.pop("HTTP_HX_REQUEST")
    return found


def test_pages_without_filters_show_the_own_organization_only(strangers_own, charlie, no_filters):
    assert leaks(logged_in(charlie), strangers_own, OF_AN_ORGANIZATION) == []
    assert no_filters.taken_out > 500


def test_posts_without_filters_leave_other_organizations_as_they_are(world, strangers_own, charlie):
    """An UPDATE or DELETE that forgot its WHERE reaches the rows of the scope only."""
    client = logged_in(charlie)
    before = contents(world.organization)
    for url in ORGANIZATION_URLS:
        for method in sorted(OF_AN_ORGANIZATION[url.name][1]):
            with transaction.atomic():
                getattr(client, method.lower())(url.address(strangers_own.ids))
                assert contents(world.organization) == before, (url.name, method)
                transaction.set_rollback(True)


def test_the_database_refuses_every_write_across_organizations(world, strangers_own, no_filters):
    no_filters.are_on = True  # the ids of some rows are those of their organization
    theirs, own, before = world.organization, strangers_own.organization, contents(world.organization)
    for table, rows in TENANT_ROWS.items():
        pks = list(rows.filter(organization=theirs).values_list("pk", flat=True))
        # The check of the policy comes before those of columns, so nothing else needs to be given.
        insert = f"INSERT INTO {table} (organization_id) VALUES (%s)"  # noqa: S608  # no value of anybody's
        with scope(own, "test"), connection.cursor() as cursor:
            assert set(rows.values_list("organization", flat=True)) <= {own.pk}, table
            assert rows.filter(pk__in=pks).update(organization=own) == 0, table
            assert rows.filter(pk__in=pks).delete()[0] == 0, table
            with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
                cursor.execute(insert, [theirs.pk])
            if rows.exists():
                refusals = r"row-level security|is append-only"
                with pytest.raises(DatabaseError, match=refusals), transaction.atomic():
                    rows.update(organization=theirs)

    assert contents(theirs) == before


def test_checks_run_and_own_keys_are_opened_behind_the_wall_of_their_organization(strangers_own, monkeypatch):
    """The worker begins outside of every scope, as a command does."""
    seen: list[tuple[str, str]] = []

    def watch(owner: object, name: str) -> None:
        plain = getattr(owner, name)

        def watched(*given: Any, **named: Any) -> Any:
            with connection.cursor() as cursor:
                cursor.execute("SELECT current_setting(%s)", [tenancy.VARIABLE])
                seen.append((name, cursor.fetchone()[0]))
            return plain(*given, **named)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in (
        (check_work.OrganizationWork, "_claim"),
        (dispatch, "_open_route"),
        (result_writer, "_complete"),
    ):
        watch(owner, name)
    run_pending_checks(organization_id=strangers_own.organization.pk)

    assert {name for name, _ in seen} == {"_claim", "_open_route", "_complete"}
    assert {value for _, value in seen} == {str(strangers_own.organization.pk)}


@pytest.fixture
def no_policies(no_filters) -> None:
    with as_owner(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in tenancy.tenant_tables(apps):
            cursor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")


def test_without_policies_the_same_questions_do_leak(no_policies, world, strangers_own, charlie):
    """So the tests above are able to fail."""
    lists = {"organizations:members", "organizations:audit", "candidates:list", "candidates:briefings", "calls"}

    assert {name for name, _ in leaks(logged_in(charlie), strangers_own, lists)} == lists
    with pytest.raises(CONFUSED):
        test_ids_of_another_organization_are_as_absent_under_ones_own_address(world, strangers_own, charlie)
    with pytest.raises(CONFUSED):
        test_ids_of_another_organization_in_bodies_and_queries_are_as_absent(world, strangers_own, charlie, False)
    with pytest.raises(CONFUSED):
        test_posts_without_filters_leave_other_organizations_as_they_are(world, strangers_own, charlie)
