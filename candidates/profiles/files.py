"""
Profile files: from bytes that anybody may upload to rows that can be stored.

Read are JSON Resume documents, and the exports that `builder_exports` translates, as `.json` (one object, or a list)
and `.jsonl` (one a line), bare or wrapped as `{"candidate_id": …, "resume": {…}, "raw_text": …, "meta": {…}}`. The
content decides, not the file's name.
A row that cannot be stored becomes a `RowError`; only a file that cannot be read at all raises.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn

from candidates.profiles.builder_exports import refusal_of, translated, without_hidden_forms
from candidates.profiles.file_kinds import NOT_UTF8, no_text, what_it_is, what_text_it_is
from candidates.profiles.links import profile_link
from candidates.profiles.pictures import without_pictures
from candidates.profiles.placeholders import is_placeholder_email
from candidates.profiles.reading import basics_of, headline_of, name_of
from candidates.profiles.values import shown, written_line, written_text
from organizations.storable import storable

MAX_FILE_BYTES = 20 * 1024 * 1024
MAX_ROW_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_ROWS = 20_000
MAX_NAME_CHARACTERS = 200
MAX_EMAIL_CHARACTERS = 254
MAX_ID_CHARACTERS = 120
_TOO_DEEP = f"It is nested more than {MAX_DEPTH} levels deep."

# Facts that a wrapper may carry beside the resume. Salaries, and scores and decisions of others, are no facts
# about what a person can do, and would colour a check.
KEPT_FACTS = ("years_experience", "projects_count")

_NOT_CONTENT = frozenset(
    {
        "candidate_id",
        "source",
        "source_path",
        "synthetic",
        "raw_text",
        "meta",
        "$schema",
    }
)
# Parsed JSON holds no circle, and no infinity is JSON.
_as_given = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False).encode
_canonical = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":")).encode
_OPENING, _COMMA, _CLOSING = (re.compile(rf"[ \t\r\n]*{sign}[ \t\r\n]*") for sign in (r"\[", ",", r"\]"))
_EMAIL = re.compile(r"[^@\s\"<>(),;:]+@[^@\s\"<>(),;:]+\.[^@\s\"<>(),;:.]+")


class FileUnreadable(Exception):
    """Nothing of a file can be imported. str() is a sentence; `line` is 0 where it is about all of it."""

    def __init__(self, sentence: str, *, line: int = 0) -> None:
        super().__init__(sentence)
        self.line = line


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One profile, ready to be stored. Keys that the row does not give are ""."""

    line: int
    name: str
    headline: str
    link: str
    email: str
    external_id: str
    content_json: str  # a tenth of what the parsed content takes
    digest: str
    file: str = ""

    @property
    def content(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.content_json)
        return parsed

    @property
    def keys(self) -> tuple[str, ...]:
        """What identifies the person, strongest first, apart by kind."""
        pairs = (("link", self.link), ("email", self.email), ("id", self.external_id))
        return tuple(f"{kind}:{value}" for kind, value in pairs if value)


@dataclass(frozen=True, slots=True)
class RowError:
    """Why one row was not imported. `line` counts from 1: lines of a `.jsonl`, items of a JSON list."""

    line: int
    reason: str
    file: str = ""


class _RowRefused(Exception):
    """str() is the sentence of the row's error."""


def parse_file(data: bytes, *, file: str = "") -> list[ProfileRow | RowError]:
    """
    Every profile of a file in its order, or in its place the reason why not. An empty file has no rows.

    `file` is what the rows and errors name it. Raises FileUnreadable: too large, too many rows, not JSON.
    """
    if len(data) > MAX_FILE_BYTES:
        raise FileUnreadable(f"The file is larger than {MAX_FILE_BYTES // 1024**2} MB. Split it and import the parts.")
    if sentence := what_it_is(data):
        raise FileUnreadable(sentence)
    rows: list[ProfileRow | RowError] = []
    for line, value in _values(data.removeprefix(b"\xef\xbb\xbf")):
        if len(rows) == MAX_ROWS:
            raise FileUnreadable(
                f"The file holds more than {MAX_ROWS:,} profiles, the most of one import. "
                "Split it and import the parts."
            )
        try:
            rows.append(_row(value, line=line, file=file))
        except _RowRefused as error:
            rows.append(RowError(line, str(error), file))
    return rows


