"""Reading a provider's JSON: nothing in it is trusted to be there, to be of its type, or of sane size."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from organizations.storable import storable
from providers.adapters.key_shapes import begins_like_key

# Beyond these a number is a provider's mistake, not a measurement; also what the database can hold.
MOST_TOKENS = 10**12
MOST_USD = Decimal(10**6)
NANO = Decimal(10**9)
DEEPEST_JSON = 64
# The most commas and brackets. Every value of a parsed answer takes up to a hundred times the bytes it was sent in.
MOST_JSON_VALUES = 200_000

# Of the search for one object in what is too large to be parsed whole.
MOST_PLACES = 16
LONGEST_OBJECT = 16 * 1024
REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}")

_COLON = re.compile(r"\A\s*:\s*")


def read_json(body: bytes) -> Any:
    """
    Parsed JSON with exact decimals, None for what is no JSON in UTF-8 or nested too deep, or holds too many values. In
    another encoding it would not be seen where a key is echoed (`providers.egress.echoes`).
    """
    brackets = body.count(b"[") + body.count(b"{")
    if len(body) > MOST_JSON_VALUES and brackets + body.count(b",") > MOST_JSON_VALUES:
        return None
    try:
        content = _DECODER.decode(body.removeprefix(BOM_UTF8).decode("utf-8", "surrogatepass"))
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return None if brackets > DEEPEST_JSON and _is_too_deep(content) else content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse)


def _is_too_deep(content: Any) -> bool:
    """Level by level, so that no depth exhausts the stack."""
    level = [content]
    for _ in range(DEEPEST_JSON + 1):
        containers = [value for value in level if isinstance(value, (dict, list))]
        if not containers:
            return False
        level = [item for value in containers for item in (value.values() if isinstance(value, dict) else value)]
    return True


def last_object(body: bytes, name: bytes) -> dict[str, Any] | None:
    """
    The last JSON object that is called `name`, at whatever depth, in a body that is too large to be parsed, or a part
    of one.
    """
    key, at = b'"%b"' % name, len(body)
    for _ in range(MOST_PLACES):
        at = body.rfind(key, 0, at)
        if at < 0:
            break
        value = _COLON.sub("", body[at + len(key) : at + LONGEST_OBJECT].decode("utf-8", "replace"), count=1)
        try:
            found, _ = _DECODER.raw_decode(value)
        except (ValueError, ArithmeticError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def member(content: object, *path: str | int) -> Any:
    """What stands at `path` in parsed JSON, None if there is no such place."""
    for step in path:
        if isinstance(step, int):
            content = content[step] if isinstance(content, list) and len(content) > step else None
        else:
            content = content.get(step) if isinstance(content, dict) else None
    return content


def rows(content: object) -> Iterable[dict[str, Any]]:
    """The objects in a JSON list; nothing for anything else."""
    return (row for row in content if isinstance(row, dict)) if isinstance(content, list) else ()


def text_of(value: object, longest: int = 200) -> str:
    """A provider's short text, cut to what our columns hold; "" for anything that is no text, or looks like a key."""
    return storable(value[:longest]) if isinstance(value, str) and not begins_like_key(value) else ""


def request_id_of(value: object) -> str:
    """A provider's own id of a call, "" for what does not look like one."""
    is_one = isinstance(value, str) and REQUEST_ID.fullmatch(value) and not begins_like_key(value)
    return str(value) if is_one else ""


def count_of(value: object) -> int:
    """A number of tokens, 0 for anything that is none."""
    return count_or_none(value) or 0


def count_or_none(value: object) -> int | None:
    """A number of tokens, None for anything that is none: a count that is missing is not a count of zero."""
    if type(value) is int and 0 <= value <= MOST_TOKENS:  # nearly all are
        return value
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or value < 0:
        return None
    return MOST_TOKENS if value > MOST_TOKENS else int(value)


def positive_or_none(value: object) -> int | None:
    return count_of(value) or None


def day_of(value: object) -> date | None:
    """The day of a date or moment in ISO 8601; None for anything else."""
    try:
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None


def usd_of(value: object) -> Decimal | None:
    """An amount of USD, given as a number or as text; None if it is none, negative or absurd."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        return None
    try:
        amount = Decimal(value)
        return amount if 0 <= amount < MOST_USD else None
    except ArithmeticError:
        return None


def nanousd_of(value: object) -> int | None:
    """The same amount in nano-USD, rounded half to even."""
    amount = usd_of(value)
    return None if amount is None else int((amount * NANO).to_integral_value())
