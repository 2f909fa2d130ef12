"""The list of models in three shapes: the agents that a token may call, and what it reaches directly is not listed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gateway.callers import Caller, Target
from gateway.door.endpoints import Wire
from gateway.door.errors import DoorError

_SINCE = 1_767_225_600  # a moment that every list needs, and nobody reads: 2026-01-01
_SINCE_TEXT = "2026-01-01T00:00:00Z"


def listing(caller: Caller, wire: Wire, *, is_codex: bool) -> bytes:
    names = _callable(caller)
    content: dict[str, object]
    match wire:
        case Wire.OPENAI:
            content = {"object": "list", "data": [_openai(name, caller) for name in names]}
            if is_codex:
                content["models"] = []
        case Wire.ANTHROPIC:
            content = {
                "data": [_anthropic(name) for name in names],
                "has_more": False,
                "first_id": names[0] if names else None,
                "last_id": names[-1] if names else None,
            }
        case Wire.GEMINI:
            content = {"models": [_gemini(name) for name in names]}
    return json.dumps(content).encode()


def one(caller: Caller, model: str, wire: Wire) -> bytes:
    """Raises DoorError."""
    if model not in _callable(caller):
        raise DoorError(404, "unknown_model", f"There is no model “{model[:200]}” here.")
    match wire:
        case Wire.OPENAI:
            content = _openai(model, caller)
        case Wire.ANTHROPIC:
            content = _anthropic(model)
        case Wire.GEMINI:
            content = _gemini(model)
    return json.dumps(content).encode()


def _callable(caller: Caller) -> Sequence[str]:
    return [slug for slug, found in caller.agents.items() if isinstance(found, Target)]


def _openai(name: str, caller: Caller) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _SINCE, "owned_by": caller.organization_slug}


def _anthropic(name: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _SINCE_TEXT}


def _gemini(name: str) -> dict[str, object]:
    return {
        "name": f"models/{name}",
        "displayName": name,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens", "embedContent"],
    }
