"""A reason is a code and what it names; rows keep that, and the sentence is made when it is shown."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection

from providers.adapters import sentences
from providers.adapters.base import ErrorKind
from providers.adapters.google import BLOCKED
from providers.adapters.reasons import Reason, reason
from providers.adapters.sentences import OF_A_KEY, SENTENCES
from providers.keys.validation import mark_key_refused
from providers.models import KeyValidation, ProviderKey
from tests.builders import NOW, connect_key
from tests.config.test_incidents import sources

NAMED = re.compile(r"\{(\w+)")
UNITS = ("day", "days", "hour", "hours", "minute", "minutes")
# Codes that are put together, or have a name, where they are used.
ELSEWHERE = {*(f"renewed.{unit}" for unit in UNITS), *(code for _, _, code in BLOCKED), "cannot_be_checked"}


def used() -> Iterator[tuple[str, set[str]]]:
    """Each code that stands in the source, with what it is given to name."""
    for _, tree in sources():
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or not call.args:
                continue
            prefix = {"reason": "", "BaseUrlRefused": "base_url."}.get(call.func.id)
            if prefix is None or isinstance(call.args[0], ast.JoinedStr):
                continue
            named = {keyword.arg for keyword in call.keywords if keyword.arg}
            for part in ast.walk(call.args[0]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield prefix + part.value, named


def test_every_code_has_a_sentence_and_names_what_stands_in_it():
    for code, named in used():
        told = set(NAMED.findall(SENTENCES[code])) | set(NAMED.findall(OF_A_KEY.get(code, "")))
        assert named == told, code


def test_no_sentence_stands_there_unused():
    assert set(SENTENCES) - ELSEWHERE == {code for code, _ in used()}
    assert set(OF_A_KEY) <= set(SENTENCES)


def test_a_reason_comes_back_from_its_row_as_it_was():
    why = reason("not_proven", model="m", because=reason("quota_used_up", provider="P", until=reason("renewed.utc")))

    back = Reason.from_json(json.loads(json.dumps(why.as_json())))

    assert back == why
    assert back.of_key == (
        "A test call to “m” did not prove the key. P limits what this key may do in a day or a month, and that is used "
        "up. It is renewed at 00:00 UTC. Validate the key again then, or raise the limit there."
    )


def test_what_a_parameter_holds_is_no_template():
    assert reason("rate_limited", provider="{host} {0}").sentence.startswith("{host} {0} limits")


@pytest.mark.parametrize("stored", [{"code": "of a later version"}, {"code": "no_answer"}, {"code": "{provider}"}])
def test_a_row_that_this_version_does_not_understand_breaks_no_page(stored):
    assert "{" not in Reason.from_json(stored).of_key


@pytest.mark.usefixtures("simulated_providers")
def test_rows_keep_the_code_and_pages_show_the_sentence_in_its_present_words(as_alice, acme, monkeypatch):
    key = connect_key(acme)
    why = reason("no_credit", provider="OpenRouter")

    mark_key_refused(key_id=key.pk, secret_version=1, kind=ErrorKind.NO_CREDIT, why=why, now=NOW)
    before = as_alice.get("/o/acme/settings").content.decode()
    monkeypatch.setitem(sentences.SENTENCES, "no_credit", "Kein Guthaben bei {provider}.")
    after = as_alice.get("/o/acme/settings").content.decode()

    stored = ProviderKey.objects.get()
    assert (stored.status_reason, stored.status_detail) == (
        {"code": "no_credit", "parameters": {"provider": "OpenRouter"}},
        "",
    )
    assert "has no credit left" in before
    assert "Kein Guthaben bei OpenRouter." in after


@pytest.mark.usefixtures("simulated_providers")
def test_rows_from_before_show_the_text_they_hold(as_alice, as_staff, acme):
    key = connect_key(acme, kind="invalid")
    ProviderKey.objects.update(
        status_reason=None, status_detail="As it was said.", last_check_failed_at=NOW, last_check_failure="Then, too."
    )
    KeyValidation.objects.update(reason=None, detail="And of this attempt.")

    page = as_alice.get("/o/acme/settings").content.decode()
    staff = as_staff.get(f"/admin/providers/providerkey/{key.pk}/change/").content.decode()
    attempts = as_staff.get("/admin/providers/keyvalidation/").content.decode()

    assert "As it was said." in page
    assert "Then, too." in page
    assert "As it was said." in staff
    assert "And of this attempt." in attempts


@pytest.mark.usefixtures("simulated_providers")
def test_an_earlier_version_finds_the_sentences_as_text(acme, globex):
    connect_key(acme, kind="invalid")
    connect_key(globex)
    back = import_module("providers.migrations.0014_reasons_as_text").write_texts

    back(apps, SimpleNamespace(connection=connection))

    texts = dict(ProviderKey.objects.values_list("organization__slug", "status_detail"))
    assert texts["acme"].startswith("OpenRouter does not accept this key.")
    assert texts["globex"] == ""
    assert {each.detail for each in KeyValidation.objects.all()} == set(texts.values())
