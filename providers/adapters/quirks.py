"""
What a server refuses of what is optional in our requests, learnt from its refusals.

OpenAI's protocol is spoken by many, and each leaves out something else. Instead of lists of models that age, a call
that is refused for one of our optional fields is sent again without it, with its twin, or with the limit it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from providers.adapters.error_body import ErrorBody
from providers.adapters.reading import member

LEAST_OUTPUT_TOKENS = 256  # less is no room for an answer

_NUMBER = re.compile(r"\d{1,3}(?:[,_]\d{3})+(?!\d)|\d+")
_NOT_AT_ALL = re.compile(
    r"unsupported|not (?:yet |currently )?(?:supported|permitted|allowed|enabled|available)|n't support|not support"
    r"|unknown|unrecogni[sz]ed|unexpected|extra (?:inputs|fields)|extra_forbidden|no such|instead"
)
# "maximum context length is 8192 tokens … 1000 in the messages"; "16384 > 8192 - 1000"; "1000 + 16384 > 8192"; "must be
# <= 8193. Given: 5000".
_TOKENS = r"(?<!\d)(\d{1,12})(?!\d)"  # bounded, as is the time that a server's error takes us
_CONTEXT = re.compile(rf"maximum context length (?:is|of) (?:only )?{_TOKENS}|must be <= {_TOKENS}")
_INPUT = re.compile(
    rf"{_TOKENS} (?:tokens )?(?:in|from|of|for) (?:the |your )?(?:messages|prompt|input)"
    rf"|{_TOKENS} (?:`inputs`|input|prompt) tokens"
)
_DIFFERENCE = re.compile(rf" > {_TOKENS} - {_TOKENS}")
_SUM = re.compile(rf"{_TOKENS} \+ {_TOKENS} > {_TOKENS}")


@dataclass(frozen=True, slots=True)
class Quirk:
    """
    One optional field, by its name on the wire: sent with at most `most`, as `instead`, or else not at all.

    `is_lasting`: it is about the model, not about the length of this question.
    """

    field: str
    instead: str = ""
    most: int | None = None
    is_lasting: bool = True


@dataclass(frozen=True, slots=True)
class OptionalFields:
    """
    The optional fields of one protocol: `spellings` are how errors name each (in lower case), `twins` what may be sent
    in place of one. `limit_fields` hold the output limit; those of `required` cannot be left out.
    """

    spellings: Mapping[str, tuple[str, ...]]
    limit_fields: frozenset[str]
    twins: Mapping[str, str]
    required: frozenset[str] = frozenset()

    def refused(self, error: ErrorBody, sent: Mapping[str, Any]) -> Quirk | None:
        """What `error` says of one of the fields that were `sent`, if it names any."""
        said = f"{error.message} {_raw(error)}"
        limit_field = next((field for field in sent if field in self.limit_fields), None)
        if limit_field is not None:
            room = _room_in_context(said, sent[limit_field])
            if room is not None:
                return Quirk(limit_field, most=room, is_lasting=False) if room >= LEAST_OUTPUT_TOKENS else None
        field = error.param if error.param in sent else self._first_named(said, sent)
        if field is None:
            return None
        if field in self.limit_fields and not _NOT_AT_ALL.search(said):
            most = _most_named(said, sent[field])
            if most is not None:
                return Quirk(field, most=most)
        if field in self.required:
            return None
        return Quirk(field, instead=self.twins.get(field, ""))

    def _first_named(self, said: str, sent: Iterable[str]) -> str | None:
        places = {
            field: min((said.find(name) for name in self.spellings.get(field, ()) if name in said), default=-1)
            for field in sent
        }
        named = [field for field, place in places.items() if place >= 0]
        return min(named, key=places.__getitem__, default=None)


def with_quirks(fields: Mapping[str, Any], quirks: Iterable[Quirk]) -> dict[str, Any]:
    """`fields` as this server takes them. A field whose twin was refused before stays out."""
    known = {quirk.field: quirk for quirk in quirks}
    taken: dict[str, Any] = {}
    for name, value in fields.items():
        refused: set[str] = set()
        while name and name not in refused and (quirk := known.get(name)):
            if quirk.most is not None:
                value = min(value, quirk.most)
                break
            refused.add(name)
            name = quirk.instead
        if name and name not in refused:
            taken[name] = value
    return taken


def _raw(error: ErrorBody) -> str:
    """What OpenRouter passes on of the error of the provider behind it."""
    raw = member(error.metadata, "raw")
    return str(raw).lower() if isinstance(raw, (str, dict)) else ""


def _room_in_context(said: str, sent: int) -> int | None:
    """What is left for the output, where the error does the sum: the question and our limit do not fit together."""
    if difference := _DIFFERENCE.search(said):
        return int(difference[1]) - int(difference[2])
    if (total := _SUM.search(said)) and int(total[2]) == sent:
        return int(total[3]) - int(total[1])
    context, used = _CONTEXT.search(said), _INPUT.search(said)
    if context is None or used is None:
        return None
    room = int(context[1] or context[2]) - int(used[1] or used[2])
    return room if room < sent else None


def _most_named(said: str, sent: int) -> int | None:
    """The largest number in the error that is below what was sent: the limit, as models' names have small ones."""
    numbers = (int(re.sub("[,_]", "", number)) for number in _NUMBER.findall(said) if len(number) < 15)
    most = max((number for number in numbers if number < sent), default=0)
    most -= f"{most} (exclusive)" in said
    return most if LEAST_OUTPUT_TOKENS <= most < sent else None
