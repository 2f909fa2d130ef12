from __future__ import annotations

from django import template

from usage import amounts, price_list

register = template.Library()


@register.filter
def usd(nanousd: int | None) -> str:
    """Dollars and cents; "unpriced" for None."""
    return amounts.dollars(nanousd)


@register.filter
def usd4(nanousd: int | None) -> str:
    """Four decimals, for what one run costs; "unpriced" for None."""
    return amounts.dollars(nanousd, places=4)


@register.filter
def tokens(count: int | None) -> str:
    """Thousands separators; "not reported" for None."""
    return amounts.count(count)


@register.filter
def seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:,.2f} s"


@register.filter
def action_name(slug: str) -> str:
    """An action in words; actions themselves are above this app, events hold their slugs."""
    return slug.replace("_", " ").replace("-", " ").capitalize()


@register.filter
def provider_name(slug: str) -> str:
    return price_list.provider_name(slug)
