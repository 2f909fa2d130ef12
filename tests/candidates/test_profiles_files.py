from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates.profiles.file_kinds import NOT_UTF8, NOT_UTF8_BUT
from candidates.profiles.files import (
    MAX_DEPTH,
    MAX_FILE_BYTES,
    MAX_ROW_BYTES,
    MAX_ROWS,
    FileUnreadable,
    ProfileRow,
    RowError,
    parse_file,
)
from candidates.profiles.reading import MAX_TEXT_CHARACTERS, profile_text, read_profile

RESUME = {"basics": {"name": "Noor Example"}}
RESUME_LINE = json.dumps(RESUME).encode()


def only_row(value: object) -> ProfileRow:
    [row] = parse_file(json.dumps(value).encode())
    assert isinstance(row, ProfileRow), row
    return row


def only_reason(data: bytes) -> str:
    [row] = parse_file(data)
    assert isinstance(row, RowError), row
    return row.reason


def nested(levels: int) -> Any:
    value: Any = "deep"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (RESUME_LINE, [1]),
        (json.dumps(RESUME, indent=2).encode(), [1]),
        (json.dumps([RESUME, RESUME]).encode(), [1, 2]),
        (json.dumps([RESUME, RESUME], indent=2).encode(), [1, 2]),
        (b"[\n" + RESUME_LINE + b",\n" + RESUME_LINE + b"\n]", [1, 2]),
        (RESUME_LINE + b"\n" + RESUME_LINE, [1, 2]),
        (b"\xef\xbb\xbf" + RESUME_LINE + b"\r\n\r\n  \r\n" + RESUME_LINE + b"\r\n", [1, 4]),
        (b'{\n"basics":\n{"name": "Noor Example"}\n}', [1]),
        (b"", []),
        (b"\xef\xbb\xbf \r\n", []),
        (b"[]", []),
    ],
    ids=[
        *("object", "indented object", "list", "indented list", "one a line in a list", "jsonl"),
        *("jsonl with mark, CRLF and blank lines", "braces on a line", "empty", "blank", "empty list"),
    ],
)
def test_each_format_is_told_by_its_content(data, lines):
    rows = parse_file(data)

    assert [row.line for row in rows] == lines
    assert all(isinstance(row, ProfileRow) and row.name == "Noor Example" for row in rows)


def test_characters_that_only_look_like_line_ends_do_not_end_a_row():
    line = json.dumps({"basics": {"name": "Noor", "summary": "a\u2028b\x85c"}}, ensure_ascii=False).encode()

    assert [row.line for row in parse_file(line + b"\n" + line)] == [1, 2]


def test_a_wrapped_row_keeps_the_resume_its_text_and_facts_but_not_what_its_source_needs():
    row = only_row(
        {
            "candidate_id": 17,
            "source": "somewhere",
            "source_path": "a/b.json",
            "licence": "none stated",
            "synthetic": True,
            "resume": {
                "$schema": "https://…",
                **RESUME,
                "meta": {"version": "v1.0.0", "lastModified": "2025"},
            },
            "raw_text": "Noor\r\nwrites.",
            "meta": {"years_experience": 5, "ai_score": 95, "recruiter_decision": "Hire"},
        }
    )

    assert row.external_id == "17"
    assert row.content == {**RESUME, "raw_text": "Noor\nwrites.", "meta": {"years_experience": 5}}


def test_the_digest_is_of_the_content_alone():
    plain = only_row({"basics": {"name": "Noor", "label": "Engineer"}})
    wrapped = only_row({"candidate_id": "A-17", "resume": {"basics": {"label": "Engineer", "name": "Noor"}}})
    other = only_row({"basics": {"name": "Noor", "label": "Manager"}})

    assert plain.digest == wrapped.digest != other.digest


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"basics": {"name": "  Noor \n Example\t"}}, "Noor Example"),
        ({"basics": {"name": 7}}, "7"),
        ({"basics": {"name": "\u202eNo\u00ador\u200b"}}, "Noor"),
        ({"basics": {"name": "نی\u200cلوفر"}}, "نی\u200cلوفر"),
        ({"basics": {"label": "Engineer", "email": "noor@example.com"}}, "Engineer"),
        ({"basics": {"email": "Noor@Example.com"}}, "noor@example.com"),
        ({"candidate_id": "A-17", "resume": {}}, "A-17"),
        ({"candidate_id": "A-17", "basics": ["not", "basics"]}, "A-17"),
        ({"basics": {"name": "x" * 500}}, "x" * 200),
    ],
)
def test_a_row_without_a_name_is_named_by_what_it_has(row, name):
    assert only_row(row).name == name


