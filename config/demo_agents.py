"""
The demo's two agents: made once, each with a token bound to it, and at work through the gateway.

Their tokens lie beside the demo's env file, for whoever wants to point a client of their own at them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from organizations.models import Organization, User
from providers.models import ProviderKey
from routing.agents import open_agent
from routing.models import Agent
from usage.models import UsageEvent

TOKENS_FILE = "gateway-tokens.json"
QUESTIONS = (
    "A customer writes that the parcel came without its invoice. Draft a reply.",
    "Shorten the reply to three sentences.",
    "Translate it into German.",
)
SUPPORT_RULES = (
    "You draft replies to customers of a parcel service. Be kind and short, promise nothing, name the number of the "
    "parcel, offer a refund only where a parcel is lost, and never ask for a password. "
) * 6
CODE_RULES = "You help with a web shop in Python. Read before you change, and run the tests afterwards. " * 8
CODE_TOOLS = [
    {
        "name": name,
        "description": f"{what} Paths are relative to the root of the repository.",
        "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    }
    for name, what in (
        ("read_file", "Reads a file."),
        ("write_file", "Writes a file."),
        ("run_tests", "Runs the tests in a folder."),
    )
]


@dataclass(frozen=True, slots=True)
class DemoAgent:
    name: str
    slug: str
    description: str
    provider: str
    model: str
    work: Callable[[httpx.Client], None]


def _support(client: httpx.Client) -> None:
    """Two customers, three calls each: two runs of an agent that speaks OpenAI's protocol."""
    for customer in ("4711", "4712"):
        messages = [{"role": "system", "content": SUPPORT_RULES}]
        for text in QUESTIONS:
            messages.append({"role": "user", "content": text})
            content = {"model": "support-replies", "messages": messages}
            headers = {"x-keyfare-run": f"ticket {customer}", "x-keyfare-label-channel": "mail"}
            answer = client.post("/v1/chat/completions", json=content, headers=headers).raise_for_status()
            messages.append({"role": "assistant", "content": answer.json()["choices"][0]["message"]["content"]})


def _code(client: httpx.Client) -> None:
    """One session of a coding tool that speaks Anthropic's protocol, half of it streamed."""
    for number, text in enumerate(
        ("Explain this stack trace.", "Write a test for it.", "Mend it.", "Name the commit.")
    ):
        content = {
            "model": "code-assistant",
            "max_tokens": 400,
            "stream": bool(number % 2),
            "system": CODE_RULES,
            "tools": CODE_TOOLS,
            "messages": [{"role": "user", "content": text}],
        }
        headers = {
            "x-claude-code-session-id": "demo",
            "anthropic-version": "2023-06-01",
            "x-keyfare-label-repository": "web",
        }
        client.post("/v1/messages", json=content, headers=headers).raise_for_status()


AGENTS = (
    DemoAgent("Support replies", "support-replies", "Drafts replies to customers.", "openai", "gpt-4.1-mini", _support),
    DemoAgent(
        "Code assistant", "code-assistant", "What our coding tools call.", "anthropic", "claude-sonnet-4-5", _code
    ),
)


class AgentsAtWork:
    """`folder` is where their tokens are kept."""

    def __init__(self, organization: Organization, owner: User, folder: Path) -> None:
        self.organization, self.owner, self._file = organization, owner, folder / TOKENS_FILE

    @cached_property
    def tokens(self) -> dict[str, str]:
        return json.loads(self._file.read_text()) if self._file.exists() else {}

    def open(self) -> None:
        for agent in AGENTS:
            if Agent.objects.for_organization(self.organization).filter(slug=agent.slug).exists():
                continue
            keys = ProviderKey.objects.for_organization(self.organization).filter(provider=agent.provider)
            _, made = open_agent(
                organization=self.organization,
                name=agent.name,
                slug=agent.slug,
                description=agent.description,
                key=keys.filter(status=ProviderKey.Status.CONNECTED).first(),  # another one has no money left
                model=agent.model,
                with_token=True,
                token_expires_at=None,
                actor=self.owner,
            )
            assert made  # noqa: S101  # for the type checker
            self.tokens[agent.slug] = made.value
            with open(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(self.tokens, file)

    def work(self, address: str, *, since: datetime) -> None:
        """
        Has each call through the gateway at `address`, unless it has called `since` the story began. Raises
        httpx.HTTPError.
        """
        for agent in AGENTS:
            called = UsageEvent.objects.for_organization(self.organization).filter(action=agent.slug)
            if called.filter(occurred_at__gte=since).exists() or agent.slug not in self.tokens:
                continue
            headers = {"authorization": f"Bearer {self.tokens[agent.slug]}"}
            with httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False) as client:
                agent.work(client)

    def summary(self) -> dict[str, Any]:
        """How many calls each made, and its token."""
        called = UsageEvent.objects.for_organization(self.organization)
        calls = {agent.slug: called.filter(action=agent.slug).count() for agent in AGENTS}
        return {"calls": calls, "tokens": self.tokens}


def how_to_call(tokens: dict[str, str], *, url: str) -> list[str]:
    """Lines to copy: an SDK, and Claude Code, pointed at the demo's gateway."""
    return [
        "The agents answer through the gateway, and their calls stand under Metrics.",
        "For an OpenAI SDK, the first (model: support-replies):",
        "",
        f"export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={tokens.get('support-replies', '…')}",
        "",
        "Claude Code, with the second (it gets simulated answers):",
        "",
        f"ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={tokens.get('code-assistant', '…')} claude",
    ]
