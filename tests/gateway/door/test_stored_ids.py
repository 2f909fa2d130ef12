"""What a provider keeps under an id, and no answer named, may be another token's: no call names it."""

from __future__ import annotations

import pytest

from tests.gateway.door.conftest import DoorBefore, question

RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
GEMINI = "/v1beta/models/google-agent:generateContent"
ASKED = {"model": "openai-agent", "input": "Hello"}
CLAUDE = {"model": "anthropic-agent", "max_tokens": 1, "messages": []}
FILE = {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}


@pytest.mark.parametrize(
    ("path", "content", "name"),
    [
        (RESPONSES, {**ASKED, "conversation": {"id": "conv_1"}}, "conversation"),
        (RESPONSES, {**ASKED, "input": [FILE]}, "file_id"),
        (RESPONSES, {**ASKED, "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "vector_store_ids"),
        (MESSAGES, {"model": "anthropic-agent", "max_tokens": 1, "messages": [FILE]}, "file_id"),
        (
            GEMINI,
            {"contents": [{"parts": [{"fileData": {"fileUri": "https://x.example/v1beta/files/abc"}}]}]},
            "fileUri",
        ),
        (GEMINI, {"contents": [{"parts": [{"fileData": {"fileUri": "https://x.example/%66iles/a"}}]}]}, "fileUri"),
        (GEMINI, {"contents": [], "cachedContent": "cachedContents/1"}, "cachedContent"),
        (GEMINI, {"contents": [], "tools": [{"fileSearch": {"fileSearchStoreNames": ["s"]}}]}, "fileSearchStoreNames"),
        (
            GEMINI,
            {"contents": [], "tools": [{"file_search": {"file_search_store_names": ["s"]}}]},
            "file_search_store_names",
        ),
        (GEMINI, {"contents": [{"parts": [{"fileData": {"fileUri": "files/abc"}}]}]}, "fileUri"),
        ("/v1/chat/completions", question(input=[{"type": "item_reference", "id": "msg_1"}]), "item_reference"),
        (RESPONSES, {**ASKED, "tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, "container"),
        (RESPONSES, {**ASKED, "tools": [{"container": {"type": "auto", "file_ids": ["file-1"]}}]}, "file_ids"),
        (MESSAGES, {"model": "anthropic-agent", "messages": [], "container": "container_1"}, "container"),
        (MESSAGES, {"model": "anthropic-agent", "messages": [], "container": {"id": "container_1"}}, "container"),
        (MESSAGES, {**CLAUDE, "container": {"skills": [{"type": "custom", "skill_id": "skill_1"}]}}, "skill_id"),
        (RESPONSES, {**ASKED, "tools": [{"skills": [{"type": "skill_reference", "skill_id": "skill_1"}]}]}, "skill_id"),
        ("/v1/chat/completions", question(audio={"id": "audio_1"}), "audio"),
        (RESPONSES, rb'{"model":"openai-agent","input":[{"fi\u006ce_id":"file-1"}]}', "file_id"),
        (GEMINI, rb'{"contents":[{"parts":[{"fileData":{"fileUri":"https:\/\/x.example\/files\/a"}}]}]}', "fileUri"),
    ],
)
def test_ids_of_what_is_kept_are_refused(door: DoorBefore, path, content, name) -> None:
    answer = door.post(path, content)
    assert answer.status_code == 400
    assert answer.headers["x-keyfare-error"] == "stored_id"
    assert name in answer.text
    assert not door.upstream.received


@pytest.mark.parametrize(
    "content",
    [
        {**ASKED, "previous_response_id": None, "store": False},
        {**ASKED, "input": 'I wrote {"file_id": "file-1"} into a file.'},
        {**ASKED, "tools": [{"type": "function", "name": "f", "parameters": {"properties": {"file_id": {}}}}]},
        {**ASKED, "tools": [{"type": "function", "name": "f", "parameters": {"default": {"file_id": "1"}}}]},
        {**ASKED, "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": []}}]},
        {**ASKED, "input": "<\u00e9>", "metadata": {"file_id": "of ours"}},
    ],
)
def test_what_only_looks_like_one_passes(door, content) -> None:
    assert door.post(RESPONSES, content).status_code == 200


def test_skills_of_the_provider_itself_pass(door) -> None:
    theirs = {"type": "anthropic", "skill_id": "pptx", "version": "latest"}
    assert door.post(MESSAGES, {**CLAUDE, "container": {"skills": [theirs]}}).status_code == 200
    skill = {"type": "skill_reference", "skill_id": "openai-spreadsheets"}
    assert door.post(RESPONSES, {**ASKED, "tools": [{"skills": [skill]}]}).status_code == 200


def test_pictures_and_films_by_their_addresses_pass(door) -> None:
    part = {"fileData": {"fileUri": "https://videos.example/watch?v=1"}}
    assert door.post(GEMINI, {"contents": [{"parts": [part]}]}).status_code == 200
    assert door.post("/v1/chat/completions", question()).status_code == 200


def test_what_tools_of_the_clients_own_are_called_with_passes(door) -> None:
    called = {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"file_id": "1"}}
    messages = [{"role": "assistant", "content": [called]}]
    asked = {"model": "anthropic-agent", "max_tokens": 1, "messages": messages}
    assert door.post(MESSAGES, asked).status_code == 200
    part = {"functionCall": {"name": "read", "args": {"fileUri": "files/1"}}}
    assert door.post(GEMINI, {"contents": [{"parts": [part]}]}).status_code == 200
