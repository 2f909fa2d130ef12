"""What the simulated model fills into schemas, and when it calls a tool."""

from __future__ import annotations

import pytest

from simulator.schemas import DEEPEST, example_of
from simulator.tools import TOOL_MARKER, ToolCall, Tools

LIST = {"$defs": {"list": {"type": "object", "properties": {"next": {"$ref": "#/$defs/list"}}}}, "$ref": "#/$defs/list"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "simulated"),
        ({"type": "STRING"}, "simulated"),
        ({"type": "string", "minLength": 12}, "simulatedxxx"),
        ({"type": "string", "format": "date"}, "2026-11-28"),
        ({"type": ["null", "integer"], "minimum": 7}, 7),
        ({"type": "integer", "minimum": -(2**53) + 1, "exclusiveMinimum": 0}, 1),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "number"}, 1.0),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"enum": ["met", "not_met"]}, "met"),
        ({"const": 5}, 5),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array"}, []),
        ({"properties": {"a": {"type": "integer"}}}, {"a": 1}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"$defs": {"a": {"type": "boolean"}}, "properties": {"b": {"$ref": "#/$defs/a"}}}, {"b": True}),
        ({"$ref": "#/nowhere"}, None),
        ({}, "simulated"),
        (None, None),
        ("nonsense", None),
    ],
)
def test_a_value_fits_its_schema(schema, value):
    assert example_of(schema) == value


def test_a_schema_that_holds_itself_comes_to_an_end():
    depth, value = 0, example_of(LIST)
    while value is not None:
        depth, value = depth + 1, value["next"]

    assert 0 < depth <= DEEPEST


@pytest.mark.parametrize(
    ("tools", "said", "name"),
    [
        (Tools({"a": {}, "b": {}}, must_call=True), "", "a"),
        (Tools({"a": {}, "b": {}}, must_call=True, named="b"), "", "b"),
        (Tools({"a": {}}, must_call=True, named="c"), "", None),
        (Tools({"a": {}}), "", None),
        (Tools({"a": {}}), TOOL_MARKER, "a"),
        (Tools({"a": {}}, may_call=False), TOOL_MARKER, None),
        (Tools(must_call=True), TOOL_MARKER, None),
    ],
)
def test_a_tool_is_called_where_it_must_be_or_is_asked_for(tools, said, name):
    call = tools.call(said)

    assert (call.name if call else None) == name
    assert call is None or isinstance(call, ToolCall)


RUN = {"type": "object", "properties": {"command": {"type": "string"}}}


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ('Do it. [[simulate-tool run {"command": "echo {}"}]]', ToolCall("run", {"command": "echo {}"})),
        (r'"Do it. [[simulate-tool run {\"command\": \"ls\"}]]"', ToolCall("run", {"command": "ls"})),
        ("[[simulate-tool run]]", ToolCall("run", {"command": "simulated"})),
        ("[[simulate-tool run {command}]]", ToolCall("run", {"command": "simulated"})),
        ("[[simulate-tool unknown]]", None),
    ],
)
def test_a_marker_may_name_the_tool_and_what_it_is_called_with(said, call):
    assert Tools({"first": {}, "run": RUN}).call(said) == call
