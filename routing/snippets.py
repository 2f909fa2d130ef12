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

from providers.adapters.dialects.anthropic import ANTHROPIC_MESSAGES
from providers.adapters.dialects.gemini import GEMINI
from providers.catalog import PROVIDERS
from usage.names import provider_name

TOKEN_PLACEHOLDER = "kf_your_token"  # noqa: S105  # no token


class Wire(StrEnum):
    OPENAI = "OpenAI"
    ANTHROPIC = "Anthropic"
    GEMINI = "Gemini"


class Language(StrEnum):
    PYTHON = "python"
    SHELL = "shell"
    TOML = "toml"


@dataclass(frozen=True, slots=True)
class Snippet:
    slug: str
    client: str
    wire: Wire
    language: Language
    text: str
    hint: str  # where it goes
    lacking: frozenset[str] = frozenset()  # providers on its wire that lack what it asks for


SNIPPETS: tuple[Snippet, ...] = (
    Snippet(
        slug="openai",
        client="OpenAI SDK",
        wire=Wire.OPENAI,
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
        wire=Wire.OPENAI,
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
        wire=Wire.OPENAI,
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
        wire=Wire.OPENAI,
        language=Language.TOML,
        hint="~/.codex/config.toml, with the token in the environment variable KEYFARE_TOKEN",
        lacking=frozenset({"mistral"}),
        text="""\
model = "{agent}"
model_provider = "keyfare"

[model_providers.keyfare]
name = "Keyfare"
base_url = "{site}/v1"
env_key = "KEYFARE_TOKEN"
wire_api = "responses"
""",
    ),
    Snippet(
        slug="open-webui",
        client="Open WebUI",
        wire=Wire.OPENAI,
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
        wire=Wire.ANTHROPIC,
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
        wire=Wire.ANTHROPIC,
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
        wire=Wire.ANTHROPIC,
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
        wire=Wire.GEMINI,
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
        slug="curl-gemini",
        client="curl",
        wire=Wire.GEMINI,
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


def wire_of(provider: str) -> Wire:
    """What `provider` speaks."""
    dialect = PROVIDERS[provider].adapter.dialect
    if dialect is ANTHROPIC_MESSAGES:
        return Wire.ANTHROPIC
    return Wire.GEMINI if dialect is GEMINI else Wire.OPENAI


def snippets_for(*, agent: str, provider: str, token: str = TOKEN_PLACEHOLDER) -> Snippets:
    """Those that work for an agent routed to `provider`; for one that is not routed yet (""), all of them."""
    wire = wire_of(provider) if provider else None
    site = settings.SITE_URL.rstrip("/")
    shown = [
        Filled(
            snippet.slug,
            snippet.client,
            snippet.language.value,
            snippet.hint,
            snippet.text.format(site=site, agent=agent, token=token),
        )
        for snippet in SNIPPETS
        if wire is None or (snippet.wire is wire and provider not in snippet.lacking)
    ]
    return Snippets(shown, _others(wire, provider))


def _others(wire: Wire | None, provider: str) -> str:
    if wire is None:
        return "Which of these work is decided by the provider that the agent is routed to: an answer keeps its wire."
    there = {each.client for each in SNIPPETS if each.wire is wire and provider not in each.lacking}
    missing = dict.fromkeys(each.client for each in SNIPPETS if each.client not in there)
    *first, last = missing
    names = f"{', '.join(first)} and {last}" if first else last
    return f"Not for this route: {names}, which need what {provider_name(provider)} does not speak."