@pytest.mark.parametrize(
    "email", ["n/a", "two@ats@example.com", "a b@example.com", "@", "", 7, None, ["a"], "x" * 250 + "@a.de"]
)
def test_what_is_no_email_identifies_nobody(email):
    assert only_row({"basics": {"name": "Noor", "email": email}}).email == ""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"7", "A profile must be a JSON object in braces."),
        (b"[[]]", "A profile must be a JSON object in braces."),
        (b"{}", "It has neither a name nor a label, e-mail or candidate_id. Fill in basics.name."),
        (b'{"resume": 5}', "Its “resume” must be a JSON object in braces."),
        (b'{"candidate_id": "' + b"9" * 121 + b'"}', "Its candidate_id is longer than 120 characters."),
        (b'{"basics": {"name": "a", "x": 1e999}}', "It holds a number that is too large."),
        (json.dumps({**RESUME, "x": nested(MAX_DEPTH)}).encode(), "It is nested more than 32 levels deep."),
        (
            json.dumps({**RESUME, "x": "y" * MAX_ROW_BYTES}).encode(),
            "It is larger than 256 KB, the most of one profile.",
        ),
    ],
)
def test_a_row_that_cannot_be_stored_says_why(data, reason):
    assert only_reason(data) == reason


def test_a_row_just_within_the_limits_is_kept():
    padding = MAX_ROW_BYTES - len(json.dumps({**RESUME, "x": ""}))

    assert only_row({**RESUME, "x": "y" * padding})
    assert only_row({**RESUME, "x": nested(MAX_DEPTH - 1)})


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{broken", "The line is not JSON: expecting property name enclosed in double quotes at column 2."),
        (b'{"name": "\xe9"}', "The line is not UTF-8 text."),
        (b'{"a": NaN}', "NaN is not a JSON number."),
        (b'{"a": ' + b"9" * 5000 + b"}", "It holds a number with too many digits."),
        (b'{"a": ' + b"[" * 100_000, "It is nested more than 32 levels deep."),
        (b'{"a": "' + b"y" * MAX_ROW_BYTES + b'"}', "It is larger than 256 KB, the most of one profile."),
        (b"null", "A profile must be a JSON object in braces."),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bad_line_does_not_take_the_good_ones_with_it(bad, reason, place):
    lines = [RESUME_LINE, RESUME_LINE]
    lines.insert(place, bad)

    rows = parse_file(b"\n".join(lines))

    assert [isinstance(row, RowError) for row in rows] == [number == place for number in range(3)]
    assert rows[place] == RowError(place + 1, reason)


@pytest.mark.parametrize(
    ("data", "sentence", "line"),
    [
        (
            b"{",
            "The file is not JSON: expecting property name enclosed in double quotes at line 1, column 2.",
            1,
        ),
        (b"Noor", "The file is not JSON: expecting value at line 1, column 1.", 1),
        (b'{"a": 1,\n "b": }', "The file is not JSON: expecting value at line 2, column 7.", 2),
        (b'{"name": "\xe9"}', NOT_UTF8, 0),
        (json.dumps(RESUME).encode("utf-16"), NOT_UTF8_BUT.format("UTF-16"), 0),
        (b"[" * 100_000, "The file cannot be read: it is nested more than 32 levels deep.", 0),
        (b" " * (MAX_FILE_BYTES + 1), "The file is larger than 20 MB. Split it and import the parts.", 0),
        (
            b"7\n" * (MAX_ROWS + 1),
            "The file holds more than 20,000 profiles, the most of one import. Split it and import the parts.",
            0,
        ),
    ],
)
def test_a_file_that_cannot_be_read_says_why_in_one_sentence(data, sentence, line):
    with pytest.raises(FileUnreadable) as refused:
        parse_file(data)

    assert (str(refused.value), refused.value.line) == (sentence, line)


KEYS = [
    *("basics", "name", "label", "email", "url", "profiles", "network", "username", "summary", "location"),
    *("meta", "resume", "raw_text", "candidate_id", "work", "position", "startDate", "highlights", "skills"),
    *("keywords", "years_experience", "x"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.sampled_from(KEYS), children, max_size=5),
    max_leaves=25,
)


def rows_or_nothing(data: bytes) -> list[ProfileRow | RowError]:
    try:
        return parse_file(data)
    except FileUnreadable:
        return []


@given(json_values)
def test_no_json_makes_the_parser_or_the_readers_raise(value):
    for row in rows_or_nothing(json.dumps(value).encode()):
        if isinstance(row, RowError):
            assert row.reason.endswith(".")
        else:
            assert row.name
            stored = json.loads(json.dumps(row.content, allow_nan=False))
            assert "\x00" not in profile_text(stored)
            read_profile(stored)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_make_the_parser_raise_anything_but_its_own_error(data):
    rows_or_nothing(data)


@given(json_values)
def test_reading_any_stored_content_never_raises(value):
    content = value if isinstance(value, dict) else {"basics": value, "work": value, "location": value}

    assert len(profile_text(content)) <= MAX_TEXT_CHARACTERS
