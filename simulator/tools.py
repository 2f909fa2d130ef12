"""
The tools that a request offers, and which one the simulated model calls.

It calls one where the request says that it must, and where it may if the last message asks for it by a marker: so the
result of a tool gets an answer, and a client with tools of its own is not sent round in circles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from simulator.schemas import example_of

TOOL_MARKER = "[[simulate-tool]]"


class ToolCall(NamedTuple):
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tools:
    """The schema of each tool's arguments, by its name; `named` is the one that the request insists on."""

    schemas: Mapping[str, Any] = field(default_factory=dict)
    must_call: bool = False
    may_call: bool = True
    named: str = ""

    def call(self, last_message: str) -> ToolCall | None:
        name = self.named or next(iter(self.schemas), "")
        wanted = self.must_call or (self.may_call and TOOL_MARKER in last_message)
        if not wanted or name not in self.schemas:
            return None
        arguments = example_of(self.schemas[name])
        return ToolCall(name, arguments if isinstance(arguments, dict) else {})


def schemas_in(tools: object, schema_name: str, inside: str = "") -> dict[str, Any]:
    """Of a list of tools, by name; `inside` is where each keeps what is told of it, if not in itself."""
    rows = [row for row in tools if isinstance(row, dict)] if isinstance(tools, list) else []
    told = (row.get(inside) if inside else row for row in rows)
    return {
        str(tool["name"]): tool.get(schema_name)
        for tool in told
        if isinstance(tool, dict) and {"name", schema_name} <= tool.keys()
    }
