"""OpenAI's own SDK: chat completions, Responses, embeddings, lists, errors and retries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import openai
import pytest

from simulator.faults import Fault
from tests.gateway.sdk.doors import ARGUMENTS, PARAMETERS, SENTENCE, TOOL, TOOL_TEXT, Door, Sent, Verdict

ASKED = [{"role": "user", "content": "Who are you?"}]
CHAT_TOOL = {
    "type": "function",
    "function": {"name": TOOL, "description": TOOL_TEXT, "parameters": PARAMETERS, "strict": True},
}
RESPONSES_TOOL = {
    "type": "function",
    "name": TOOL,
    "description": TOOL_TEXT,
    "parameters": PARAMETERS,
    "strict": True,
}
# What the prompt asks to go wrong, and how it reaches whoever called.
FAULTS = [
    (Fault.RATE_LIMITED, openai.RateLimitError, 429),
    (Fault.SPENT, openai.RateLimitError, 429),
    (Fault.FAILED, openai.InternalServerError, 500),
    (Fault.UNAVAILABLE, openai.InternalServerError, 503),
]


@pytest.fixture
def door(door_of) -> Door:
    return door_of("openai")


def client_of(door: Door, sent: Sent | None = None, **options: object) -> openai.OpenAI:
    http_client = sent.client() if sent else None
    return openai.OpenAI(base_url=door.base_url, api_key=door.token, http_client=http_client, **options)


@pytest.fixture
def client(door: Door) -> Iterator[openai.OpenAI]:
    with client_of(door, max_retries=0) as client:
        yield client


# Chat completions ---------------------------------------------------------------------------------------


def test_a_chat_is_answered(client, door):
    answer = client.chat.completions.create(model=door.model, messages=ASKED)

    (choice,) = answer.choices
    assert SENTENCE in choice.message.content
    assert choice.finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.id
    assert answer.model


def test_an_answer_beyond_the_limit_says_so(client, door):
    answer = client.chat.completions.create(model=door.model, messages=ASKED, max_completion_tokens=2)

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 2


@pytest.mark.parametrize("asks", [True, False])
def test_a_stream_counts_its_tokens_for_those_who_ask(client, door, asks):
    options = {"stream_options": {"include_usage": True}} if asks else {}

    chunks = list(client.chat.completions.create(model=door.model, messages=ASKED, stream=True, **options))

    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert SENTENCE in "".join(texts)
    assert [chunk.usage.total_tokens > 0 for chunk in chunks if chunk.usage] == [True] * asks
    assert all(chunk.choices for chunk in chunks) is not asks


def test_a_tool_is_called_and_its_result_answered(client, door):
    tools = [CHAT_TOOL]
    called = client.chat.completions.create(model=door.model, messages=ASKED, tools=tools, tool_choice="required")

    (choice,) = called.choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert (call.function.name, json.loads(call.function.arguments)) == (TOOL, ARGUMENTS)

    result = {"role": "tool", "tool_call_id": call.id, "content": "Jane Doe"}
    answer = client.chat.completions.create(model=door.model, messages=[*ASKED, choice.message, result], tools=tools)

    assert SENTENCE in answer.choices[0].message.content


def test_a_tool_is_called_in_a_stream(client, door):
    choice = {"type": "function", "function": {"name": TOOL}}
    with client.chat.completions.stream(
        model=door.model, messages=ASKED, tools=[CHAT_TOOL], tool_choice=choice
    ) as stream:
        whole = stream.get_final_completion()

    (call,) = whole.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == (TOOL, ARGUMENTS)
    assert whole.choices[0].finish_reason == "tool_calls"


def test_a_structured_answer_has_its_shape(client, door):
    answer = client.chat.completions.parse(model=door.model, messages=ASKED, response_format=Verdict)

    assert answer.choices[0].message.parsed == Verdict(requirement="simulated", is_met=True, score=1)


def test_the_asynchronous_client_is_answered_too(door):
    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=door.base_url, api_key=door.token) as client:
            stream = await client.chat.completions.create(model=door.model, messages=ASKED, stream=True)
            return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])

    assert SENTENCE in asyncio.run(ask())


# Responses ----------------------------------------------------------------------------------------------


def test_a_response_is_given(client, door):
    answer = client.responses.create(model=door.model, instructions="Be brief.", input="Who are you?")

    assert SENTENCE in answer.output_text
    assert answer.status == "completed"
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0


def test_a_response_is_streamed(client, door):
    with client.responses.stream(model=door.model, input="Who are you?") as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        whole = stream.get_final_response()

    assert "".join(texts) == whole.output_text
    assert SENTENCE in whole.output_text
    assert whole.usage.output_tokens > 0


def test_a_response_calls_a_tool_and_answers_its_result(client, door):
    tools = [RESPONSES_TOOL]
    called = client.responses.create(model=door.model, input=ASKED, tools=tools, tool_choice="required")

    (call,) = called.output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", TOOL, ARGUMENTS)

    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Jane Doe"}
    answer = client.responses.create(model=door.model, input=[*ASKED, call.to_dict(), result], tools=tools)

    assert SENTENCE in answer.output_text


def test_a_response_calls_a_tool_in_a_stream(client, door):
    with client.responses.stream(
        model=door.model, input="Who?", tools=[RESPONSES_TOOL], tool_choice={"type": "function", "name": TOOL}
    ) as stream:
        whole = stream.get_final_response()

    (call,) = whole.output
    assert (call.name, json.loads(call.arguments)) == (TOOL, ARGUMENTS)


def test_a_structured_response_has_its_shape(client, door):
    answer = client.responses.parse(model=door.model, input="Judge.", text_format=Verdict)

    assert answer.output_parsed == Verdict(requirement="simulated", is_met=True, score=1)


def test_a_response_is_gone_on_from(client, door):
    first = client.responses.create(model=door.model, input="Who are you?")
    second = client.responses.create(model=door.model, input="Who?", previous_response_id=first.id)

    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.input_tokens


def test_a_streamed_response_is_gone_on_from_as_soon_as_it_is_whole(client, door):
    stream = client.responses.create(model=door.model, input="Who are you?", stream=True)
    whole = next(event.response for event in stream if event.type == "response.completed")
    with client.responses.stream(model=door.model, input="Who?", previous_response_id=whole.id) as again:
        assert again.get_final_response().previous_response_id == whole.id


def test_items_of_a_response_are_named_by_their_ids(client, door):
    first = client.responses.create(model=door.model, input="Who are you?")
    named = [{"type": "item_reference", "id": each.id} for each in first.output]
    answer = client.responses.create(model=door.model, input=[*ASKED, *named, *ASKED])

    assert answer.usage.input_tokens > first.usage.input_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_not_to_be_stored_is_not_gone_on_from(client, door, stream):
    kept_by_nobody = client.responses.create(model=door.model, input="Who are you?", store=False)

    assert kept_by_nobody.store is False
    for unknown in (kept_by_nobody.id, "resp_0"):
        with pytest.raises(openai.BadRequestError):
            client.responses.create(model=door.model, input="Who?", previous_response_id=unknown, stream=stream)
    named = [{"type": "item_reference", "id": kept_by_nobody.output[0].id}]
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        client.responses.create(model=door.model, input=[*ASKED, *named], stream=stream)


# Embeddings and models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"encoding_format": "float"}, {"dimensions": 64}])
def test_texts_become_vectors(client, door, options):
    answer = client.embeddings.create(model=door.embedding_model, input=["One", "Two", "One"], **options)

    one, two, again = [row.embedding for row in answer.data]
    assert one == again != two
    assert len(one) == options.get("dimensions", 256)
    assert sum(number * number for number in one) == pytest.approx(1, abs=0.01)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens == 3


def test_models_are_listed(client, door):
    assert door.model in {model.id for model in client.models.list()}


# Errors and retries -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "error", "status"), FAULTS)
def test_an_error_is_raised_as_the_class_that_belongs_to_it(client, door, fault, error, status):
    with pytest.raises(error) as raised:
        client.chat.completions.create(model=door.model, messages=[{"role": "user", "content": str(fault)}])

    assert raised.value.status_code == status
    assert raised.value.body["message"]


def test_a_request_that_cannot_be_worked_with_is_refused(client, door):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=door.model, messages=[])


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=ASKED)


def test_a_wrong_token_is_refused(door):
    with client_of(replace(door, token="sk-wrong"), max_retries=0) as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model=door.model, messages=ASKED)


@pytest.mark.parametrize(("retries", "requests"), [(0, 1), (2, 3)])
def test_a_rate_limit_is_waited_out_as_often_as_the_client_wants(door, retries, requests):
    sent = Sent()
    asked = [{"role": "user", "content": str(Fault.RATE_LIMITED)}]

    with client_of(door, sent, max_retries=retries) as client, pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(model=door.model, messages=asked)

    assert sent.number == requests
    assert raised.value.response.headers["retry-after"] == "1"


def test_a_stream_that_is_cut_raises_and_is_not_asked_for_again(door):
    sent = Sent()
    asked = [{"role": "user", "content": str(Fault.CUT)}]

    with client_of(door, sent) as client, pytest.raises(openai.APIError):
        list(client.chat.completions.create(model=door.model, messages=asked, stream=True))

    assert sent.number == 1


def test_a_stream_is_read_whose_provider_pauses(client, door, monkeypatch):
    monkeypatch.setattr("gateway.door.flow.PING_SECONDS", 0.05)
    asked = [{"role": "user", "content": str(Fault.SLOW)}]
    chunks = list(client.chat.completions.create(model=door.model, messages=asked, stream=True))
    assert SENTENCE in "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    with client.responses.stream(model=door.model, input=str(Fault.SLOW)) as stream:
        assert SENTENCE in stream.get_final_response().output_text


def test_an_error_in_mid_stream_is_raised(client, door):
    asked = [{"role": "user", "content": str(Fault.BROKEN)}]

    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model=door.model, messages=asked, stream=True))
