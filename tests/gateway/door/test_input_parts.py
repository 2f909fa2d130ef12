"""What the input of a request was made of: each wire's parts, and nothing kept of what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core import serializers
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.door.endpoints import CHAT, EMBEDDINGS, GENERATE, MESSAGES, RESPONSES, Endpoint
from gateway.door.input_parts import FILE, PICTURE, parts_of
from providers.adapters.dialects.request import Body
from tests.gateway.door.conftest import RunningDoor
from tests.gateway.door.test_any_bytes import NAMES, VALUES
from tests.providers.test_adapters_cassettes import CASSETTES
from usage.input_parts import NOT_COUNTED, InputParts

PNG = "data:image/png;base64," + "iVBORw0KGgo" * 100
DEFINED = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]


def counted(endpoint: Endpoint, content: object) -> InputParts:
    return parts_of(endpoint, Body(json.dumps(content).encode()))


def test_a_chat_has_instructions_tools_earlier_turns_and_the_last_one():
    chat = {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "developer", "content": [{"type": "text", "text": "And brief."}]},
            {"role": "user", "content": "First?"},
            {"role": "assistant", "content": "Yes."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "And this?"}, {"type": "image_url", "image_url": {"url": PNG}}],
            },
        ],
        "tools": DEFINED,
    }

    assert counted(CHAT, chat) == InputParts(
        system=len("Be kind.And brief."),
        tools=len(json.dumps(DEFINED)),
        history=len("First?Yes."),
        user=len("And this?") + PICTURE,
    )


def test_while_tools_answer_the_turn_that_began_it_stays_the_users():
    chat = {
        "messages": [
            {"role": "user", "content": "Before"},
            {"role": "assistant", "content": "Then"},
            {"role": "user", "content": "How warm is it?"},
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "w", "arguments": '{"a":1}'}}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
        ]
    }

    parts = counted(CHAT, chat)

    assert (parts.user, parts.history) == (len("How warm is it?"), len("BeforeThenI look."))
    assert parts.tools == len('namewarguments{"a":1}') + len("21 degrees")


def test_messages_of_anthropic_tell_documents_and_results_of_tools_apart():
    messages = {
        "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A long text"}},
                    {
                        "type": "document",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBER"},
                    },
                    {"type": "search_result", "source": "a", "title": "b", "content": [{"type": "text", "text": "cc"}]},
                    {"type": "text", "text": "What does it say?"},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "x" * 5_000},
                    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "page 1"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": [
                            {"type": "text", "text": "Page one"},
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"}},
                            {
                                "type": "search_result",
                                "source": "d",
                                "title": "e",
                                "content": [{"type": "text", "text": "ff"}],
                            },
                        ],
                    }
                ],
            },
        ],
    }

    assert counted(MESSAGES, messages) == InputParts(
        system=len("Be kind."),
        tools=len("look" + "atpage 1" + "Page one") + PICTURE,
        retrieved=len("A long text") + FILE + len("abcc") + len("deff"),
        history=len("Hm."),
        user=len("What does it say?"),
    )


def test_items_of_responses_are_counted_as_messages_are():
    asked = {
        "instructions": "Be kind.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "First?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "Found"},
            {"type": "file_search_call", "id": "fs_1", "queries": ["q"], "results": [{"text": "A passage"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]},
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "And?"}, {"type": "input_file", "file_data": "x"}],
            },
        ],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    }

    parts = counted(RESPONSES, asked)

    assert parts.system == len("Be kind.") + len("typeobject")
    assert parts.tools == len("look{}Found")
    assert parts.retrieved == len("q" + "A passage") + FILE
    assert parts.user == len("And?")
    assert parts.history >= len("First?Hm.Yes.")
    assert counted(RESPONSES, {"input": "Hello"}) == InputParts(user=5)


def test_contents_of_google_are_counted_in_either_spelling():
    for config, instruction, call, answer, media, kind in (
        ("generationConfig", "systemInstruction", "functionCall", "functionResponse", "inlineData", "mimeType"),
        ("generation_config", "system_instruction", "function_call", "function_response", "inline_data", "mime_type"),
    ):
        parts = counted(
            GENERATE,
            {
                instruction: {"parts": [{"text": "Be kind."}]},
                "contents": [
                    {
                        "role": "user",
                        "parts": [{"text": "First?"}, {media: {kind: "application/pdf", "data": "JVBER"}}],
                    },
                    {
                        "role": "model",
                        "parts": [{"text": "Hm.", "thought": True}, {call: {"name": "look", "args": {"at": "x"}}}],
                    },
                    {"role": "user", "parts": [{answer: {"name": "look", "response": {"result": "Found"}}}]},
                    {"parts": [{"text": "And?"}, {media: {kind: "image/png", "data": "iVBOR"}}]},
                ],
                "tools": [],
                config: {"responseSchema": {"type": "OBJECT"}, "temperature": 0.5},
            },
        )

        assert parts == InputParts(
            system=len("Be kind.") + len("typeOBJECT"),
            tools=len("[]") + len("namelookargsatx") + len("namelookresponseresultFound"),
            retrieved=FILE,
            history=len("First?Hm."),
            user=len("And?") + PICTURE,
        )


def test_what_is_embedded_is_the_users():
    for endpoint, content in (
        (EMBEDDINGS, {"input": ["a", "b"]}),
        (EMBEDDINGS, {"input": [[1, 2, 3]]}),
        (GENERATE, {"content": {"parts": [{"text": "Hello"}]}}),
        (GENERATE, {"requests": [{"content": {"parts": [{"text": "Hello"}]}}]}),
    ):
        assert counted(endpoint, content).tokens(7)["user_tokens"] == 7


@pytest.mark.parametrize(
    "named",
    [
        {"previous_response_id": "resp_1"},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "And?"}]},
    ],
)
def test_what_a_body_names_and_does_not_hold_leaves_it_uncounted(named):
    assert counted(RESPONSES, {"instructions": "Be kind.", "input": "Hello", **named}) == NOT_COUNTED


MEMBERS = st.sampled_from(
    [
        *("messages", "input", "contents", "system", "instructions", "systemInstruction", "tools", "documents", "text"),
        *("role", "content", "parts", "type", "source", "output", "data", "media_type", "inlineData", "functionCall"),
        *("tool_calls", "response_format", "generationConfig", "schema", "format", "mimeType"),
    ]
)
WORDS = st.sampled_from(
    [*("user", "assistant", "system", "tool", "text", "image", "document", "base64", "tool_result", "tool_use"), "file"]
)
ANYTHING = st.recursive(
    VALUES | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MEMBERS | NAMES, inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=120, deadline=None, database=None)
@given(st.dictionaries(MEMBERS, ANYTHING, max_size=6), st.sampled_from([CHAT, RESPONSES, MESSAGES, GENERATE]))
def test_whatever_a_body_holds_is_counted_without_an_error(content, endpoint):
    parts = counted(endpoint, content)

    tokens = parts.tokens(1_000)
    assert all(count >= 0 for count in tokens.values())
    assert sum(tokens.values()) in (0, 1_000)


@given(st.builds(InputParts, *[st.integers(0, 10**9)] * 5), st.integers(0, 10**12))
def test_parts_come_to_all_of_the_input(parts, tokens):
    assert sum(parts.tokens(tokens).values()) == (tokens if parts != NOT_COUNTED else 0)


def test_deep_bodies_are_counted_as_flat_ones():
    deep: Any = "x"
    for _ in range(300):
        deep = [{"type": "tool_result", "content": deep}]

    assert counted(MESSAGES, {"messages": [{"role": "user", "content": deep}]}) == InputParts(tools=1)


@pytest.mark.skipif(not CASSETTES.is_dir(), reason="needs the recordings in ../shared/data/cassettes")
def test_every_recorded_request_is_counted():
    endpoints = {
        "chat_completions": CHAT,
        "responses": RESPONSES,
        "messages": MESSAGES,
        "generateContent": GENERATE,
        "streamGenerateContent": GENERATE,
    }
    seen = 0
    for path in sorted(CASSETTES.glob("*__*.json")):
        for call in json.loads(path.read_text())["interactions"]:
            endpoint, body = endpoints.get(call["endpoint"]), call["request"].get("body")
            if endpoint is None or not isinstance(body, dict) or body.get("previous_response_id"):
                continue
            seen += 1
            parts, text = counted(endpoint, body), json.dumps(body)
            assert parts.user, path.name
            assert bool(parts.tools) == any(f'"{name}' in text for name in ("tools", "tool_", "function")), path.name
            systems = ('"system', '"instructions"', '"developer"', "schema")
            assert not parts.system or any(name in text for name in systems), path.name
    assert seen > 60


def test_the_event_of_a_call_says_what_its_input_was_made_of_and_nothing_of_what_it_said(running_door: RunningDoor):
    secret = "the canary in the system prompt"
    messages = [{"role": "system", "content": secret * 20}, {"role": "user", "content": f"Hello {secret}"}]

    assert running_door.post("/v1/chat/completions", {"model": "openai-agent", "messages": messages}).is_success

    event = running_door.event
    assert event.system_tokens > event.user_tokens > 0
    assert event.system_tokens + event.user_tokens == event.input_tokens
    assert event.input_cost_nanousd
    assert "canary" not in serializers.serialize("json", [event])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/chat/completions", {"model": "openai-agent", "messages": [{"role": "user", "content": "Hello"}]}),
        ("/v1/responses", {"model": "openai-agent", "input": "Hello"}),
        (
            "/v1/messages",
            {"model": "anthropic-agent", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
        ),
        ("/v1beta/models/google-agent:generateContent", {"contents": [{"parts": [{"text": "Hello"}]}]}),
    ],
)
def test_each_wire_is_counted_on_its_way(running_door: RunningDoor, path, content, stream):
    if stream and ":" in path:
        path = path.replace(":generate", ":streamGenerate") + "?alt=sse"
    elif stream:
        content = {**content, "stream": True}

    assert running_door.post(path, content).is_success

    event = running_door.event
    assert event.input_tokens == event.user_tokens > 0
