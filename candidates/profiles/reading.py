"""
Reading a profile: the stored JSON Resume, whatever its types are, as headings and plain text.

Imported profiles are other people's data, so nothing here trusts a type or a name: what no known field holds is told
under its own name, and nothing that says something is left out. The page and the prompts read the same `ReadProfile`,
so that a person sees what the model saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from candidates.profiles.builder_exports import translated
from candidates.profiles.entries import (
    Entry,
    Link,
    entries_of,
    first_given,
    if_any,
    is_nested,
    is_short,
    items_of,
    joined,
    link_of,
    values,
)
from candidates.profiles.values import is_hidden, label_of, line_of, parted, shown, text_of, told, told_by_field

MAX_TEXT_CHARACTERS = 30_000
CUT_MARK = "\n[The profile is longer; it was cut here.]"
WITHHELD = "Contact and personal data"


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

    Contact data (e-mail, phone, street, profiles in networks), personal data (birth, sex, family and the like),
    hobbies and the words of referees are left out: no requirement is judged by them, so no provider needs to see
    them.
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
    content = translated(content)
    basics = basics_of(content)
    seen, withheld = parted({key: value for key, value in content.items() if key not in ("basics", *_NOT_FOR_PROMPTS)})
    seen_basics, withheld_basics = parted({key: value for key, value in basics.items() if key not in _SHOWN_APART})
    facts = [
        *_meta_facts(shown(content.get("meta"))),
        *_basics_facts(seen_basics, is_named=bool(line_of(basics.get("name")))),
    ]
    sections = [*_sections(seen, content), _other(seen), *_unknown_sections(seen)]
    return ReadProfile(
        name=name_of(basics),
        headline=headline_of(basics),
        location=_location(seen_basics.get("location")),
        summary=text_of(seen_basics.get("summary")),
        facts=tuple(fact for fact in facts if is_short(fact[1])),
        sections=tuple(
            section
            for section in (
                *sections,
                Section("More", tuple(Entry(label, text=text) for label, text in facts if not is_short(text))),
                _withheld({**withheld_basics, **withheld}),
            )
            if section.entries
        ),
        raw_text=text_of(shown(content.get("raw_text"))),
        phone=line_of(basics.get("phone")),
        links=tuple(_links(basics)),
    )


def basics_of(content: dict[str, Any]) -> dict[str, Any]:
    """The `basics` of a profile; a list of objects is read as one object, a text as the summary."""
    basics = content.get("basics")
    if isinstance(basics, list):
        parts = (part for part in reversed(basics) if isinstance(part, dict) and not is_hidden(part))
        return {key: value for part in parts for key, value in part.items()}
    if isinstance(basics, str):
        return {"summary": basics}
    return basics if isinstance(basics, dict) else {}


def name_of(basics: dict[str, Any]) -> str:
    """The person's name, from its parts where it is not given as a whole; or ""."""
    if name := _first_line(basics, ("name",)):
        return name
    return " ".join(part for keys in _NAME_PARTS if (part := _first_line(basics, keys)))


def headline_of(basics: dict[str, Any]) -> str:
    return _first_line(basics, _HEADLINES)


def _first_line(basics: dict[str, Any], keys: Iterable[str]) -> str:
    """What the first of the fields says that is shown and says something, or ""."""
    given = shown({key: basics[key] for key in keys if key in basics})
    return next((line for value in given.values() if (line := line_of(value))), "")


def _section_text(section: Section) -> str:
    lines = [section.title]
    for entry in section.entries:
        head = f"{entry.title} ({entry.note})" if entry.title and entry.note else entry.title or entry.note
        if entry.items and not entry.text and is_short(", ".join(entry.items)):
            lines.append(f"- {head}: {', '.join(entry.items)}" if head else f"- {', '.join(entry.items)}")
            continue
        lines.append(f"- {head}" if head else "-")
        lines += [f"  {line}" for line in entry.text.split("\n") if line]
        lines += ["  * " + item.replace("\n", "\n    ") for item in entry.items]
    return "\n".join(lines)


_HEADLINES = ("label", "headline", "title", "jobTitle", "job_title", "position", "role", "profession")
_NAME_PARTS = (
    ("firstName", "first_name", "givenName", "given_name"),
    ("lastName", "last_name", "familyName", "surname"),
)
_SHOWN_APART = frozenset({"name", "email", "phone", "url", "profiles", "image"})
_STANDARD_BASICS = frozenset({"summary", "location"})
_NOT_FOR_PROMPTS = frozenset({"interests", "references"})
_KNOWN = _NOT_FOR_PROMPTS | frozenset(
    {"basics", "meta", "raw_text", "work", "education", "skills", "languages", "certificates", "projects"}
    | {"volunteer", "awards", "publications"}
)


