"""Recorded streams of real providers through the door, a few bytes at a time: the same bytes, and the tokens meant."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.door.conftest import DoorBefore, question
from tests.gateway.door.upstream import EVENTS, Scripted
from tests.providers.dialects.test_recorded import STREAMS, body_of
from tests.providers.test_adapters_cassettes import CASSETTES
from usage.models import UsageEvent

pytestmark = pytest.mark.skipif(not CASSETTES.is_dir(), reason="needs the recordings in ../shared/data/cassettes")

MOST_PIECES = 400


def asked(endpoint: str, body: bytes) -> tuple[str, dict[str, Any]]:
    """The path and the content that a client would have sent."""
    match endpoint:
        case "chat_completions":
            content = question(stream=True, stream_options={"include_usage": True})
            return "/v1/chat/completions", content
        case "responses":
            return "/v1/responses", {"model": "openai-agent", "input": "Hello", "stream": True}
        case "messages":
            return "/v1/messages", question(model="anthropic-agent", max_tokens=9, stream=True)
    way = "" if body.lstrip()[:1] == b"[" else "?alt=sse"
    return f"/v1beta/models/google-agent:streamGenerateContent{way}", {"contents": []}


def test_every_recorded_stream_comes_through_as_it_was(door: DoorBefore) -> None:
    for row in STREAMS:
        name, entry = row.values
        body = body_of(name, entry)
        size = max(1, len(body) // MOST_PIECES)
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        is_array = body.lstrip()[:1] == b"["
        headers = [("content-type", "application/json")] if is_array else EVENTS
        door.upstream.answers.append(Scripted(pieces, headers=headers))
        path, content = asked(entry["endpoint"], body)
        answer = door.post(path, content)
        assert answer.content == body, name
        event = door.events.latest("pk")
        assert event.is_stream, name
        if entry.get("error"):
            assert event.status in (UsageEvent.Status.BROKE, UsageEvent.Status.CUT_OFF), name
            continue
        assert event.status == UsageEvent.Status.ANSWERED, name
        meant = entry["usage"]
        if meant is None:
            assert not event.usage_reported, name
            continue
        assert (event.input_tokens, event.output_tokens) == (meant["input"], meant["output"]), name
        assert event.cache_read_tokens == min(meant["cached_input"], meant["input"]), name
        assert event.reasoning_tokens == min(meant["reasoning"], meant["output"]), name
    assert door.events.count() == len(STREAMS)
