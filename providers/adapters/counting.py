"""
How many tokens an answer reports, in the words of each wire.

A provider that leaves a count out, or whose counts contradict one another, leaves the tokens in doubt: what is known of
them is kept, and never taken for the whole. Shapes: provider API references and recorded answers, checked 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from providers.adapters.reading import MOST_TOKENS, count_of, count_or_none, member, rows, text_of
from usage.tokens import Doubt, TokenUsage

# Where servers that speak OpenAI's protocol put the cached part of the prompt: OpenAI, DeepSeek, Moonshot, Mistral,
# and those that pass Anthropic's words on.
CACHE_READS = (
    ("prompt_tokens_details", "cached_tokens"),
    ("input_tokens_details", "cached_tokens"),
    ("prompt_cache_hit_tokens",),
    ("cached_tokens",),
    ("num_cached_tokens",),
    ("cache_read_input_tokens",),
)
CACHE_WRITES = (
    ("prompt_tokens_details", "cache_write_tokens"),
    ("prompt_tokens_details", "cache_creation_tokens"),
    ("input_tokens_details", "cache_write_tokens"),
    ("cache_creation_input_tokens",),
)
REASONING = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("reasoning_tokens",),
)
SUMS = {(name,) for name in ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens")}
# Parts that are no text, and may have prices of their own.
AUDIO_INPUT = (
    ("prompt_tokens_details", "audio_tokens"),
    ("input_tokens_details", "audio_tokens"),
    ("audio_prompt_tokens",),
)
IMAGE_INPUT = (("prompt_tokens_details", "image_tokens"), ("input_tokens_details", "image_tokens"))
AUDIO_CACHE_READ = (
    ("prompt_tokens_details", "cached_tokens_details", "audio_tokens"),
    ("input_tokens_details", "cached_tokens_details", "audio_tokens"),
)
AUDIO_OUTPUT = (("completion_tokens_details", "audio_tokens"), ("output_tokens_details", "audio_tokens"))
IMAGE_OUTPUT = (("completion_tokens_details", "image_tokens"), ("output_tokens_details", "image_tokens"))
# Counts of what has no class of tokens.
EXTRAS = (("prompt_tokens_details", "video_tokens"), ("prompt_audio_seconds",))
GOOGLE_COUNTS = ("promptTokenCount", "candidatesTokenCount")  # without either, no tokens are reported
FREE_TOOLS = frozenset({"web_fetch_requests"})


@dataclass(frozen=True, slots=True)
class Counted:
    """`usage` is None where no tokens are reported at all."""

    usage: TokenUsage | None = None
    doubt: Doubt | None = None


NOT_REPORTED = Counted()


def openai_tokens(usage: object) -> Counted:
    """
    Cached and cache-written tokens are parts of the prompt, reasoning is a part of the completion.

    Some servers count the one or the other beside it. Their total tells, and whether a count that is left out is zero;
    without a total, reasoning that exceeds the completion can only stand beside it.
    """
    if not isinstance(usage, Mapping):
        return NOT_REPORTED
    sent = _first(usage, "prompt_tokens", "input_tokens")
    written = _first(usage, "completion_tokens", "output_tokens")
    total = count_or_none(usage.get("total_tokens")) or None  # 0 beside tokens is no total
    hit, missed = (count_or_none(usage.get(f"prompt_cache_{name}_tokens")) for name in ("hit", "miss"))
    if sent is None and hit is not None and missed is not None:
        sent = hit + missed
    if sent is None and written is None:
        return NOT_REPORTED
    told = {place: count for place, count in _told(usage).items() if place not in SUMS}
    cache_read, cache_write = _largest(told, CACHE_READS), _largest(told, CACHE_WRITES)
    reasoning = _largest(told, REASONING)
    is_clear = total is not None or (sent is not None and written is not None)
    sent, written = sent or 0, written or 0
    if total is None:
        written += reasoning if reasoning > written else 0
    else:
        cached = cache_read + cache_write
        for beside, more in ((0, 0), (0, reasoning), (cached, 0), (cached, reasoning)):
            if sent + beside + written + more == total:
                sent, written = sent + beside, written + more
                break
        else:
            is_clear = False
    is_clear = is_clear and reasoning <= written and max(cache_read, cache_write) <= sent
    counted = TokenUsage.from_inclusive(
        input_total=sent, cache_read=cache_read, cache_write=cache_write, output=written, reasoning=reasoning
    )
    heard, shown = _largest(told, AUDIO_INPUT), _largest(told, IMAGE_INPUT)
    heard_again = _largest(told, AUDIO_CACHE_READ)
    # Which part of them was cached is told by few.
    is_mixed = cache_read > 0 and (shown > 0 or (heard > 0 and not heard_again))
    parts = Parts(heard - heard_again, shown, heard_again, _largest(told, AUDIO_OUTPUT), _largest(told, IMAGE_OUTPUT))
    return _counted(
        counted, parts, is_clear=is_clear, has_extras=is_mixed or _largest(told, EXTRAS) > 0 or _used_tools(usage)
    )


def anthropic_tokens(usage: object) -> Counted:
    """
    Input comes in three disjoint parts, unlike everywhere else; thinking is a part of the output.

    A call that worked in several `iterations` is billed for all of them, some by another model's price, and counts only
    a part of them at the top.
    """
    if not isinstance(usage, Mapping):
        return NOT_REPORTED
    sent, written = (count_or_none(usage.get(name)) for name in ("input_tokens", "output_tokens"))
    if sent is None and written is None:
        return NOT_REPORTED
    one_hour = count_of(member(usage, "cache_creation", "ephemeral_1h_input_tokens"))
    parts = count_of(member(usage, "cache_creation", "ephemeral_5m_input_tokens")) + one_hour
    cached = count_of(usage.get("cache_creation_input_tokens"))
    output = written or 0
    thinking = count_of(member(usage, "output_tokens_details", "thinking_tokens"))
    is_clear = (
        sent is not None
        and written is not None
        and thinking <= output
        and (not parts or cached in (0, parts))
        and _is_whole(usage, "input_tokens", sent)
        and _is_whole(usage, "output_tokens", written)
    )
    return _counted(
        TokenUsage(
            uncached_input=sent or 0,
            cache_read=count_of(usage.get("cache_read_input_tokens")),
            cache_write=max(cached, parts) - one_hour,
            cache_write_1h=one_hour,
            output=output,
            reasoning=min(thinking, output),
        ),
        is_clear=is_clear,
        has_extras=_used_tools(usage),
    )


def google_tokens(usage: object) -> Counted:
    """
    Cached tokens are a part of the prompt; tool results come on top; thoughts are no candidates.

    A count that is left out is zero here, which the total has to confirm where there is one.
    """
    if not isinstance(usage, Mapping):
        return NOT_REPORTED
    prompt, candidates = (count_or_none(usage.get(name)) for name in GOOGLE_COUNTS)
    if prompt is None and candidates is None:
        return NOT_REPORTED
    thoughts = count_of(usage.get("thoughtsTokenCount"))
    cached = count_of(usage.get("cachedContentTokenCount"))
    sent = (prompt or 0) + count_of(usage.get("toolUsePromptTokenCount"))
    written = (candidates or 0) + thoughts
    total = count_or_none(usage.get("totalTokenCount")) or None
    is_clear = prompt is not None and cached <= sent and total in (None, sent + written)
    heard = _of_modality(usage, "promptTokensDetails", "AUDIO") + _of_modality(
        usage, "toolUsePromptTokensDetails", "AUDIO"
    )
    heard_again = _of_modality(usage, "cacheTokensDetails", "AUDIO")
    is_mixed = heard > 0 and cached > 0 and not any(rows(usage.get("cacheTokensDetails")))
    shown = {text_of(row.get("modality")) for row in rows(usage.get("candidatesTokensDetails")) if _tokens_in(row)}
    spoken, drawn = (_of_modality(usage, "candidatesTokensDetails", modality) for modality in ("AUDIO", "IMAGE"))
    return _counted(
        TokenUsage.from_inclusive(input_total=sent, cache_read=cached, output=written, reasoning=thoughts),
        Parts(heard - heard_again, 0, heard_again, spoken, drawn),  # pictures that were sent cost as much as text
        is_clear=is_clear,
        has_extras=is_mixed or not shown <= {"TEXT", "AUDIO", "IMAGE"},
    )


class Parts(NamedTuple):
    """What is no text of the tokens sent and not cached, of those read from the cache, and of those written."""

    audio_input: int = 0
    image_input: int = 0
    audio_cache_read: int = 0
    audio_output: int = 0
    image_output: int = 0


TEXT_ONLY = Parts()


def _counted(usage: TokenUsage, parts: Parts = TEXT_ONLY, *, is_clear: bool, has_extras: bool) -> Counted:
    if parts != TEXT_ONLY:
        if (
            min(parts) >= 0
            and parts.audio_input + parts.image_input <= usage.uncached_input
            and parts.audio_cache_read <= usage.cache_read
            and usage.reasoning + parts.audio_output + parts.image_output <= usage.output
        ):
            usage = replace(usage, **parts._asdict())
        else:
            is_clear = False
    if not is_clear or usage.total >= MOST_TOKENS:
        return Counted(usage, Doubt.UNCLEAR_TOKENS)
    return Counted(usage, Doubt.EXTRAS if has_extras else None)


def _is_whole(usage: Mapping[str, Any], name: str, count: int) -> bool:
    """Whether the iterations that an answer lists, if it does, add up to what it counts."""
    iterations = list(rows(usage.get("iterations")))
    return not iterations or sum(count_of(iteration.get(name)) for iteration in iterations) == count


def _first(usage: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        if (count := count_or_none(usage.get(name))) is not None:
            return count
    return None


def _told(usage: Mapping[str, Any], depth: int = 3) -> dict[tuple[str, ...], int]:
    """Every count above zero in `usage`, by where it stands."""
    told: dict[tuple[str, ...], int] = {}
    for name, value in usage.items():
        if isinstance(value, dict):
            if depth > 1:
                told |= {(name, *place): count for place, count in _told(value, depth - 1).items()}
        elif value and (count := count_of(value)):
            told[name,] = count
    return told


def _largest(told: Mapping[tuple[str, ...], int], places: Iterable[tuple[str, ...]]) -> int:
    """The same count under its several names."""
    largest = 0
    for place in places if told else ():
        if (count := told.get(place, 0)) > largest:
            largest = count
    return largest


def _used_tools(usage: Mapping[str, Any]) -> bool:
    """Whether the provider ran a tool of its own that it charges by the use."""
    tools = usage.get("server_tool_use")
    return isinstance(tools, Mapping) and any(count_of(tools[name]) for name in tools.keys() - FREE_TOOLS)


def _of_modality(usage: Mapping[str, Any], name: str, modality: str) -> int:
    return sum(_tokens_in(row) for row in rows(usage.get(name)) if text_of(row.get("modality")) == modality)


def _tokens_in(row: Mapping[str, Any]) -> int:
    return count_of(row.get("tokenCount"))
