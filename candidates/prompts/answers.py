"""
The one reader of what models answer, whatever the question was.

A model may think aloud, try, and correct itself before it answers. Thinking is passed over; of the JSON objects that
then stand in the text, whatever stands around them, the last one that is complete counts. Two complete ones that say
different things are no answer, and neither is one after which another was begun and cut off. What went wrong is said of
the object that came closest, so that asking again helps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from candidates.prompts.faults import unparsable
from candidates.prompts.lenient_json import JsonFinder
from gateway.asking import UnparsableAnswer
from organizations.storable import storable

Read = TypeVar("Read")

MAX_ANSWER_CHARACTERS = 1_000_000  # thinking included; more than any model's output limit
MAX_JSON_CHARACTERS = 200_000
MAX_WRAPPERS = 3

# How thinking is marked: <think>, <reasoning>, <|begin_of_thought|>, ◁think▷, in any case, with a prefix or suffix; in
# square brackets only [THINK], as "[Analysis]" is how headings are written.
_BEGIN, _END = r"(?:<\|?|◁)\s{0,9}", r"\s{0,9}(?:\|?>|▷)"
_THOUGHT = (
    r"(?:\w{1,20}[:_-])?(?:think(?:ing)?|thoughts?|reasoning|reflection|analysis|scratchpad|monologue)"
    r"(?:[:_-]\w{1,40})?"
)
# And as a channel: <|channel|>analysis … <|channel|>final, or without its marks "analysisWe … assistantfinal{".
# `<|end|>` ends a message of any kind. The others are Apertus's and MedGemma's.
_MARK = re.compile(
    rf"(?P<closing>{_BEGIN}(?:/\s{{0,9}}|end_(?:of_)?){_THOUGHT}{_END}|\[/think(?:ing)?\]"
    r"|<\|?channel\|?>\s{0,9}final|<channel\|>|assistantfinal|<\|inner_suffix\|>|<unused95>)"
    rf"|(?P<opening>{_BEGIN}(?:(?:begin|start)_(?:of_)?)?{_THOUGHT}(?:\s[^<>\[\]]{{0,99}})?{_END}|\[think(?:ing)?\]"
    r"|<\|?channel\|?>\s{0,9}(?:analysis|commentary|thought|thinking|reasoning)|\A(?-i:analysis(?=[A-Z]))"
    r"|<\|inner_prefix\|>|<unused94>)"
    r"|(?P<ending><\|end\|>)"
    r"|(?P<json>[{\[])",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Found:
    """What stands in a text outside of its thinking."""

    values: list[tuple[int, Any]] = field(default_factory=list)  # each with where it begins
    cut_off: list[int] = field(default_factory=list)  # where values begin that never end
    breaks_off: bool = False  # one does not end, be it in the thinking
    is_thinking: bool = False  # at its end


def read_answer(
    text: str,
    name: str,
    read: Callable[[dict[str, Any]], Read],
    *,
    says: Callable[[Read], object] = lambda read: read,
) -> Read:
    """
    What `read` makes of the object with a member `name` that answers; a bare list counts as that member.

    `read` raises UnparsableAnswer for an object that is not complete; so does this, and nothing else. Two complete
    objects contradict each other where `says` differs.
    """
    if len(text) > MAX_ANSWER_CHARACTERS:
        raise unparsable("too_long")
    text = storable(text)
    found = _find(text)
    closest: UnparsableAnswer | None = None
    complete: list[Read] = []
    newest = 0
    for start, value in found.values:
        for holder in _holders(value, name):
            try:
                complete.append(read(holder))
                newest = start
            except UnparsableAnswer as fault:
                if closest is None or fault.entries_read >= closest.entries_read:
                    closest = fault
    if complete:
        if any(says(each) != says(complete[-1]) for each in complete):
            raise unparsable("contradicts_itself")
        last_named = text.rfind(f'"{name}"')
        if any(newest < start < last_named for start in found.cut_off):
            raise unparsable("breaks_off")
        return complete[-1]
    raise closest or _nothing_in(found, name)


def entries_in(value: object, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise unparsable("no_list", name=name)
    return value


def word(value: object) -> str:
    """A word of ours, however it is spelt: "Not met" and "not-met" are "not_met"; "" for what is no text."""
    return re.sub(r"[\s_-]+", "_", value.strip().lower()) if isinstance(value, str) else ""


def line(value: object) -> str:
    """
    Text in one line, or "" for anything else. JSON escapes can bring in what `cleaned` took out of the answer.
    """
    return " ".join(storable(value).split()) if isinstance(value, str) else ""


def _find(text: str) -> _Found:
    """
    Mark by mark; what stands inside of complete JSON marks nothing, as it may be a quote.

    An end without a beginning, as some servers send it, makes all before it thinking.
    """
    found, finder, position = _Found(), JsonFinder(text), 0
    while mark := _MARK.search(text, position):
        position = mark.end()
        match mark.lastgroup:
            case "json":
                value, end = finder.value_at(mark.start())
                if end is None:
                    if finder.open_ends[-1:] == [mark.start()] and not found.is_thinking:
                        found.cut_off.append(mark.start())
                    continue
                position = end
                if not found.is_thinking:
                    if end - mark.start() > MAX_JSON_CHARACTERS:
                        raise unparsable("too_long")
                    found.values.append((mark.start(), value))
            case "opening":
                found.is_thinking = True
            case "closing":
                if not found.is_thinking:
                    found.values.clear()
                    found.cut_off.clear()
                found.is_thinking = False
            case "ending":
                found.is_thinking = False
    found.breaks_off = bool(finder.open_ends)
    return found


def _holders(value: Any, name: str, wrappers: int = 0) -> Iterator[dict[str, Any]]:
    """The objects with a member `name` in `value`, and lists of objects as such members, under a few wrappers."""
    if isinstance(value, dict) and name in value:
        yield value
        # Beside it may stand a second one ("revised": {…}); what else is listed there is no answer.
        value = {key: inner for key, inner in value.items() if isinstance(inner, dict)}
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        if not any(name in item for item in value):
            yield {name: value}
            return
    elif not isinstance(value, dict):
        return
    if wrappers < MAX_WRAPPERS:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _holders(inner, name, wrappers + 1)


def _nothing_in(found: _Found, name: str) -> UnparsableAnswer:
    if found.is_thinking:
        return unparsable("still_thinking")
    if not found.breaks_off and any(isinstance(value, dict) for _, value in found.values):
        return unparsable("no_member", name=name)
    return unparsable("no_object")
