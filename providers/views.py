from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import reswap, retarget, trigger_client_event

from organizations import clock
from organizations.audit import events_last
from organizations.edits import FIELD, ChangedMeanwhile
from organizations.once import once_of_form
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view, recently_authenticated
from organizations.reading import whole_number
from providers.cards import (
    KeyRow,
    ProviderCard,
    initial_of,
    key_row,
    keys_of,
    model_line,
    provider_card,
    provider_cards,
)
from providers.catalog import PROVIDERS, Provider
from providers.custody import rotation
from providers.custody.sealing import SealBroken
from providers.forms import AddKeyForm, KeyForm, ProofModelForm
from providers.keys import model_quirks, replacement, saving, validation
from providers.keys.destinations import BaseUrlRefused
from providers.models import ProviderKey

KEYS_CHANGED = "keysChanged"  # heard by other panels that list keys
FIRST_MODELS = 12  # in the card; more of them have a page of their own
MOST_SHOWN = 500  # there
LATEST = 10**11  # seconds since 1970, some three thousand years
CANNOT_SEAL = "No key can be saved now: this installation's master keys were changed. Tell its operator."

CANNOT_ROTATE = "The organization key was not rotated: this installation’s master keys were changed. Tell its operator."


def panel_context(keys: Sequence[ProviderKey], *, now: datetime) -> dict[str, Any]:
    """What `providers/_panel.html` needs; everyone in the organization sees it, managers see forms in it."""
    return {"provider_cards": provider_cards(keys, now=now)}


@sensitive_post_parameters()
@organization_view(Permission.MANAGE_KEYS)
@require_POST
@recently_authenticated(back="settings#llm-providers")
@sensitive_variables()
def save(request: OrganizationHttpRequest, provider: str) -> HttpResponse:
    chosen = _provider_or_404(provider)
    form = AddKeyForm(request.POST, provider=chosen, auto_id=f"{chosen.slug}-%s", organization=request.organization)
    if form.is_valid():
        try:
            key = saving.save_provider_key(
                organization=request.organization,
                provider=chosen.slug,
                secret=form.cleaned_data["key"],
                label=form.cleaned_data["label"],
                base_url=form.cleaned_data.get("base_url", ""),
                is_own_server=form.cleaned_data.get("is_own_server", False),
                actor=request.user,
                now=clock.now(),
            )
        except saving.KeyLabelTaken as error:
            form.add_error("label", str(error))
        except BaseUrlRefused as error:
            form.add_error("base_url", str(error))
        except SealBroken:
            form.add_error("key" if "key" in form.fields else None, CANNOT_SEAL)
        else:
            messages.success(request, "Key saved.")
            return _saved(request, key)
    _prepare_to_correct(request, form)
    now = clock.now()
    return _refused(request, provider_card(request.organization, chosen, now=now, add_form=form))


