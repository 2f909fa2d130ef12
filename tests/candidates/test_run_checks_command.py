from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing.ledger import balance
from candidates.acceptance import Accepted, accept_checks
from candidates.management.commands import run_checks
from candidates.models import CandidateCheck
from tests.builders import connect_managed_key, give_credits, import_people, write_briefing

pytestmark = pytest.mark.usefixtures("simulated_providers")
DJANGO = "Builds Django services on PostgreSQL."
UNREADABLE = "Builds Django services. [[simulate-unparsable]]"


@pytest.fixture
def briefing(acme):
    connect_managed_key()
    return write_briefing(acme, ("Django", "must"), ("PostgreSQL", "nice"))


def run(*options: object, organization: str = "acme") -> str:
    output = StringIO()
    call_command("run_checks", f"--organization={organization}", *map(str, options), stdout=output, stderr=StringIO())
    return output.getvalue()


def test_it_checks_who_was_not_checked_and_says_how_many_it_skipped(acme, briefing):
    give_credits(acme, 100)
    import_people(acme, DJANGO, DJANGO, "Sells shoes.")

    first = json.loads(run("--briefing", briefing.pk, "--limit=2", "--json"))
    second = json.loads(run("--briefing", briefing.pk, "--json"))
    third = json.loads(run("--briefing", briefing.pk, "--json"))

    assert (first["accepted"], first["skipped"], first["left"], first["credits"]) == (2, 0, 1, 8)
    assert (first["completed"], first["strong"], first["credits_available"]) == (2, 2, 92)
    assert (second["accepted"], second["skipped"], second["completed"], second["none"]) == (1, 2, 1, 1)
    assert (third["accepted"], third["skipped"], third["credits"], third["left"]) == (0, 3, 0, 0)


def test_failed_checks_are_counted_free_and_tried_again_next_time(acme, briefing):
    give_credits(acme, 100)
    import_people(acme, UNREADABLE)

    for _ in range(2):
        result = json.loads(run("--briefing", briefing.pk, "--json"))
        assert (result["accepted"], result["skipped"], result["failed"], result["credits"]) == (1, 0, 1, 0)
        assert list(result["failures"].values()) == [1]


def test_without_json_it_prints_a_table_and_a_sentence(acme, briefing):
    give_credits(acme, 100)
    import_people(acme, DJANGO)

    printed = run("--briefing", briefing.pk)

    assert "Strong fit" in printed
    assert "1 checked for 4 credits, 0 skipped as checked already, 0 left. 96 credits available." in printed


def test_too_few_credits_stop_it_before_anything_starts(acme, briefing):
    give_credits(acme, 7)
    import_people(acme, DJANGO, DJANGO)

    with pytest.raises(CommandError, match="only 7 are available"):
        run("--briefing", briefing.pk)

    assert not CandidateCheck.objects.exists()
    assert balance(organization=acme).held == 0


def test_many_are_accepted_so_many_at_a_time(acme, briefing, monkeypatch):
    monkeypatch.setattr(run_checks, "MOST_AT_ONCE", 2)
    batches: list[int] = []

    def accept(**asked: Any) -> Accepted:
        batches.append(len(asked["candidates"]))
        return accept_checks(**asked)

    monkeypatch.setattr(run_checks, "accept_checks", accept)
    give_credits(acme, 100)
    import_people(acme, *[DJANGO] * 5)

    result = json.loads(run("--briefing", briefing.pk, "--json"))

    assert batches == [2, 2, 1]
    assert (result["accepted"], result["completed"], result["left"], result["credits"]) == (5, 5, 0, 20)


def test_what_was_done_before_credits_ran_out_is_reported(acme, briefing, monkeypatch, capsys):
    monkeypatch.setattr(run_checks, "MOST_AT_ONCE", 2)
    give_credits(acme, 11)
    import_people(acme, *[DJANGO] * 5)
    output = StringIO()

    with pytest.raises(CommandError, match="only 3 are available"):
        call_command("run_checks", "--organization=acme", f"--briefing={briefing.pk}", "--json", stdout=output)

    result = json.loads(output.getvalue())
    assert (result["accepted"], result["completed"], result["left"], result["credits"]) == (2, 2, 3, 8)


@pytest.mark.parametrize("number", ["999999", "0", "-1", str(2**70)])
def test_an_unknown_briefing_is_named_with_those_there_are(acme, briefing, number):
    with pytest.raises(CommandError, match="Engineer"):
        run(f"--briefing={number}")


def test_a_briefing_of_another_organization_is_unknown(acme, globex, briefing):
    foreign = write_briefing(globex, ("Django", "must"), title="Secret")

    with pytest.raises(CommandError) as refused:
        run(f"--briefing={foreign.pk}")

    assert "Secret" not in str(refused.value)


def test_an_unknown_organization_no_requirements_and_a_bad_limit_are_said(acme, briefing):
    give_credits(acme, 10)
    import_people(acme, DJANGO)
    empty = write_briefing(acme)

    with pytest.raises(CommandError, match="no organization “nobody”"):
        run(f"--briefing={briefing.pk}", organization="nobody")
    with pytest.raises(CommandError, match="no requirements yet"):
        run(f"--briefing={empty.pk}")
    with pytest.raises(CommandError, match="whole number from 1"):
        run(f"--briefing={briefing.pk}", "--limit=0")
