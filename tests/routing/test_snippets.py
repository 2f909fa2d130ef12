from __future__ import annotations

import ast
import json
import shlex
import subprocess
import tomllib

import pytest

from providers.catalog import PROVIDERS
from routing.snippets import SNIPPETS, TOKEN_PLACEHOLDER, Language, snippets_for

TOKEN = "kf_abcdefgh_" + "x" * 43


@pytest.fixture
def filled(settings) -> dict[str, str]:
    settings.SITE_URL = "https://keyfare.example/"
    return {each.slug: each.text for each in snippets_for(agent="support-bot", provider="", token=TOKEN).shown}


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.slug)
def test_a_snippet_can_be_read_by_what_it_is_written_for(filled, snippet):
    text = filled[snippet.slug]

    if snippet.language is Language.PYTHON:
        ast.parse(text)
    elif snippet.language is Language.TOML:
        tomllib.loads(text)
    elif snippet.language is Language.JSON:
        json.loads(text)
    else:
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)  # noqa: S607
    assert "https://keyfare.example" in text
    assert "example//" not in text


def test_codex_is_told_of_its_wire_and_where_its_token_is(filled):
    config = tomllib.loads(filled["codex"])

    provider = config["model_providers"][config["model_provider"]]
    assert config["model"] == "support-bot"
    assert provider["wire_api"] == "responses"
    assert provider["base_url"] == "https://keyfare.example/v1"
    assert provider["request_max_retries"] == 0
    assert TOKEN not in filled["codex"]


def test_opencode_is_told_of_the_one_model_that_its_agent_is(filled):
    config = json.loads(filled["opencode"])

    name, _, model = config["model"].partition("/")
    provider = config["provider"][name]
    assert model == "support-bot"
    assert set(provider["models"]) == {model}
    assert provider["options"] == {"baseURL": "https://keyfare.example/v1", "apiKey": "{env:KEYFARE_TOKEN}"}


def test_a_body_of_curl_is_json(filled):
    for slug in ("curl", "curl-anthropic", "curl-gemini"):
        words = shlex.split(filled[slug].replace("\\\n", ""))
        assert json.loads(words[words.index("-d") + 1])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_only_clients_that_speak_what_the_provider_speaks_are_shown(provider):
    snippets = snippets_for(agent="bot", provider=provider)
    shown = {each.slug for each in snippets.shown}

    assert shown == {each.slug for each in SNIPPETS if each.asks in PROVIDERS[provider].adapter.speaks}
    assert shown
    assert snippets.others.startswith("Not for this route: ")
    assert all(TOKEN_PLACEHOLDER in each.text or each.slug in ("codex", "opencode") for each in snippets.shown)


OF_CHATS = {"openai", "langchain", "curl", "open-webui", "opencode"}
OF_MESSAGES = {"claude-code", "anthropic", "curl-anthropic"}


@pytest.mark.parametrize(
    ("provider", "slugs"),
    [
        ("openai", {*OF_CHATS, "codex"}),
        ("openrouter", {*OF_CHATS, "codex", *OF_MESSAGES}),
        ("mistral", OF_CHATS),
        ("anthropic", OF_MESSAGES),
        ("google", {"google-genai", "gemini-cli", "curl-gemini"}),
    ],
)
def test_the_clients_of_the_known_providers(provider, slugs):
    assert {each.slug for each in snippets_for(agent="bot", provider=provider).shown} == slugs


def test_a_provider_that_speaks_everything_leaves_no_client_out(monkeypatch):
    monkeypatch.setattr(type(PROVIDERS["openai"].adapter), "speaks", {each.asks for each in SNIPPETS})

    assert snippets_for(agent="bot", provider="openai").others == ""
