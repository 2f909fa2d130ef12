"""
What coding tools send, and what they make of our refusals: by the shapes that the tools themselves sent, captured
2026-11-28 (Claude Code 2.1.197, Codex 0.171.0, opencode 1.18.33, Gemini CLI 0.61.0), in our own words.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.door.endpoints import Wire
from gateway.door.errors import DoorError, server_ends
from organizations import clock
from organizations.tenancy import EVERY, scope
from routing.models import RoutingRule
from tests.gateway.door.conftest import DoorBefore, RunningDoor, question, token_for
from tests.gateway.door.upstream import Scripted
from tests.served import wait_until

CLAUDE = "/v1/messages?beta=true"
SESSION = "5f0d7a52-1111-4222-8333-444455556666"
CLAUDE_HEADERS = {
    "anthropic_version": "2023-06-01",
    "anthropic_beta": "claude-code-20250219,interleaved-thinking-2025-05-14,unheard-of-2030-01-01",
    "anthropic_dangerous_direct_browser_access": "true",
    "x_app": "cli",
    "x_claude_code_session_id": SESSION,
    "x_stainless_retry_count": "0",
    "x_stainless_timeout": "600",
    "user_agent": "claude-cli/2.1.197 (external, sdk-cli)",
}
CODEX_HEADERS = {
    "originator": "codex_exec",
    "session_id": SESSION,
    "thread_id": SESSION,
    "x_codex_turn_metadata": json.dumps({"session_id": SESSION, "agent_name": "/root", "window_number": 1}),
    "x_client_request_id": SESSION,
    "accept": "text/event-stream",
}
COMMAND = {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]}
ASKED = 'Run it. [[simulate-tool run {"cmd": "echo hello"}]]'


def claude(*later: dict[str, Any]) -> dict[str, Any]:
    """The model's name is Claude Code's own; instructions stand in the midst of the conversation, too."""
    asked = {"type": "text", "text": ASKED, "cache_control": {"type": "ephemeral"}}
    return {
        "model": "claude-opus-4-8",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "<system-reminder>Today.</system-reminder>"}, asked]},
            {"role": "system", "content": "Agents that may be called: none."},
            *later,
        ],
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.197; cc_entrypoint=sdk-cli;"},
            {"type": "text", "text": "Be of help.", "cache_control": {"type": "ephemeral"}},
        ],
        "tools": [
            {"name": "other", "description": "Another.", "input_schema": {"type": "object", "properties": {}}},
            {"name": "run", "description": "Runs a command.", "input_schema": COMMAND},
        ],
        "metadata": {"user_id": json.dumps({"device_id": "0" * 64, "account_uuid": "", "session_id": SESSION})},
        "max_tokens": 64_000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": True,
    }


def codex(*later: dict[str, Any]) -> dict[str, Any]:
    def message(role: str, text: str) -> dict[str, Any]:
        return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}

    function = {"type": "function", "name": "run", "description": "Runs.", "strict": False, "parameters": COMMAND}
    return {
        "model": "openai-agent",
        "stream": True,
        "input": [message("developer", "Be of help."), message("user", ASKED), *later],
        "tools": [function, {"type": "web_search", "external_web_access": False}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": SESSION,
        "client_metadata": {"session_id": SESSION},
    }


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def test_what_claude_code_sends_passes_byte_for_byte(door: DoorBefore) -> None:
    body = json.dumps({**claude(), "model": "anthropic-agent"}, ensure_ascii=False).encode()
    door.post(CLAUDE, body, **CLAUDE_HEADERS)
    (received,) = door.upstream.received
    assert received.body == body.replace(b'"anthropic-agent"', b'"claude-haiku-4-5"')
    for name, value in CLAUDE_HEADERS.items():
        assert received.headers[name.replace("_", "-")] == value


def test_what_codex_sends_passes_byte_for_byte(door) -> None:
    body = json.dumps(codex()).encode()
    door.post("/v1/responses", body, **CODEX_HEADERS)
    (received,) = door.upstream.received
    assert received.body == body.replace(b'"openai-agent"', b'"gpt-4.1-mini"')
    for name, value in CODEX_HEADERS.items():
        assert received.headers[name.replace("_", "-")] == value


def test_claude_code_calls_a_tool_and_ends_in_one_run_of_two_iterations(running_door: RunningDoor) -> None:
    first = {**claude(), "model": "anthropic-agent"}
    told = events(running_door.post(CLAUDE, first, **CLAUDE_HEADERS).text)
    (block,) = [event["content_block"] for event in told if event["type"] == "content_block_start"]
    given = "".join(event["delta"].get("partial_json", "") for event in told if event["type"] == "content_block_delta")
    assert (block["name"], json.loads(given)) == ("run", {"cmd": "echo hello"})

    called = {"role": "assistant", "content": [{**block, "input": json.loads(given)}]}
    result = {"type": "tool_result", "tool_use_id": block["id"], "content": "hello", "is_error": False}
    second = {**claude(called, {"role": "user", "content": [result]}), "model": "anthropic-agent"}
    told = events(running_door.post(CLAUDE, second, **CLAUDE_HEADERS).text)

    assert "text_delta" in [event.get("delta", {}).get("type") for event in told]
    _one_run_of_two(running_door)


def test_codex_calls_a_tool_and_ends_in_one_run_of_two_iterations(running_door) -> None:
    told = events(running_door.post("/v1/responses", codex(), **CODEX_HEADERS).text)
    call = told[-1]["response"]["output"][0]
    assert (call["name"], call["arguments"]) == ("run", '{"cmd":"echo hello"}')

    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "hello"}
    told = events(running_door.post("/v1/responses", codex(call, result), **CODEX_HEADERS).text)

    assert (told[-1]["type"], told[-1]["response"]["output"][0]["type"]) == ("response.completed", "message")
    _one_run_of_two(running_door)


def _one_run_of_two(door: RunningDoor) -> None:
    first, second = door.events
    assert first.run_id == second.run_id
    assert [first.iteration, second.iteration] == [1, 2]
    assert all(each.uncached_input_tokens and each.output_tokens and each.cost_nanousd for each in (first, second))


def test_opencodes_session_is_a_run(running_door) -> None:
    for _ in range(2):
        session = {"x_session_id": "ses_1", "x_session_affinity": "ses_1"}
        running_door.post("/v1/chat/completions", question(stream=True), **session)
    assert len({event.run_id for event in running_door.events}) == 1


CALLS = {
    "/v1/chat/completions": question(),
    "/v1/responses": {"model": "openai-agent", "input": "Hello"},
    "/v1/messages": question(model="anthropic-agent", max_tokens=5),
    "/v1beta/models/google-agent:generateContent": {"contents": [{"parts": [{"text": "Hello"}]}]},
}


def test_an_agent_that_serves_no_call_now_is_no_status_that_clients_send_again(running_door) -> None:
    with scope(EVERY, "a test"):
        RoutingRule.objects.for_organization(running_door.organization).update(paused_at=clock.now())
    wait_until(lambda: running_door.chat().headers.get("x-keyfare-error") == "paused")
    for path, content in CALLS.items():
        refused = running_door.post(path, content)
        assert (refused.status_code, refused.headers["x-keyfare-error"]) == (400, "paused"), path
        assert refused.headers["x-should-retry"] == "false"


def test_codex_is_told_of_what_is_final_by_the_only_status_that_it_takes_for_it(running_door) -> None:
    body = {"model": "openai-agent", "input": "Hello"}
    refused = running_door.post("/v1/responses", body, token="kf_wrong", originator="codex_exec")
    assert (refused.status_code, refused.headers["x-keyfare-error"]) == (400, "unknown_token")
    assert refused.json()["error"]["code"] == "unknown_token"
    assert running_door.post("/v1/responses", body, token="kf_wrong").status_code == 401


def test_codex_is_told_to_come_again_as_everybody_is(running_door) -> None:
    body = {"model": "openai-agent", "input": "Hello"}
    with scope(EVERY, "a test"):
        token = token_for(running_door.organization, running_door.owner, name="One a minute", requests_a_minute=1)
    answers = [running_door.post("/v1/responses", body, token=token, originator="codex_exec") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["retry-after"]


QUOTA = b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
SLOW_DOWN = b'{"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}'


@pytest.mark.parametrize(("body", "said"), [(QUOTA, ["false"]), (SLOW_DOWN, ["true"])])
def test_a_quota_that_is_used_up_is_not_to_be_asked_again(door, short_waits, body, said) -> None:
    headers = [("content-type", "application/json"), ("x-should-retry", "true"), ("retry-after", "3600")]
    door.upstream.answers.append(Scripted([body], 429, headers))
    answer = door.chat()
    assert (answer.status_code, answer.content) == (429, body)
    assert answer.headers.get_list("x-should-retry") == said


def test_googles_clients_read_in_the_body_when_to_come_again() -> None:
    later = DoorError(429, "requests_a_minute", "Later.", can_retry=True, retry_after_seconds=13.6)
    assert later.headers["retry-after"] == "14"
    (detail,) = json.loads(later.body(Wire.GEMINI))["error"]["details"]
    assert detail == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "14s"}
    assert "details" not in json.loads(DoorError(400, "paused", "No.").body(Wire.GEMINI))["error"]


def test_claude_code_does_not_take_what_is_final_for_an_overload() -> None:
    assert json.loads(server_ends().body(Wire.ANTHROPIC))["error"]["type"] == "api_error"
    busy = DoorError(503, "server_busy", "Busy.", can_retry=True)
    assert json.loads(busy.body(Wire.ANTHROPIC))["error"]["type"] == "overloaded_error"
