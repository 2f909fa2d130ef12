"""What goes wrong is told in the caller's wire: the provider's own words as they are, ours told apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from organizations.tenancy import EVERY, scope
from providers.egress import connections
from routing.models import RoutingRule
from tests.gateway.door.conftest import DoorBefore, question
from tests.gateway.door.upstream import CUT, EVENTS, Scripted, chat_answer, chat_event, chat_stream
from usage.models import UsageEvent

Status = UsageEvent.Status
RATE_LIMITED = json.dumps({"error": {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}})
BILLING = json.dumps({"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}})


def error(status: int, body: str, **headers: str) -> Scripted:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Scripted([body.encode()], status, [("content-type", "application/json"), *named])


def test_a_providers_error_comes_as_it_is_with_its_status(door: DoorBefore) -> None:
    body = '{"error": {"message":"No such parameter: tempo",  "type":"invalid_request_error", "x": 1.0}}'
    door.upstream.answers.append(error(400, body, x_request_id="req_9"))
    answer = door.chat()
    assert (answer.status_code, answer.text) == (400, body)
    assert answer.headers["x-request-id"] == "req_9"
    assert "x-keyfare-error" not in answer.headers
    event = door.event
    assert (event.status, event.http_status, event.cost_nanousd) == (Status.FAILED, 400, None)
    assert event.no_price == UsageEvent.NoPrice.NOT_BILLED


def test_a_busy_provider_is_asked_again_and_each_attempt_stands_in_the_books(door, short_waits) -> None:
    door.upstream.answers += [error(429, RATE_LIMITED, retry_after="2"), error(503, "{}"), Scripted([chat_answer()])]
    answer = door.chat()
    assert answer.status_code == 200
    assert answer.headers["x-keyfare-attempts"] == "3"
    assert short_waits == [2.0, 1.0]
    first, second, third = door.events
    assert [each.attempt for each in (first, second, third)] == [1, 2, 3]
    assert first.attempt_of is None
    assert second.attempt_of == third.attempt_of == first.call_id
    assert [each.status for each in (first, second, third)] == [Status.FAILED, Status.FAILED, Status.ANSWERED]
    assert len({each.run_id for each in (first, second, third)}) == 1


def test_after_three_attempts_the_last_answer_is_handed_on(door, short_waits) -> None:
    door.upstream.answers += [error(529, '{"error":{"message":"Overloaded"}}')] * 3
    answer = door.chat()
    assert answer.status_code == 529
    assert len(door.upstream.received) == 3


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (429, BILLING, {}),
        (429, RATE_LIMITED, {"retry_after": "3600"}),
        (500, '{"error":{"message":"oops"}}', {}),
        (502, "", {}),
        (504, "", {}),
        (401, '{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}', {}),
    ],
)
def test_what_may_be_billed_or_will_not_change_is_asked_once(door, short_waits, status, body, headers) -> None:
    door.upstream.answers.append(error(status, body, **headers))
    answer = door.chat()
    assert answer.status_code == status
    assert len(door.upstream.received) == 1
    assert not short_waits
    if headers:
        assert answer.headers["retry-after"] == "3600"


def test_a_provider_that_is_not_there_is_tried_again_and_then_told(door, short_waits, monkeypatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(connections, "open_socket", refuse)
    answer = door.chat()
    assert (answer.status_code, answer.headers["x-keyfare-error"]) == (502, "upstream_unreachable")
    assert len(short_waits) == 2
    events = list(door.events.order_by("attempt"))
    assert [event.no_price for event in events] == [UsageEvent.NoPrice.NOT_BILLED] * 3
    assert answer.headers["x-keyfare-call"] == str(events[0].call_id)
    assert answer.headers["x-keyfare-attempts"] == "3"


def test_an_answer_that_begins_and_says_nothing_is_not_asked_for_again(door) -> None:
    door.upstream.answers.append(Scripted([CUT]))
    answer = door.chat()
    assert (answer.status_code, answer.headers["x-keyfare-error"]) == (502, "upstream_broke_off")
    assert answer.headers["x-should-retry"] == "false"
    assert len(door.upstream.received) == 1
    event = door.event
    assert event.no_price == UsageEvent.NoPrice.NO_ANSWER
    assert answer.headers["x-keyfare-call"] == str(event.call_id)
    assert answer.headers["x-keyfare-attempts"] == "1"


def test_a_redirect_is_not_followed(door) -> None:
    door.upstream.answers.append(Scripted([b""], 302, [("location", "http://169.254.169.254/latest")]))
    answer = door.chat()
    assert answer.status_code == 502
    assert answer.headers["x-keyfare-error"] == "upstream_redirect"
    assert "169.254" not in answer.text + str(answer.headers)
    assert len(door.upstream.received) == 1


def test_a_stream_that_breaks_off_ends_with_an_error_in_its_wire(door) -> None:
    door.upstream.answers.append(Scripted([chat_event("Hello "), chat_event("there"), CUT], headers=EVENTS))
    answer = door.chat(stream=True)
    last = answer.text.strip().rpartition("data: ")[2]
    assert json.loads(last)["error"]["code"] == "upstream_broke_off"
    event = door.event
    assert event.status == Status.CUT_OFF
    assert event.are_tokens_estimated
    assert event.output_tokens == 3  # eleven characters
    assert not event.usage_reported
    assert event.cost_nanousd


@pytest.mark.parametrize(
    "headers", [(), (("content-length", str(len(chat_answer()) + 1)),)], ids=["chunked", "of a length"]
)
def test_an_answer_that_breaks_off_is_not_handed_on_as_a_whole_one(door, headers) -> None:
    door.upstream.answers.append(Scripted([chat_answer(), CUT], headers=headers))
    answer = door.chat()
    assert (answer.status_code, answer.headers["x-keyfare-error"]) == (502, "upstream_broke_off")
    assert answer.headers["x-should-retry"] == "false"
    assert len(door.upstream.received) == 1
    assert (door.event.status, door.event.http_status) == (Status.FAILED, 200)


def test_an_error_inside_a_stream_is_passed_on_and_booked(door) -> None:
    broken = b'data: {"error":{"message":"Server error","code":"server_error"}}\n\n'
    door.upstream.answers.append(Scripted([chat_event("Hello "), broken], headers=EVENTS))
    answer = door.chat(stream=True)
    assert answer.text.endswith(broken.decode())
    assert door.event.status == Status.BROKE


def test_an_explicit_count_of_zero_is_no_reason_to_estimate(door) -> None:
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    events = [chat_event("Hello"), chat_event(finish="stop"), chat_event(usage=zero), b"data: [DONE]\n\n"]
    door.upstream.answers.append(Scripted(events, headers=EVENTS))
    door.chat(stream=True)
    event = door.event
    assert (event.status, event.output_tokens, event.are_tokens_estimated) == (Status.ANSWERED, 0, False)


def test_a_stream_without_usage_is_answered_and_unpriced(door) -> None:
    events = [chat_event("Hello"), chat_event(finish="stop"), b"data: [DONE]\n\n"]
    door.upstream.answers.append(Scripted(events, headers=EVENTS))
    door.chat(stream=True)
    event = door.event
    assert event.status == Status.ANSWERED
    assert not event.usage_reported
    assert event.cost_nanousd is None


def test_a_silent_provider_is_given_up_at_the_deadline(door, settings) -> None:
    """The deadline of a door is read when it opens, with its first call."""
    settings.KEYFARE_GATEWAY_IDLE_SECONDS = 1
    door.upstream.answers.append(Scripted([chat_event("Hello"), 30.0], headers=EVENTS))
    answer = door.chat(stream=True)
    assert "upstream_broke_off" in answer.text
    assert door.event.status == Status.CUT_OFF


def test_pings_go_to_the_caller_while_the_provider_is_silent(door, settings, monkeypatch) -> None:
    monkeypatch.setattr("gateway.door.flow.PING_SECONDS", 0.05)
    door.upstream.answers.append(Scripted([chat_event("Hello"), 0.3, chat_event(finish="stop")], headers=EVENTS))
    answer = door.chat(stream=True)
    assert ": waiting\n\n" in answer.text


def test_pings_of_an_anthropic_stream_are_its_own(door, monkeypatch) -> None:
    monkeypatch.setattr("gateway.door.flow.PING_SECONDS", 0.05)
    start = b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":3}}}\n\n'
    stop = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    door.upstream.answers.append(Scripted([start, 0.3, stop], headers=EVENTS))
    answer = door.post("/v1/messages", question(model="anthropic-agent", max_tokens=5, stream=True))
    assert "event: ping\n" in answer.text


def test_a_gemini_stream_has_no_pings_of_ours(door, monkeypatch) -> None:
    """Google's own SDKs take whatever is not data for a broken answer, comments and empty lines too."""
    monkeypatch.setattr("gateway.door.flow.PING_SECONDS", 0.05)
    events = [b'data: {"candidates":[{"content":{"parts":[{"text":"%s"}]}}]}\r\n\r\n' % text for text in (b"a", b"b")]
    door.upstream.answers.append(Scripted([events[0], 0.3, events[1]], headers=EVENTS))
    answer = door.post("/v1beta/models/google-agent:streamGenerateContent?alt=sse", {"contents": []})
    assert answer.content == b"".join(events)


