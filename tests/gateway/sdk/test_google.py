"""Google's own SDK: generateContent and its stream, counts of tokens, embeddings, lists, errors and retries."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from simulator.faults import Fault
from tests.gateway.sdk.doors import ARGUMENTS, PARAMETERS, SENTENCE, TOOL, TOOL_TEXT, Door, Sent, Verdict

ASKED = "Who are you?"
DECLARED = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(name=TOOL, description=TOOL_TEXT, parameters_json_schema=PARAMETERS)
    ]
)
MUST_CALL = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))
FAULTS = [
    (Fault.RATE_LIMITED, errors.ClientError, 429),
    (Fault.SPENT, errors.ClientError, 429),
    (Fault.FAILED, errors.ServerError, 500),
    (Fault.UNAVAILABLE, errors.ServerError, 503),
]


@pytest.fixture
def door(door_of) -> Door:
    return door_of("google")


def client_of(door: Door, sent: Sent | None = None, **options: object) -> genai.Client:
    client = {"httpx_client": sent.client()} if sent else {}
    return genai.Client(api_key=door.token, http_options=types.HttpOptions(base_url=door.base_url, **client, **options))


@pytest.fixture
def client(door: Door) -> Iterator[genai.Client]:
    """It asks for version v1 of itself."""
    with client_of(door) as client:
        yield client


@pytest.fixture(params=["v1", "v1beta"])
def any_client(door: Door, request: pytest.FixtureRequest) -> Iterator[genai.Client]:
    with client_of(door, api_version=request.param) as client:
        yield client


# Contents -----------------------------------------------------------------------------------------------


def test_content_is_generated(any_client, door):
    config = types.GenerateContentConfig(system_instruction="Be brief.")
    answer = any_client.models.generate_content(model=door.model, contents=ASKED, config=config)

    assert SENTENCE in answer.text
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    usage = answer.usage_metadata
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count > 0


def test_an_answer_beyond_the_limit_says_so(client, door):
    config = types.GenerateContentConfig(max_output_tokens=2)
    answer = client.models.generate_content(model=door.model, contents=ASKED, config=config)

    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert answer.usage_metadata.candidates_token_count == 2


def test_content_is_streamed(any_client, door):
    chunks = list(any_client.models.generate_content_stream(model=door.model, contents=ASKED))

    assert SENTENCE in "".join(chunk.text or "" for chunk in chunks)
    assert len(chunks) > 1
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.total_token_count > 0


def test_a_tool_is_called_and_its_result_answered(client, door):
    config = types.GenerateContentConfig(tools=[DECLARED], tool_config=MUST_CALL)
    called = client.models.generate_content(model=door.model, contents=ASKED, config=config)

    (call,) = called.function_calls
    assert (call.name, call.args) == (TOOL, ARGUMENTS)

    asked = types.Content(role="user", parts=[types.Part.from_text(text=ASKED)])
    result = types.Content(
        role="user", parts=[types.Part.from_function_response(name=TOOL, response={"found": "Jane Doe"})]
    )
    answer = client.models.generate_content(
        model=door.model,
        contents=[asked, called.candidates[0].content, result],
        config=types.GenerateContentConfig(tools=[DECLARED]),
    )

    assert SENTENCE in answer.text


def test_a_tool_is_called_in_a_stream(client, door):
    config = types.GenerateContentConfig(tools=[DECLARED], tool_config=MUST_CALL)
    chunks = list(client.models.generate_content_stream(model=door.model, contents=ASKED, config=config))

    (call,) = [call for chunk in chunks for call in chunk.function_calls or ()]
    assert (call.name, call.args) == (TOOL, ARGUMENTS)


def test_a_structured_answer_has_its_shape(client, door):
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Verdict)
    answer = client.models.generate_content(model=door.model, contents=ASKED, config=config)

    assert answer.parsed == Verdict(requirement="simulated", is_met=True, score=1)


def test_the_asynchronous_client_is_answered_too(door):
    async def ask() -> str:
        async with client_of(door).aio as client:
            stream = await client.models.generate_content_stream(model=door.model, contents=ASKED)
            return "".join([chunk.text or "" async for chunk in stream])

    assert SENTENCE in asyncio.run(ask())


# Counts, embeddings and models --------------------------------------------------------------------------


def test_tokens_are_counted_as_they_are_billed(client, door):
    counted = client.models.count_tokens(model=door.model, contents=ASKED)
    answer = client.models.generate_content(model=door.model, contents=ASKED)

    assert counted.total_tokens == answer.usage_metadata.prompt_token_count > 0


@pytest.mark.parametrize("size", [None, 64])
def test_texts_become_vectors(client, door, size):
    config = types.EmbedContentConfig(output_dimensionality=size)
    answer = client.models.embed_content(model=door.embedding_model, contents=["One", "Two", "One"], config=config)

    one, two, again = [each.values for each in answer.embeddings]
    assert one == again != two
    assert len(one) == size or 256
    assert sum(number * number for number in one) == pytest.approx(1, abs=0.01)


def test_models_are_listed(any_client, door):
    assert f"models/{door.model}" in {model.name for model in any_client.models.list()}


# Errors and retries -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "error", "status"), FAULTS)
def test_an_error_is_raised_as_the_class_that_belongs_to_it(client, door, fault, error, status):
    with pytest.raises(error) as raised:
        client.models.generate_content(model=door.model, contents=str(fault))

    assert raised.value.code == status
    assert raised.value.message


def test_a_request_that_cannot_be_worked_with_is_refused(client, door):
    config = types.GenerateContentConfig(max_output_tokens=-1)
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model=door.model, contents=ASKED, config=config)

    assert raised.value.code == 400


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model="no-such-model", contents=ASKED)

    assert raised.value.code == 404


def test_a_wrong_token_is_refused(door):
    with client_of(replace(door, token="wrong")) as client, pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model=door.model, contents=ASKED)

    assert raised.value.code in (400, 401)  # the former is what Google says


@pytest.mark.parametrize(("attempts", "requests"), [(None, 1), (3, 3)])
def test_a_rate_limit_is_waited_out_as_often_as_the_client_wants(door, attempts, requests):
    sent = Sent()
    again = types.HttpRetryOptions(attempts=attempts, initial_delay=0.01, max_delay=0.01, jitter=0.01)
    options = {"retry_options": again} if attempts else {}

    with client_of(door, sent, **options) as client, pytest.raises(errors.ClientError):
        client.models.generate_content(model=door.model, contents=str(Fault.RATE_LIMITED))

    assert sent.number == requests


def test_a_stream_that_is_cut_raises_and_is_not_asked_for_again(door):
    sent = Sent()

    with client_of(door, sent) as client, pytest.raises((errors.APIError, httpx2.HTTPError)):
        list(client.models.generate_content_stream(model=door.model, contents=str(Fault.CUT)))

    assert sent.number == 1


def test_a_stream_is_read_whose_provider_pauses(client, door, monkeypatch):
    monkeypatch.setattr("gateway.door.flow.PING_SECONDS", 0.05)
    chunks = list(client.models.generate_content_stream(model=door.model, contents=str(Fault.SLOW)))
    assert SENTENCE in "".join(chunk.text or "" for chunk in chunks)


def test_an_error_in_mid_stream_is_raised(client, door):
    with pytest.raises(errors.APIError):
        list(client.models.generate_content_stream(model=door.model, contents=str(Fault.BROKEN)))