@sensitive_post_parameters()
@organization_view(Permission.MANAGE_KEYS)
@require_http_methods(["GET", "POST"])
@recently_authenticated(back="settings#llm-providers")
@sensitive_variables()
def replace(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """Put another secret in the place of a key's. The GET page is what the dialog falls back to."""
    key = _key_or_404(request, key_id)
    form = KeyForm(
        request.POST if request.method == "POST" else None,
        provider=PROVIDERS[key.provider],
        auto_id=f"replace-{key.pk}-%s",
        organization=request.organization,
        initial=initial_of(key),
    )
    if form.is_valid():
        try:
            new = replacement.replace_provider_key(
                key=key,
                secret=form.cleaned_data["key"],
                base_url=form.cleaned_data.get("base_url", ""),
                actor=request.user,
                now=clock.now(),
            )
        except BaseUrlRefused as error:
            form.add_error("base_url", str(error))
        except SealBroken:
            form.add_error("key" if "key" in form.fields else None, CANNOT_SEAL)
        else:
            if new.replaces:
                try:
                    validation.request_validation(key=new, actor=request.user, now=clock.now())
                    messages.success(request, "New key saved. It takes over as soon as it is validated.")
                except validation.TooManyValidations as refusal:
                    messages.warning(request, f"New key saved, but not validated yet. {refusal}")
            else:
                messages.success(request, "Key replaced.")
            return _saved(request, key)
    _prepare_to_correct(request, form)
    template = "providers/_replace_form.html" if request.htmx else "providers/page.html"
    context = {"row": key_row(key, now=clock.now(), form=form)}
    return render(request, template, context, status=422 if form.errors else 200)


@organization_view(Permission.MANAGE_KEYS)
@require_POST
def validate(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    key = _key_or_404(request, key_id)
    return _validate(request, key, shown=key)


@organization_view(Permission.MANAGE_KEYS)
@require_POST
def prove(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """Keep the model that a person typed to prove the key with (or the new key that waits beside it), and validate."""
    key = _key_or_404(request, key_id)
    pending = key.replacements.first()
    form = ProofModelForm(request.POST, auto_id=f"prove-{key.pk}-%s", label_suffix="")
    if not form.is_valid():
        return _model_refused(request, key, form)
    try:
        with transaction.atomic(), events_last():
            seen = request.POST.get(FIELD)
            saving.type_proof_model(key=key, model=form.cleaned_data["model"], actor=request.user, seen=seen)
            if pending:
                saving.type_proof_model(key=pending, model=form.cleaned_data["model"], actor=request.user)
    except ChangedMeanwhile as conflict:
        form.add_error("model", str(conflict))
        return _model_refused(request, key, form)
    return _validate(request, pending or key, shown=key)


def _model_refused(request: OrganizationHttpRequest, key: ProviderKey, form: ProofModelForm) -> HttpResponse:
    if request.htmx:
        row = key_row(_key_or_404(request, key.pk), now=clock.now(), proof_form=form)
        return render(request, "providers/_key_status.html", {"row": row}, status=422)
    card = provider_card(request.organization, PROVIDERS[key.provider], now=clock.now(), proof=(key, form))
    return render(request, "providers/page.html", {"card": card}, status=422)


@organization_view(Permission.MANAGE_KEYS)
@require_POST
def own_server(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """Say whether the organization runs the server behind a key itself, so that its tokens cost nothing."""
    key = _key_or_404(request, key_id)
    if PROVIDERS[key.provider].may_be_own_server:
        is_own = request.POST.get("is_own_server") == "on"
        saving.set_own_server(key=key, is_own_server=is_own, actor=request.user)
    return _status_now(request, key)


@organization_view(Permission.MANAGE_KEYS)
@require_POST
@recently_authenticated(back="settings#llm-providers")
def disable(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """Stop every use of a key; its rules stay, and refuse."""
    key = _key_or_404(request, key_id)
    saving.disable_provider_key(key=key, actor=request.user, now=clock.now())
    return _status_now(request, key)


@organization_view(Permission.MANAGE_KEYS)
@require_POST
@recently_authenticated(back="settings#llm-providers")
def enable(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """Let a disabled key be used again, as soon as it is validated."""
    key = saving.enable_provider_key(key=_key_or_404(request, key_id), actor=request.user)
    return _validate(request, key, shown=key)


@organization_view(Permission.MANAGE_KEYS)
@require_POST
def validate_replacement(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """Ask again about the new key that waits beside this one."""
    key = _key_or_404(request, key_id)
    pending = key.replacements.first()
    return _validate(request, pending, shown=key) if pending else _status_now(request, key)


@organization_view(Permission.MANAGE_KEYS)
@require_POST
@recently_authenticated(back="settings#llm-providers")
def discard_replacement(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """Drop the new key that waits beside this one."""
    key = _key_or_404(request, key_id)
    replacement.discard_replacement(key=key, actor=request.user, pending_id=request.POST.get("new_key"))
    return _status_now(request, key)


@organization_view(Permission.VIEW)
@require_GET
def status(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """
    The status region of one key, polled while it is being validated.

    204 as long as nothing is new, so that the page is not swapped under the reader; after a minute the region
    says that the validation still runs and asks no more.
    """
    key = _key_or_404(request, key_id)
    row = key_row(key, now=clock.now(), watched_since=_watched_since(request))
    if row.is_validating and not row.has_given_up:
        return HttpResponse(status=204)
    return _status_region(request, row)


@organization_view(Permission.VIEW)
@require_GET
def models(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """The models that a key can call, as its provider listed them."""
    key = _key_or_404(request, key_id)
    available = list(key.available_models.order_by("model")[: FIRST_MODELS if request.htmx else MOST_SHOWN])
    context: dict[str, Any] = {
        "key": key,
        "provider": PROVIDERS[key.provider],
        "models": [model_line(model) for model in available],
        "more": getattr(key, "model_count", 0) > len(available),
    }
    if not request.htmx:
        context["quirks"] = model_quirks.quirk_lines(key)
    response = render(request, f"providers/models.html{'#list' if request.htmx else ''}", context)
    patch_vary_headers(response, ["HX-Request"])
    return response


@organization_view(Permission.MANAGE_KEYS)
@require_POST
def forget_quirks(request: OrganizationHttpRequest, key_id: UUID) -> HttpResponse:
    """Send every optional field again, as the server may take it by now."""
    key = _key_or_404(request, key_id)
    if model_quirks.forget_quirks(key=key, actor=request.user):
        messages.success(request, "The next calls ask with every field again.")
    return redirect("providers:models", request.organization.slug, key.pk)


@organization_view(Permission.MANAGE_KEYS)
@require_http_methods(["GET", "POST"])
@recently_authenticated(back="settings#llm-providers")
@sensitive_variables()
def rotate_organization_key(request: OrganizationHttpRequest) -> HttpResponse:
    """Seal all keys under a new organization key. The GET page is what the dialog falls back to."""
    if request.method == "GET":
        return render(request, "providers/rotate_organization_key.html")
    try:
        result = rotation.rotate_organization_key(
            organization=request.organization, actor=request.user, once=once_of_form(request)
        )
    except SealBroken:
        messages.error(request, CANNOT_ROTATE)
    else:
        if result.broken:
            messages.warning(request, "Organization key rotated, but some keys do not open: replace those.")
        else:
            messages.success(request, "Organization key rotated.")
    return redirect(f"{reverse('settings', args=[request.organization.slug])}#llm-providers")


def _provider_or_404(slug: str) -> Provider:
    if slug not in PROVIDERS:
        raise Http404
    return PROVIDERS[slug]


def _key_or_404(request: OrganizationHttpRequest, key_id: UUID) -> ProviderKey:
    found = keys_of(request.organization).filter(pk=key_id).first()
    if found is None:
        raise Http404
    return found


def _settings_url(request: OrganizationHttpRequest, key: ProviderKey) -> str:
    return f"{reverse('settings', args=[request.organization.slug])}#provider-{key.provider}"


def _watched_since(request: HttpRequest) -> int:
    return whole_number(request.GET.get("since"), most=LATEST) or 0


def _prepare_to_correct(request: OrganizationHttpRequest, form: KeyForm) -> None:
    """
    Focus what has to be corrected. A key that is not at fault stays in the browser's own field (htmx keeps
    that element), because it cannot be sent back.
    """
    form.focus_first_error()
    if "key" not in form.fields:
        return
    if form.errors and request.htmx and "key" not in form.errors and "key_was_refused" not in request.POST:
        form.fields["key"].widget.attrs["hx-preserve"] = "true"


def _saved(request: OrganizationHttpRequest, key: ProviderKey) -> HttpResponse:
    """The whole card anew, wherever the form stood (on the card or in the dialog of one key)."""
    if not request.htmx:
        return redirect(_settings_url(request, key))
    card = provider_card(request.organization, PROVIDERS[key.provider], now=clock.now(), fresh_key=key)
    response = retarget(_card_response(request, card, status=200), f"#provider-{key.provider}")
    return trigger_client_event(reswap(response, "outerHTML"), KEYS_CHANGED)


def _refused(request: OrganizationHttpRequest, card: ProviderCard) -> HttpResponse:
    if request.htmx:
        return _card_response(request, card, status=422)
    return render(request, "providers/page.html", {"card": card}, status=422)


def _card_response(request: OrganizationHttpRequest, card: ProviderCard, *, status: int) -> HttpResponse:
    return render(request, "providers/page.html#card-response", {"card": card}, status=status)


def _status_now(request: OrganizationHttpRequest, key: ProviderKey) -> HttpResponse:
    """The key's status region after something was done to it."""
    if not request.htmx:
        return redirect(_settings_url(request, key))
    return _status_region(request, key_row(_key_or_404(request, key.pk), now=clock.now()))


def _validate(request: OrganizationHttpRequest, key: ProviderKey, *, shown: ProviderKey) -> HttpResponse:
    """Have `key` validated and show `shown` (itself, or the key it is to replace); else that, and beside it why not."""
    try:
        # From a page that does not show yet that it was disabled, removed or discarded.
        with suppress(validation.KeyDisabled, ProviderKey.DoesNotExist):
            validation.request_validation(key=key, actor=request.user, now=clock.now())
    except validation.TooManyValidations as refusal:
        now, why = clock.now(), str(refusal)
        if request.htmx:
            row = key_row(_key_or_404(request, shown.pk), now=now, refusal=why)
            return render(request, "providers/_key_status.html", {"row": row}, status=429)
        card = provider_card(request.organization, PROVIDERS[shown.provider], now=now, refusal=(shown, why))
        return render(request, "providers/page.html", {"card": card}, status=429)
    return _status_now(request, shown)


def _status_region(request: OrganizationHttpRequest, row: KeyRow) -> HttpResponse:
    response = render(request, "providers/_key_status.html", {"row": row})
    return response if row.is_validating else trigger_client_event(response, KEYS_CHANGED)
