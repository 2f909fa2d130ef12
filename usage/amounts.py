"""How amounts are printed, on pages and in charts. Integers in, text out; nothing is computed here."""

from __future__ import annotations

from decimal import Decimal

ONE_USD = 10**9  # nano-USD
NANO = Decimal(ONE_USD)
UNPRICED = "unpriced"
NOT_KNOWN = "not known"
NOT_REPORTED = "not reported"
WITHOUT_CHARGES = "no token charges"
NOTHING_TO_PAY = "nothing to pay"


def dollars(nanousd: int | None, *, places: int = 2) -> str:
    """Nano-USD as USD with `places` decimals; "unpriced" for None, and never zero for something."""
    if nanousd is None:
        return UNPRICED
    amount, smallest = Decimal(nanousd) / NANO, Decimal(10) ** -places
    sign = "-" if amount < 0 else ""
    rounded = abs(amount).quantize(smallest)
    if not rounded and amount:
        return f"{sign}<${smallest}"
    return f"{sign}${rounded:,}"


def exact_dollars(usd: Decimal, *, places: int = 4) -> str:
    """USD with all their decimals up to the twelfth, and at least `places`."""
    whole, _, decimals = f"{abs(usd):,.12f}".partition(".")
    return f"{'-' if usd < 0 else ''}${whole}.{decimals.rstrip('0').ljust(places, '0')}"


def usd_exactly(nanousd: int) -> str:
    """USD to the nano-dollar, for programs: "0.000123400"."""
    whole, rest = divmod(abs(nanousd), 10**9)
    return f"{'-' if nanousd < 0 else ''}{whole}.{rest:09d}"


def count(number: int | None) -> str:
    """A whole number with thousands separators; "not reported" for None."""
    return NOT_REPORTED if number is None else f"{number:,}"


def at_least(amount: str, *, if_incomplete: bool) -> str:
    """The printed amount of a sum, of which a part may be missing; words are left as they are."""
    if not if_incomplete or not any(character.isdigit() for character in amount):
        return amount
    return "more than $0" if amount.startswith("<") else f"at least {amount}"


def not_covered(*, unpriced: int, unanswered: int) -> str:
    """Such as "112 unpriced, 1 without an answer"; "" where a sum covers all."""
    parts = [f"{unpriced:,} unpriced"] if unpriced else []
    if unanswered:
        parts.append(f"{unanswered:,} without an answer")
    return ", ".join(parts)


def dollar_tick(nanousd: int, step: int) -> str:
    """A mark on an axis whose marks are `step` apart, with as many decimals as tell them apart."""
    decimals = max(0, -(Decimal(step) / NANO).normalize().as_tuple().exponent)  # type: ignore[operator]  # finite
    if decimals:
        decimals = max(decimals, 2)
    return f"${Decimal(nanousd) / NANO:,.{decimals}f}"


def count_tick(number: int, step: int) -> str:
    """The same for counts, short: 250k, 1.5M."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if step >= size // 10 and number >= size:
            return f"{(Decimal(number) / size).normalize():f}{letter}"
    return f"{number:,}"
