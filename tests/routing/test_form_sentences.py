"""What the forms of agents, rules and tokens say of nonsense: beside its field, what to do, and never a pasted key."""

from __future__ import annotations

import pytest
from django.http import QueryDict

from routing.agent_forms import NewAgentForm, RuleSettingsForm
from routing.agent_views import UNBORN
from routing.token_forms import ApiTokenForm

KEY = f"sk-proj-{'a1B2' * 12}"
TOO_LONG = "Use {} characters at most; these are 5000."
ONE_OF_THE_LIST = "Choose one of the list."
OUTPUT = "Enter a number from 1 to 10,000,000."


@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        ("name", "\u200b\u2800", "Give the agent a name."),
        ("name", "x" * 5000, TOO_LONG.format(80)),
        ("slug", "x" * 5000, TOO_LONG.format(40)),
        ("description", "x" * 5000, TOO_LONG.format(300)),
        ("model", "x" * 5000, TOO_LONG.format(200)),
        ("days", "", ONE_OF_THE_LIST),
        ("days", KEY, ONE_OF_THE_LIST),
        ("key", KEY, "Choose a connected key."),
    ],
)
def test_of_a_new_agent(field, typed, sentence):
    form = NewAgentForm({"name": "Bot", "days": "30", field: typed}, row=UNBORN, keys=[])

    assert form.errors == {field: [sentence]}


def test_what_cannot_be_seen_does_not_count():
    form = NewAgentForm({"name": "Bot\0", "days": "30", "slug": "\u200bbot\u200b"}, row=UNBORN, keys=[])

    assert form.is_valid()
    assert (form.cleaned_data["name"], form.cleaned_data["slug"]) == ("Bot", "bot")


@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        ("temperature", "nan", "Enter a number from 0 to 2, such as 1."),
        ("most_output_tokens", "-5", OUTPUT),
        ("most_output_tokens", "9" * 39, OUTPUT),
        ("most_output_tokens", "1e5", "Enter a whole number. Write it in digits, such as 1000."),
        ("reasoning_effort", KEY, ONE_OF_THE_LIST),
        ("allowed_models", "\u200b", "One of the lines is no model. Write one “provider/model” a line."),
    ],
)
def test_of_a_rule(field, typed, sentence):
    assert RuleSettingsForm({field: typed}).errors == {field: [sentence]}


def test_a_list_of_models_is_read_without_nul():
    form = RuleSettingsForm({"allowed_models": "openai/gpt-5\0\r\n"})

    assert form.is_valid()
    assert form.cleaned_data["allowed_models"] == ["openai/gpt-5"]


@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        ("name", " ", "Give the token a name."),
        ("name", "x" * 5000, TOO_LONG.format(100)),
        ("days", KEY, ONE_OF_THE_LIST),
        ("scopes", KEY, "Tick what is in the list."),
        ("requests_a_minute", "0", "Enter a number from 1 to 1,000,000."),
        ("calls_at_once", "9" * 39, "Enter a number from 1 to 10,000."),
    ],
)
def test_of_a_token(acme, alice, field, typed, sentence):
    maker = alice.memberships.get()
    posted = QueryDict(mutable=True)
    posted.update({"name": "CI", "days": "30", "scopes": "view", "member": str(alice.pk)} | {field: typed})

    form = ApiTokenForm(posted, maker=maker, members=[maker], agents=[], keys=[])

    assert form.errors.get(field) == [sentence]
