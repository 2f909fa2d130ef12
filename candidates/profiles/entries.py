"""The entries of a profile's sections: jobs, schools, skills, whatever names and types their fields have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from candidates.profiles.links import web_link
from candidates.profiles.values import (
    LONGEST_LINE,
    SHORT_ITEM_CHARACTERS,
    label_of,
    line_of,
    text_of,
    told,
    told_by_field,
    written_line,
)
from organizations.reading import whole_number

_TEXTS = ("description", "summary", "reference")
_LISTS = ("highlights", "keywords", "courses", "roles")
_STARTS, _ENDS, _DATES = ("startDate", "start"), ("endDate", "end"), ("date", "releaseDate", "period")
_TITLES = (
    *("position", "title", "jobTitle", "role", "name", "degree", "studyType", "area", "company", "employer"),
    *("organization", "institution", "school", "issuer"),
)


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


def entries_of(
    value: object, fields: tuple[str, ...] = _TITLES, note: tuple[str, ...] = ("location",), items: str = "highlights"
) -> Iterator[Entry]:
    """The entries of a section: a list, one value, or an object whose fields are the entries."""
    if isinstance(value, dict) and isinstance(value.get("items"), list):
        yield from entries_of(value["items"], fields, note, items)
        for text in told_by_field({key: field for key, field in value.items() if key != "items"}):
            yield from if_any(_entry(text, fields, note, items))
        return
    named = isinstance(value, dict) and bool(value) and all(isinstance(each, dict | list) for each in value.values())
    if isinstance(value, dict) and named and not {*fields, *_LISTS} & value.keys():
        for key, each in value.items():
            label = "" if whole_number(key) is not None else label_of(key)
            if isinstance(each, list) and not any(isinstance(item, dict | list) for item in each):
                yield from if_any(Entry(label, items=items_of(each)))
            else:
                for entry in entries_of(each, fields, note, items):
                    yield replace(entry, title=joined(": ", (label, entry.title)))
        return
    for each in values(value):
        yield from if_any(_entry(each, fields, note, items))


def _entry(value: object, fields: tuple[str, ...], note: tuple[str, ...], items: str) -> Entry:
    if not isinstance(value, dict):
        text = text_of(value)
        return Entry(line_of(text)) if is_short(text) else Entry("", text=text)
    dates, used = _dates(value)
    short = {key for key in (*fields, *note) if is_short(text_of(value.get(key)))}
    used |= {*short, *_TEXTS, *_LISTS, "url"}
    lists = [items, *(key for key in _LISTS if key != items)]
    return Entry(
        title=joined(", ", (line_of(value.get(field)) for field in fields if field in short)),
        note=joined(", ", (dates, *(line_of(value.get(field)) for field in note if field in short))),
        text=joined("\n", (text_of(value.get(key)) for key in _TEXTS)),
        items=(
            *(item for key in lists for item in items_of(value.get(key))),
            *told_by_field({key: field for key, field in value.items() if key not in used}),
        ),
        link=link_of(value.get("url")),
    )


def if_any(entry: Entry) -> Iterator[Entry]:
    if any((entry.title, entry.note, entry.text, entry.items, entry.link)):
        yield entry


def items_of(value: object) -> tuple[str, ...]:
    """A list, or a text of several lines, as items."""
    if isinstance(value, str):
        lines = (line.strip().removeprefix("- ").strip() for line in text_of(value).split("\n"))
        return tuple(line for line in lines if line)
    return tuple(
        text for item in values(value) for text in ([text_of(item)] if not is_nested(item) else told("", item)) if text
    )


def is_nested(value: object) -> bool:
    return isinstance(value, dict | list)


def _dates(value: dict[str, Any], *, is_within: bool = False) -> tuple[str, set[str]]:
    """When something was, and the fields that say so."""
    used = {key for keys in (_STARTS, _ENDS, _DATES) if (key := first_given(value, keys))}
    start, end, date = (_date(value, keys, is_within=is_within) for keys in (_STARTS, _ENDS, _DATES))
    span = f"{start} to {end or 'now'}" if start else end
    return joined(", ", (span, date)), used


def _date(value: dict[str, Any], keys: tuple[str, ...], *, is_within: bool) -> str:
    key = first_given(value, keys)
    date = value[key] if key else None
    if not isinstance(date, dict):
        return line_of(date)
    if not is_within and (first_given(date, _STARTS) or first_given(date, _ENDS)):
        span, used = _dates(date, is_within=True)
        return joined(", ", (span, line_of({name: field for name, field in date.items() if name not in used})))
    numbers = [date.get(part) for part in ("year", "month", "day")]
    if isinstance(numbers[0], int) and len(date) == sum(number is not None for number in numbers):
        return "-".join(f"{number:02d}" for number in numbers if isinstance(number, int))
    return line_of(date)


def link_of(value: object) -> Link | None:
    """An address, also as an object of label and address."""
    label = ""
    if isinstance(value, dict) and (key := first_given(value, ("href", "url"))):
        label, value = line_of({name: field for name, field in value.items() if name != key}), value[key]
    address = written_line(value)
    if not address:
        return None
    page = web_link(address)
    return Link(label if label and page else joined(": ", (label, address)), page)


def first_given(value: dict[str, Any], keys: Iterable[str]) -> str:
    """The first of the `keys` that says something, or ""."""
    return next((key for key in keys if line_of(value.get(key))), "")


def is_short(text: str) -> bool:
    return len(text) <= LONGEST_LINE and "\n" not in text


def joined(separator: str, texts: Iterable[str]) -> str:
    """The texts that are not empty, each once."""
    return separator.join(dict.fromkeys(text for text in texts if text))


def values(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]
