"""
What a managed key's provider says a call cost, taken out of the answer: managed USD are the operator's.

Some providers (OpenRouter, LiteLLM) write it beside the tokens that they count.
"""

from __future__ import annotations

import json
import re

_USAGE = re.compile(r'"usage"\s*:\s*(?=\{)')
_decode = json.JSONDecoder().raw_decode


def without_cost(data: bytes) -> bytes:
    """An answer, or whole events of a stream, with nothing else changed."""
    if b"cost" not in data:
        return data
    text = data.decode("utf-8", "surrogateescape")
    kept: list[str] = []
    at = 0
    for found in _USAGE.finditer(text):
        if found.start() < at:
            continue
        try:
            usage, end = _decode(text, found.end())
        except ValueError:
            break
        shown = {name: value for name, value in usage.items() if "cost" not in name and name != "is_byok"}
        if len(shown) < len(usage):
            kept += (text[at : found.end()], json.dumps(shown, ensure_ascii=False, separators=(",", ":")))
            at = end
    return "".join((*kept, text[at:])).encode("utf-8", "surrogateescape") if kept else data
