"""
Embeddings in OpenAI's form; in Gemini's they are methods like others (`gemini`), whose bodies name the model again, a
batch's in each part. Sources: OpenAI and Gemini API references, checked 2026-11-28.

Answers are numbers by the million. Those that are too many to be parsed are searched for what counts the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.adapters.dialects.openai import OpenAIChat
from providers.adapters.dialects.request import Body, Request, model_in
from usage.tokens import Report


class OpenAIEmbeddings(OpenAIChat):
    """Nothing is written, so no output is counted, and nothing is streamed."""

    def request(self, body: bytes, path: str = "") -> Request:
        content = Body(body)
        return Request(model=(model := model_in(content)).value, body=content, models=(model,))

    def report_of(self, content: Mapping[str, Any]) -> Report:
        usage = content.get("usage")
        if isinstance(usage, dict):
            content = {**content, "usage": {"completion_tokens": 0, **usage}}
        return super().report_of(content)


OPENAI_EMBEDDINGS = OpenAIEmbeddings()
