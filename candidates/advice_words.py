"""What follows from the figures of the advisor, in sentences; each says no more than the figures do."""

from __future__ import annotations

from candidates.advisor import LEAST_CHECKS, LEAST_OWN_CHECKS, WINDOWS, Advice
from usage import amounts
from usage.audience import OF_OWNERS
from usage.models import Mode


def cannot_say(advice: Advice) -> str:
    """Why there is no advice, "" where there is."""
    if advice.can_say:
        return ""
    there_are = "there was none" if not advice.checks else f"there were {advice.checks}"
    return f"Cannot say: it takes {LEAST_CHECKS} checks completed in the last {advice.days} days, and {there_are}."


def about_window(advice: Advice) -> str:
    now, best = advice.now, advice.best
    if not now.recent and not best.recent:
        return (
            "No recency window would have saved anything: none of these people had been checked in the 90 days "
            "before, by a text that is still theirs."
        )
    if not advice.saved_by_window:
        return (
            f"Keep the recency window of {now.window} days: {now.recent:,} of these {advice.checks:,} checks are "
            "existing recent by it, and no other window would have cost fewer credits."
        )
    more = best.recent - now.recent
    return (
        f"Choose a recency window of {best.window} days: {more:,} more of these {advice.checks:,} checks would have "
        f"been existing recent, {_credits(advice.saved_by_window)} fewer than with {now.window} days."
    )


def about_history(advice: Advice) -> str:
    """What these days cannot show, "" where they show all."""
    if not advice.is_history_short or advice.window == max(WINDOWS) or advice.first_check_at is None:
        return ""
    return (
        f"Your first check completed on {advice.first_check_at:%Y-%m-%d}. A longer window may save more once there are "
        f"{max(WINDOWS)} days before the {advice.days} that are looked at."
    )


def about_mode(advice: Advice, credit_nanousd: int | None) -> str:
    """With what a credit costs, which of the two is cheaper; without, from which price on."""
    saved, own, now = advice.saved_by_own_keys, advice.own_nanousd, advice.now
    fewer = (
        f"On your own keys these {advice.checks:,} checks would have cost {_credits(now.byok)} instead of "
        f"{now.managed:,}: {saved:,} fewer."
    )
    if own is None:
        return f"{fewer} {_why_no_usd(advice)}"
    if advice.own.spent.has_no_token_charges:
        return f"{fewer} Your own server charges no tokens, so your own keys are cheaper whatever a credit costs."
    is_incomplete = advice.own.spent.is_incomplete
    at_least = "at least " if is_incomplete else "about "
    billed = f"Your providers would have billed {at_least}{_usd(own)} for them."
    if credit_nanousd is None:
        return f"{fewer} {billed} {_from_which_price(advice)}"
    managed, byok = advice.bill(Mode.MANAGED, credit_nanousd) or 0, advice.bill(Mode.BYOK, credit_nanousd) or 0
    bills = (
        f"With a credit at {amounts.dollars(credit_nanousd, places=4)} that is {_usd(managed)} in Managed mode and "
        f"{at_least}{_usd(byok)} on your own keys, credits and providers together:"
    )
    return f"{fewer} {billed} {bills} {_verdict(advice, managed, byok)}"


def _from_which_price(advice: Advice) -> str:
    even = amounts.dollars(advice.break_even_nanousd, places=4)
    if advice.own.spent.is_incomplete:
        return (
            f"Managed mode is cheaper where a credit costs you less than {even}. Above that it cannot be said for "
            f"sure: {_missing(advice)}."
        )
    return (
        f"Your own keys are cheaper where a credit costs you more than about {even}, Managed mode where it costs less."
    )


def _verdict(advice: Advice, managed: int, byok: int) -> str:
    less = _usd(abs(managed - byok))
    if managed < byok:
        return f"Managed mode is cheaper by {'at least' if advice.own.spent.is_incomplete else 'about'} {less}."
    if advice.own.spent.is_incomplete:
        return f"your own keys are cheaper by {less} at most, which cannot be said for sure: {_missing(advice)}."
    return "both cost the same." if managed == byok else f"your own keys are cheaper by about {less}."


def _missing(advice: Advice) -> str:
    spent = advice.own.spent
    missing = amounts.not_covered(unpriced=spent.unpriced_calls, unanswered=spent.unknown_calls)
    return f"the cost of some calls is not known ({missing})"


def _why_no_usd(advice: Advice) -> str:
    if advice.own.is_hidden:
        return f"What your providers would have billed for them is {OF_OWNERS}."
    if advice.own.checks < LEAST_OWN_CHECKS:
        there_are = "there was none" if not advice.own.checks else f"there were {advice.own.checks}"
        return (
            "What your providers would have billed for them cannot be said: it takes "
            f"{LEAST_OWN_CHECKS} checks completed on your own keys in these days, and {there_are}."
        )
    return "What your providers would have billed for them cannot be said: no call of these checks has a known cost."


def _credits(number: int) -> str:
    return f"{number:,} credit{'' if number == 1 else 's'}"


def _usd(nanousd: int) -> str:
    return amounts.dollars(nanousd)
