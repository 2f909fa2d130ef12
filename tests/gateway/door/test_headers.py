"""Headers and bodies pass as they are, but for who calls, which account pays, and what belongs to one connection."""

from __future__ import annotations

import gzip
import json

import httpx
import pytest

from tests.gateway.door.conftest import SECRETS, DoorBefore, question
from tests.gateway.door.upstream import Scripted, chat_answer


def test_the_body_passes_byte_for_byte_but_for_the_model(door: DoorBefore) -> None:
    body = b'{ "unknown":\t{"b": 1.50, "a": [1e2, "\\u00e4"]}, "model" :"openai-agent",\n"messages":[] , "n":1}'
    assert door.post("/v1/chat/completions", body).status_code == 200
    (received,) = door.upstream.received
    assert received.body == body.replace(b'"openai-agent"', b'"gpt-4.1-mini"')
    assert received.path == "/openai/chat/completions"


def test_a_stream_is_asked_for_its_usage_and_nothing_else_is_changed(door) -> None:
    door.post("/v1/chat/completions", b'{"model":"openai-agent","stream":true,"messages":[]}')
    (received,) = door.upstream.received
    assert received.body == (
        b'{"model":"gpt-4.1-mini","stream":true,"messages":[],"stream_options":{"include_usage":true}}'
    )


def test_headers_pass_that_nobody_here_knows(door) -> None:
    door.post(
        "/v1/messages",
        question(model="anthropic-agent", max_tokens=5),
        anthropic_version="2026-10-21",
        anthropic_beta="claude-code-20250219,interleaved-thinking-2025-05-14",
        x_stainless_retry_count="0",
        x_something_new="yes",
        user_agent="a-client/1.0",
    )
    headers = door.upstream.received[0].headers
    assert headers["anthropic-version"] == "2026-10-21"
    assert headers["anthropic-beta"] == "claude-code-20250219,interleaved-thinking-2025-05-14"
    assert headers["x-stainless-retry-count"] == "0"
    assert headers["x-something-new"] == "yes"
    assert headers["user-agent"] == "a-client/1.0"
    assert headers["x-api-key"] == SECRETS["anthropic"]


def test_a_version_is_named_where_the_client_names_none(door) -> None:
    door.post("/v1/messages", question(model="anthropic-agent", max_tokens=5))
    assert door.upstream.received[0].headers["anthropic-version"]


