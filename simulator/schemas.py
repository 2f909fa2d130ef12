"""What a model would fill into a JSON schema of a tool or of an answer: always the same for the same one."""

from __future__ import annotations

from typing import Any

DEEPEST = 20  # schemas may hold themselves
BY_FORMAT = {
    "date": "2026-11-28",
    "date-time": "2026-11-28T12:00:00Z",
    "time": "12:00:00Z",
    "email": "jane@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000001",
}


def example_of(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """A value that fits `schema`, as far as that is usual: types, enums, references, choices, least and most."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return None
    root = schema if root is None else root
    if isinstance(reference := schema.get("$ref"), str):
        return example_of(_found(reference, root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(allowed := schema.get("enum"), list) and allowed:
        return allowed[0]
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(choices := schema.get(name), list) and choices:
            whole = {key: value for key, value in schema.items() if key != name}
            return example_of({**whole, **choices[0]}, root, depth + 1)
    match _kind(schema):
        case "object":
            properties = schema.get("properties")
            properties = properties if isinstance(properties, dict) else {}
            return {name: example_of(each, root, depth + 1) for name, each in properties.items()}
        case "array":
            number = max(1, _number(schema, "minItems", 1))
            return [example_of(schema.get("items"), root, depth + 1)] * number if "items" in schema else []
        case "integer":
            return _least(schema)
        case "number":
            return float(_least(schema))
        case "boolean":
            return True
        case "null":
            return None
    return BY_FORMAT.get(str(schema.get("format")), "simulated").ljust(min(_number(schema, "minLength", 0), 1_000), "x")


def _kind(schema: dict[str, Any]) -> str:
    """The first type that is none of null; Gemini writes them in capitals."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    return str(kind).lower() if kind else ("object" if "properties" in schema else "string")


def _found(reference: str, root: Any) -> Any:
    found = root
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _least(schema: dict[str, Any]) -> int:
    """JavaScript's least whole number, which some libraries name where nobody named one, is none."""
    least = _number(schema, "minimum", 1)
    least = 1 if least <= -(2**53) + 1 else least
    return max(least, _number(schema, "exclusiveMinimum", least - 1) + 1)


def _number(schema: dict[str, Any], name: str, otherwise: int) -> int:
    number = schema.get(name)
    return int(number) if isinstance(number, (int, float)) else otherwise