@pytest.mark.parametrize("name", [r"\ud800", r"openai/\ud800", r"openai/a\u0000b", r"openai/a\r\nb"])
def test_a_model_that_no_book_can_hold_is_refused(door, name) -> None:
    answer = door.post("/v1/chat/completions", b'{"model":"%s","messages":[]}' % name.encode())
    assert answer.status_code in (400, 404)
    assert answer.headers["x-keyfare-error"] == "unknown_model"
    assert not door.upstream.received


def test_a_part_that_is_read_as_late_as_when_it_leaves_is_refused_too(door) -> None:
    with scope(EVERY, "a test"):
        RoutingRule.objects.filter(action="google-agent").update(temperature="0.5")
    config = {f"unknown{number}": 1 for number in range(10_001)}
    answer = door.post("/v1beta/models/google-agent:generateContent", {"contents": [], "generationConfig": config})
    assert answer.status_code == 400
    assert answer.headers["x-keyfare-error"] == "bad_body"
    assert not door.events.exists()


def test_an_embedding_is_asked_for_without_what_only_answers_have(door) -> None:
    """Google refuses a field that it does not know of a request."""
    with scope(EVERY, "a test"):
        RoutingRule.objects.filter(action="google-agent").update(temperature="0.5")
    asked = {"content": {"parts": [{"text": "Hello"}]}}
    door.post("/v1beta/models/google-agent:embedContent", asked)
    (received,) = door.upstream.received
    assert "generationConfig" not in json.loads(received.body)