def read_profile(value: object) -> ProfileRow | RowError:
    """One profile that was parsed from JSON already, as a file may hold it; else the reason why not."""
    try:
        return _row(value, line=1, file="")
    except _RowRefused as error:
        return RowError(1, str(error))


def _values(data: bytes) -> Iterator[tuple[int, object]]:
    """Line and parsed JSON (or, still in bytes, a line to parse) of each profile of the file."""
    raw_lines = enumerate(io.BytesIO(data), 1)
    found = ((number, line) for number, raw in raw_lines if (line := raw.strip(b" \t\r\n")))
    lines = list(islice(found, MAX_ROWS + 1))  # of more, not one is imported
    if not lines:
        return
    if len(lines) > 1 and _is_json(lines[0][1]):
        yield from lines
        return
    try:
        values = _items(data) if data.lstrip().startswith(b"[") else iter([_loads(data)])
    except (ValueError, _RowRefused) as error:
        if not _looks_like_rows(data, lines):
            raise _unreadable(error, data) from None
        yield from lines
    else:
        yield from enumerate(values, 1)


def _items(data: bytes) -> Iterator[object]:
    """The items of a JSON list, of which one at a time is in memory. Raises what `_loads` raises, before the first."""
    text = data.decode()
    try:
        for _ in _decoded_items(text):
            pass
    except (ValueError, RecursionError, _RowRefused):
        return iter(_loads(data))  # which raises, and knows the place
    return _decoded_items(text)


def _decoded_items(text: str) -> Iterator[object]:
    """Raises as well where there is no list."""
    decode = json.JSONDecoder(parse_constant=_no_number).raw_decode
    opening = _OPENING.match(text)
    if opening is None:
        raise ValueError
    at = opening.end()
    closing = _CLOSING.match(text, at)
    while closing is None:
        item, at = decode(text, at)
        yield item
        closing = _CLOSING.match(text, at)
        if closing is None and (comma := _COMMA.match(text, at)):
            at = comma.end()
        elif closing is None:
            raise ValueError
    if closing.end() != len(text):
        raise ValueError


def _unreadable(error: Exception, data: bytes) -> FileUnreadable:
    if isinstance(error, UnicodeDecodeError):
        return FileUnreadable(NOT_UTF8)
    if sentence := what_text_it_is(data):
        return FileUnreadable(sentence)
    if isinstance(error, json.JSONDecodeError):
        return FileUnreadable(
            f"The file is not JSON: {_lower_first(error.msg)} at line {error.lineno}, column {error.colno}.",
            line=error.lineno,
        )
    return FileUnreadable(f"The file cannot be read: {_lower_first(str(error))}")


def _is_json(line: bytes) -> bool:
    try:
        _loads(line)
    except (ValueError, _RowRefused):
        return False
    return True


def _looks_like_rows(data: bytes, lines: list[tuple[int, bytes]]) -> bool:
    """Whether a file that is no JSON as a whole holds one object a line, its first line being broken."""
    objects = sum(line.startswith(b"{") and line.endswith(b"}") and _is_json(line) for _, line in lines)
    return objects * 2 >= len(lines) or (objects > 0 and not data.lstrip().startswith(b"["))


def _loads(text: bytes) -> Any:
    try:
        return json.loads(text.decode(), parse_constant=_no_number)
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise
    except RecursionError:
        raise _RowRefused(_TOO_DEEP) from None
    except ValueError:  # Python's limit on the digits of a whole number
        raise _RowRefused("It holds a number with too many digits.") from None


def _no_number(name: str) -> NoReturn:
    raise _RowRefused(f"{name} is not a JSON number.")


