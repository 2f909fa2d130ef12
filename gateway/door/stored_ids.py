"""
Ids of what a provider keeps: earlier responses, conversations, files, containers.

A key may serve many tokens, and a provider lets whoever has the key read all of it. Nothing is made through a door that
a provider keeps under an id, but for responses, whose ids belong to nobody here: so whoever names one is refused.
What tools of the client's own are given and give back may name anything: to a provider it is text.
"""

from __future__ import annotations

import json
import re
from typing import Any

from gateway.door.endpoints import RESPONSES, Endpoint, Wire
from gateway.door.errors import DoorError
from providers.adapters.dialects.request import Body

_OF_RESPONSES = ("previous_response_id", "conversation")
_IDS = frozenset({"file_id", "file_ids", "container", "container_id", "vector_store_id", "vector_store_ids"})
_GOOGLE_IDS = frozenset({"cachedContent", "cached_content"})
_GOOGLE_FILES = frozenset({"fileUri", "file_uri"})
# A cheap look, as there is hardly ever anything: escapes can spell any name.
_MAY_NAME = re.compile(
    r'"(?:(?:file|vector_store)_ids?|container(?:_id)?|item_reference|audio|cached_?[cC]ontent|file_?[uU]ri)"'
    r"|\\u00[2-7]"
)
# The client's own: schemas of its tools, and what these are called with and answer.
_OWN = frozenset({"parameters", "parametersJsonSchema", "input_schema", "schema", "metadata", "args", "response"})
_CALLS_OF_TOOLS = frozenset({"tool_use"})


class _Members(list[tuple[str, Any]]):
    """An object's, also those that stand there twice."""


def refuse_stored_ids(endpoint: Endpoint, body: Body) -> None:
    """Raises DoorError where `body` names something that another token may have made."""
    if endpoint is RESPONSES:
        for name in _OF_RESPONSES:
            if body.value(name) is not None:
                raise _refused(name)
    if _MAY_NAME.search(body.text) and (named := _first_named(body.text, is_gemini=endpoint.wire is Wire.GEMINI)):
        raise _refused(named)


def _first_named(text: str, *, is_gemini: bool) -> str:
    try:
        left: list[Any] = [json.loads(text, object_pairs_hook=_Members)]
    except RecursionError:
        raise DoorError(400, "bad_body", "The body is nested too deep.") from None
    while left:
        value = left.pop()
        if isinstance(value, _Members):
            kinds = {each for name, each in value if name == "type" and isinstance(each, str)}
            if "item_reference" in kinds:
                return "item_reference"
            for name, each in value:
                if (_is_google_id if is_gemini else _is_id)(name, each):
                    return name
                if name not in _OWN and not (name == "input" and kinds and kinds <= _CALLS_OF_TOOLS):
                    left.append(each)
        elif isinstance(value, list):
            left += value
    return ""


def _is_id(name: str, value: Any) -> bool:
    if name in ("container", "audio") and isinstance(value, _Members):
        return any(inner == "id" and each for inner, each in value)
    return name in _IDS and bool(value) and not isinstance(value, _Members)


def _is_google_id(name: str, value: Any) -> bool:
    if name in _GOOGLE_FILES:
        return isinstance(value, str) and (value.startswith("files/") or "/files/" in value)
    return name in _GOOGLE_IDS and bool(value)


def _refused(name: str) -> DoorError:
    return DoorError(
        400,
        "stored_id",
        f"“{name}” names what is kept at the provider, where other tokens of the same key could have put it. Send the "
        "content itself.",
    )
