"""
What a body names by its id of what a provider keeps: earlier responses and their items, conversations, files.

A key may serve many tokens, and a provider lets whoever has the key read all of it. Of responses it is known whose they
are (`gateway/stored_ids.py`), of nothing else: so only these may be named, by the token that was given them. What tools
of the client's own are given and give back may name anything: to a provider it is text.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection

from gateway.door.endpoints import RESPONSES, Endpoint, Wire
from gateway.door.errors import RETRY_BOOKS_AFTER_SECONDS, DoorError
from gateway.stored_ids import KEPT_FOR, Holder, are_all_known
from gateway.writer import admitted_by
from organizations.tenancy import scope
from providers.adapters.dialects.request import Body

logger = logging.getLogger(__name__)

PREVIOUS = "previous_response_id"
REFERENCE = "item_reference"
_IDS = frozenset({"file_id", "file_ids", "container", "container_id", "vector_store_id", "vector_store_ids"})
_SKILL = "skill_id"
_GOOGLE_IDS = frozenset({"cachedContent", "cached_content", "fileSearchStoreNames", "file_search_store_names"})
_GOOGLE_FILES = frozenset({"fileUri", "file_uri"})
# A cheap look, as there is hardly ever anything, and a regular expression of all takes several times as long.
_SAID = ('"file_id', '"vector_store_id', '"container', f'"{REFERENCE}"', '"audio"', f'"{_SKILL}"')
_SAID_TO_GOOGLE = tuple(f'"{name}"' for name in sorted(_GOOGLE_IDS | _GOOGLE_FILES))
_ESCAPED = re.compile(r"\\u00[2-7]")  # which can spell any name
# The client's own: schemas of its tools, and what these are called with and answer.
_OWN = frozenset({"parameters", "parametersJsonSchema", "input_schema", "schema", "metadata", "args", "response"})
CALL_OF_A_TOOL = "tool_use"
# Items that the provider takes from what it keeps unless they bring this themselves (API reference, 2026-11-28).
_CONTENTS = {"reasoning": "encrypted_content", "image_generation_call": "result"}

MOST_NAMED = 1_000

# Beside the writer and the readers of rights and receipts, and kept waiting by none of them.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="stored-ids")


def stored_ids_in(endpoint: Endpoint, body: Body) -> frozenset[str]:
    """
    The ids of responses and their items in `body`, which only the token may name that was given them. Raises DoorError
    where it names anything else that another token may have made.
    """
    if endpoint is RESPONSES and body.value("conversation") is not None:
        raise _of_nobody("conversation")
    references: list[Any] = []
    is_gemini = endpoint.wire is Wire.GEMINI
    if _may_name_any(body.text, is_gemini=is_gemini):
        for name, value in body.values():
            references += _references_in(name, value, is_gemini=is_gemini)
    if endpoint is not RESPONSES:
        if references:
            raise _of_nobody(REFERENCE)
        return frozenset()
    references += filter(_is_reference, rows if isinstance(rows := body.value("input"), list) else ())
    named = [item.get("id") for item in references]
    if (previous := body.value(PREVIOUS)) is not None:
        named.append(previous)
    if not all(isinstance(each, str) for each in named):
        raise _not_given()
    if len(named) > MOST_NAMED:
        sentence = f"This names more than {MOST_NAMED:,} items by their ids. Send the content itself."
        raise DoorError(400, "stored_id", sentence)
    return frozenset(named)


async def refuse_ids_of_others(holder: Holder, ids: Collection[str]) -> None:
    """Raises DoorError unless all were given to this token, by calls with this key."""
    try:
        async with asyncio.timeout_at(admitted_by()):
            are_known = await sync_to_async(_are_known, thread_sensitive=False, executor=_threads)(holder, ids)
    except (DatabaseError, TimeoutError):
        logger.exception("Whose ids they are could not be read")
        sentence = "It cannot be read now whose the ids are that this call names. Try again."
        raise DoorError(
            503, "books_closed", sentence, can_retry=True, retry_after_seconds=RETRY_BOOKS_AFTER_SECONDS
        ) from None
    if not are_known:
        raise _not_given()


def _are_known(holder: Holder, ids: Collection[str]) -> bool:
    try:
        with scope(holder.organization_id, "the organization of the caller's token"):
            return are_all_known(holder, ids)
    finally:
        connection.close()  # nobody may ask again for hours


def _may_name_any(text: str, *, is_gemini: bool) -> bool:
    said = _SAID_TO_GOOGLE if is_gemini else _SAID
    return any(name in text for name in said) or ("\\u00" in text and _ESCAPED.search(text) is not None)


def _references_in(name: str, value: Any, *, is_gemini: bool) -> list[dict[str, Any]]:
    """The references to items anywhere in a member of a body. Raises DoorError for what else is named."""
    found: list[dict[str, Any]] = []
    left: list[tuple[str, Any, Any]] = [(name, value, None)]
    while left:
        name, value, kind = left.pop()
        if _is_google_id(name, value) if is_gemini else _is_id(name, value, kind):
            raise _of_nobody(name)
        if name in _OWN or (name == "input" and kind == CALL_OF_A_TOOL):
            continue
        if isinstance(value, dict):
            kind = value.get("type")
            if kind == REFERENCE:
                found.append(value)
            left += ((inner, each, kind) for inner, each in value.items())
        elif isinstance(value, list):
            left += (("", each, None) for each in value)
    return found


def _is_reference(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("id") is None:
        return False
    kind = item.get("type")
    if kind is None:
        return item.get("role") is None or item.get("content") is None
    return isinstance(kind, str) and kind in _CONTENTS and not item.get(_CONTENTS[kind])


def _is_id(name: str, value: Any, kind: Any) -> bool:
    if name in ("container", "audio") and isinstance(value, dict):
        return bool(value.get("id"))
    if name == _SKILL:  # but for those that every account has
        return kind != "anthropic" and not (isinstance(value, str) and value.startswith("openai-"))
    return name in _IDS and bool(value) and not isinstance(value, dict)


def _is_google_id(name: str, value: Any) -> bool:
    if name in _GOOGLE_FILES:
        return isinstance(value, str) and "/files/" in f"/{unquote(value).lower()}"
    return name in _GOOGLE_IDS and bool(value)


def _of_nobody(name: str) -> DoorError:
    return DoorError(
        400,
        "stored_id",
        f"“{name}” names what is kept at the provider, where other tokens of the same key could have put it. Only "
        "responses can be named by their ids here, by the token that was given them. Send the content itself.",
    )


def _not_given() -> DoorError:
    return DoorError(
        400,
        "stored_id",
        "This names a response, or an item of one, that this token was not given in the last "
        f"{KEPT_FOR.days} days with the key that serves it now, or that the provider was not to store. Send the "
        "conversation itself.",
    )
