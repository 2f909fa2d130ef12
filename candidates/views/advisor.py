from __future__ import annotations

from decimal import Decimal

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from candidates import advice_words
from candidates.advisor import LEAST_OWN_CHECKS, PERIODS, advise
from candidates.check_route import ACTIONS_OF_A_CHECK
from organizations import clock
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from organizations.typed_numbers import DecimalField
from routing.resolve import working_defaults
from usage.amounts import ONE_USD
from usage.models import Mode


class AdvisorForm(forms.Form):
    days = forms.TypedChoiceField(coerce=int, choices=[(days, f"Last {days} days") for days in PERIODS])
    credit = DecimalField(
        least=Decimal(0), most=Decimal(1000), places=4, required=False, label="What a credit costs you, in USD"
    )


@organization_view(Permission.VIEW)
@require_GET
def advisor_page(request: OrganizationHttpRequest) -> HttpResponse:
    """Managed or own keys, and which recency window: by the checks of the last days."""
    has_managed = working_defaults().keys() >= set(ACTIONS_OF_A_CHECK)
    credit_typed = request.GET.get("credit", "") if has_managed else ""  # else there is nothing to compare
    form = AdvisorForm({"days": request.GET.get("days") or PERIODS[0], "credit": credit_typed})
    is_valid = form.is_valid()
    advice = advise(
        organization=request.organization, days=form.cleaned_data.get("days") or PERIODS[0], now=clock.now()
    )
    typed = form.cleaned_data.get("credit")
    credit = int(typed * ONE_USD) if typed is not None else None
    context = {
        "form": form,
        "advice": advice,
        "is_byok": advice.mode == Mode.BYOK,
        "has_managed": has_managed,
        "least_own_checks": LEAST_OWN_CHECKS,
        "cannot_say": advice_words.cannot_say(advice),
        "about_window": advice_words.about_window(advice),
        "about_history": advice_words.about_history(advice),
        "about_mode": advice_words.about_mode(advice, credit),
    }
    return render(request, "candidates/advisor.html", context, status=200 if is_valid else 422)
