"""
How fast streams are followed, beside the least that reading them takes, in the same run.

    .venv/bin/python -m benchmarks.dialects [--rounds 7]

Answers of 400 events, of the size that providers send, are fed in pieces of one event, of a packet (1,400 bytes) and of
16 KB. The floor cuts the same bytes at blank lines and parses the JSON of each event, which is what a client does;
nothing of it is handed on or understood. Rounds alternate between the two; the median of the processor's time counts.

Prints for each dialect and size of piece MB/s, events/s and the ratio of the floor's time to ours (above 1: faster than
the floor), and what it takes to rewrite a request of 50 KB, and to count what it is made of. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gateway.door.endpoints import CHAT
from gateway.door.input_parts import parts_of
from providers.adapters.dialects.anthropic import ANTHROPIC_MESSAGES
from providers.adapters.dialects.base import Dialect
from providers.adapters.dialects.gemini import GEMINI
from providers.adapters.dialects.openai import OPENAI_CHAT
from providers.adapters.dialects.responses import OPENAI_RESPONSES

EVENTS = 400
ANSWERS_IN_A_ROUND = 20
WORD = " candidate"


def main(rounds: int) -> None:
    result: dict[str, dict[str, Any]] = {}
    print(f"{'':18} {'piece':>7} {'MB/s':>8} {'events/s':>12} {'floor/ours':>11}")
    for name, (dialect, body) in streams().items():
        events = body.count(b"\n\n")
        sizes = {"event": body.index(b"\n\n", len(body) // 2) - body.rindex(b"\n\n", 0, len(body) // 2)}
        for piece, size in {**sizes, "packet": 1_400, "16KB": 16_384}.items():
            pieces = by_event(body) if piece == "event" else [body[at : at + size] for at in range(0, len(body), size)]
            floor, ours = compare(partial(parse, body), partial(follow, dialect, pieces), rounds)
            result.setdefault(name, {})[piece] = {
                "mb_per_s": round(len(body) / ours / 1e6, 1),
                "events_per_s": round(events / ours),
                "ratio": round(floor / ours, 2),
            }
            print(f"{name:18} {piece:>7} {len(body) / ours / 1e6:8.1f} {events / ours:12,.0f} {floor / ours:11.2f}")
    asked = request()
    floor, ours = compare(lambda: json.loads(asked), lambda: OPENAI_CHAT.request(asked).rewritten(model="b"), rounds)
    print(f"rewriting {len(asked) / 1000:.0f} KB: {ours * 1e6:.0f} µs, json.loads of it {floor * 1e6:.0f} µs")
    result["rewriting"] = {"us": round(ours * 1e6), "ratio": round(floor / ours, 2)}
    parsed = OPENAI_CHAT.request(asked).body
    floor, ours = compare(lambda: json.loads(asked), lambda: parts_of(CHAT, parsed), rounds)
    print(f"counting its parts: {ours * 1e6:.0f} µs")
    result["counting"] = {"us": round(ours * 1e6), "ratio": round(floor / ours, 2)}
    print(json.dumps(result))


def compare(floor: Callable[[], object], ours: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Seconds of a processor that each takes once."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for taken, call in zip(times, (floor, ours), strict=True):
            start = time.process_time()
            for _ in range(ANSWERS_IN_A_ROUND):
                call()
            taken.append((time.process_time() - start) / ANSWERS_IN_A_ROUND)
    return statistics.median(times[0]), statistics.median(times[1])


def follow(dialect: Dialect, pieces: list[bytes]) -> None:
    stream = dialect.stream(withholds_usage=True)
    for piece in pieces:
        stream.feed(piece)
    stream.close()
    assert stream.usage
    assert stream.is_complete


def parse(body: bytes) -> None:
    for event in body.split(b"\n\n"):
        at = event.find(b"data: ")
        if at >= 0 and event[at + 6 : at + 7] == b"{":
            json.loads(event[at + 6 :])


def by_event(body: bytes) -> list[bytes]:
    return [event + b"\n\n" for event in body.removesuffix(b"\n\n").split(b"\n\n")]


def streams() -> dict[str, tuple[Dialect, bytes]]:
    """An answer in each dialect, as its provider sends it."""
    head = {"id": "chatcmpl-" + "x" * 29, "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "gpt-6"}
    head |= {"service_tier": "default", "system_fingerprint": "fp_0123456789"}
    counted = {"prompt_tokens": 900, "completion_tokens": EVENTS, "total_tokens": 900 + EVENTS}

    def choice(delta: object, finish: str | None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    words = [{**head, "choices": choice({"content": WORD}, None), "usage": None, "obfuscation": "aB3dE5gH"}] * EVENTS
    last = {**head, "choices": choice({}, "stop"), "usage": None}
    chat = [*words, last, {**head, "choices": [], "usage": counted}]

    response = {"id": "resp_" + "0" * 50, "model": "gpt-6", "status": "in_progress", "tools": [], "metadata": {}}
    usage = {"input_tokens": 900, "output_tokens": EVENTS, "total_tokens": 900 + EVENTS}
    delta = {"type": "response.output_text.delta", "item_id": "msg_" + "0" * 50, "output_index": 0, "content_index": 0}
    responses: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        *({**delta, "sequence_number": number, "delta": WORD} for number in range(EVENTS)),
        {"type": "response.completed", "response": {**response, "status": "completed", "usage": usage}},
    ]

    started = {"id": "msg_" + "0" * 24, "model": "claude-5", "usage": {"input_tokens": 900, "output_tokens": 1}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}}
    ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": EVENTS}}
    messages: list[dict[str, Any]] = [
        {"type": "message_start", "message": started},
        *[text] * EVENTS,
        ended,
        {"type": "message_stop"},
    ]

    def element(number: int) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": [{"text": WORD * 8}], "role": "model"}, "index": 0}
        counts = {"promptTokenCount": 900, "candidatesTokenCount": number, "totalTokenCount": 900 + number}
        details = [{"modality": "TEXT", "tokenCount": 900}]
        if number == EVENTS:
            candidate["finishReason"] = "STOP"
        return {
            "candidates": [candidate],
            "usageMetadata": {**counts, "promptTokensDetails": details},
            "modelVersion": "gemini-4",
            "responseId": "0" * 22,
        }

    return {
        "openai_chat": (OPENAI_CHAT, sse(chat, is_named=False) + b"data: [DONE]\n\n"),
        "openai_responses": (OPENAI_RESPONSES, sse(responses)),
        "anthropic": (ANTHROPIC_MESSAGES, sse(messages)),
        "gemini": (GEMINI, sse([element(number) for number in range(1, EVENTS + 1)], is_named=False)),
    }


def sse(contents: list[dict[str, Any]], *, is_named: bool = True) -> bytes:
    events = (
        (f"event: {content['type']}\n" if is_named else "") + f"data: {json.dumps(content, separators=(',', ':'))}\n\n"
        for content in contents
    )
    return "".join(events).encode()


def request() -> bytes:
    """A long conversation of a coding agent."""
    tools = [
        {"type": "function", "function": {"name": f"tool_{number}", "description": "x" * 900}} for number in range(12)
    ]
    messages = [{"role": "user", "content": "Please look at this: " + "lorem ipsum, " * 60} for _ in range(48)]
    return json.dumps({"model": "a", "messages": messages, "tools": tools, "stream": True}).encode()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=7)
    main(arguments.parse_args().rounds)
