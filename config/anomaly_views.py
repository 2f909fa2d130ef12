"""What is out of the ordinary, and what can be done about it."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST, require_safe

from config import anomaly_hooks
from config.anomalies import Shown, shown_anomalies
from config.anomaly_addresses import EXAMPLE, TOO_LONG, AddressRefused
from config.anomaly_hooks import webhook_parts
from organizations import clock
from organizations.edits import FIELD, ChangedMeanwhile, stamp
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view, recently_authenticated
from providers.keys.destinations import LONGEST_BASE_URL
from usage.episodes.answers import NotExpected, expect_anomaly, raise_again
from usage.models import Anomaly, AnomalyWebhook

State = Anomaly.State
FOR_GOOD = 0


class ExpectForm(forms.Form):
    days = forms.TypedChoiceField(
        label="For how long",
        choices=[("7", "7 days"), ("30", "30 days"), ("90", "90 days"), (FOR_GOOD, "For good")],
        coerce=int,
        initial="30",
    )
    why = forms.CharField(label="Why", max_length=200, required=False)


class WebhookForm(forms.Form):
    url = forms.CharField(
        label="Address",
        max_length=LONGEST_BASE_URL,
        help_text="Of a server of yours that takes a POST. Begins with https://, and ends with its path.",
        widget=forms.URLInput(attrs={"placeholder": EXAMPLE, "spellcheck": "false"}),
        error_messages={"required": "Enter the address to post to.", "max_length": TOO_LONG},
    )


@organization_view(Permission.VIEW)
@require_safe
def anomalies(request: OrganizationHttpRequest) -> HttpResponse:
    return _page(request)


def _page(
    request: OrganizationHttpRequest,
    form: ExpectForm | None = None,
    of: int | None = None,
    *,
    webhook_form: WebhookForm | None = None,
    secret: str = "",
    status: int = 200,
) -> HttpResponse:
    rows = shown_anomalies(request.organization)
    hook = AnomalyWebhook.objects.for_organization(request.organization).first()
    context = {
        "webhook": hook,
        "seen": stamp(webhook_parts(hook)),
        "webhook_form": webhook_form or WebhookForm(initial={"url": hook.url if hook else ""}, auto_id="webhook-%s"),
        "secret": secret,
        "open": [(row, _form_of(row, form, of)) for row in rows if row.anomaly.state == State.OPEN],
        "earlier": [row for row in rows if row.anomaly.state != State.OPEN],
    }
    return render(request, "usage/anomalies.html", context, status=status)


def _form_of(row: Shown, form: ExpectForm | None, of: int | None) -> ExpectForm:
    if form is not None and row.anomaly.pk == of:
        return form
    return ExpectForm(auto_id=f"expect-{row.anomaly.pk}-%s", label_suffix="")


@organization_view(Permission.MANAGE_SETTINGS)
@require_POST
def expect(request: OrganizationHttpRequest, anomaly_id: int) -> HttpResponse:
    get_object_or_404(Anomaly.objects.for_organization(request.organization), pk=anomaly_id)
    form = ExpectForm(request.POST, auto_id=f"expect-{anomaly_id}-%s", label_suffix="")
    if not form.is_valid():
        return _page(request, form, anomaly_id, status=422)
    try:
        expect_anomaly(
            organization=request.organization,
            anomaly_id=anomaly_id,
            by=request.user,
            days=form.cleaned_data["days"] or None,
            why=form.cleaned_data["why"],
            now=clock.now(),
        )
    except NotExpected as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, "It is not raised again within what you said.")
    return redirect("anomalies", request.organization.slug)


@organization_view(Permission.MANAGE_SETTINGS)
@require_POST
def no_longer_expect(request: OrganizationHttpRequest, anomaly_id: int) -> HttpResponse:
    get_object_or_404(Anomaly.objects.for_organization(request.organization), pk=anomaly_id)
    if raise_again(organization=request.organization, anomaly_id=anomaly_id, by=request.user):
        messages.success(request, "It is raised again when it is found again.")
    return redirect("anomalies", request.organization.slug)


@organization_view(Permission.MANAGE_WEBHOOK)
@recently_authenticated(back="anomalies")
@require_POST
@sensitive_variables("secret")
def save_webhook(request: OrganizationHttpRequest) -> HttpResponse:
    """Shows the new secret in its answer, the only time."""
    form = WebhookForm(request.POST, auto_id="webhook-%s")
    if form.is_valid():
        try:
            secret = anomaly_hooks.save_webhook(
                organization=request.organization,
                url=form.cleaned_data["url"],
                actor=request.user,
                now=clock.now(),
                seen=request.POST.get(FIELD),
            )
        except (AddressRefused, ChangedMeanwhile) as refused:
            form.add_error("url" if isinstance(refused, AddressRefused) else None, str(refused))
        else:
            return _page(request, secret=secret)
    return _page(request, webhook_form=form, status=422)


@organization_view(Permission.MANAGE_WEBHOOK)
@require_POST
def remove_webhook(request: OrganizationHttpRequest) -> HttpResponse:
    if anomaly_hooks.remove_webhook(organization=request.organization, actor=request.user):
        messages.success(request, "Webhook removed. Nothing is posted any more.")
    return redirect("anomalies", request.organization.slug)
