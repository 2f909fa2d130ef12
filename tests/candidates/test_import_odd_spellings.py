"""Odd spellings of what no model may read, and files made to be slow."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from candidates.profiles import values
from candidates.profiles.files import FileUnreadable, ProfileRow, parse_file, read_profile
from candidates.profiles.plain_text import plain
from candidates.profiles.reading import profile_text

SECRET = "Kept to myself"
BYTES = [byte for seed in range(40) for byte in hashlib.sha256(bytes([seed])).digest()]
BASE64 = base64.b64encode(bytes(BYTES)).decode()
LINES = [BASE64[start : start + 76] for start in range(0, 1672, 76)]


def text_of_row(row: dict[str, Any]) -> str:
    read = read_profile(row)
    assert isinstance(read, ProfileRow)
    return profile_text(read.content)


def imported(document: dict[str, Any]) -> str:
    return text_of_row({"basics": {"name": "Ada"}, **document})


@pytest.mark.parametrize("mark", [{"visible": " false "}, {"visible": 0.0}, {"visible": "off"}, {"hidden": "Y"}])
def test_a_mark_that_hides_may_be_spelled_oddly(mark):
    assert SECRET not in imported({"work": [{"position": SECRET, **mark}]})


@pytest.mark.parametrize(
    "document",
    [
        {"basics": {"name": "Ada", "label": {"text": SECRET, "hidden": True}}},
        {"basics": {"name": {"text": "Ada", "privateNotes": SECRET}}},
        {"basics": [{"name": "Ada"}, {"hidden": True, "summary": SECRET}]},
        {"meta": {"years_experience": {"years": 5, "privateNotes": SECRET}}},
        {"raw_text": [{"text": SECRET, "hidden": True}]},
        {"recruiterNote": SECRET},
        {"Notes (private)": SECRET},
        {"emailAddresses": [SECRET]},
    ],
)
def test_what_is_hidden_or_private_is_so_wherever_it_stands(document):
    assert SECRET not in imported(document)


@pytest.mark.parametrize(
    "picture",
    [
        LINES,
        {str(place): byte for place, byte in enumerate(BYTES)},
        [float(byte) for byte in BYTES],
        " ".join(LINES),
        "\n> ".join(LINES),
        "\n\n".join(LINES),
        ", ".join(LINES),
    ],
    ids=["list of lines", "Uint8Array", "floats", "spaces", "quoted", "empty lines", "commas"],
)
def test_a_picture_in_pieces_is_a_picture(picture):
    assert len(imported({"bild": picture})) < 100


def test_long_words_in_a_list_stay():
    words = ["Donaudampfschifffahrtsgesellschaftskapitaen" * 2, "Rindfleischetikettierungsueberwachung" * 2]
    assert all(word in imported({"words": words}) for word in words)


def test_what_lies_in_dates_within_dates_is_read_no_more_often_than_in_one(monkeypatch):
    """Each level read it several times over: 15 seconds for one profile."""
    read: list[str] = []

    def plain_text(text: str) -> str:
        read.append(text)
        return plain(text)

    monkeypatch.setattr(values, "plain", plain_text)

    def times(levels: int) -> int:
        value: Any = "in the year of the tiger"
        for _ in range(levels):
            value = {"startDate": value}
        read.clear()
        imported({"work": [value]})
        return len(read)

    assert times(26) <= times(2) + 26


def test_what_a_span_of_dates_says_besides_is_told():
    text = imported({"work": [{"name": "Acme", "date": {"start": "2001", "end": "2003", "note": "part-time"}}]})
    assert "2001 to 2003, part-time" in text


@pytest.mark.parametrize("data", [b"1\n" * 5_000_000, b"{\n" + b"{}\n" * 3_000_000], ids=["numbers", "broken first"])
def test_a_file_of_nothing_but_lines_is_refused_at_once(data):
    with pytest.raises(FileUnreadable, match="more than 20,000 profiles"):
        parse_file(data)


def test_skills_as_a_list_beside_a_profile_stay():
    text = imported({"resume": {"profile": {"name": "Ada"}, "educations": [], "skills": ["Haskell"]}})
    assert "Haskell" in text


def test_a_resume_whose_forms_are_all_hidden_keeps_its_person():
    resume = {"profile": {"name": "Ada", "summary": "Counts."}, "workExperiences": [{"company": SECRET}]}
    row = {"resume": resume, "settings": {"formToShow": {"workExperiences": False}}}
    text = text_of_row(row)
    assert "Counts." in text
    assert SECRET not in text
