"""Whatever is sent to a door, it is answered, and never by an error of ours."""

from __future__ import annotations

import json
from typing import Any

import httpx
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.gateway.door.conftest import DoorBefore

PATHS = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1beta/models/google-agent:generateContent",
    "/v1beta/models/google-agent:streamGenerateContent?alt=sse",
    "/v1beta/models/google-agent:countTokens",
    "/v1beta/models/google-agent:batchEmbedContents",
]
MODELS = st.sampled_from(["openai-agent", "anthropic-agent", "openai/x", "anthropic/x", "google/x", "models/openai/x"])
READ = [
    "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "messages",
    "input", "tools", "models", "previous_response_id", "container", "generationConfig", "generation_config",
    "requests",
    "generateContentRequest", "contents", "reasoning", "output_config", "include_usage", "candidateCount",
]  # fmt: skip
NAMES = st.sampled_from(READ) | st.text(max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8) | MODELS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
BODIES = st.builds(
    lambda model, more: json.dumps({"model": model, **more}).encode(),
    MODELS,
    st.dictionaries(NAMES, VALUES, max_size=6),
)
HEADER_NAMES = st.sampled_from(
    [
        "x-keyfare-run", "x-keyfare-label-a", "x-keyfare-label-", "traceparent", "session-id", "content-type", "accept",
        "anthropic-version", "anthropic-beta", "x-goog-api-key", "api-key", "content-encoding", "te", "cookie", "x-a",
    ]
)  # fmt: skip
# As far as a server takes them for a header at all.
VALUES_OF_HEADERS = st.binary(max_size=20).map(lambda raw: bytes(sign for sign in raw if sign > 32 and sign != 127))
HEADERS = st.dictionaries(HEADER_NAMES, VALUES_OF_HEADERS, max_size=4)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(path=st.sampled_from(PATHS), body=BODIES | st.binary(max_size=200), headers=HEADERS)
@example(path=PATHS[0], body=rb'{"model":"openai-agent","\ud800":1,"\ud800":2}', headers={})
@example(path=PATHS[0], body=rb'{"model":"openai/\ud800"}', headers={})
@example(path=PATHS[0], body=b'{"model":"openai-agent","a":' + b"[" * 1_500 + b"]" * 1_500 + b"}", headers={})
def test_any_json_in_no_500_out(door: DoorBefore, path: str, body: bytes, headers: dict[str, bytes]) -> None:
    raw: dict[Any, Any] = {name.encode(): value for name, value in headers.items()}
    raw[b"authorization"] = f"Bearer {door.token}".encode()
    answer = httpx.post(f"{door.address}{path}", content=body, headers=raw, trust_env=False, timeout=30)
    assert answer.status_code < 500, answer.text
    assert "x-keyfare-call" in answer.headers or "x-keyfare-error" in answer.headers or "count" in path.lower()
