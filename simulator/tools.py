"""
The tools that a request offers, and which one the simulated model calls.

It calls one where the request says that it must, and where it may if the last message asks for it by a marker: so the
result of a tool gets an answer, and a client with tools of its own is not sent round in circles. The marker may name
the tool and what it is called with, as coding tools have many: `[[simulate-tool Bash {"command": "echo hello"}]]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from simulator.schemas import example_of

TOOL_MARKER = "[[simulate-tool]]"
_MARKED = re.compile(r"\[\[simulate-tool(?: (?P<name>[\w.-]+)(?: (?P<arguments>\{.*?\}))?)?\]\]", re.DOTALL)


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
        marked = _MARKED.search(last_message) if self.may_call else None
        if not self.must_call and marked is None:
            return None
        name = self.named or (marked and marked["name"]) or next(iter(self.schemas), "")
        if name not in self.schemas:
            return None
        given = _object_in(marked["arguments"]) if marked else None
        arguments = example_of(self.schemas[name]) if given is None else given
        return ToolCall(name, arguments if isinstance(arguments, dict) else {})


def _object_in(text: str | None) -> Any:
    """As it was written, or as a client escaped it that put the whole message into quotes."""
    for read in (text or "null", (text or "").replace(r"\"", '"')):
        with suppress(ValueError):
            return json.loads(read)
    return None


def schemas_in(tools: object, schema_name: str, inside: str = "") -> dict[str, Any]:
    """Of a list of tools, by name; `inside` is where each keeps what is told of it, if not in itself."""
    rows = [row for row in tools if isinstance(row, dict)] if isinstance(tools, list) else []
    told = (row.get(inside) if inside else row for row in rows)
    return {
        str(tool["name"]): tool.get(schema_name)
        for tool in told
        if isinstance(tool, dict) and {"name", schema_name} <= tool.keys()
    }