def test_nothing_of_the_caller_goes_upstream(door) -> None:
    door.post(
        "/v1/chat/completions",
        question(),
        cookie="session=secret",
        x_api_key=door.token,
        x_goog_api_key=door.token,
        api_key=door.token,
        openai_organization="org-of-the-caller",
        openai_project="proj",
        x_keyfare_run="run",
        x_keyfare_label_team="red",
        x_forwarded_for="192.0.2.7",
        connection="x-only-here",
        x_only_here="hop",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    (received,) = door.upstream.received
    told = json.dumps(received.headers) + received.path + received.query
    assert received.headers["authorization"] == f"Bearer {SECRETS['openai']}"
    for kept in (door.token, "session=secret", "org-of-the-caller", "192.0.2.7", "keyfare", "hop", "0af7651916"):
        assert kept not in told


def test_the_token_in_a_query_is_taken_out_of_it(door) -> None:
    door.upstream.answers.append(Scripted([b'{"candidates":[]}']))
    contents = {"contents": [{"parts": [{"text": "Hello"}]}]}
    path = f"/v1beta/models/google-agent:generateContent?key={door.token}&alt=json"
    assert door.send("POST", path, contents, authorization="").status_code == 200
    (received,) = door.upstream.received
    assert received.path == "/google/models/gemini-2.5-flash:generateContent"
    assert door.token not in received.query
    assert received.headers["x-goog-api-key"] == SECRETS["google"]


def test_nothing_of_the_account_comes_downstream(door) -> None:
    hidden = {
        "set-cookie": "__cf_bm=1",
        "openai-organization": "org-of-the-operator",
        "openai-project": "proj-1",
        "anthropic-organization-id": "org-2",
        "cf-ray": "8",
        "server": "cloudflare",
        "strict-transport-security": "max-age=1",
        "access-control-allow-origin": "*",
        "x-litellm-model-api-base": "https://inside.example/v1",
        "llm_provider-openai-organization": "org-behind-litellm",
        "llm_provider-set-cookie": "__cf_bm=2",
        "llm_provider-cf-ray": "9",
    }
    shown = {"x-request-id": "req_1", "x-ratelimit-remaining-requests": "9", "openai-processing-ms": "12"}
    shown["llm_provider-x-request-id"] = "req_2"
    headers = [("content-type", "application/json"), *hidden.items(), *shown.items()]
    door.upstream.answers.append(Scripted([chat_answer()], headers=headers))
    answer = door.chat()
    assert {name: answer.headers.get(name) for name in shown} == shown
    assert not {name for name, value in hidden.items() if answer.headers.get(name) == value}


def test_a_provider_that_repeats_its_key_is_crossed_out(door) -> None:
    door.upstream.answers.append(Scripted([chat_answer(f"Your key is {SECRETS['openai']}")]))
    answer = door.chat()
    assert SECRETS["openai"] not in answer.text
    assert "****" in answer.text


@pytest.mark.parametrize("stream", [False, True])
def test_no_answer_of_a_provider_is_a_page_of_ours(door, stream) -> None:
    """Anybody's form can post to a Gemini door with a token in its address, and a browser shows what comes."""
    for_browsers = {"refresh": "0; url=https://evil.example", "clear-site-data": '"*"', "location": "https://x.example"}
    headers = [("content-type", "text/html"), *for_browsers.items()]
    door.upstream.answers.append(Scripted([b"<script>alert(document.cookie)</script>"], headers=headers))
    path = f"/v1beta/models/google-agent:{'streamGenerateContent' if stream else 'generateContent'}?key={door.token}"
    answer = door.send("POST", path, {"contents": []}, authorization="", content_type="text/plain")
    assert answer.status_code == 200
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not for_browsers.keys() & answer.headers.keys()
    for refused in (door.chat(model="nobody"), door.get("/v1/models")):
        assert "sandbox" in refused.headers["content-security-policy"]


def test_what_a_provider_says_begins_no_header_of_ours(door) -> None:
    said = chat_answer().replace(b"gpt-4.1-mini", rb"gpt\r\nset-cookie: sessionid=1\r\n\r\n<script>")
    door.upstream.answers.append(Scripted([said]))
    answer = door.chat()
    assert answer.headers["x-keyfare-model"].startswith("gpt??set-cookie")
    assert "set-cookie" not in answer.headers


def test_headers_beyond_ascii_pass_as_they_were_written(door) -> None:
    for value in ("Zürich €".encode(), "Zürich".encode("latin-1")):
        raw = {b"authorization": f"Bearer {door.token}".encode(), b"x-client": value, b"x-keyfare-label-town": value}
        httpx.post(f"{door.address}/v1/chat/completions", json=question(), headers=raw, trust_env=False)
    assert [received.headers["x-client"] for received in door.upstream.received] == ["Zürich €", "Zürich"]
    assert [event.labels for event in door.events] == [{"town": "Zürich €"}, {"town": "Zürich"}]


def test_headers_have_a_bound(door) -> None:
    answer = door.post("/v1/chat/completions", question(), x_long="a" * 65_536)
    assert answer.status_code == 431
    assert answer.headers["x-keyfare-error"] == "headers_too_large"
    assert not door.upstream.received


def test_compressed_bodies_are_refused_in_a_sentence(door) -> None:
    answer = door.post("/v1/chat/completions", gzip.compress(b"{}"), content_encoding="gzip")
    assert answer.status_code == 415
    assert answer.headers["x-keyfare-error"] == "compressed"
    assert door.post("/v1/chat/completions", question(), content_encoding="identity").status_code == 200
    assert "content-encoding" not in door.upstream.received[0].headers


def test_nobody_speaks_websockets(door) -> None:
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
    answer = door.get("/v1/responses", sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==", **upgrade)
    assert answer.status_code == 403
