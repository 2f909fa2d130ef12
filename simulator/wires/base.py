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
from simulator.listings import MODELS, SimulatedModel
from simulator.streams import Streamed

Headers = Mapping[bytes, bytes]
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


@dataclass(frozen=True, slots=True)
class Generated:
    """What the simulated model produced, in tokens and text."""

    text: str
    input_tokens: int
    output_tokens: int
    is_cut: bool


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
    def bad_request(self, message: str) -> Reply: ...

    @abstractmethod
    def not_found(self, message: str) -> Reply: ...

    @abstractmethod
    def chat(self, content: dict[str, Any], headers: Headers) -> Reply: ...

    @abstractmethod
    def streamed(self, whole: dict[str, Any], content: dict[str, Any]) -> Streamed:
        """The answer `whole` to the request `content`, bit by bit; without its usage, none is reported."""

    @abstractmethod
    def listing(self) -> Reply: ...


def generate(system: str, texts: list[tuple[bool, str]], most_tokens: int) -> Generated:
    """Answer what the user said; `texts` are (is from the user, text) in their order."""
    prompt = "\n".join(text for is_user, text in texts if is_user)
    full = answer(prompt)
    text = full[: most_tokens * CHARACTERS_IN_A_TOKEN]
    sent = len(system) + sum(len(text) for _, text in texts)
    return Generated(text, tokens_in(sent), tokens_in(len(text)), len(text) < len(full))


def next_id(prefix: str) -> str:
    return f"{prefix}{next(_ids):016x}"


def text_in(content: object) -> str:
    """Text, or the text parts of a list."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def bearer(headers: Headers) -> str:
    return headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ").strip()


def encode(content: object) -> bytes:
    """As JSON; bytes as they are."""
    if isinstance(content, bytes):
        return content
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
