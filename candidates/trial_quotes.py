"""What a trial costs, by list prices: at most, and about."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import Sum

from candidates.models import Briefing, CandidateCheck, Requirement
from candidates.profiles.reading import profile_text
from candidates.prompts.check import check_request
from candidates.prompts.questions import MAX_OUTPUT_TOKENS
from candidates.result_writer import requirements_of
from organizations.models import Organization
from providers.adapters.base import ChatRequest
from providers.models import ProviderKey
from usage.models import UsageEvent
from usage.price_list import list_price, most_list_price
from usage.tokens import TokenUsage

MOST_CALLS = 3  # of a check: the first, one after an empty answer, one after an answer that could not be read
SPARE_TOKENS = 1_000  # what a request wraps our text in, and what is said of an unreadable answer


@dataclass(frozen=True, slots=True)
class TrialQuote:
    """In nano-USD, None where no price is known. `about` goes by the tokens that the checks themselves took."""

    checks: int
    most: int | None
    about: int | None
    has_no_token_charges: bool

    def is_above(self, agreed: int | None) -> bool:
        """Whether it may cost more than somebody agreed to; None: to an unknown price."""
        return agreed is not None and (self.most is None or self.most > agreed)


def quote_trial(
    *, briefing: Briefing, checks: Sequence[CandidateCheck], key: ProviderKey, model: str, now: datetime
) -> TrialQuote:
    """What asking `model` about these would cost by its list prices of now."""
    if key.has_no_token_charges:
        return TrialQuote(len(checks), 0, 0, True)
    requests = requests_of(briefing, checks, model)
    return TrialQuote(
        checks=len(checks),
        most=_sum(_most(key.provider, requests[check.pk], now) for check in checks),
        about=_about(briefing.organization, checks, key.provider, model, now),
        has_no_token_charges=False,
    )


def requests_of(
    briefing: Briefing, checks: Sequence[CandidateCheck], model: str
) -> dict[uuid.UUID, tuple[ChatRequest, list[Requirement], str]]:
    """Check id → what is asked, of which requirements, about which text: as the check itself was."""
    requirements = requirements_of(briefing.organization_id, {briefing.pk})[briefing.pk]
    rows = CandidateCheck.objects.for_organization(briefing.organization_id)
    contents = dict(rows.filter(pk__in=[check.pk for check in checks]).values_list("pk", "profile__content"))
    found = {}
    for check in checks:
        text = profile_text(contents[check.pk])
        request = check_request(model=model, requirements=requirements, profile_text=text)
        # So that an answer has the length that was quoted: one that is cut off is not asked for again, but longer.
        found[check.pk] = replace(request, is_limit_fixed=True), requirements, text
    return found


def _most(provider: str, asked: tuple[ChatRequest, list[Requirement], str], now: datetime) -> int | None:
    """No text has more tokens than bytes; whatever was answered is sent back once, to be corrected."""
    request = asked[0]
    sent = SPARE_TOKENS + sum(
        len(text.encode()) for text in (request.system, *(each.text for each in request.messages))
    )
    again = sent + MAX_OUTPUT_TOKENS
    return _sum(
        most_list_price(
            provider=provider,
            model=request.model,
            input_tokens=tokens,
            output_tokens=MAX_OUTPUT_TOKENS,
            tier="",
            at=now,
        )
        for tokens in (sent, sent, again)[:MOST_CALLS]
    )


def _about(
    organization: Organization, checks: Sequence[CandidateCheck], provider: str, model: str, now: datetime
) -> int | None:
    calls = UsageEvent.objects.for_organization(organization).filter(run_id__in=[check.run_id for check in checks])
    if calls.filter(usage_reported=False).exists():
        return None
    tokens = (
        calls.order_by()
        .values_list("run_id")
        .annotate(
            sent=Sum("uncached_input_tokens") + Sum("cache_read_tokens") + Sum("cache_write_tokens"),
            answered=Sum("output_tokens"),
        )
    )
    prices: list[int | None] = []
    for _, sent, answered in tokens:
        usage = TokenUsage(uncached_input=sent, output=answered)
        price = list_price(provider=provider, model=model, served_model="", usage=usage, tier="", at=now)
        prices.append(price if isinstance(price, int) else None)
    return _sum(prices) if len(prices) == len(checks) else None


def _sum(prices: Iterable[int | None]) -> int | None:
    total = 0
    for price in prices:
        if price is None:
            return None
        total += price
    return total
