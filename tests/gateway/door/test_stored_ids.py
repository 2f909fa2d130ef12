"""What a provider keeps under an id may be another token's, so no call names it."""

from __future__ import annotations

import pytest

from tests.gateway.door.conftest import DoorBefore, question

RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
GEMINI = "/v1beta/models/google-agent:generateContent"
ASKED = {"model": "openai-agent", "input": "Hello"}
FILE = {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}


@pytest.mark.parametrize(
    ("path", "content", "name"),
    [
        (RESPONSES, {**ASKED, "previous_response_id": "resp_1"}, "previous_response_id"),
        (RESPONSES, {**ASKED, "conversation": {"id": "conv_1"}}, "conversation"),
        (RESPONSES, {**ASKED, "input": [FILE]}, "file_id"),
        (RESPONSES, {**ASKED, "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "vector_store_ids"),
        (MESSAGES, {"model": "anthropic-agent", "max_tokens": 1, "messages": [FILE]}, "file_id"),
        (
            GEMINI,
            {"contents": [{"parts": [{"fileData": {"fileUri": "https://x.example/v1beta/files/abc"}}]}]},
            "fileUri",
        ),
        (GEMINI, {"contents": [], "cachedContent": "cachedContents/1"}, "cachedContent"),
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
    ],
)
def test_what_only_looks_like_one_passes(door, content) -> None:
    assert door.post(RESPONSES, content).status_code == 200


def test_pictures_and_films_by_their_addresses_pass(door) -> None:
    part = {"fileData": {"fileUri": "https://videos.example/watch?v=1"}}
    assert door.post(GEMINI, {"contents": [{"parts": [part]}]}).status_code == 200
    assert door.post("/v1/chat/completions", question()).status_code == 200
