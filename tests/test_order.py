"""What is left out where it would do the same again is what no database has a part in."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from tests import order


def left_out(monkeypatch, request, *arguments: str, database: str = "postgresql") -> bool:
    monkeypatch.setenv("KEYFARE_TEST_DATABASE", database)
    monkeypatch.setattr(request.config, "args", list(arguments))
    monkeypatch.setattr(request.config.hook, "pytest_deselected", lambda items: None)
    items = [request.node]
    order.once(request.config, items)
    return items == []


def test_a_test_without_a_database_runs_once(monkeypatch, request):
    assert left_out(monkeypatch, request, "tests")
    assert not left_out(monkeypatch, request, "tests", database="")


def test_a_test_that_is_asked_for_runs(monkeypatch, request):
    assert not left_out(monkeypatch, request, "tests/test_order.py")


def test_a_test_with_a_database_runs_with_each(monkeypatch, request, db):
    assert not left_out(monkeypatch, request, "tests")


@pytest.mark.django_db
def test_so_does_one_that_is_marked(monkeypatch, request):
    assert not left_out(monkeypatch, request, "tests")


def test_so_does_one_whose_module_speaks_of_a_database(monkeypatch, request):
    monkeypatch.setattr(request.module, "connection", None, raising=False)

    assert not left_out(monkeypatch, request, "tests")


def test_the_files_that_are_named_are_there():
    assert [name for name in order.SLOW + order.WITHOUT_ONE if not (Path(settings.BASE_DIR) / name).is_file()] == []
