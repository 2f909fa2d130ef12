"""Asking some finished checks of another model: choose, see what it costs, run, compare."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from candidates.models import Briefing, Trial
from candidates.trial_forms import TrialForm
from candidates.trial_quotes import TrialQuote, quote_trial
from candidates.trial_results import compare
from candidates.trials import (
    MOST_CHECKS,
    QuoteRose,
    TrialRefused,
    finished_checks,
    request_trial,
)
from organizations import clock
from organizations.once import once_of_form
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view, recently_authenticated
from organizations.reading import whole_number
from providers.keys.destinations import is_private
from providers.models import ProviderKey
from routing.forms import may_stand_in_address
from routing.key_models import selectable_keys
from routing.services import RuleRefused
from routing.table import suggestion_lists

EARLIER_SHOWN = 10
LATEST = 10**15  # nano-USD: a million dollars


def _runs_on_private_key(request: OrganizationHttpRequest, briefing_id: int) -> bool:
    """Whether profiles would go into a private network."""
    key = _form(request, _briefing(request, briefing_id)).chosen_key
    return "run" in request.POST and key is not None and is_private(key)


def _choice(request: OrganizationHttpRequest) -> dict[str, str | list[str]]:
    model = request.POST.get("model", "")
    return {
        "key": request.POST.get("key", ""),
        "model": model if may_stand_in_address(model) else "",
        "checks": request.POST.getlist("checks"),
    }


@organization_view(Permission.MANAGE_ROUTING)
@require_http_methods(["GET", "POST"])
@recently_authenticated(back="candidates:trials", when=_runs_on_private_key, keep=_choice, back_to_the_same=True)
def trials(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    """The form, and trials of before. A POST shows what it costs; with `run`, and no more than was shown, it runs."""
    briefing = _briefing(request, briefing_id)
    form = _form(request, briefing)
    quote: TrialQuote | None = None
    status = 200
    if request.method == "POST":
        if form.is_valid() and (key := form.chosen_key):
            now, model = clock.now(), form.cleaned_data["model"]
            try:
                if "run" in request.POST:
                    trial = request_trial(
                        briefing=briefing,
                        checks=form.chosen,
                        key=key,
                        model=model,
                        actor=request.user,
                        now=now,
                        agreed_nanousd=whole_number(request.POST.get("agreed"), most=LATEST),
                        once=once_of_form(request),
                    )
                    return redirect("candidates:trial", request.organization.slug, trial.pk)
            except QuoteRose as rose:
                messages.warning(request, str(rose))
            except RuleRefused as refusal:
                form.add_error("model", str(refusal))
            except TrialRefused as refusal:
                form.add_error("checks", str(refusal))
            except ProviderKey.DoesNotExist:
                form.add_error("key", "This key was removed meanwhile. Choose another one.")
            if form.is_valid():
                quote = quote_trial(briefing=briefing, checks=form.chosen, key=key, model=model, now=now)
        status = 200 if quote else 422
    lists = suggestion_lists(request.organization, keys=list(form.keys.values()))
    earlier = Trial.objects.for_organization(request.organization).filter(briefing=briefing)
    context = {
        "briefing": briefing,
        "form": form,
        "quote": quote,
        "most_checks": MOST_CHECKS,
        "models": [suggestion for each in lists for suggestion in each.suggestions],
        "earlier": earlier.order_by("-requested_at")[:EARLIER_SHOWN],
    }
    return render(request, "candidates/trials.html", context, status=status)


@organization_view(Permission.VIEW)
@require_GET
@never_cache
def trial_page(request: OrganizationHttpRequest, trial_id: str) -> HttpResponse:
    """What came of a trial, beside the checks; asks again while it runs."""
    found = Trial.objects.for_organization(request.organization).select_related("briefing", "created_by")
    trial = get_object_or_404(found, pk=trial_id)
    context = {"trial": trial, "result": compare(organization=request.organization, trial=trial)}
    return render(request, f"candidates/trial.html{'#trial' if request.htmx else ''}", context)


def _briefing(request: OrganizationHttpRequest, briefing_id: int) -> Briefing:
    found = Briefing.objects.for_organization(request.organization).select_related("organization")
    return get_object_or_404(found, pk=briefing_id)


def _form(request: OrganizationHttpRequest, briefing: Briefing) -> TrialForm:
    return TrialForm(
        request.POST if request.method == "POST" else None,
        keys=selectable_keys(request.organization),
        checks=finished_checks(briefing),
        kept=request.GET if "checks" in request.GET else None,
    )
