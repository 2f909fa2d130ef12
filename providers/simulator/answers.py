"""What the simulated model says to a prompt: it reads the prompts of candidate checks and briefing drafts."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from providers.simulator.drafts import draft
from providers.simulator.verdicts import verdicts

UNPARSABLE_MARKER = "[[simulate-unparsable]]"
CHARACTERS_IN_A_TOKEN = 4

REQUIREMENTS = re.compile(r"<requirements>(.*?)</requirements>", re.DOTALL)
PROFILE = re.compile(r"<profile>(.*?)</profile>", re.DOTALL)
JOB_DESCRIPTION = re.compile(r"<job_description>(.*?)</job_description>", re.DOTALL)


@lru_cache(maxsize=1_024)
def answer(prompt: str) -> str:
    """
    The answer to all that the user said, always the same for the same words.

    A profile with the marker `[[simulate-unparsable]]` gets prose where JSON is asked for, every time.
    """
    requirements, profile = REQUIREMENTS.search(prompt), PROFILE.search(prompt)
    if requirements and profile:
        if UNPARSABLE_MARKER in profile.group(1):
            return "The candidate looks promising on the whole, but I would rather not commit myself."
        try:
            listed = json.loads(requirements.group(1))
        except ValueError:
            return "The requirements could not be read."
        rows = listed if isinstance(listed, list) else []
        return _json({"verdicts": verdicts(rows, profile.group(1).strip())})
    job = JOB_DESCRIPTION.search(prompt)
    if job:
        return _json(draft(job.group(1).strip()))
    return _json({"answer": "This is a simulated answer."})


def tokens_in(characters: int) -> int:
    """About how many tokens a text of so many characters has."""
    return -(-characters // CHARACTERS_IN_A_TOKEN)


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
