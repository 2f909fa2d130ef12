"""A cost anatomy in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from usage import amounts
from usage.anatomy import LEAST_CACHED_TOKENS, Anatomy, Caching


def sentences(anatomy: Anatomy) -> Iterator[str]:
    """What an owner should know of it, the most important first."""
    yield _cost(anatomy)
    for part in anatomy.counted[:1]:
        cost = f" and cost {_usd(anatomy, part.cost_nanousd)}" if part.cost_nanousd else ""
        yield f"The largest part of what was sent: {part.name.lower()}. It was {part.share} of the tokens{cost}."
    if anatomy.caching.tokens:
        yield _caching(anatomy, anatomy.caching)
    if anatomy.runs:
        calls, runs = anatomy.totals.calls, anatomy.runs
        yield (
            f"A run took {anatomy.calls_a_run} calls on average: {calls:,} call{_s(calls)} in {runs:,} run{_s(runs)}."
        )
    if anatomy.not_counted.tokens:
        yield (
            f"{anatomy.not_counted.share} of what was sent was not counted: the request named what its provider keeps, "
            "or the call is older than the counting."
        )


def _cost(anatomy: Anatomy) -> str:
    told = anatomy.totals
    if told.has_no_token_charges:
        return "These calls went to your own server, which charges no tokens."
    if anatomy.input_nanousd is not None and anatomy.output_nanousd is not None:
        sent, answered = _usd(anatomy, anatomy.input_nanousd), _usd(anatomy, anatomy.output_nanousd)
        text = f"What was sent cost {sent}, what was answered {answered}."
    elif told.hidden_calls and not told.usd_calls:
        return "What these calls cost is paid by the operator. Their tokens stand below."
    else:
        text = "Nobody knows what these calls cost. Their tokens stand below."
    if missed := amounts.not_covered(unpriced=told.unpriced_calls, unanswered=told.unknown_calls):
        text += f" Not in it: {missed}."
    if told.hidden_calls:
        text += f" The USD of {told.hidden_calls:,} Managed call{_s(told.hidden_calls)} are the operator’s."
    return text


def _caching(anatomy: Anatomy, caching: Caching) -> str:
    costs = [part.cost_nanousd for part in anatomy.parts[:2]]
    cost = f", which cost {_usd(anatomy, sum(filter(None, costs)))}" if any(costs) else ""
    text = f"Your instructions and tools were {caching.tokens:,} tokens{cost}."
    if caching.short_tokens == caching.tokens:
        return f"{text} They have less than {LEAST_CACHED_TOKENS:,} tokens a call, too few for any provider’s cache."
    if not caching.unread_tokens:
        return f"{text} All that a cache can hold of them was read from one."
    text += f" Up to {caching.unread_share} of them could have been read from a cache, and were not"
    if caching.saving_nanousd:
        return f"{text}: at the list’s prices that is up to {amounts.dollars(caching.saving_nanousd)} less."
    return f"{text}."


def _usd(anatomy: Anatomy, nanousd: int | None) -> str:
    return amounts.at_least(amounts.dollars(nanousd), if_incomplete=anatomy.totals.is_incomplete)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
