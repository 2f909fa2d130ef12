"""What all of our questions to models have in common."""

from __future__ import annotations

from providers.adapters.base import ChatRequest, Message

# For all models alike, as thinking counts towards it and nothing tells which of them think; an answer to one of our
# questions alone has up to 6,000 tokens. A model that allows less is asked again with what it allows.
MAX_OUTPUT_TOKENS = 16_384


def question(*, model: str, system: str, text: str, about: str = "") -> ChatRequest:
    """`about` is what of `text` is no question, but what it is about, such as a profile."""
    return ChatRequest(
        model=model,
        system=system,
        messages=(Message("user", text),),
        max_output_tokens=MAX_OUTPUT_TOKENS,
        retrieved_characters=len(about),
    )
