"""
Values of imported profiles, whose types nobody promises: what they say as text, and what of them nobody should send.

A number stands for its digits, a single value for a list of one. What an object says is told line by line, each
with the names of the fields that lead to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from candidates.profiles.pictures import folded_key, is_picture
from candidates.profiles.plain_text import plain

SHORT_ITEM_CHARACTERS = 40
LONGEST_LINE = 200  # of an enumeration; longer ones are told item by item
MAX_LABEL_CHARACTERS = 60
MAX_PATH_CHARACTERS = 160
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_JOINERS = "\u200c\u200d"  # part of how Persian, Hindi and other names are written

# Folded names of fields: letters only, small.
_CONTACT = frozenset(
    """email emails emailaddress emailaddresses mail workemail personalemail alternateemail secondaryemail email2
    phone phones phoneno phonenumber phonenumbers telephone tel mobile mobilephone mobilenumber cell cellphone homephone
    fax whatsapp skype telegram signal wechat discord
    address addresses streetaddress homeaddress mailingaddress street streetname housenumber addressline addressline1
    addressline2 postalcode postcode zip zipcode
    profiles socials socialmedia sociallinks linkedin linkedinurl linkedinprofile github githuburl gitlab
    twitter facebook instagram""".split()  # noqa: SIM905
)
# What no requirement may ask about.
_PERSONAL = frozenset(
    """birthdate birthday dateofbirth dob birth birthplace placeofbirth age gender sex pronouns sexualorientation
    maritalstatus civilstatus familystatus children religion ethnicity race disability disabilities health
    healthstatus ssn socialsecuritynumber passportnumber idnumber nationalid taxid""".split()  # noqa: SIM905
)
_PRIVATE = frozenset(
    """privatenotes privatenote internalnotes internalnote recruiternotes recruiternote hiddennotes hiddennote
    notesprivate notesinternal""".split()  # noqa: SIM905
)
_HIDING = {"visible": "no", "isvisible": "no", "hidden": "yes", "ishidden": "yes"}
_NOT_SHOWN = _PRIVATE | _HIDING.keys()
_YES_NO = {
    **dict.fromkeys(("true", "1", "1.0", "yes", "y", "t", "on"), "yes"),
    **dict.fromkeys(("false", "0", "0.0", "no", "n", "f", "off"), "no"),
}


def text_of(value: object) -> str:
    """A value as plain text that may have several lines."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return "\n".join(told_by_field(value))
    if isinstance(value, list):
        texts = [text for text in map(text_of, value) if text]
        return ("\n" if any(map(_is_long, texts)) else ", ").join(texts)
    return _scalar(value)


def line_of(value: object) -> str:
    """A value as one line of plain text; of an object, what its fields say without their names."""
    if value is None:  # what most fields of most profiles are
        return ""
    return _one_line(_joined(value, plain))


def written_text(value: object) -> str:
    """A value as it was written, mark-up and all, with unified ends of lines."""
    return _joined(value, _as_written)


def written_line(value: object) -> str:
    """The same as one line: for what identifies somebody, in which an underscore is no emphasis."""
    return _one_line(written_text(value))


def label_of(key: object) -> str:
    """The name of a field as people write it: "workPermit" and "work_permit" are "Work permit"."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", line_of(key).replace("_", " ")).split()
    text = " ".join(word if word.isupper() else word.lower() for word in words)[:MAX_LABEL_CHARACTERS]
    return text[:1].upper() + text[1:]


def told(label: str, value: object) -> Iterator[str]:
    """What a value says, in as many texts as make it readable, each after `label: `."""
    if isinstance(value, dict):
        yield from told_by_field(value, label)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for item in value:
            yield from told(label, item)
    elif isinstance(value, list):
        texts = [text for text in map(text_of, value) if text]
        if any(map(_is_long, texts)) or sum(map(len, texts)) > LONGEST_LINE:
            yield from (_after(label, text) for text in texts)
        elif texts:
            yield _after(label, ", ".join(texts))
    elif text := text_of(value):
        yield _after(label, text)


def told_by_field(value: dict[str, Any], label: str = "") -> Iterator[str]:
    """The same for each field of an object, in the order of their names."""
    for key, field in sorted(value.items()):
        name = label_of(key)
        path = f"{label}, {name[:1].lower() + name[1:]}" if label and name else label or name
        yield from told(path[:MAX_PATH_CHARACTERS], field)


def parted(value: Any) -> tuple[Any, Any]:
    """
    A copy of `value` in two: what a provider may see, and contact data and personal data, which it need not.

    In neither: hidden entries, private notes, pictures.
    """
    if isinstance(value, list):
        pairs = [parted(item) for item in value if not is_hidden(item)]
        return [seen for seen, _ in pairs if _says(seen)], [kept for _, kept in pairs if _says(kept)]
    if not isinstance(value, dict):
        return value, None
    seen, kept = {}, {}
    for key, field in value.items():
        name = folded_key(key)
        if is_hidden(field) or is_picture(key, field) or name in _NOT_SHOWN:
            continue
        if name in _CONTACT or name in _PERSONAL:
            kept[key] = shown(field)
            continue
        seen[key], withheld = parted(field)
        if _says(withheld):
            kept[key] = withheld
    return seen, kept


def is_hidden(value: object) -> bool:
    """Whether an entry is marked as one that its author does not show."""
    return isinstance(value, dict) and any(
        (hiding := _HIDING.get(folded_key(key))) and _YES_NO.get(str(field).strip().lower()) == hiding
        for key, field in value.items()
    )


def shown(value: Any) -> Any:
    """A copy of `value` without hidden entries, private notes and pictures."""
    if isinstance(value, list):
        return [shown(item) for item in value if not is_hidden(item)]
    if isinstance(value, dict):
        return {
            key: shown(field)
            for key, field in value.items()
            if not (is_hidden(field) or is_picture(key, field) or folded_key(key) in _NOT_SHOWN)
        }
    return value


def _says(value: object) -> bool:
    return value not in (None, "", [], {})


def _is_long(text: str) -> bool:
    return len(text) > SHORT_ITEM_CHARACTERS or "\n" in text


def _after(label: str, text: str) -> str:
    if not label:
        return text
    return f"{label}:\n{text}" if "\n" in text else f"{label}: {text}"


def _joined(value: object, read: Callable[[str], str]) -> str:
    if isinstance(value, str):
        return read(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return ", ".join(text for item in value if (text := _joined(item, read)))
    return _scalar(value)


def _as_written(text: str) -> str:
    lines = (line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return "\n".join(lines).strip()


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int | float) else ""


def _one_line(text: str) -> str:
    """Without control characters, and without what turns the direction of text."""
    if text.isprintable():
        return " ".join(text.split())
    text = _INVISIBLE.sub("", text)
    return " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in text).split())
