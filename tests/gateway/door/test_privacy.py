"""What is asked and answered is kept nowhere: not in the database, not in the logs."""

from __future__ import annotations

import logging

import pytest
from django.apps import apps
from django.db import connection

from tests.gateway.door.conftest import MODELS, RunningDoor, question

CANARY = "canary-7f3a-prompt"


def rows_with(text: str) -> list[str]:
    """The columns of all tables in which `text` stands."""
    found = []
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            table = model._meta.db_table
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608  # names of ours
            found += [table for row in cursor.fetchall() if text in " ".join(map(str, row))]
    return found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["", "[[simulate-broken]]", "[[simulate-cut]]"])
def test_no_prompt_is_stored_or_logged(running_door: RunningDoor, caplog, stream, fault) -> None:
    caplog.set_level(logging.DEBUG)
    text = f"{CANARY} {fault}"
    running_door.chat(text, stream=stream)
    content = question(text, model="anthropic-agent", max_tokens=9, stream=stream)
    running_door.post("/v1/messages", content, x_keyfare_label_team="red")
    running_door.chat(text, model="no-such-agent")
    running_door.chat(text, model="openai-agent", temperature="nonsense", stream=stream)
    assert not rows_with(CANARY)
    assert CANARY not in caplog.text


def test_no_token_and_no_key_is_stored_or_logged(running_door, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    for provider in MODELS:
        running_door.chat(model=f"{provider}-agent")
    running_door.post(f"/v1beta/models/google-agent:generateContent?key={running_door.token}", {"contents": []})
    secret = running_door.token.rpartition("_")[2]
    assert not rows_with(secret)
    assert secret not in caplog.text
    assert "simulated-valid-0001" not in caplog.text


def test_the_search_finds_what_is_there(running_door) -> None:
    """Or the tests above could not fail."""
    running_door.post("/v1/chat/completions", question(), x_keyfare_label_team=CANARY)
    assert rows_with(CANARY) == ["usage_usageevent"]
