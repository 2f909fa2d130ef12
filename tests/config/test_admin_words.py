"""Lists and pages of the staff admin speak as the product does: they show nothing as it is stored."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.db import models
from django.urls import reverse
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from organizations.long_lists import NewestFirst
from organizations.models import AuditEvent
from routing.models import Agent
from tests.usage.conftest import event

REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)
AFTERNOON = datetime(2026, 3, 4, 15, 7, tzinfo=UTC)
NANO = 7_320_400_000
STORED = {
    "provider": "openrouter",
    "managed_provider": "openrouter",
    "action": "candidate_check",
    "status_reason": {},
    "last_check_reason": {},
    "failure_reason": {},
    "state_reason": {},
    "reason": "",
    "provider_limits": {},
    "verdicts": [],
    "drivers": [],
    "unmeasured": [],
    "also": [],
    "query": "",
    "allowed_models": ["gpt-4.1"],
    "details": {"provider": "openrouter", "managed_nanousd_a_day": NANO, "is_active": True, "usd": None},
    "route": {"provider": "openrouter", "model": "gpt-4.1", "mode": "byok", "at_most_nanousd": NANO},
    "slug": "acme",
    "email": "someone@acme.example",
}
RAW = {
    "an amount in nano-USD": r"7,?320,?400,?000",
    "the slug of a provider": r"\bopenrouter\b",
    "the slug of an action": r"candidate_check",
    "the slug of a mode": r"\bbyok\b",
    "the name of a column": r"(?i:nanousd|\bd posted\b|\bd held\b|\bseq\b)",
    "a time of twelve hours": r"\b[ap]\.m\.",
    "a time without its zone": r"\d\d:\d\d(?!:| UTC|\d)",
    "a value of Python": r"\b(?:True|False|None|datetime)\b|\+00:00",
    "braces of a program": r"\{['\"]",
}


def sample(model: type[models.Model], depth: int = 0) -> models.Model:
    """A row that was not saved, with something stored in each of its columns."""
    row: Any = model()
    row.members, row.task_name, row.task_success = 1, None, None  # which lists count, or look up
    for field in model._meta.concrete_fields:
        if field.is_relation:
            if depth < 3:
                setattr(row, field.name, sample(field.related_model, depth + 1))  # type: ignore[arg-type]
        else:
            setattr(row, field.attname, _stored(model, field))
    row._state.adding = False
    return row


def _stored(model: type[models.Model], field: models.Field[Any, Any]) -> Any:
    if (model, field.name) == (AuditEvent, "action"):
        return "provider_key.saved"
    if field.name in STORED:
        return STORED[field.name]
    if field.choices:
        return next(iter(dict(field.flatchoices)))
    if "nanousd" in field.name:
        return NANO
    if model is OrmQ and field.name == "payload":
        return SignedPackage.dumps({"id": "1", "name": "one", "func": "a.b", "args": ()})
    for kind, value in (
        (models.UUIDField, uuid.UUID(int=7)),
        (models.DateTimeField, AFTERNOON),
        (models.DateField, date(2026, 3, 4)),
        (models.BooleanField, True),
        (models.DecimalField, Decimal("0.5")),
        (models.IntegerField, 3),
        (models.JSONField, [{"provider": "openrouter", "cost_nanousd": NANO}]),
        (models.BinaryField, b"words"),
    ):
        if isinstance(field, kind):
            return value
    return "words"


def said(html: str) -> str:
    """What is read on a page: without scripts, addresses and what a form sends."""
    main = html[html.index('id="main"') :] if 'id="main"' in html else html
    main = re.sub(r"(?s)<(script|style|template|select)\b.*?</\1>", " ", main)
    shown = re.sub(r'(?s)<[^>]*?(?:data-label|title|aria-label)="([^"]*)"[^>]*>', r" \1 ", main)
    return " ".join(unescape(re.sub(r"(?s)<[^>]*>", " ", shown)).split())


def raw_forms(text: str) -> dict[str, str]:
    found = {what: re.search(rf".{{0,40}}(?:{pattern}).{{0,20}}", text) for what, pattern in RAW.items()}
    return {what: match[0] for what, match in found.items() if match}


@pytest.fixture
def one_row(monkeypatch, acme) -> None:
    """Every list and every page shows the sample of its model."""

    def get_results(changelist: Any, request: Any) -> None:
        changelist.result_list = [sample(changelist.model)]
        changelist.result_count = changelist.full_result_count = 1
        changelist.can_show_all, changelist.multi_page = True, False
        changelist.show_full_result_count = False
        changelist.paginator = changelist.model_admin.get_paginator(request, changelist.queryset, 100)

    monkeypatch.setattr(NewestFirst, "get_results", get_results)
    for model in REGISTERED:
        model_admin = admin.site.get_model_admin(model)
        monkeypatch.setattr(model_admin, "get_object", lambda *_, model=model: sample(model), raising=False)


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
def test_a_list_shows_nothing_as_it_is_stored(as_staff, one_row, model):
    options = model._meta

    page = as_staff.get(reverse(f"admin:{options.app_label}_{options.model_name}_changelist"))

    assert page.status_code == 200
    assert raw_forms(said(page.content.decode())) == {}


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model._meta.label)
def test_a_page_shows_nothing_as_it_is_stored(as_staff, one_row, model):
    options = model._meta

    page = as_staff.get(reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[sample(model).pk]))

    assert page.status_code == 200
    assert raw_forms(said(page.content.decode())) == {}


def test_calls_of_agents_stand_under_their_names_at_one_query_more(
    as_staff, acme, globex, django_assert_max_num_queries
):
    Agent.objects.create(organization=acme, slug="helper", name="Support replies")
    Agent.objects.create(organization=globex, slug="helper", name="House keeping")
    for organization in (acme, globex):
        for _ in range(3):
            event(organization, action="helper")

    with django_assert_max_num_queries(20):
        page = said(as_staff.get("/admin/usage/usageevent/").content.decode())

    assert page.count("Support replies") == page.count("House keeping") == 3
    assert "elper" not in page
