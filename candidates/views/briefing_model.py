"""The page where a briefing gets a key and model of its own, or goes back to how its action is routed."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from candidates.briefing_forms import BriefingModelForm
from candidates.briefing_models import choose_model, model_parts
from candidates.models import Briefing
from organizations.edits import ChangedMeanwhile, stamp
from organizations.permissions import OrganizationHttpRequest, Permission, organization_view, recently_authenticated
from providers.keys.destinations import is_private
from providers.models import ProviderKey
from routing.forms import may_stand_in_address
from routing.key_models import selectable_keys
from routing.services import RuleRefused
from routing.table import listed_models, suggestion_lists


def _chooses_private_key(request: OrganizationHttpRequest, briefing_id: int) -> bool:
    """Whether profiles would go into a private network from now on."""
    key = _form(request, _briefing(request, briefing_id), posted=request.POST).chosen_key
    return key is not None and is_private(key)


def _choice(request: OrganizationHttpRequest) -> dict[str, str]:
    posted = {name: request.POST.get(name, "") for name in ("key", "model")}
    return {name: typed for name, typed in posted.items() if may_stand_in_address(typed)}


@organization_view(Permission.MANAGE_ROUTING)
@require_http_methods(["GET", "POST"])
@recently_authenticated(
    back="candidates:briefing-model", when=_chooses_private_key, keep=_choice, back_to_the_same=True
)
def briefing_model(request: OrganizationHttpRequest, briefing_id: int) -> HttpResponse:
    """GET with a key shows what that one can call."""
    briefing = _briefing(request, briefing_id)
    form = _form(request, briefing, posted=request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            is_news = choose_model(
                briefing=briefing,
                key=form.chosen_key,
                model=form.cleaned_data["model"] if form.chosen_key else "",
                actor=request.user,
                seen=form.cleaned_data["seen"],
            )
        except RuleRefused as refusal:
            form.add_error("model", str(refusal))
        except ProviderKey.DoesNotExist:
            form.add_error("key", "This key was removed meanwhile. Choose another one.")
        except ChangedMeanwhile as conflict:
            form.add_error("key", str(conflict))
            form.forget("seen", stamp(model_parts(_briefing(request, briefing_id))))
        else:
            said = "Saved: checks are served so from now on." if is_news else "There was nothing to save."
            messages.success(request, said)
            return redirect("candidates:briefing", request.organization.slug, briefing.pk)
    key = form.chosen_key
    lists = suggestion_lists(request.organization, keys=[key], chosen=[briefing.model]) if key else []
    context = {"briefing": briefing, "form": form, "lists": lists}
    status = 422 if request.method == "POST" else 200
    return render(request, "candidates/briefing_model.html", context, status=status)


def _briefing(request: OrganizationHttpRequest, briefing_id: int) -> Briefing:
    found = Briefing.objects.for_organization(request.organization).select_related("organization", "key")
    return get_object_or_404(found, pk=briefing_id)


def _form(request: OrganizationHttpRequest, briefing: Briefing, *, posted: QueryDict | None) -> BriefingModelForm:
    keys = selectable_keys(request.organization)
    if briefing.key and briefing.key not in keys:
        keys.append(briefing.key)
    if posted is not None:
        return BriefingModelForm(posted, briefing=briefing, keys=keys)
    if "key" not in request.GET:
        return BriefingModelForm(briefing=briefing, keys=keys)
    asked = {"key": request.GET["key"], "model": request.GET.get("model", "")}
    form = BriefingModelForm(briefing=briefing, keys=keys, unsaved=asked)
    listed = listed_models(form.chosen_key)
    if form.chosen_key is None or (listed and asked["model"] not in listed):
        form.initial["model"] = ""
    return form
