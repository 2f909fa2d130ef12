"""
How many tokens an answer had that broke off before its provider counted them.

Four characters a token, as providers themselves put it for English; an estimate is shown as one.
"""

from __future__ import annotations

import re
from dataclasses import replace

from usage.tokens import Doubt, Report, TokenUsage

CHARACTERS_A_TOKEN = 4
# What a model writes, in the members that any of the wires has for it.
_WRITTEN = re.compile(
    rb'"(?:content|text|delta|thinking|reasoning|reasoning_content|arguments|partial_json)"\s*:\s*"((?:[^"\\]|\\.)*)"'
)


def written_in(chunk: bytes) -> int:
    """The characters of a model's text in a piece of a stream."""
    return sum(len(text) for text in _WRITTEN.findall(chunk))


def estimated(report: Report, *, request_bytes: int, written: int) -> Report:
    """
    The report of a stream that did not come to its end: what was counted stays, the rest is what was sent and seen. An
    explicit count of the provider's is never replaced by a smaller one.
    """
    known = report.usage or TokenUsage()
    if not known.input_total:
        known = replace(known, uncached_input=request_bytes // CHARACTERS_A_TOKEN)
    seen = -(-written // CHARACTERS_A_TOKEN)
    if seen > known.output:
        known = replace(known, output=seen)
    doubt = None if report.doubt is Doubt.UNCLEAR_TOKENS else report.doubt
    return replace(report, usage=known, doubt=doubt)
