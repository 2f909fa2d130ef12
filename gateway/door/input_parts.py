"""
What the input of a request is made of, by whichever wire it came: the characters of each part, and none of the text.

Read from the body that was parsed to forward it. `docs/cost-anatomy.md` says which part is what; what none of the wires
knows goes to the part that it stands in. Sources: API references of OpenAI, Anthropic and Google, checked 2026-11-28.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.door.endpoints import EMBEDDINGS, GENERATE, Endpoint
from gateway.door.estimates import CHARACTERS_A_TOKEN
from providers.adapters.dialects.request import Body
from usage.input_parts import NOT_COUNTED, InputParts

# What has no characters to count, in characters. A picture of 1024 by 1024 has 1,090 tokens at Google, about 1,230 at
# OpenAI and 1,400 at Anthropic; a page of a file has 1,500 to 3,000 at Anthropic (their documentation, 2026-11).
PICTURE = 1_200 * CHARACTERS_A_TOKEN
FILE = 2_000 * CHARACTERS_A_TOKEN

SYSTEM, TOOLS, RETRIEVED, HISTORY, USER = "system", "tools", "retrieved", "history", "user"
_MEMBERS = {
    **dict.fromkeys(("system", "instructions", "systemInstruction", "system_instruction"), SYSTEM),
    "documents": RETRIEVED,
}
_TURNS = frozenset({"messages", "input", "contents"})
_DEFINED = frozenset({"tools", "functions"})
_FORMS = frozenset(
    {"response_format", "text", "output_format", "output_config", "generationConfig", "generation_config"}
)
_SCHEMAS = frozenset({"schema", "responseSchema", "response_schema", "responseJsonSchema", "response_json_schema"})
_AROUND_SCHEMAS = frozenset({"json_schema", "format"})
_ROLES = {
    **dict.fromkeys(("system", "developer"), SYSTEM),
    **dict.fromkeys(("assistant", "model"), HISTORY),
    **dict.fromkeys(("tool", "function"), TOOLS),
}
# Of a message, beside its content.
_BESIDE = {
    **dict.fromkeys(("tool_calls", "function_call"), TOOLS),
    **dict.fromkeys(("reasoning_content", "reasoning"), HISTORY),
}
_PICTURES = frozenset({"image", "image_url", "input_image", "computer_screenshot", "image_generation_call"})
_FILES = frozenset({"file", "input_file", "container_upload"})
_SOUNDS = frozenset({"input_audio", "audio", "video_url", "video"})
# By the type of a block or item: what it is wherever it stands.
_KINDS = {
    **dict.fromkeys(("reasoning", "compaction"), HISTORY),
    **dict.fromkeys(("document", "search_result", "file_search_call", "web_search_call"), RETRIEVED),
    **dict.fromkeys(("web_search_tool_result", "web_fetch_tool_result"), RETRIEVED),
    **dict.fromkeys(("tool_use", "server_tool_use", "mcp_tool_use", "tool_result", "mcp_list_tools"), TOOLS),
}
_GOOGLE_CALLS = frozenset(
    {
        *("functionCall", "function_call", "functionResponse", "function_response"),
        *("executableCode", "executable_code", "codeExecutionResult", "code_execution_result"),
    }
)
_SOURCES = frozenset({"base64", "url"})  # of a document
_MEDIA_TYPES = ("mimeType", "mime_type", "media_type")
_GOOGLE_MEDIA = ("inlineData", "inline_data", "fileData", "file_data")
_INSIDE = frozenset({"content", "parts", "source", "output", "results"})  # of a block: where further blocks may stand
# What a body names, and does not hold: nobody knows what it adds.
_NAMED = ("previous_response_id", "prompt", "cachedContent", "cached_content", "conversation")
_REFERENCE = "item_reference"
# Of a block: what models are not given as text.
_NO_TEXT = frozenset(
    {
        *("type", "id", "call_id", "tool_use_id", "status", "url", "cache_control"),
        *("signature", "thoughtSignature", "thought_signature"),
    }
)


def parts_of(endpoint: Endpoint, body: Body) -> InputParts:
    """In characters; NOT_COUNTED where the body names what it does not hold. Raises nothing, whatever it holds."""
    if endpoint is EMBEDDINGS or (endpoint is GENERATE and (body.get("requests") or body.get("content"))):
        return InputParts(user=1)  # all of it is to be embedded
    if body.value(*_NAMED) is not None:
        return NOT_COUNTED
    counts = dict.fromkeys((SYSTEM, TOOLS, RETRIEVED, HISTORY, USER), 0)
    for name, value in body.values():
        if name in _TURNS:
            if not _count_turns(value, counts):
                return NOT_COUNTED
        elif name in _DEFINED and (member := body.get(name)):
            counts[TOOLS] += member.end - member.start  # as written, which is about how a model reads it
        elif part := _MEMBERS.get(name):
            _count(value, part, counts)
        elif name in _FORMS:
            counts[SYSTEM] += sum(map(_written, _schemas_in(value)))
    return InputParts(**counts)


def _count_turns(turns: Any, counts: dict[str, int]) -> bool:
    """
    The last turn in which somebody wrote something is the user's, also while tools still answer to it; what was written
    before is history. False where a turn names what it does not hold.
    """
    for turn in turns if isinstance(turns, list) else (turns,):
        if isinstance(turn, dict):
            kind, role = turn.get("type"), turn.get("role")
            if kind == _REFERENCE:
                return False
            if not isinstance(role, str) and isinstance(kind, str) and kind != "message":
                _count(turn, TOOLS, counts)  # an item of a response
                continue
            part = _ROLES.get(role, USER) if isinstance(role, str) else USER
            content = turn.get("content") if "content" in turn else turn.get("parts")
            for name, of in _BESIDE.items():
                if name in turn:
                    _count(turn[name], of, counts)
        else:
            part, content = USER, turn
        before = counts[USER]
        _count(content, part, counts)
        if part is USER and counts[USER] > before:
            counts[HISTORY] += before
            counts[USER] -= before
    return True


def _count(content: Any, part: str, counts: dict[str, int]) -> None:
    """Adds what `content` holds to its part: text, a block, or a list of them."""
    left: list[tuple[Any, str]] = [(content, part)]
    while left:
        value, part = left.pop()
        if isinstance(value, str):
            counts[part] += len(value)
        elif isinstance(value, list):
            left += ((each, part) for each in value)
        elif isinstance(value, dict):
            if isinstance(text := value.get("text"), str):
                counts[part] += len(text)
            else:
                part, weight, inside = _block(value, part)
                counts[part] += weight
                left += ((each, part) for each in inside)


def _block(block: dict[str, Any], part: str) -> tuple[str, int, list[Any]]:
    """The part a block goes to, what it weighs by itself, and what in it is still to be counted."""
    kind = block.get("type")
    kind = kind if isinstance(kind, str) else ""
    if kind in _PICTURES:
        return part, PICTURE, []
    if kind in _SOUNDS:
        return part, FILE, []
    if kind in _FILES:
        return RETRIEVED, FILE, []
    if kind in _SOURCES:
        return part, FILE, []
    if kind == "text" and isinstance(block.get("data"), str):  # the source of a document
        return part, len(block["data"]), []
    for name in _GOOGLE_MEDIA:
        if name in block:
            media = _kind_of_media(block[name])
            return (part if media in ("image", "audio", "video") else RETRIEVED), _weight(media), []
    if not _GOOGLE_CALLS.isdisjoint(block):
        part = TOOLS
    elif kind in _KINDS:
        part = _KINDS[kind]
    elif kind.endswith(("_tool_result", "_call", "_call_output")):
        part = TOOLS
    weight, inside = 0, []
    for name, value in block.items():
        if name in _INSIDE:
            inside.append(value)
        elif name not in _NO_TEXT:
            weight += _written(value)
    return part, weight, inside


def _kind_of_media(media: Any) -> str:
    """Such as "image"; "" where it is not said."""
    named = media if isinstance(media, dict) else {}
    kind = next((named[name] for name in _MEDIA_TYPES if name in named), "")
    return kind.partition("/")[0] if isinstance(kind, str) else ""


def _weight(media: str) -> int:
    return PICTURE if media == "image" else FILE


def _schemas_in(form: Any) -> Iterator[Any]:
    """Of answers that are to have a certain form: models are told it."""
    if isinstance(form, dict):
        for name, value in form.items():
            if name in _SCHEMAS:
                yield value
            elif name in _AROUND_SCHEMAS and isinstance(value, dict) and "schema" in value:
                yield value["schema"]


def _written(value: Any) -> int:
    """The characters of all names and texts in `value`, which is any JSON; what is no text has a weight."""
    count, left = 0, [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            is_media = value.startswith("data:") and ";base64," in value[:100]
            count += _weight(value[5:].partition("/")[0]) if is_media else len(value)
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            if isinstance(value.get("data"), str) and (media := _kind_of_media(value)):
                count += _weight(media)
                continue
            count += sum(map(len, value))
            left += value.values()
        elif value is not None:
            count += 4  # a number, or such as true
    return count
