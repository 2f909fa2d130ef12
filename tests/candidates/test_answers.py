"""The one reader of what models answer: which JSON counts, and what is said where none does."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from candidates.models import Requirement
from candidates.prompts.check import parse_verdicts
from candidates.prompts.draft import parse_requirements
from gateway.asking import UnparsableAnswer

PROFILE = "Builds Django services on PostgreSQL.\nWrote </think> parsers, and knows ```json``` well"
REQUIREMENTS = [Requirement(pk=71, text="Django"), Requirement(pk=72, text="PostgreSQL")]
QUOTE = "Builds Django services on PostgreSQL"


def answer(first: str, second: str, quote: str = QUOTE) -> str:
    return json.dumps(
        {
            "verdicts": [
                {"id": 1, "verdict": first, "quote": quote, "reason": "So."},
                {"id": 2, "verdict": second, "quote": QUOTE, "reason": "So."},
            ]
        }
    )


def read(text: str) -> list[str]:
    return [row.verdict for row in parse_verdicts(text, REQUIREMENTS, PROFILE)]


DRAFT, FINAL = answer("not_met", "not_met"), answer("met", "met")


@pytest.mark.parametrize(
    "text",
    [
        "<think>Maybe {draft}? No.</think>{final}",
        "<THINK>\n{draft}\n</THINK>\n\n{final}",
        "<thinking>{draft}</thinking>{final}",
        "<thought>{draft}</thought>{final}",
        "<reasoning effort=high>{draft}</reasoning>{final}",
        "<seed:think>{draft}</seed:think>{final}",
        "< think >{draft}< / think >{final}",
        "[THINK]{draft}[/THINK]{final}",
        "◁think▷{draft}◁/think▷{final}",
        "<|begin_of_thought|>{draft}<|end_of_thought|>{final}",
        "<|START_THINKING|>{draft}<|END_THINKING|>{final}",
        "<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant<|channel|>final<|message|>{final}<|return|>",
        "<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant{final}",
        "<|channel>thought\n{draft}<channel|>{final}",
        "I see: {draft}\n</think>\n{final}",  # without a beginning, as DeepSeek's servers send it
        "{draft}</reasoning>{final}",
        "<think>a<think>{draft}</think>{final}",
        "<think>{draft}</think>{final}<think>Was it right? {draft}</think>",
        "<think>{draft}</think>{final}<think>And on it goes {draft}",
        "{final}<|end|>",
        '<think>{{"verdicts": [{{"id": 1, </think>{final}',
        '<think>It\'s "{{" or so</think>{final}',
        "<think></think>```json\n{final}\n```",
        "<think:opensource>{draft}</think:opensource>{final}",
        "<thought_process>{draft}</thought_process>{final}",
        "<inner-monologue>{draft}</inner-monologue>{final}",
        "<unused94>thought\n{draft}<unused95>{final}",  # MedGemma
        "<|inner_prefix|>{draft}<|inner_suffix|>{final}",  # Apertus
        "analysisWe need {draft}assistantfinal{final}",  # gpt-oss, where a server drops the marks of its channels
        "[Analysis]\nAll of it is there.\n\n[Reasoning] See below.\n{final}",
    ],
)
def test_what_a_model_thinks_aloud_is_no_answer(text):
    assert read(text.format(draft=DRAFT, final=FINAL)) == ["met", "met"]


@pytest.mark.parametrize(
    "text",
    ["<think>{draft}", "<think>Hm. {draft} So it is", "{draft}</think>", "[THINK]{draft}", "analysisWe need {draft} or",
     "<unused94>thought\n{draft}", "<think:opensource>{draft}"],
)  # fmt: skip
def test_thinking_without_an_answer_is_none(text):
    with pytest.raises(UnparsableAnswer):
        read(text.format(draft=DRAFT))


def test_unfinished_thinking_is_named():
    with pytest.raises(UnparsableAnswer, match="ends before its thinking"):
        read(f"<think>{DRAFT}")


def test_a_quote_that_looks_like_a_mark_of_thinking_cuts_nothing():
    quote = "Wrote </think> parsers, and knows ```json```"

    first, _ = parse_verdicts(answer("met", "met", quote), REQUIREMENTS, PROFILE)

    assert (first.verdict, first.quote) == ("met", quote)


@pytest.mark.parametrize(
    "text",
    [
        '{{"verdicts": [{{"id": 1, "verdict": "met|partly", "quote": "…"}}]}} then {final}',
        '{{"verdicts": []}} {final}',
        "{final} {{}}",
        '{final} {{"verdicts": [{{"id": 1}}]}}',
        '{{"verdicts": [{{"id": 1, "verdict": "met"}} {final}',
        "{final}{final}",
        "```json\n{final}\n```\nAgain:\n```json\n{final}\n```",
    ],
)
def test_the_last_complete_object_counts(text):
    assert read(text.format(final=FINAL)) == ["met", "met"]


def test_complete_objects_that_contradict_each_other_are_no_answer():
    with pytest.raises(UnparsableAnswer, match="contradict"):
        read(f"{DRAFT}\nOn second thought:\n{FINAL}")


@pytest.mark.parametrize(
    "text",
    [
        f"{DRAFT}\nOn second thought:\n{FINAL[:-40]}",
        f"```json\n{DRAFT}\n```\nCorrected:\n```json\n{FINAL[:70]}",
        f'{{"first": {DRAFT}, "revised": {FINAL[:-40]}',
        f"<think>{DRAFT}</think>{DRAFT} {FINAL[:-3]}",
        f'{DRAFT} {{"verdicts": [',
    ],
)
def test_a_draft_is_no_answer_where_a_newer_one_was_cut_off(text):
    with pytest.raises(UnparsableAnswer, match="breaks off"):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        f"An object opens with {{ here. {FINAL}",
        f"{FINAL} (an object opens with {{)",
        f"<think>{FINAL[:-40]}</think>{FINAL}",
        f"{FINAL[:-40]}</think>{FINAL}",
        f'{{"verdicts": [ … no, once more: {FINAL}',
    ],
)
def test_what_was_begun_before_the_answer_or_is_no_answer_spoils_nothing(text):
    assert read(text) == ["met", "met"]


def test_a_second_answer_inside_of_the_first_is_one():
    with pytest.raises(UnparsableAnswer, match="contradict"):
        read(json.dumps({**json.loads(DRAFT), "revised": json.loads(FINAL)}))

    assert read(json.dumps({**json.loads(FINAL), "notes": [{"id": 1}], "meta": {"model": "x"}})) == ["met", "met"]


def test_other_words_for_the_same_verdicts_are_no_contradiction():
    assert read(f"{answer('met', 'met')} {answer('met', 'met', QUOTE.upper())}") == ["met", "met"]


ENTRIES = json.loads(FINAL)["verdicts"]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ENTRIES),
        f"Here: {json.dumps(ENTRIES)} [1]",
        json.dumps({"result": {"verdicts": ENTRIES}}),
        json.dumps({"status": "ok", "data": {"answer": {"verdicts": ENTRIES}}}),
        json.dumps([{"verdicts": ENTRIES}]),
        json.dumps({"result": ENTRIES}),
        json.dumps({"verdicts": {"verdicts": ENTRIES}}),
        json.dumps({"verdicts": [{**ENTRIES[0], "id": 1.0}, {**ENTRIES[1], "id": "2"}]}),
        json.dumps({"verdicts": [{**ENTRIES[0], "id": " 1.0 "}, {**ENTRIES[1], "id": "#2"}]}),
        FINAL.replace("So.", "So,\n\tindeed."),
        FINAL.replace("}]}", "},]}"),
        FINAL.replace("]}", "],\n}"),
        FINAL.replace("So.", "It\\'s 5\\$."),
        FINAL.replace("So.", "a, ]b,}"),
        f"\ufeff{FINAL}",
        json.dumps(json.loads(FINAL), indent=2).replace("\n", "\r\n"),
    ],
)
def test_json_is_read_however_it_is_wrapped_and_written(text):
    assert read(text) == ["met", "met"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"{json.dumps({'note': 1})} {json.dumps({'verdicts': ENTRIES[:1]})}", "no verdict for id 2"),
        (f"{json.dumps({'verdicts': ENTRIES[:1]})} {json.dumps({'note': 1})}", "no verdict for id 2"),
        (f"{json.dumps({'verdicts': ENTRIES[:1]})} {json.dumps({'verdicts': []})}", "no verdict for id 2"),
        (json.dumps({"result": {"verdicts": ENTRIES[:1]}}), "no verdict for id 2"),
        (json.dumps({"verdicts": [ENTRIES[0], {**ENTRIES[1], "verdict": "perhaps"}]}), "the verdict for id 2"),
        (FINAL[:-30], "no complete JSON object"),
        ("<think>x</think>", "no complete JSON object"),
    ],
)
def test_the_fault_is_that_of_the_object_that_came_closest(text, named):
    with pytest.raises(UnparsableAnswer, match=named):
        read(text)


def test_drafts_are_read_by_the_same_reader():
    rows = [{"text": "Django", "kind": "must", "weight": 1}]
    draft, final = json.dumps({"requirements": [{"text": "Rails", "kind": "must"}]}), json.dumps({"requirements": rows})

    for text in (f"<think>{draft}</think>{final}", json.dumps(rows), json.dumps({"briefing": {"requirements": rows}})):
        assert [each.text for each in parse_requirements(text).requirements] == ["Django"]
    with pytest.raises(UnparsableAnswer, match="contradict"):
        parse_requirements(f"{draft} {final}")


@pytest.mark.parametrize(
    "text",
    [
        "{" * 200_000,
        "[" * 200_000,
        '{"a":' * 40_000,
        '{"' * 100_000,
        '{"\\"' * 60_000,
        "<think>" * 30_000,
        "< " * 100_000,
        "<" + " " * 200_000,
        "{}" * 100_000,
        '{"verdicts": [' * 60_000,
        '{"verdicts": [{"id": 1}]} ' * 8_000,
        "[1," * 60_000,
        '{"a": "' + "\\" * 199_999,
        "x" * 1_000_001,
    ],
)
def test_hostile_answers_cost_little(text):
    started = time.process_time()

    with pytest.raises(UnparsableAnswer):
        read(text)

    assert time.process_time() - started < 5


MARKS = st.sampled_from(
    ["<think>", "</think>", "{", "}", "[", "]", '"', "\\", ",", "<|channel|>final", "<|end|>", DRAFT, FINAL, "x", "\n"]
)


@given(st.lists(MARKS, max_size=12).map("".join))
@example('{"verdicts": [{"id": 1e999}]}')
@example('{"verdicts": [{"id": ' + "9" * 5_000 + "}]}")
def test_no_mixture_raises_anything_but_unparsable_answer(text):
    for parse in (read, parse_requirements):
        with suppress(UnparsableAnswer):
            parse(text)
