"""Anthropic's own SDK: messages, counts of tokens, lists, errors and retries."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import anthropic
import httpx2
import pytest

from simulator.faults import Fault
from tests.gateway.sdk.doors import ARGUMENTS, PARAMETERS, SENTENCE, TOOL, TOOL_TEXT, Door, Sent, Verdict

ASKED = [{"role": "user", "content": "Who are you?"}]
TOOLS = [{"name": TOOL, "description": TOOL_TEXT, "input_schema": PARAMETERS}]
MOST = 1_000
FAULTS = [
    (Fault.RATE_LIMITED, anthropic.RateLimitError, 429),
    (Fault.SPENT, anthropic.RateLimitError, 429),
    (Fault.FAILED, anthropic.InternalServerError, 500),
    (Fault.UNAVAILABLE, anthropic.InternalServerError, 503),
    (Fault.OVERLOADED, anthropic.InternalServerError, 529),
]


@pytest.fixture
def door(door_of) -> Door:
    return door_of("anthropic")


def client_of(door: Door, sent: Sent | None = None, **options: object) -> anthropic.Anthropic:
    http_client = sent.client() if sent else None
    return anthropic.Anthropic(base_url=door.base_url, api_key=door.token, http_client=http_client, **options)


@pytest.fixture
def client(door: Door) -> Iterator[anthropic.Anthropic]:
    with client_of(door, max_retries=0) as client:
        yield client


# Messages -----------------------------------------------------------------------------------------------


def test_a_message_is_answered(client, door):
    answer = client.messages.create(model=door.model, max_tokens=MOST, system="Be brief.", messages=ASKED)

    (block,) = answer.content
    assert SENTENCE in block.text
    assert (answer.role, answer.stop_reason) == ("assistant", "end_turn")
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


def test_an_answer_beyond_the_limit_says_so(client, door):
    answer = client.messages.create(model=door.model, max_tokens=2, messages=ASKED)

    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 2)


def test_a_message_is_streamed(client, door):
    with client.messages.stream(model=door.model, max_tokens=MOST, messages=ASKED) as stream:
        text = "".join(stream.text_stream)
        whole = stream.get_final_message()

    assert SENTENCE in text
    assert whole.content[0].text == text
    assert whole.usage.output_tokens > 1
    assert whole.stop_reason == "end_turn"


def test_a_tool_is_called_and_its_result_answered(client, door):
    wanted = {"type": "tool", "name": TOOL}
    called = client.messages.create(model=door.model, max_tokens=MOST, messages=ASKED, tools=TOOLS, tool_choice=wanted)

    (call,) = called.content
    assert called.stop_reason == "tool_use"
    assert (call.type, call.name, call.input) == ("tool_use", TOOL, ARGUMENTS)

    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Jane Doe"}]}
    messages = [*ASKED, {"role": "assistant", "content": called.content}, result]
    answer = client.messages.create(model=door.model, max_tokens=MOST, messages=messages, tools=TOOLS)

    assert SENTENCE in answer.content[0].text


def test_a_tool_is_called_in_a_stream(client, door):
    with client.messages.stream(
        model=door.model, max_tokens=MOST, messages=ASKED, tools=TOOLS, tool_choice={"type": "any"}
    ) as stream:
        whole = stream.get_final_message()

    (call,) = whole.content
    assert (call.name, call.input, whole.stop_reason) == (TOOL, ARGUMENTS, "tool_use")


def test_a_structured_answer_has_its_shape(client, door):
    answer = client.messages.parse(model=door.model, max_tokens=MOST, messages=ASKED, output_format=Verdict)

    assert answer.parsed_output == Verdict(requirement="simulated", is_met=True, score=1)


def test_the_asynchronous_client_is_answered_too(door):
    async def ask() -> str:
        async with (
            anthropic.AsyncAnthropic(base_url=door.base_url, api_key=door.token) as client,
            client.messages.stream(model=door.model, max_tokens=MOST, messages=ASKED) as stream,
        ):
            return "".join([text async for text in stream.text_stream])

    assert SENTENCE in asyncio.run(ask())


# Counts and models --------------------------------------------------------------------------------------


def test_tokens_are_counted_as_they_are_billed(client, door):
    counted = client.messages.count_tokens(model=door.model, system="Be brief.", messages=ASKED)
    answer = client.messages.create(model=door.model, max_tokens=MOST, system="Be brief.", messages=ASKED)

    assert counted.input_tokens == answer.usage.input_tokens > 0


def test_models_are_listed(client, door):
    assert door.model in {model.id for model in client.models.list(limit=1000)}


# Errors and retries -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "error", "status"), FAULTS)
def test_an_error_is_raised_as_the_class_that_belongs_to_it(client, door, fault, error, status):
    with pytest.raises(error) as raised:
        client.messages.create(model=door.model, max_tokens=MOST, messages=[{"role": "user", "content": str(fault)}])

    assert raised.value.status_code == status
    assert raised.value.body["error"]["message"]


def test_a_request_that_cannot_be_worked_with_is_refused(client, door):
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model=door.model, max_tokens=MOST, messages=[])


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="no-such-model", max_tokens=MOST, messages=ASKED)


def test_a_wrong_token_is_refused(door):
    wrong = replace(door, token="sk-wrong")
    with client_of(wrong, max_retries=0) as client, pytest.raises(anthropic.AuthenticationError):
        client.messages.create(model=door.model, max_tokens=MOST, messages=ASKED)


@pytest.mark.parametrize(("retries", "requests"), [(0, 1), (2, 3)])
def test_a_rate_limit_is_waited_out_as_often_as_the_client_wants(door, retries, requests):
    sent = Sent()
    asked = [{"role": "user", "content": str(Fault.RATE_LIMITED)}]

    with client_of(door, sent, max_retries=retries) as client, pytest.raises(anthropic.RateLimitError) as raised:
        client.messages.create(model=door.model, max_tokens=MOST, messages=asked)

    assert sent.number == requests
    assert raised.value.response.headers["retry-after"] == "1"


def test_a_stream_that_is_cut_raises_and_is_not_asked_for_again(door):
    sent = Sent()
    asked = [{"role": "user", "content": str(Fault.CUT)}]

    with client_of(door, sent) as client, pytest.raises((anthropic.APIError, httpx2.HTTPError)):
        list(client.messages.create(model=door.model, max_tokens=MOST, messages=asked, stream=True))

    assert sent.number == 1


def test_a_stream_is_read_whose_provider_pauses(client, door, monkeypatch):
    monkeypatch.setattr("gateway.door.flow.PING_SECONDS", 0.05)
    asked = [{"role": "user", "content": str(Fault.SLOW)}]
    with client.messages.stream(model=door.model, max_tokens=MOST, messages=asked) as stream:
        assert SENTENCE in "".join(stream.text_stream)


def test_an_error_in_mid_stream_is_raised(client, door):
    asked = [{"role": "user", "content": str(Fault.BROKEN)}]

    with pytest.raises(anthropic.APIError, match="Overloaded"):
        list(client.messages.create(model=door.model, max_tokens=MOST, messages=asked, stream=True))
