from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing import ledger
from billing.models import LedgerEntry


def grant(*arguments: str) -> str:
    out = StringIO()
    call_command("grant_credits", *arguments, stdout=out)
    return out.getvalue()


def test_an_operator_grants_credits(acme):
    said = grant("--organization", "acme", "--amount", "250", "--reason", "Invoice 12")

    assert said.strip() == "Acme: 250 credits granted (entry 1). 250 available now."
    entry = LedgerEntry.objects.for_organization(acme).get()
    assert (entry.d_posted, entry.reason, entry.actor) == (250, "Invoice 12", None)


def test_it_answers_in_json(acme):
    answer = json.loads(grant("--organization", "acme", "--amount", "5", "--reason", "Trial", "--json"))

    assert answer == {"organization": "acme", "granted": 5, "entry": 1, "available": 5}


def test_the_same_key_grants_once_and_without_one_each_run_grants(acme):
    arguments = ("--organization", "acme", "--amount", "5", "--reason", "Trial")

    for _ in range(2):
        grant(*arguments, "--idempotency-key", "trial")
        grant(*arguments)

    assert ledger.balance(organization=acme).available == 15
    with pytest.raises(CommandError, match="“trial” was already recorded with other values"):
        grant("--organization", "acme", "--amount", "6", "--reason", "Trial", "--idempotency-key", "trial")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--organization": "nobody"}, "There is no organization “nobody”"),
        ({"--amount": "many"}, "“many” is no amount"),
        ({"--amount": "0"}, "must be a whole number above 0"),
        ({"--amount": "1.5"}, "“1.5” is no amount"),
        ({"--amount": "9" * 30}, "may be at most"),
        ({"--reason": " "}, "Give a reason"),
        ({"--idempotency-key": "k" * 121}, "idempotency key must have 1 to 120 characters"),
    ],
)
def test_bad_input_gets_a_sentence_and_grants_nothing(acme, change, sentence):
    options = {"--organization": "acme", "--amount": "5", "--reason": "Trial"} | change

    with pytest.raises(CommandError, match=sentence):
        grant(*(f"{name}={value}" for name, value in options.items()))

    assert not LedgerEntry.objects.for_organization(acme).exists()
