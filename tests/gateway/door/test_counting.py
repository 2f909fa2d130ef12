"""Counting tokens hands on what a provider counts, and nothing that an answer to a call would not say."""

from __future__ import annotations

import pytest

from tests.gateway.door.conftest import DoorBefore, question
from tests.gateway.door.upstream import Scripted

PATHS = ["/v1/messages/count_tokens", "/v1beta/models/google-agent:countTokens"]


def count(door: DoorBefore, path: str):
    return door.post(path, question(model="anthropic-agent") if "messages" in path else {"contents": []})


@pytest.mark.parametrize("path", PATHS)
def test_a_count_is_handed_on_and_stands_in_no_book(door, path) -> None:
    door.upstream.answers.append(Scripted([b'{"input_tokens":3}']))
    assert count(door, path).json() == {"input_tokens": 3}
    assert not door.events.exists()


@pytest.mark.parametrize("path", PATHS)
def test_a_client_is_not_sent_elsewhere(door, path) -> None:
    """The official SDKs follow redirects, with their token."""
    headers = [("location", "https://elsewhere.example/v1/messages/count_tokens")]
    door.upstream.answers.append(Scripted([], status=307, headers=headers))
    answer = count(door, path)
    assert answer.status_code == 502
    assert answer.headers["x-keyfare-error"] == "upstream_redirect"
    assert "elsewhere" not in f"{answer.headers}{answer.text}"
