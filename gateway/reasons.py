"""Why a question has no answer that could be read."""

from __future__ import annotations

from routing.reasons import RouteReason


class AskReason(RouteReason):
    sentences = {
        **RouteReason.sentences,
        "answer.maybe_ran": (
            "{why} What this call cost is unknown: it may have run all the same, so it was not sent again by itself."
        ),
        "answer.too_long": (
            "The model reached its output limit of {tokens} tokens before its answer was complete. Thinking counts "
            "towards that limit: choose a model that thinks less or allows more output, or ask for less at a time."
        ),
        "answer.too_long.no_limit": (
            "The model reached its output limit before its answer was complete. Thinking counts towards that limit: "
            "choose a model that thinks less or allows more output, or ask for less at a time."
        ),
        "answer.unreadable": "The model's answer could not be read, twice: {fault}",
    }
