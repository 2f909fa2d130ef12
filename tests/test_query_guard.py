from __future__ import annotations

import importlib
from types import FunctionType
from typing import Any

import pytest

from candidates.briefings import create_briefing, unchecked_candidates
from candidates.models import Briefing, Candidate
from config.onboarding import ensure_platform
from tests.builders import NOW
from tests.query_guard import UNSCOPED, QueryWithoutOrganization


def ours(function: Any) -> Any:
    """`function` as if it stood in a module of ours: the guard looks at the file that asks."""
    code = function.__code__.replace(co_filename=create_briefing.__code__.co_filename)
    return FunctionType(code, {**function.__globals__, "__name__": "candidates.unheard_of"})


def everybodys_briefings() -> list[Briefing]:
    return list(Briefing.objects.filter(title="Engineer"))


def anybodys_briefing() -> bool:
    return Briefing.objects.filter(pk=1).exists()


def rename_everybodys() -> int:
    return Briefing.objects.update(title="Mine")


def delete_everybodys() -> int:
    return Briefing.objects.filter(title="Engineer").delete()[0]


def mine_beside_everybodys() -> list[Briefing]:
    """Names the column without a value: joins and columns are no filter."""
    return list(Briefing.objects.filter(checks__candidate__name="Ann").select_related("organization"))


@pytest.mark.parametrize(
    "function",
    [everybodys_briefings, anybodys_briefing, rename_everybodys, delete_everybodys, mine_beside_everybodys],
)
def test_a_query_of_ours_without_an_organization_fails(db, function):
    with pytest.raises(QueryWithoutOrganization, match=r"candidates\.unheard_of"):
        ours(function)()


def test_what_a_test_itself_asks_is_not_guarded(db):
    assert everybodys_briefings() == []


def test_queries_that_name_an_organization_and_rows_in_hand_pass(acme):
    briefing = create_briefing(organization=acme, title="Engineer", actor=None, now=NOW)

    def follow() -> int:
        same = Briefing.objects.for_organization(acme).get(pk=briefing.pk)
        same.title = "Senior engineer"
        same.save()
        same.refresh_from_db()
        return Candidate.objects.filter(pk__in=unchecked_candidates(same)).count()

    function = FunctionType(
        follow.__code__.replace(co_filename=create_briefing.__code__.co_filename),
        {**globals(), "__name__": "candidates.unheard_of"},
        closure=follow.__closure__,
    )
    assert function() == 0


def test_what_the_platform_owns_may_be_asked_for_by_that_name(db):
    ensure_platform()

    def managed() -> int:
        return Briefing.objects.filter(organization__is_platform=True).count()

    assert ours(managed)() == 0


@pytest.mark.parametrize("name", list(UNSCOPED))
def test_every_exception_names_code_that_exists(name):
    module, _, attribute = name.partition(":")

    found = importlib.import_module(module)
    assert not attribute or hasattr(found, attribute)
    assert UNSCOPED[name]
