"""What is wrong with a model's answer, as a code and what it names. See gateway.asking.UnparsableAnswer."""

from __future__ import annotations

from gateway.asking import UnparsableAnswer
from gateway.reasons import AskReason

# Each completes "The answer could not be read: …".
FAULTS = {
    "fault.too_long": "it is much too long.",
    "fault.contradicts_itself": "it holds several JSON objects that contradict each other; give one only.",
    "fault.breaks_off": "its last JSON object breaks off; give one only.",
    "fault.still_thinking": "it ends before its thinking does.",
    "fault.no_object": "it holds no complete JSON object.",
    "fault.no_member": 'its JSON object has no "{name}".',
    "fault.no_list": '"{name}" is not a list of objects.',
    "fault.verdict.unknown_id": "it has a verdict for an id that was not asked for; ids go from 1 to {last}.",
    "fault.verdict.twice": "it has more than one verdict for id {id}.",
    "fault.verdict.other_word": "the verdict for id {id} is none of met, partly, not_met, unknown.",
    "fault.verdict.missing": "it has no verdict for id {ids}.",
    "fault.requirement.number": "it has {number} requirements instead of 1 to {most}.",
    "fault.requirement.no_text": "requirement {number} has no text.",
    "fault.requirement.too_long": "requirement {number} is longer than {most} characters.",
    "fault.requirement.kind": 'the kind of requirement {number} is neither "must" nor "nice".',
    "fault.requirement.weight": "the weight of requirement {number} is no number.",
}


class Fault(AskReason):
    sentences = {**AskReason.sentences, **FAULTS}


def unparsable(code: str, /, *, entries_read: int = 0, **parameters: str | int) -> UnparsableAnswer:
    return UnparsableAnswer(Fault(f"fault.{code}", parameters), entries_read=entries_read)