def test_a_name_without_an_encoding_that_stands_twice_is_told(door) -> None:
    answer = door.post("/v1/chat/completions", rb'{"\ud800":1,"\ud800":2,"model":"openai-agent"}')
    assert answer.status_code == 400
    assert "twice" in answer.text


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", "JSON object"),
        (b"[]", "JSON object"),
        (b"\xff", "JSON object"),
        (b'{"model":1}', "“model”"),
        (b"{}", "“model”"),
        (b'{"model":"openai-agent","model":"x"}', "twice"),
        (b'{"model":"openai-agent","temperature":1,"temperature":2}', "“temperature”"),
        (b'{"model":"openai-agent"', "JSON object"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_a_sentence(door, body, names) -> None:
    answer = door.post("/v1/chat/completions", body)
    assert answer.status_code == 400
    assert answer.headers["x-keyfare-error"] == "bad_body"
    assert names in answer.json()["error"]["message"]
    assert not door.upstream.received


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/v1/chat/completions", lambda content: content["error"]["code"] == "unknown_token"),
        (
            "/v1/messages",
            lambda content: content["type"] == "error" and content["error"]["type"] == "authentication_error",
        ),
        ("/v1beta/models/x:generateContent", lambda content: content["error"]["status"] == "UNAUTHENTICATED"),
    ],
)
def test_a_stranger_is_refused_in_the_wire_of_the_path(door, path, read) -> None:
    answer = door.post(path, {}, token="kf_AAAAAAAA_" + "A" * 43)
    assert answer.status_code == 401
    assert answer.headers["x-should-retry"] == "false"
    assert read(answer.json())


def test_a_body_too_large_is_refused_by_its_declared_length(door) -> None:
    answer = door.send("POST", "/v1/chat/completions", b"{}" + b" " * (33 * 1024 * 1024))
    assert answer.status_code == 413
    assert not door.upstream.received


def test_a_name_that_is_no_agent_is_answered_with_what_there_is(door) -> None:
    answer = door.chat(model="gpt-5")
    assert answer.status_code == 404
    assert "openai-agent" in answer.json()["error"]["message"]


def test_a_stream_is_handed_on_as_it_comes(door) -> None:
    door.upstream.answers.append(chat_stream("one", "two", "three"))
    text = door.chat(stream=True).text
    assert [part for part in ("one", "two", "three") if f'"{part}"' in text] == ["one", "two", "three"]
