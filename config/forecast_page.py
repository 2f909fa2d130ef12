"""What the month will have cost: a page, and the panel of it that others ask for by HTMX, as it reads four months."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.pace import charged_by_day
from organizations import clock
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view
from usage.forecast import forecast, forecast_of_month, history_from


@organization_view(Permission.VIEW)
@require_safe
def forecast_page(request: OrganizationHttpRequest) -> HttpResponse:
    today = clock.now().date()
    credits_spent = charged_by_day(organization=request.organization, first=history_from(today))
    context = {
        "forecast": forecast_of_month(organization=request.organization, today=today),
        "credits": forecast(credits_spent, today=today) if credits_spent else None,
    }
    return render(request, "config/forecast.html#panel" if request.htmx else "config/forecast.html", context)
