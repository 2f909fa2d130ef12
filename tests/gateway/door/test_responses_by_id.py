"""Responses that a provider keeps belong to the token that was given them: it goes on from them, nobody else does."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from django.db import OperationalError

from gateway.door.stored_ids import MOST_NAMED
from gateway.models import StoredId
from gateway.stored_ids import KEPT_FOR
from organizations import clock
from organizations.api_tokens import revoke_token
from organizations.models import ApiToken, Organization, User
from organizations.tenancy import EVERY, scope
from providers.adapters.dialects.base import HEAD_BYTES
from providers.adapters.dialects.events import MOST_EVENT_BYTES
from routing.models import RoutingRule
from tests.gateway.callers import PATIENCE_SECONDS, usable_key
from tests.gateway.door.conftest import MODELS, SECRETS, DoorBefore, make_agent, token_for
from tests.gateway.door.upstream import CUT, EVENTS, Scripted

_numbers = count(1)
RESPONSES = "/v1/responses"
MINUTES = 300.0


def response(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    head = {"id": f"resp_{next(_numbers)}", "object": "response", "status": "completed", "model": "gpt-4.1-mini"}
    return {**head, "output": list(items) or [item()], "usage": usage, **more}


def item(**more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": "Hello"}]
    return {"type": "message", "id": f"msg_{next(_numbers)}", "role": "assistant", "content": content, **more}


def event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


def begun(whole: dict[str, Any]) -> list[bytes]:
    created = {**whole, "status": "in_progress", "output": [], "usage": None}
    added = (event("response.output_item.added", item={"id": i["id"], "type": i["type"]}) for i in whole["output"])
    return [event("response.created", response=created), *added, event("response.output_text.delta", delta="Hello")]


def streamed(whole: dict[str, Any]) -> list[bytes]:
    return [*begun(whole), event("response.completed", response=whole)]


def given(door: DoorBefore, whole: dict[str, Any], *, token: str | None = None, **asked: Any) -> str:
    """Have the door answer with `whole`; returns its id."""
    if asked.get("stream"):
        door.upstream.answers.append(Scripted(streamed(whole), headers=EVENTS))
    else:
        door.upstream.answers.append(Scripted([json.dumps(whole).encode()]))
    answer = door.post(RESPONSES, {"model": "openai-agent", "input": "Hello", **asked}, token=token)
    assert answer.status_code == 200
    assert whole["id"] in answer.text
    return whole["id"]


def go_on(door: DoorBefore, previous: object, *, token: str | None = None, **asked: Any) -> httpx.Response:
    named = {"previous_response_id": previous} if previous is not None else {}
    return door.post(RESPONSES, {"model": "openai-agent", "input": "And?", **named, **asked}, token=token)


def is_refused(answer: httpx.Response) -> bool:
    if answer.status_code == 200:
        return False
    assert answer.status_code == 400
    assert answer.headers["x-keyfare-error"] == "stored_id"
    assert answer.headers["x-should-retry"] == "false"
    assert "Send the conversation itself." in answer.json()["error"]["message"]
    return True


def until(is_so: Callable[[], bool]) -> None:
    """The door hears of a change in a moment."""
    deadline = clock.now() + timedelta(seconds=PATIENCE_SECONDS)
    while not is_so():
        assert clock.now() < deadline


def second_token(door: DoorBefore) -> str:
    with scope(EVERY, "a test"):
        return token_for(door.organization, door.owner, name="Second")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_token_that_was_given_a_response_goes_on_from_it_and_no_other_does(
    door: DoorBefore, globex: Organization, charlie: User, stream: bool
) -> None:
    with scope(EVERY, "a test"):
        make_agent(globex, "openai-agent", usable_key(globex, secret=SECRETS["openai"]), MODELS["openai"])
        theirs = token_for(globex, charlie)
    made = given(door, response(), stream=stream)

    for stranger in (second_token(door), theirs):
        assert is_refused(go_on(door, made, token=stranger))
    assert is_refused(go_on(door, f"{made}0"))
    assert len(door.upstream.received) == 1

    assert not is_refused(go_on(door, made))
    assert json.loads(door.upstream.received[-1].body)["previous_response_id"] == made


def test_a_revoked_token_goes_on_from_nothing(door: DoorBefore) -> None:
    token = second_token(door)
    made = given(door, response(), token=token)
    with scope(EVERY, "a test"):
        revoke_token(token=ApiToken.objects.get(name="Second"), actor=door.owner, now=clock.now())

    until(lambda: go_on(door, made, token=token).status_code == 401)
    assert is_refused(go_on(door, made))


def test_a_response_made_with_another_key_is_unknown(door: DoorBefore) -> None:
    made = given(door, response())
    with scope(EVERY, "a test"):
        other = usable_key(door.organization, "Other", "sk-proj-another-of-the-tests-of-the-door-0002")
        RoutingRule.objects.filter(action="openai-agent").update(key=other)

    until(lambda: is_refused(go_on(door, made)))


@pytest.mark.parametrize(
    ("asked", "said"), [({"store": False}, {}), ({}, {"store": False})], ids=["as asked", "as answered"]
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_the_provider_does_not_store_is_not_named_later(door: DoorBefore, asked, said, stream) -> None:
    made = given(door, response(**said), stream=stream, **asked)

    assert is_refused(go_on(door, made))
    assert not StoredId.objects.for_organization(door.organization).exists()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_items_are_named_by_whom_they_were_given_to(door: DoorBefore, stream) -> None:
    items = [item(type=kind) for kind in ("message", "reasoning", "image_generation_call")]
    message, reasoning, image = (each["id"] for each in items)
    given(door, response(*items), stream=stream)
    other = second_token(door)

    for reference in (
        {"type": "item_reference", "id": message},
        {"id": message},
        {"type": None, "id": message},
        {"id": message, "role": "user"},
        {"type": "reasoning", "id": reasoning, "summary": []},
        {"type": "reasoning", "id": reasoning, "summary": [], "encrypted_content": ""},
        {"type": "image_generation_call", "id": image},
        {"type": "image_generation_call", "id": image, "result": None},
    ):
        asked = [{"role": "user", "content": "And?"}, reference]
        assert is_refused(go_on(door, None, input=asked, token=other)), reference
        assert not is_refused(go_on(door, None, input=asked)), reference


@pytest.mark.parametrize("named", [b'"item\\u005freference"', b'"item_reference"'])
def test_a_reference_is_one_however_it_is_spelled_and_wherever_it_stands(door: DoorBefore, named) -> None:
    for body in (
        b'{"model":"openai-agent","input":[{"type":' + named + b',"id":"msg_x"}]}',
        b'{"model":"openai-agent","input":[{"role":"user","content":[{"type":' + named + b',"id":"msg_x"}]}]}',
    ):
        assert is_refused(door.post(RESPONSES, body))


def test_more_references_than_anybody_needs_are_refused(door: DoorBefore) -> None:
    asked = [{"type": "item_reference", "id": f"msg_{number}"} for number in range(MOST_NAMED + 1)]
    assert "1,000" in go_on(door, None, input=asked).text
    assert is_refused(go_on(door, None, input=asked[1:]))


@pytest.mark.parametrize("named", [7, True, {"id": "resp_x"}, ["resp_x"], ""])
def test_what_is_no_id_is_refused(door: DoorBefore, named) -> None:
    assert is_refused(go_on(door, named))
    if named:
        assert is_refused(go_on(door, None, input=[{"type": "item_reference", "id": named}]))
    assert not door.upstream.received


def test_items_that_bring_their_content_pass_whatever_their_ids(door: DoorBefore) -> None:
    items = [
        item(),
        {"id": "msg_x", "role": "assistant", "content": "Hello"},
        {"type": "reasoning", "id": "rs_x", "summary": [], "encrypted_content": "gAAAA"},
        {"type": "image_generation_call", "id": "ig_x", "result": "iVBORw0KGgo="},
        {"type": "function_call", "id": "fc_x", "call_id": "call_x", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_x", "output": "{}"},
    ]
    assert not is_refused(go_on(door, None, input=items))


def test_the_id_is_known_before_the_last_event_of_a_stream_is_handed_on(door: DoorBefore) -> None:
    whole = response()
    chunks = streamed(whole)
    door.upstream.answers.append(Scripted([*chunks, MINUTES], headers=EVENTS))  # which says no more, and goes on

    asked = {"model": "openai-agent", "input": "Hello", "stream": True}
    with (
        httpx.Client(trust_env=False, timeout=30) as client,
        client.stream(
            "POST", f"{door.address}{RESPONSES}", json=asked, headers={"authorization": f"Bearer {door.token}"}
        ) as answer,
    ):
        lines = answer.iter_lines()
        assert any(line == "event: response.completed" for line in lines)
        assert not is_refused(go_on(door, whole["id"]))


def test_an_id_that_cannot_be_noted_is_not_handed_on(door: DoorBefore, monkeypatch) -> None:
    def refuse(new: object) -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr("gateway.writer.store_ids", refuse)
    whole = response()
    for stream in (False, True):
        chunks = streamed(whole) if stream else [json.dumps(whole).encode()]
        door.upstream.answers.append(Scripted(chunks, headers=EVENTS if stream else ()))
        answer = door.post(RESPONSES, {"model": "openai-agent", "input": "Hello", "stream": stream})
        assert "books_closed" in answer.text
        assert "completed" not in answer.text
    assert not StoredId.objects.for_organization(door.organization).exists()


def test_where_whose_ids_they_are_cannot_be_read_nothing_leaves(door: DoorBefore, monkeypatch) -> None:
    def refuse(*asked: object) -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr("gateway.door.stored_ids.are_all_known", refuse)
    answer = go_on(door, "resp_x")
    assert (answer.status_code, answer.headers["x-keyfare-error"]) == (503, "books_closed")
    assert not door.upstream.received


def test_a_stream_that_was_cut_off_has_its_ids_noted_with_its_event(door: DoorBefore) -> None:
    whole = response()
    door.upstream.answers.append(Scripted([*begun(whole), CUT], headers=EVENTS))
    door.post(RESPONSES, {"model": "openai-agent", "input": "Hello", "stream": True})

    assert not is_refused(go_on(door, whole["id"]))
    assert not is_refused(go_on(door, None, input=[{"type": "item_reference", "id": whole["output"][0]["id"]}]))


def test_items_of_a_response_that_is_too_long_to_be_held_are_known(door: DoorBefore) -> None:
    picture = item(type="image_generation_call", result="A" * (MOST_EVENT_BYTES + HEAD_BYTES))
    made = given(door, response(picture), stream=True)

    assert not is_refused(go_on(door, made))
    assert not is_refused(go_on(door, None, input=[{"type": "image_generation_call", "id": picture["id"]}]))


def test_no_id_is_stored_as_it_is_and_none_for_longer_than_the_provider_keeps_it(door: DoorBefore) -> None:
    made = given(door, response())
    stored = StoredId.objects.for_organization(door.organization)
    assert stored.count() == 2
    assert not any(made in str(value) for row in stored.values() for value in row.values())

    with scope(EVERY, "a test"):
        call_command("sweep_lost_calls", verbosity=0)
        assert not is_refused(go_on(door, made))
        StoredId.objects.update(stored_at=clock.now() - KEPT_FOR - timedelta(minutes=1))
        call_command("sweep_lost_calls", verbosity=0)
        assert not stored.exists()
    assert is_refused(go_on(door, made))


def test_other_calls_note_nothing(door: DoorBefore) -> None:
    door.chat()
    door.chat(stream=True)
    assert not StoredId.objects.for_organization(door.organization).exists()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_no_response_goes_on_in_the_background_where_nobody_books_it(door: DoorBefore, stream: bool) -> None:
    """Its text could be had by its id later, and no answer would ever tell its tokens."""
    refused = go_on(door, None, background=True, stream=stream)

    assert refused.status_code == 400
    assert refused.headers["x-keyfare-error"] == "background"
    assert not door.upstream.received
    door.upstream.answers.append(Scripted([json.dumps(response()).encode()]))
    assert go_on(door, None, background=False).status_code == 200