def _sections(seen: dict[str, Any], content: dict[str, Any]) -> Iterator[Section]:
    def section(
        title: str, key: str, *fields: str, note: tuple[str, ...] = (), items: str = "highlights", source: Any = seen
    ) -> Section:
        return Section(title, tuple(entries_of(source.get(key), fields, note, items)))

    yield section(
        "Work", "work", "position", "title", "jobTitle", "role", "name", "company", "employer", note=("location",)
    )
    yield section(
        *("Education", "education", "studyType", "degree", "area", "institution", "school"),
        note=("score",),
        items="courses",
    )
    yield section("Skills", "skills", "name", "skill", note=("level",), items="keywords")
    yield section("Languages", "languages", "language", "name", note=("fluency", "level"))
    yield section("Certificates", "certificates", "name", "title", "issuer")
    yield section("Projects", "projects", "name", "title", "entity", note=("type",))
    yield section("Volunteering", "volunteer", "position", "role", "organization", note=("location",))
    yield section("Awards", "awards", "title", "name", "awarder")
    yield section("Publications", "publications", "name", "title", "publisher")
    apart = shown({key: content.get(key) for key in _NOT_FOR_PROMPTS})
    yield replace(section("Interests", "interests", "name", items="keywords", source=apart), for_prompts=False)
    yield replace(section("References", "references", "name", source=apart), for_prompts=False)


def _other(seen: dict[str, Any]) -> Section:
    """What stands beside the known sections and is no section itself."""
    entries: list[Entry] = []
    for key, value in sorted(seen.items()):
        if key not in _KNOWN and not _is_section(value):
            items = items_of(value) if isinstance(value, list) else ()
            entries += if_any(Entry(label_of(key), text="" if items else text_of(value), items=items))
    return Section("Other", tuple(entry for entry in entries if entry.text or entry.items))


def _unknown_sections(seen: dict[str, Any]) -> Iterator[Section]:
    for key, value in sorted(seen.items()):
        if key in _KNOWN or not _is_section(value):
            continue
        if isinstance(value, dict) and not isinstance(value.get("items"), list):
            yield Section(label_of(key), tuple(entries_of(list(told_by_field(value)))))
        else:
            yield Section(label_of(key), tuple(entries_of(value)))


def _is_section(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(is_nested, value)))


def _location(value: object) -> str:
    if isinstance(value, dict):
        first = ("city", "region", "countryCode")
        others = told_by_field({key: field for key, field in value.items() if key not in first})
        return joined(", ", (*(line_of(value.get(key)) for key in first), *map(line_of, others)))
    return line_of(value)


def _meta_facts(value: object) -> Iterator[tuple[str, str]]:
    facts = value if isinstance(value, dict) else {}
    if years := line_of(facts.get("years_experience")):
        yield "Experience", f"{years} years"
    if projects := line_of(facts.get("projects_count")):
        yield "Number of projects", projects


def _basics_facts(seen: dict[str, Any], *, is_named: bool) -> Iterator[tuple[str, str]]:
    """What `basics` says in fields that JSON Resume does not know."""
    used = {first_given(seen, _HEADLINES), *_STANDARD_BASICS}
    used |= set() if is_named else {first_given(seen, keys) for keys in _NAME_PARTS}
    for key, value in sorted(seen.items()):
        if key not in used:
            texts = list(told("", value)) if not isinstance(value, dict) else list(told_by_field(value))
            if texts:
                yield (
                    label_of(key),
                    ", ".join(texts) if all(map(is_short, texts)) and is_short(", ".join(texts)) else "\n".join(texts),
                )


def _withheld(values: dict[str, Any]) -> Section:
    """What is shown to people and never sent."""
    entries = tuple(Entry(line_of(text)) for text in told_by_field(values))
    return Section(WITHHELD, entries, for_prompts=False)


def _links(basics: dict[str, Any]) -> Iterator[Link]:
    if link := link_of(basics.get("url")):
        yield link
    for value in values(basics.get("profiles")):
        if isinstance(value, dict):
            network, username = (line_of(value.get(key)) for key in ("network", "username"))
            link = link_of(value.get("url"))
            label = joined(": ", (network, username or (link.label if link else "")))
            if label:
                yield Link(label, link.address if link else "")
        elif link := link_of(value):
            yield link
