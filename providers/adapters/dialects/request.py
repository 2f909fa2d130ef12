"""
The body of a request: what it asks for, and the same body for another model.

A body is edited, never written anew: all that is not exchanged keeps every byte, unknown members, their order, spaces
and the spelling of numbers and letters among it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, TypeVar

# Commas and brackets outside of strings: each value takes up to forty times the bytes it was sent in.
MOST_VALUES = 1_000_000
# Of one object or list that is read member by member, which takes a hundred times as long as by the parser.
MOST_MEMBERS = 10_000

Each = TypeVar("Each")

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


class BadBody(ValueError):
    """
    A body that cannot be passed on. `code` says why: "not_json" (no object in UTF-8), "too_many_values", "missing",
    "wrong_type" or "twice", the last three of the member `name`.
    """

    def __init__(self, code: str, name: str = "") -> None:
        super().__init__(f"{code} {name}".strip())
        self.code = code
        self.name = name


def _by_name(members: Sequence[tuple[str, Each]]) -> dict[str, Each]:
    """An object's members. A name that stands there twice would be read by us as the one and by others as the other."""
    named = dict(members)
    if len(named) < len(members):
        ((name, _),) = Counter(name for name, _ in members).most_common(1)
        raise BadBody("twice", name)
    return named


_decode = json.JSONDecoder(object_pairs_hook=_by_name).raw_decode


class Member(NamedTuple):
    """A member's value, and where that stands in the text."""

    value: Any
    start: int
    end: int


class Edit(NamedTuple):
    start: int
    end: int
    text: str


class Body:
    """The text of a body and the members of its outermost object. No object in it may name a member twice."""

    def __init__(self, body: bytes) -> None:
        if len(body) > MOST_VALUES and _values_in(body) > MOST_VALUES:
            raise BadBody("too_many_values")
        try:
            self.text = body.decode()
            self._members = self.members_at(self._skip(0))
            self._named = _by_name(self._members)
        except (ValueError, RecursionError) as error:
            raise error if isinstance(error, BadBody) else BadBody("not_json") from None

    def members_at(self, start: int) -> list[tuple[str, Member]]:
        """The members of the object that begins at `start`; the outermost one is followed by nothing."""
        members = _not_too_many(self._each(start, "{", "}"))
        return [(name, member) for name, member in members if name is not None]

    def elements_at(self, start: int) -> list[Member]:
        return [member for _, member in _not_too_many(self._each(start, "[", "]"))]

    def _each(self, start: int, opening: str, closing: str) -> Iterator[tuple[str | None, Member]]:
        text = self.text
        if text[start : start + 1] != opening:
            raise BadBody("not_json")
        at = self._skip(start + 1)
        if text[at : at + 1] == closing:
            at += 1
        else:
            while True:
                name = None
                if opening == "{":
                    name, at = _decode(text, at)
                    at = self._skip(at)
                    if not isinstance(name, str) or text[at : at + 1] != ":":
                        raise BadBody("not_json")
                    at = self._skip(at + 1)
                value, end = _decode(text, at)
                yield name, Member(value, at, end)
                at = self._skip(end) + 1
                if text[at - 1 : at] == closing:
                    break
                if text[at - 1 : at] != ",":
                    raise BadBody("not_json")
                at = self._skip(at)
        if start == self._skip(0) and self._skip(at) != len(text):
            raise BadBody("not_json")

    def _skip(self, at: int) -> int:
        if self.text[at : at + 1] > " ":  # as nearly everywhere
            return at
        space = _SPACE.match(self.text, at)
        return space.end() if space else at

    def get(self, name: str) -> Member | None:
        return self._named.get(name)

    def value(self, *names: str) -> Any:
        """The value of the first of these names that is there and not null."""
        for name in names:
            if (member := self.get(name)) and member.value is not None:
                return member.value
        return None

    def values(self) -> Iterator[tuple[str, Any]]:
        for name, member in self._members:
            yield name, member.value

    def added(self, name: str, text: str) -> Edit:
        """An edit that adds a member at the end."""
        if not self._members:
            at = self._skip(self.text.index("{") + 1)
            return Edit(at, at, f'"{name}":{text}')
        end = self._members[-1][1].end
        return Edit(end, end, f',"{name}":{text}')

    def edited(self, edits: Iterable[Edit]) -> bytes:
        text, at = self.text, 0
        kept: list[str] = []
        for edit in sorted(edits):
            kept += (text[at : edit.start], edit.text)
            at = edit.end
        return "".join((*kept, text[at:])).encode()


def _not_too_many(members: Iterable[Each]) -> list[Each]:
    found = list(islice(members, MOST_MEMBERS + 1))
    if len(found) > MOST_MEMBERS:
        raise BadBody("too_many_values")
    return found


def _values_in(body: bytes) -> int:
    """Those in texts are left out where they would make too many."""

    def marks(text: bytes) -> int:
        return text.count(b",") + text.count(b"[") + text.count(b"{")

    found = marks(body)
    return found if found <= MOST_VALUES else marks(_STRING.sub(b"", body))


@dataclass(frozen=True, slots=True)
class Request:
    """
    What a request asks for.

    `most_output_tokens` is the limit of each of `answers` that it asks for, None where it names none. `asks_for_usage`:
    the client itself wants to be told the usage of a stream. `models` is where the model's name stands.
    """

    model: str
    is_stream: bool = False
    most_output_tokens: int | None = None
    answers: int = 1
    asks_for_usage: bool = True
    body: Body = field(repr=False, kw_only=True)
    models: tuple[Member, ...] = field(default=(), repr=False)
    usage_edit: Edit | None = field(default=None, repr=False)

    @property
    def can_ask_for_usage(self) -> bool:
        """
        Whether it is a stream that would come without its usage, unless we ask for it in the client's place. If we do,
        the usage is to be withheld from what the client gets.
        """
        return self.usage_edit is not None

    def rewritten(self, *, model: str, asks_for_usage: bool = True, also: Iterable[Edit] = ()) -> bytes:
        """
        The same body for `model`. Where the client does not ask for the usage of a stream, it is asked for all the
        same, but for servers that refuse to be asked (`asks_for_usage=False`). `also` are edits of whoever sends it.
        """
        edits = [
            Edit(member.start, member.end, json.dumps(_in_the_form_of(member.value, model), ensure_ascii=False))
            for member in self.models
            if _in_the_form_of(member.value, model) != member.value
        ]
        edits += also
        if asks_for_usage and self.usage_edit:
            edits.append(self.usage_edit)
        return self.body.edited(edits)

    def path(self, *, model: str) -> str:
        """The end of the address, where the language names the model there; "" where it does not."""
        return ""


def _in_the_form_of(old: str, model: str) -> str:
    """Google's bodies name models by their path."""
    return f"models/{model.removeprefix('models/')}" if old.startswith("models/") else model


def model_in(body: Body) -> Member:
    member = body.get("model")
    if member is None:
        raise BadBody("missing", "model")
    if not isinstance(member.value, str) or not member.value:
        raise BadBody("wrong_type", "model")
    return member


def is_stream(body: Body) -> bool:
    """Anything but no counts as yes: some servers take "true" and 1 for it, and none takes it for no."""
    return body.value("stream") not in (None, False)


def limit_in(values: Mapping[str, Any] | Body, *names: str) -> int | None:
    """The largest of the limits under these names, None where there is none."""
    found: list[int] = []
    for name in names:
        value = values.value(name) if isinstance(values, Body) else values.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 10**12:
            found.append(int(value))
    return max(found, default=None)