def _row(value: object, *, line: int, file: str) -> ProfileRow:
    if isinstance(value, bytes):
        value = _parsed_line(value)
    if not isinstance(value, dict):
        raise _RowRefused("A profile must be a JSON object in braces.")
    cleaned, text = _storable(value)
    if _is_large(text) and _is_large(_as_given(without_pictures(cleaned))):
        raise _RowRefused(f"It is larger than {MAX_ROW_BYTES // 1024} KB, the most of one profile.")
    content = _content(without_hidden_forms(cleaned))
    kept = without_pictures(content)
    basics = basics_of(content)
    email = _email(basics.get("email"))
    external_id = _external_id(cleaned.get("candidate_id"))
    headline = headline_of(basics)
    name = name_of(basics) or headline or email or external_id
    if not name:
        raise _RowRefused("It has neither a name nor a label, e-mail or candidate_id. Fill in basics.name.")
    return ProfileRow(
        line=line,
        name=name[:MAX_NAME_CHARACTERS],
        headline=headline[:MAX_NAME_CHARACTERS],
        link=profile_link(basics),
        email=email,
        external_id=external_id,
        content_json=text if kept == cleaned else _as_given(kept),
        # Of what was given, pictures and all: who imports an old file again finds it unchanged.
        digest=hashlib.sha256(_canonical(content).encode()).hexdigest(),
        file=file,
    )


def _parsed_line(line: bytes) -> Any:
    try:
        return _loads(line)
    except UnicodeDecodeError:
        raise _RowRefused("The line is not UTF-8 text.") from None
    except json.JSONDecodeError as error:
        raise _RowRefused(f"The line is not JSON: {_lower_first(error.msg)} at column {error.colno}.") from None


def _content(row: dict[str, Any]) -> dict[str, Any]:
    """What is stored of a row: the resume, its text and some facts, without what only its source needs."""
    resume = row.get("resume", row)
    if not isinstance(resume, dict):
        raise _RowRefused("Its “resume” must be a JSON object in braces.")
    if refusal := refusal_of(resume):
        raise _RowRefused(refusal)
    content = {key: value for key, value in translated(resume).items() if key not in _NOT_CONTENT}
    if raw_text := written_text(shown(row.get("raw_text") or resume.get("raw_text"))):
        if sentence := no_text(raw_text):
            raise _RowRefused(sentence)
        content["raw_text"] = raw_text
    facts: dict[str, Any] = {}
    for meta in (resume.get("meta"), row.get("meta")):
        if isinstance(meta, dict):
            facts |= {key: meta[key] for key in KEPT_FACTS if written_line(shown(meta.get(key)))}
    if facts:
        content["meta"] = facts
    return content


def _is_deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects stand in each other more than `depth` levels deep."""
    level = [value]
    while level and depth:
        inner = (part.values() if isinstance(part, dict) else part for part in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
        depth -= 1
    return bool(level)


def _storable(value: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """
    A row, and the same as JSON, without what PostgreSQL refuses in it: NUL characters go, half surrogates become
    U+FFFD.
    """
    try:
        text = _as_given(value)
    except ValueError:
        raise _RowRefused("It holds a number that is too large.") from None
    except RecursionError:
        raise _RowRefused(_TOO_DEEP) from None
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise _RowRefused(_TOO_DEEP)
    if _holds_unstorable(text):
        value = _cleaned(value)
        text = _as_given(value)
    return value, text


def _holds_unstorable(text: str) -> bool:
    if "\\u0000" in text:
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    return value


def _email(value: object) -> str:
    email = written_line(value).lower().removeprefix("mailto:")
    if len(email) > MAX_EMAIL_CHARACTERS or not _EMAIL.fullmatch(email) or is_placeholder_email(email):
        return ""
    return email


def _external_id(value: object) -> str:
    external_id = "" if isinstance(value, bool | dict | list) else written_line(value)
    if len(external_id) > MAX_ID_CHARACTERS:
        raise _RowRefused(f"Its candidate_id is longer than {MAX_ID_CHARACTERS} characters.")
    return external_id


def _is_large(text: str) -> bool:
    return len(text) * 4 > MAX_ROW_BYTES and len(text.encode()) > MAX_ROW_BYTES


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
