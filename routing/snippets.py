"""
What to paste into a client so that it calls an agent: one snippet a client, for those that speak what the agent's
provider speaks. An answer leaves on the wire it came by, so a client of another wire cannot be served.

`{site}` is the address of this installation, `{token}` the token and `{agent}` the agent's slug. Clients and what they
read were tried in November 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings

from providers.catalog import PROVIDERS
from usage.names import provider_name

TOKEN_PLACEHOLDER = "kf_your_token"  # noqa: S105  # no token


class Language(StrEnum):
    PYTHON = "python"
    SHELL = "shell"
    TOML = "toml"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Snippet:
    slug: str
    client: str
    asks: str  # one of what adapters may speak
    language: Language
    text: str
    hint: str  # where it goes


SNIPPETS: tuple[Snippet, ...] = (
    Snippet(
        slug="openai",
        client="OpenAI SDK",
        asks="chat completions",
        language=Language.PYTHON,
        hint="pip install openai",
        text="""\
from openai import OpenAI

client = OpenAI(base_url="{site}/v1", api_key="{token}")
answer = client.chat.completions.create(
    model="{agent}",
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(answer.choices[0].message.content)
""",
    ),
    Snippet(
        slug="langchain",
        client="LangChain",
        asks="chat completions",
        language=Language.PYTHON,
        hint="pip install langchain-openai",
        text="""\
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model="{agent}", base_url="{site}/v1", api_key="{token}")
print(model.invoke("Say hello.").content)
""",
    ),
    Snippet(
        slug="curl",
        client="curl",
        asks="chat completions",
        language=Language.SHELL,
        hint="In a terminal, on OpenAI’s wire",
        text="""\
curl {site}/v1/chat/completions \\
  -H "Authorization: Bearer {token}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{agent}", "messages": [{{"role": "user", "content": "Say hello."}}]}}'
""",
    ),
    Snippet(
        slug="codex",
        client="Codex",
        asks="responses",
        language=Language.TOML,
        hint="~/.codex/config.toml, with the token in the environment variable KEYFARE_TOKEN",
        text="""\
model = "{agent}"
model_provider = "keyfare"

[model_providers.keyfare]
name = "Keyfare"
base_url = "{site}/v1"
env_key = "KEYFARE_TOKEN"
wire_api = "responses"
request_max_retries = 0  # Keyfare sends again itself what costs nothing
""",
    ),
    Snippet(
        slug="opencode",
        client="opencode",
        asks="chat completions",
        language=Language.JSON,
        hint="opencode.json, with the token in the environment variable KEYFARE_TOKEN",
        text="""\
{{
  "$schema": "https://opencode.ai/config.json",
  "model": "keyfare/{agent}",
  "provider": {{
    "keyfare": {{
      "npm": "@ai-sdk/openai-compatible",
      "name": "Keyfare",
      "options": {{"baseURL": "{site}/v1", "apiKey": "{{env:KEYFARE_TOKEN}}"}},
      "models": {{"{agent}": {{"name": "{agent}"}}}}
    }}
  }}
}}
""",
    ),
    Snippet(
        slug="open-webui",
        client="Open WebUI",
        asks="chat completions",
        language=Language.SHELL,
        hint="The environment that it is started with",
        text="""\
export OPENAI_API_BASE_URL="{site}/v1"
export OPENAI_API_KEY="{token}"
export ENABLE_FORWARD_USER_INFO_HEADERS="true"
open-webui serve
""",
    ),
    Snippet(
        slug="claude-code",
        client="Claude Code",
        asks="messages",
        language=Language.SHELL,
        hint="In a terminal; a token that is bound to this agent serves whatever model it names",
        text="""\
export ANTHROPIC_BASE_URL="{site}"
export ANTHROPIC_AUTH_TOKEN="{token}"
claude
""",
    ),
    Snippet(
        slug="anthropic",
        client="Anthropic SDK",
        asks="messages",
        language=Language.PYTHON,
        hint="pip install anthropic",
        text="""\
from anthropic import Anthropic

client = Anthropic(base_url="{site}", api_key="{token}")
answer = client.messages.create(
    model="{agent}",
    max_tokens=1024,
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(answer.content[0].text)
""",
    ),
    Snippet(
        slug="curl-anthropic",
        client="curl",
        asks="messages",
        language=Language.SHELL,
        hint="In a terminal, on Anthropic’s wire",
        text="""\
curl {site}/v1/messages \\
  -H "x-api-key: {token}" \\
  -H "anthropic-version: 2023-06-01" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{agent}", "max_tokens": 1024, "messages": [{{"role": "user", "content": "Say hello."}}]}}'
""",
    ),
    Snippet(
        slug="google-genai",
        client="Google Gen AI SDK",
        asks="generateContent",
        language=Language.PYTHON,
        hint="pip install google-genai",
        text="""\
from google import genai
from google.genai import types

client = genai.Client(api_key="{token}", http_options=types.HttpOptions(base_url="{site}"))
answer = client.models.generate_content(model="{agent}", contents="Say hello.")
print(answer.text)
""",
    ),
    Snippet(
        slug="gemini-cli",
        client="Gemini CLI",
        asks="generateContent",
        language=Language.SHELL,
        hint="In a terminal; when it asks how to authenticate, choose the Gemini API key",
        text="""\
export GOOGLE_GEMINI_BASE_URL="{site}"
export GEMINI_API_KEY="{token}"
gemini
""",
    ),
    Snippet(
        slug="curl-gemini",
        client="curl",
        asks="generateContent",
        language=Language.SHELL,
        hint="In a terminal, on Gemini’s wire",
        text="""\
curl {site}/v1beta/models/{agent}:generateContent \\
  -H "x-goog-api-key: {token}" \\
  -H "Content-Type: application/json" \\
  -d '{{"contents": [{{"parts": [{{"text": "Say hello."}}]}}]}}'
""",
    ),
)


@dataclass(frozen=True, slots=True)
class Filled:
    """A snippet as a page shows it."""

    slug: str
    client: str
    language: str
    hint: str
    text: str


@dataclass(frozen=True, slots=True)
class Snippets:
    """`others` is a sentence on the clients that are left out; "" where none is."""

    shown: Sequence[Filled]
    others: str


def snippets_for(*, agent: str, provider: str, token: str = TOKEN_PLACEHOLDER) -> Snippets:
    """Those that work for an agent routed to `provider`; for one that is not routed yet (""), all of them."""
    works = [each for each in SNIPPETS if not provider or each.asks in PROVIDERS[provider].adapter.speaks]
    site = settings.SITE_URL.rstrip("/")
    shown = [
        Filled(
            snippet.slug,
            snippet.client,
            snippet.language.value,
            snippet.hint,
            snippet.text.format(site=site, agent=agent, token=token),
        )
        for snippet in works
    ]
    return Snippets(shown, _others(works, provider))


def _others(works: Sequence[Snippet], provider: str) -> str:
    if not provider:
        return "Which of these work is decided by the provider that the agent is routed to: an answer keeps its wire."
    there = {each.client for each in works}
    missing = dict.fromkeys(each.client for each in SNIPPETS if each.client not in there)
    if not missing:
        return ""
    *first, last = missing
    names = f"{', '.join(first)} and {last}" if first else last
    need = "need" if first else "needs"
    return f"Not for this route: {names}, which {need} what {provider_name(provider)} does not speak."
