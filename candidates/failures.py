"""Why a check or a draft failed: a code and what it names. Rows keep that; the sentence is made when it is shown."""

from __future__ import annotations

from candidates.prompts.faults import Fault


class Failure(Fault):
    sentences = {
        **Fault.sentences,
        "draft.again": "Started again after an interruption.",
        "draft.interrupted": "The draft was interrupted twice.",
        "draft.closed": "The organization was closed before the draft was written.",
        "check.interrupted": "The work on this check was interrupted too often. Check again.",
        "trial.interrupted": "The work on this trial was interrupted twice. Run it again.",
        "trial.closed": "The organization was closed before this was asked.",
        "check.closed": "The organization was closed before this check was done.",
        "check.too_many_failures": (
            "{cap} Managed checks of your organization failed today (UTC) after a model had answered, which is as many "
            "as a day allows. Check again tomorrow, or route candidate checks to a key of your own in Settings."
        ),
        "check.too_many_failures.one": (
            "{cap} Managed check of your organization failed today (UTC) after a model had answered, which is as many "
            "as a day allows. Check again tomorrow, or route candidate checks to a key of your own in Settings."
        ),
    }


INTERRUPTED = Failure("check.interrupted", {})
CLOSED = Failure("check.closed", {})
TRIAL_INTERRUPTED, TRIAL_CLOSED = Failure("trial.interrupted", {}), Failure("trial.closed", {})
DRAFT_AGAIN = Failure("draft.again", {})
DRAFT_INTERRUPTED = Failure("draft.interrupted", {})
DRAFT_CLOSED = Failure("draft.closed", {})
