"""Where the official SDKs are pointed, and what they are asked to do there."""

from __future__ import annotations

from dataclasses import dataclass

import httpx2
from pydantic import BaseModel

TOOL = "find_candidates"
TOOL_TEXT = "Finds candidates by what they know."
PARAMETERS = {
    "type": "object",
    "properties": {"skill": {"type": "string"}, "most": {"type": "integer", "minimum": 3}},
    "required": ["skill", "most"],
    "additionalProperties": False,
}
ARGUMENTS = {"skill": "simulated", "most": 3}
SENTENCE = "This is a simulated answer."


@dataclass(frozen=True, slots=True)
class Door:
    """
    One wire, as its SDK is pointed at it: `base_url` and `token` are what the SDK takes for its own, `model` and
    `embedding_model` what it asks for.
    """

    base_url: str
    token: str
    model: str
    embedding_model: str


class Verdict(BaseModel):
    """The shape of a structured answer."""

    requirement: str
    is_met: bool
    score: int


class Sent:
    """Counts the requests that an SDK sends, its retries among them."""

    def __init__(self) -> None:
        self.number = 0

    def client(self) -> httpx2.Client:
        return httpx2.Client(event_hooks={"request": [self._count]}, timeout=30)

    def _count(self, request: httpx2.Request) -> None:
        self.number += 1
