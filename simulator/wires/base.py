"""
The wire protocols as the simulator speaks them: requests, answers and errors in each provider's own
shape.

Shapes after the providers' API references and error guides, checked 2026-11-21.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any, ClassVar

from simulator.answers import CHARACTERS_IN_A_TOKEN, answer, tokens_in
from simulator.faults import RETRY_SOON, Fault
from simulator.listings import EMBEDDING_MODELS, MODELS, SimulatedModel
from simulator.schemas import example_of
from simulator.streams import Streamed, compact
from simulator.tools import ToolCall, Tools

Headers = Mapping[bytes, bytes]
NO_TOOLS = Tools()
_ids = count(int(time.time() * 1000))


class KeyState(StrEnum):
    """What a key is simulated to be, by what it contains; a key that contains none of these is invalid."""

    VALID = "simulated-valid"
    INVALID = "simulated-invalid"
    NO_CREDIT = "simulated-no-credit"
    RATE_LIMITED = "simulated-rate-limited"
    LIMITED = "simulated-limited"
    OVERLOADED = "simulated-overloaded"
    DRAINED = "simulated-drained"  # lists models, and is refused every call for want of credit

    @classmethod
    def of(cls, key: str) -> KeyState:
        return next((state for state in cls if state in key), cls.INVALID)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    content: object
    headers: dict[str, str] = field(default_factory=dict)
    streamed: Streamed | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """What the simulated model produced, in tokens and text; with the call of a tool, there is no text."""

    text: str
    input_tokens: int
    output_tokens: int
    is_cut: bool
    call: ToolCall | None = None


class Wire(ABC):
    """One provider's side of its protocol."""

    slug: ClassVar[str]
    request_id_header: ClassVar[str] = "x-request-id"

    @property
    def models(self) -> dict[str, SimulatedModel]:
        return MODELS[self.slug]

    @abstractmethod
    def key(self, headers: Headers) -> str: ...

    @abstractmethod
    def refusal(self, state: KeyState, key: str) -> Reply:
        """The error that a key in this state gets, for any state but VALID."""

    @abstractmethod
    def failure(self, status: int) -> Reply:
        """The error of a server that has trouble: 500 and above."""

    def spent(self) -> Reply:
        """Nothing more is to be paid from; a 429 where this provider has one for that."""
        return self.refusal(KeyState.NO_CREDIT, "")

    def faulty(self, fault: Fault) -> Reply | None:
        """The error that is all of the answer, if the fault is one."""
        if fault is Fault.RATE_LIMITED:
            refused = self.refusal(KeyState.RATE_LIMITED, "")
            return Reply(429, refused.content, RETRY_SOON)
        if fault is Fault.SPENT:
            return self.spent()
        return self.failure(fault.status) if fault.status else None

    @abstractmethod
    def bad_request(self, message: str) -> Reply: ...

    @abstractmethod
    def not_found(self, message: str) -> Reply: ...

    @abstractmethod
    def chat(self, content: dict[str, Any], headers: Headers) -> Reply: ...

    def count(self, content: dict[str, Any], headers: Headers) -> Reply:
        """How many tokens a request has."""
        return self.not_found("This provider counts no tokens.")

    def embed(self, content: dict[str, Any], headers: Headers) -> Reply:
        return self.not_found("This provider has no embeddings.")

    @property
    def embedding_models(self) -> tuple[str, ...]:
        return EMBEDDING_MODELS.get(self.slug, ())

    @abstractmethod
    def streamed(self, whole: dict[str, Any], content: dict[str, Any]) -> Streamed:
        """The answer `whole` to the request `content`, bit by bit; without its usage, none is reported."""

    @abstractmethod
    def listing(self) -> Reply: ...


def generate(
    system: str,
    texts: list[tuple[bool, str]],
    most_tokens: int,
    *,
    tools: Tools = NO_TOOLS,
    schema: object = None,
) -> Generated:
    """
    Answer what the user said, or call a tool; `texts` are (is from the user, text) in their order, and `schema` is what
    the answer has to fit, if that was asked for.
    """
    sent = tokens_in(len(system) + sum(len(text) for _, text in texts))
    if call := tools.call(texts[-1][1]):
        return Generated("", sent, tokens_in(len(compact(call.arguments))), is_cut=False, call=call)
    if schema is not None:
        full = compact(example_of(schema))
    else:
        full = answer("\n".join(text for is_user, text in texts if is_user))
    text = full[: most_tokens * CHARACTERS_IN_A_TOKEN]
    return Generated(text, sent, tokens_in(len(text)), len(text) < len(full))


def next_id(prefix: str) -> str:
    return f"{prefix}{next(_ids):016x}"


def text_in(content: object) -> str:
    """Text, or the text parts of a list."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def conversation(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Instructions first, wherever clients put them: a model answers the last message that is none."""
    return sorted(rows, key=lambda row: row.get("role") not in ("system", "developer"))


def is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def bearer(headers: Headers) -> str:
    return headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ").strip()


def encode(content: object) -> bytes:
    """As JSON; bytes as they are."""
    if isinstance(content, bytes):
        return content
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
