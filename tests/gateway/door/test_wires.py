"""Each client speaks its own wire at one address, and gets what its provider said, byte for byte."""

from __future__ import annotations

import httpx
import pytest

from routing.actions import DIRECT
from tests.gateway.door.conftest import RunningDoor, question
from usage.models import UsageEvent

CHAT = "/v1/chat/completions"
MESSAGE = {"model": "anthropic-agent", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def test_a_chat_is_answered_and_booked_to_its_agent(running_door: RunningDoor) -> None:
    answer = running_door.chat()
    assert answer.status_code == 200
    content = answer.json()
    assert content["object"] == "chat.completion"
    event = running_door.event
    assert (event.action, event.provider, event.model) == ("openai-agent", "openai", "gpt-4.1-mini")
    assert event.status == UsageEvent.Status.ANSWERED
    assert event.uncached_input_tokens == content["usage"]["prompt_tokens"]
    assert event.output_tokens == content["usage"]["completion_tokens"]
    assert event.cost_nanousd
    assert answer.headers["x-keyfare-call"] == str(event.call_id)
    assert answer.headers["x-keyfare-agent"] == "openai-agent"
    assert event.member_id == running_door.owner.pk
    assert event.token_id


@pytest.mark.parametrize("provider", ["openai", "openrouter", "mistral"])
def test_a_streamed_chat_comes_in_events_and_is_booked_with_its_tokens(running_door, provider) -> None:
    answer = running_door.chat(model=f"{provider}-agent", stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.rstrip().endswith("data: [DONE]")
    event = running_door.event
    assert event.is_stream
    assert event.usage_reported
    assert event.output_tokens
    assert event.cost_nanousd
    assert event.first_byte_ms is not None


def test_the_usage_of_a_stream_is_shown_to_those_who_asked_for_it_alone(running_door) -> None:
    quiet = running_door.chat(stream=True).text
    asked = running_door.chat(stream=True, stream_options={"include_usage": True}).text
    assert '"prompt_tokens"' not in quiet
    assert '"prompt_tokens"' in asked
    assert [event.output_tokens > 0 for event in running_door.events] == [True, True]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ["anthropic", "openrouter"])
def test_messages_are_answered_in_their_own_wire(running_door, provider, stream) -> None:
    body = {**MESSAGE, "model": f"{provider}-agent", "stream": stream}
    answer = running_door.post("/v1/messages", body, anthropic_version="2023-06-01")
    assert answer.status_code == 200
    assert ('"type":"message_stop"' in answer.text) if stream else (answer.json()["type"] == "message")
    assert running_door.event.action == f"{provider}-agent"
    assert running_door.event.output_tokens


@pytest.mark.parametrize("version", ["v1", "v1beta"])
@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"])
def test_gemini_is_answered_under_both_of_its_versions(running_door, version, method) -> None:
    answer = running_door.post(f"/{version}/models/google-agent:{method}", CONTENTS)
    assert answer.status_code == 200
    assert "usageMetadata" in answer.text
    assert running_door.event.action == "google-agent"
    assert running_door.event.output_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_answered(running_door, stream) -> None:
    content = {"model": "openai-agent", "input": "Hello", "stream": stream}
    answer = running_door.post("/v1/responses", content)
    assert answer.status_code == 200
    assert ("response.completed" in answer.text) if stream else (answer.json()["object"] == "response")
    assert running_door.event.output_tokens


def test_a_provider_and_its_model_are_called_by_name_as_the_action_direct(running_door) -> None:
    assert running_door.chat(model="openai/gpt-4.1-mini").status_code == 200
    event = running_door.event
    assert (event.action, event.provider, event.model) == (DIRECT, "openai", "gpt-4.1-mini")


def test_a_model_with_slashes_of_its_own_is_named_behind_the_first_one(running_door) -> None:
    assert running_door.chat(model="openrouter/openai/gpt-4.1-mini").status_code == 200
    assert running_door.event.model == "openai/gpt-4.1-mini"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("authorization", "Bearer {}"),
        ("authorization", "bearer  {}"),
        ("x-api-key", "{}"),
        ("x-goog-api-key", "{}"),
        ("api-key", "{}"),
    ],
)
def test_the_token_is_taken_from_whichever_header_a_client_has_for_keys(running_door, header, value) -> None:
    headers = {header: value.format(running_door.token)}
    answer = httpx.post(f"{running_door.address}{CHAT}", json=question(), headers=headers)
    assert answer.status_code == 200


def test_the_query_carries_a_token_to_gemini_alone(running_door) -> None:
    by_query = f"?key={running_door.token}"
    gemini = httpx.post(f"{running_door.address}/v1beta/models/google-agent:generateContent{by_query}", json=CONTENTS)
    assert gemini.status_code == 200
    assert httpx.post(f"{running_door.address}{CHAT}{by_query}", json=question()).status_code == 401


def test_whatever_an_sdk_puts_before_the_path_one_address_serves(running_door) -> None:
    for path in ("/v1/v1/messages", "/v1beta/v1/messages", "//v1/messages", "/v1//messages", "/v1//v1/messages/"):
        assert running_door.post(path, MESSAGE).status_code == 200
    assert running_door.post("//v1beta//models/google-agent:generateContent", CONTENTS).status_code == 200


def test_an_agent_is_called_by_its_own_wire_only(running_door) -> None:
    answer = running_door.chat(model="anthropic-agent")
    assert answer.status_code == 400
    assert answer.headers["x-keyfare-error"] == "wrong_wire"
    assert "messages" in answer.json()["error"]["message"]
    assert not running_door.events


def test_probes_are_answered_without_a_token(running_door) -> None:
    for path in ("/v1", "/v1/models", "/api/hello"):
        assert httpx.head(f"{running_door.address}{path}").status_code == 200


def test_models_are_listed_in_the_shape_of_who_asks(running_door) -> None:
    openai = running_door.get("/v1/models").json()
    assert openai["object"] == "list"
    assert "openai-agent" in [row["id"] for row in openai["data"]]
    anthropic = running_door.get("/v1/models?limit=1000", anthropic_version="2023-06-01").json()
    assert anthropic["has_more"] is False
    assert anthropic["first_id"] == anthropic["data"][0]["id"]
    gemini = running_door.get("/v1/models", x_goog_api_key=running_door.token).json()
    assert "models/google-agent" in [row["name"] for row in gemini["models"]]
    assert "models" not in openai
    assert running_door.get("/v1/models", originator="codex_cli_rs").json()["models"] == []


def test_one_model_is_described(running_door) -> None:
    assert running_door.get("/v1/models/openai-agent").json()["id"] == "openai-agent"
    assert running_door.get("/v1beta/models/google-agent").json()["name"] == "models/google-agent"
    assert running_door.get("/v1/models/nothing").status_code == 404
