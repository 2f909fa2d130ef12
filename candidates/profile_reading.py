"""
Reading a profile: the stored JSON Resume, whatever its types are, as headings and plain text.

Imported profiles are other people's data, so nothing here trusts a type: a number stands for its digits, a
single value for a list of one, and what has no readable form is left out. The page and the prompts read the
same `ReadProfile`, so that a person sees what the model saw.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from candidates.links import web_link

MAX_TEXT_CHARACTERS = 30_000
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_JOINERS = "\u200c\u200d"  # part of how Persian, Hindi and other names are written
SHORT_ITEM_CHARACTERS = 40
CUT_MARK = "\n[The profile is longer; it was cut here.]"


@dataclass(frozen=True, slots=True)
class Link:
    label: str
    address: str  # "" where the text is no address that a browser should open


@dataclass(frozen=True, slots=True)
class Entry:
    """One job, school, skill or the like."""

    title: str
    note: str = ""  # dates, place, level
    text: str = ""
    items: tuple[str, ...] = ()
    link: Link | None = None

    @property
    def has_short_items(self) -> bool:
        """Whether the items are words rather than sentences."""
        return all(len(item) <= SHORT_ITEM_CHARACTERS for item in self.items)


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    entries: tuple[Entry, ...]
    for_prompts: bool = True


@dataclass(frozen=True, slots=True)
class ReadProfile:
    name: str
    headline: str
    location: str
    summary: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    raw_text: str
    phone: str
    links: tuple[Link, ...]


def profile_text(content: dict[str, Any]) -> str:
    """
    The profile as plain text for prompts: the same text for the same content, 30,000 characters at most.

    Contact data (e-mail, phone, street, links), hobbies and the words of referees are left out: no
    requirement is judged by them, so no provider needs to see them.
    """
    profile = read_profile(content)
    blocks = [
        "\n".join(
            line
            for line in (
                profile.name,
                profile.headline,
                profile.location,
                *(f"{label}: {value}" for label, value in profile.facts),
            )
            if line
        )
    ]
    if profile.summary:
        blocks.append(f"Summary\n{profile.summary}")
    blocks += [_section_text(section) for section in profile.sections if section.for_prompts]
    if profile.raw_text:
        blocks.append(f"Resume text\n{profile.raw_text}")
    text = "\n\n".join(block for block in blocks if block)
    if len(text) <= MAX_TEXT_CHARACTERS:
        return text
    return text[: MAX_TEXT_CHARACTERS - len(CUT_MARK)].rstrip() + CUT_MARK


def read_profile(content: dict[str, Any]) -> ReadProfile:
    """Everything readable in a stored profile. Never raises, whatever the types inside."""
    basics = content.get("basics")
    basics = basics if isinstance(basics, dict) else {}
    return ReadProfile(
        name=line_of(basics.get("name")),
        headline=line_of(basics.get("label")),
        location=_location(basics.get("location")),
        summary=text_of(basics.get("summary")),
        facts=tuple(_facts(content.get("meta"))),
        sections=tuple(section for section in _sections(content) if section.entries),
        raw_text=text_of(content.get("raw_text")),
        phone=line_of(basics.get("phone")),
        links=tuple(_links(basics)),
    )


def text_of(value: object) -> str:
    """A value as text that may have several lines; lists and objects are joined by commas."""
    if isinstance(value, str):
        lines = (line.rstrip() for line in value.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
        return "\n".join(lines).strip()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return ", ".join(text for text in map(text_of, value) if text)
    return ""


def line_of(value: object) -> str:
    """A value as one line without control characters, and without what turns the direction of text."""
    text = _INVISIBLE.sub("", text_of(value))
    return " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in text).split())


def _section_text(section: Section) -> str:
    lines = [section.title]
    for entry in section.entries:
        head = f"{entry.title} ({entry.note})" if entry.title and entry.note else entry.title or entry.note
        if entry.items and not entry.text and len(", ".join(entry.items)) < 200:
            lines.append(f"- {head}: {', '.join(entry.items)}" if head else f"- {', '.join(entry.items)}")
            continue
        lines.append(f"- {head}" if head else "-")
        lines += [f"  {line}" for line in entry.text.split("\n") if line]
        lines += [f"  * {item}" for item in entry.items]
    return "\n".join(lines)


def _sections(content: dict[str, Any]) -> Iterator[Section]:
    def section(title: str, key: str, *fields: str, note: tuple[str, ...] = (), items: str = "highlights") -> Section:
        entries = (_entry(value, fields, note, items) for value in _list(content.get(key)))
        return Section(title, tuple(entry for entry in entries if entry))

    yield section("Work", "work", "position", "name", "company", note=("location",))
    yield section("Education", "education", "studyType", "area", "institution", note=("score",), items="courses")
    yield section("Skills", "skills", "name", note=("level",), items="keywords")
    yield section("Languages", "languages", "language", "name", note=("fluency", "level"))
    yield section("Certificates", "certificates", "name", "title", "issuer")
    yield section("Projects", "projects", "name", "entity", note=("type",))
    yield section("Volunteering", "volunteer", "position", "organization", note=("location",))
    yield section("Awards", "awards", "title", "awarder")
    yield section("Publications", "publications", "name", "publisher")
    yield replace(section("Interests", "interests", "name", items="keywords"), for_prompts=False)
    references = (
        Entry(title=line_of(value.get("name")), text=text_of(value.get("reference")))
        for value in _list(content.get("references"))
        if isinstance(value, dict)
    )
    yield Section("References", tuple(entry for entry in references if entry != Entry("")), for_prompts=False)
    others = (
        Entry(title=line_of(key), text=text_of(value)) for key, value in sorted(content.items()) if key not in _KNOWN
    )
    yield Section("Other", tuple(entry for entry in others if entry.text))


_KNOWN = frozenset(
    {"basics", "meta", "raw_text", "work", "education", "skills", "languages", "certificates", "projects"}
    | {"volunteer", "awards", "publications", "interests", "references"}
)
_TEXTS = ("description", "summary")
_LISTS = ("highlights", "keywords", "courses", "roles")
_DATES = ("startDate", "endDate", "date", "releaseDate", "start", "end")


def _entry(value: object, fields: tuple[str, ...], note: tuple[str, ...], items: str) -> Entry | None:
    if not isinstance(value, dict):
        title = line_of(value)
        return Entry(title) if title else None
    used = {*fields, *note, *_TEXTS, *_LISTS, *_DATES, "url"}
    lists = [items, *(key for key in _LISTS if key != items)]
    more = (f"{line_of(key)}: {line_of(field)}" for key, field in sorted(value.items()) if key not in used)
    url = line_of(value.get("url"))
    entry = Entry(
        title=_joined(", ", (line_of(value.get(field)) for field in fields)),
        note=_joined(", ", (_dates(value), *(line_of(value.get(field)) for field in note))),
        text=_joined("\n", (text_of(value.get(key)) for key in _TEXTS)),
        items=tuple(
            text
            for text in (*(line_of(item) for key in lists for item in _list(value.get(key))), *more)
            if text and not text.endswith(": ")
        ),
        link=Link(url, web_link(url)) if url else None,
    )
    return entry if any((entry.title, entry.note, entry.text, entry.items)) else None


def _dates(value: dict[str, Any]) -> str:
    start = line_of(value.get("startDate") or value.get("start"))
    end = line_of(value.get("endDate") or value.get("end"))
    if start:
        return f"{start} to {end or 'now'}"
    return end or line_of(value.get("date") or value.get("releaseDate"))


def _location(value: object) -> str:
    if isinstance(value, dict):
        return _joined(", ", (line_of(value.get(key)) for key in ("city", "region", "countryCode")))
    return line_of(value)


def _facts(value: object) -> Iterator[tuple[str, str]]:
    facts = value if isinstance(value, dict) else {}
    if years := line_of(facts.get("years_experience")):
        yield "Experience", f"{years} years"
    if projects := line_of(facts.get("projects_count")):
        yield "Number of projects", projects


def _links(basics: dict[str, Any]) -> Iterator[Link]:
    if url := line_of(basics.get("url")):
        yield Link(url, web_link(url))
    for value in _list(basics.get("profiles")):
        if isinstance(value, dict):
            network, username, url = (line_of(value.get(key)) for key in ("network", "username", "url"))
            label = _joined(": ", (network, username or url))
            if label:
                yield Link(label, web_link(url))


def _joined(separator: str, texts: Iterable[str]) -> str:
    """The texts that are not empty, each once."""
    return separator.join(dict.fromkeys(text for text in texts if text))


def _list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]
