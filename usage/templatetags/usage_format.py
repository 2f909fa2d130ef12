from __future__ import annotations

from decimal import Decimal

from django import template

from usage import pricing

register = template.Library()

NANO = Decimal(10) ** 9
UNPRICED = "unpriced"


@register.filter
def usd(nanousd: int | None) -> str:
    """Nano-USD as dollars and cents; "unpriced" for None, and never $0.00 for something."""
    return _dollars(nanousd, places=2)


@register.filter
def usd4(nanousd: int | None) -> str:
    """The same with four decimals, for what one run costs."""
    return _dollars(nanousd, places=4)


@register.filter
def tokens(count: int | None) -> str:
    """A count with thousands separators; "not reported" for None."""
    return "not reported" if count is None else f"{count:,}"


@register.filter
def seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.2f} s"


@register.filter
def provider_name(slug: str) -> str:
    return pricing.provider_name(slug)


def _dollars(nanousd: int | None, *, places: int) -> str:
    if nanousd is None:
        return UNPRICED
    amount, smallest = Decimal(nanousd) / NANO, Decimal(10) ** -places
    sign = "-" if amount < 0 else ""
    rounded = abs(amount).quantize(smallest)
    if not rounded and amount:
        return f"{sign}<${smallest}"
    return f"{sign}${rounded:,}"
