from __future__ import annotations

from datetime import date
from decimal import Decimal
from urllib.parse import quote, urlencode

from django import template
from django.template import Context
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from organizations.models import Organization
from usage import amounts, audience, names
from usage.cells import Totals
from usage.models import UsageEvent
from usage.receipts import IN_FLIGHT
from usage.tabs import TABS

register = template.Library()
TONES = {UsageEvent.Status.ANSWERED: "ok", UsageEvent.Status.CANCELLED: "", IN_FLIGHT: "info"}


@register.filter
def usd(nanousd: int | None) -> str:
    """Dollars and cents; "unpriced" for None."""
    return amounts.dollars(nanousd)


@register.filter
def usd4(nanousd: int | None) -> str:
    """Four decimals, for what one run costs; "unpriced" for None."""
    return amounts.dollars(nanousd, places=4)


@register.filter
def exact_usd(nanousd: int) -> str:
    """To the nano-dollar."""
    return amounts.exact_dollars(nanousd / amounts.NANO)


@register.filter
def exact_dollars(usd: Decimal) -> str:
    return amounts.exact_dollars(usd)


@register.filter
def unit_price(usd_per_million: Decimal) -> str:
    return amounts.exact_dollars(usd_per_million, places=2)


@register.filter
def about(amount: str, is_estimated: object) -> str:
    """Before a number that is an estimate of ours."""
    return f"~{amount}" if is_estimated else amount


@register.filter
def tokens(count: int | None) -> str:
    """Thousands separators; "not reported" for None."""
    return amounts.count(count)


@register.filter
def at_least(amount: str, is_incomplete: object) -> str:
    """Before the amount of a sum that does not cover everything."""
    return amounts.at_least(amount, if_incomplete=bool(is_incomplete))


@register.filter
def seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:,.2f} s"


@register.filter
def duration(milliseconds: int) -> str:
    """As `seconds`, and what takes long in hours or days."""
    minutes = round(milliseconds / 60_000)
    if minutes < 60:
        return seconds(milliseconds)
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


@register.filter
def provider_name(slug: str) -> str:
    """As the catalog has it."""
    return names.provider_name(slug)


@register.filter
def tone(status: str) -> str:
    """How the badge of a call looks that ended so, or is in flight."""
    if status in UsageEvent.ERRORS:
        return "bad"
    return TONES.get(status, "warn")


@register.filter
def sees_usd(mode: str) -> bool:
    """Whether the organization sees what calls in this mode cost."""
    return audience.sees_usd(mode)


@register.simple_tag
def sees_any_usd() -> bool:
    """Whether whoever looks is shown any USD."""
    return audience.sees_any_usd()


@register.simple_tag
def why_hidden() -> SafeString:
    """In place of USD that are not shown."""
    return muted(audience.why_hidden())


@register.filter
def usd_words(totals: Totals) -> str:
    """The USD of a sum, or in words why there are none."""
    if totals.has_no_token_charges:
        return muted(amounts.WITHOUT_CHARGES)
    if totals.cost_nanousd is not None:
        return amounts.at_least(amounts.dollars(totals.cost_nanousd), if_incomplete=totals.is_incomplete)
    if totals.unpriced_calls:
        return amounts.UNPRICED
    return amounts.NOT_KNOWN if totals.unknown_calls else why_hidden()


@register.filter
def token_words(count: int, totals: Totals) -> str:
    """One of the sums of tokens in `totals`, or that they were not reported."""
    if totals.unreported_calls and not count:
        return muted(amounts.NOT_REPORTED)
    return amounts.at_least(amounts.count(count), if_incomplete=bool(totals.unreported_calls))


def muted(words: str) -> SafeString:
    return format_html('<span class="muted">{}</span>', words)


@register.simple_tag(takes_context=True)
def metrics_tabs(context: Context) -> list[tuple[str, str, bool]]:
    """The pages of *Metrics*: label, address, and whether it is the one shown, or holds it."""
    request = context["request"]
    here = request.resolver_match.view_name
    return [
        (label, reverse(name, args=[request.organization.slug]), here == name or here in below)
        for label, name, below in TABS
    ]


@register.simple_tag
def calls_url(organization: Organization, **filters: object) -> str:
    """The list of calls, narrowed to the calls behind a number; filters without a value are left out."""
    texts = {
        name: value.isoformat() if isinstance(value, date) else str(value) for name, value in filters.items() if value
    }
    return f"{reverse('calls', args=[organization.slug])}?{urlencode(texts, quote_via=quote, safe='')}"
