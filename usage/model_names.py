"""What the id of a model tells of it: who made it, and what it is called without the date of its revision."""

from __future__ import annotations

import re

# A date or revision of a model, as providers write it behind its name.
REVISION = re.compile(r"-(latest|20\d\d-?\d\d-?\d\d|\d{4}|\d{3})$")
MAKERS_THAT_SELL = frozenset({"openai", "anthropic", "google", "mistral"})
SPELT = {"mistralai": "mistral"}  # by OpenRouter


def maker_of(provider: str, model: str) -> str:
    """Who made a model, and so its tokenizer; of a server of one's own the beginning of its id, "" without one."""
    if provider in MAKERS_THAT_SELL:
        return provider
    beginning, slash, _ = model.partition("/")
    return SPELT.get(beginning, beginning) if slash else ""


def undated(model: str) -> str:
    """A model's name without revision, and with one sign between its parts: providers write "4.5" and "4-5"."""
    name = model.lower().replace(".", "-")
    while name != (shorter := REVISION.sub("", name)):
        name = shorter
    return name
