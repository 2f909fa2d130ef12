"""What the simulated model says to a prompt: it reads the prompts of candidate checks and briefing drafts."""

from __future__ import annotations

import json
from functools import lru_cache

from simulator.drafts import draft as drafted
from simulator.verdicts import verdicts

UNPARSABLE_MARKER = "[[simulate-unparsable]]"
THINKING_MARKER = "[[simulate-thinking]]"
INVENTION_MARKER = "[[simulate-invention]]"
CHARACTERS_IN_A_TOKEN = 4


@lru_cache(maxsize=1_024)
def answer(prompt: str) -> str:
    """
    The answer to all that the user said, always the same for the same words.

    Markers in a profile: `[[simulate-unparsable]]` gets prose where JSON is asked for, every time,
    `[[simulate-thinking]]` an answer after thinking aloud in which everything is met, `[[simulate-invention]]` quotes
    that do not stand in the profile.
    """
    requirements, profile = between(prompt, "requirements"), between(prompt, "profile")
    if requirements is not None and profile is not None:
        if UNPARSABLE_MARKER in profile:
            return "The candidate looks promising on the whole, but I would rather not commit myself."
        try:
            listed = json.loads(requirements)
        except ValueError:
            return "The requirements could not be read."
        rows = listed if isinstance(listed, list) else []
        judged = verdicts(rows, profile)
        if INVENTION_MARKER in profile:
            judged = [{**row, "quote": f"Invented: {row['quote']}"} for row in judged]
        thinking = ""
        if THINKING_MARKER in profile:
            draft = _json({"verdicts": [{**row, "verdict": "met"} for row in judged]})
            thinking = f"<think>At first sight: {draft} But let me look closer.</think>\n"
        return f"{thinking}{_json({'verdicts': judged})}"
    job_description = between(prompt, "job_description")
    if job_description is not None:
        return _json(drafted(job_description))
    return _json({"answer": "This is a simulated answer."})


def between(prompt: str, tag: str) -> str | None:
    """What stands between the first pair of these tags, None if there is none."""
    start = prompt.find(f"<{tag}>")
    end = prompt.find(f"</{tag}>", start)
    return None if start < 0 or end < 0 else prompt[start + len(tag) + 2 : end].strip()


def tokens_in(characters: int) -> int:
    """About how many tokens a text of so many characters has."""
    return -(-characters // CHARACTERS_IN_A_TOKEN)


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
