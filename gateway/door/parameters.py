"""
What a rule sends along where the client names nothing else: temperature, output limit, reasoning effort.

Each wire has other names for them; what a wire has no name for is left to the model. Sources: OpenAI, Anthropic and
Gemini API references, checked 2026-11-28.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.callers import Parameters
from gateway.door.endpoints import CHAT, GENERATE, MESSAGES, RESPONSES, Endpoint
from providers.adapters.dialects.request import Body, Edit

_CONFIGS = ("generationConfig", "generation_config")
NOTHING = Parameters()
ANTHROPIC_EFFORTS = frozenset({"low", "medium", "high"})


def edits(endpoint: Endpoint, body: Body, parameters: Parameters, *, limit_field: str) -> list[Edit]:
    """What is added to `body`. `limit_field` is how the provider calls the output limit of a chat."""
    if parameters == NOTHING:
        return []
    if endpoint is GENERATE:
        return list(_in_gemini(body, parameters))
    wanted: dict[str, Any] = {}
    if endpoint in (CHAT, RESPONSES, MESSAGES) and parameters.temperature is not None:
        wanted["temperature"] = float(parameters.temperature)
    effort, most = parameters.reasoning_effort, parameters.most_output_tokens
    if endpoint is CHAT:
        wanted |= {limit_field: most, "reasoning_effort": effort or None}
        if body.value("max_tokens", "max_completion_tokens") is not None:
            wanted.pop(limit_field)
    elif endpoint is RESPONSES:
        wanted |= {"max_output_tokens": most, "reasoning": {"effort": effort} if effort else None}
    elif endpoint is MESSAGES and effort in ANTHROPIC_EFFORTS:
        wanted["output_config"] = {"effort": effort}
    return list(_absent(body, wanted))


def _absent(body: Body, wanted: Mapping[str, Any]) -> Iterator[Edit]:
    for name, value in wanted.items():
        if value is not None and body.get(name) is None:
            yield body.added(name, json.dumps(value))


def _in_gemini(body: Body, parameters: Parameters) -> Iterator[Edit]:
    temperature, most = parameters.temperature, parameters.most_output_tokens
    wanted = {
        ("temperature", "temperature"): None if temperature is None else float(temperature),
        ("maxOutputTokens", "max_output_tokens"): most,
    }
    wanted = {names: value for names, value in wanted.items() if value is not None}
    if not wanted:
        return
    config = next((found for name in _CONFIGS if (found := body.get(name))), None)
    if config is None:
        yield body.added("generationConfig", json.dumps({names[0]: value for names, value in wanted.items()}))
    elif isinstance(config.value, dict):
        members = body.members_at(config.start)
        named = {name for name, _ in members}
        added = [f'"{names[0]}":{json.dumps(value)}' for names, value in wanted.items() if not named & set(names)]
        if added:
            at = config.start + 1
            yield Edit(at, at, ",".join(added) + ("," if members else ""))
