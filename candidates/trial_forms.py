from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast
from uuid import UUID

from django import forms
from django.http import QueryDict

from candidates.models import CandidateCheck
from candidates.trials import MOST_CHECKS
from providers.adapters.key_shapes import model_holds_key
from providers.forms import ModelIdField, OpenText
from providers.models import ProviderKey
from routing.forms import grouped_keys
from usage.columns import CalledBy

PRESELECTED = 5


class TrialForm(OpenText, forms.Form):
    """Which checks, and of which model they are asked once more."""

    open_fields: ClassVar = {"model": model_holds_key}

    key = forms.ChoiceField(error_messages={"invalid_choice": "Choose a connected key.", "required": "Choose a key."})
    model = ModelIdField(
        max_length=CalledBy._meta.get_field("model").max_length,
        help_text="One that the chosen key can call.",
        error_messages={"required": "Choose a model."},
    )
    checks = forms.TypedMultipleChoiceField(
        coerce=UUID,
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "required": "Choose at least one check.",
            "invalid_choice": "One of these checks was checked again meanwhile. Choose anew.",
        },
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        keys: Sequence[ProviderKey],
        checks: Sequence[CandidateCheck],
        kept: QueryDict | None = None,
    ) -> None:
        chosen = [str(check.pk) for check in checks[:PRESELECTED]]
        super().__init__(
            data,
            initial={**kept.dict(), "checks": kept.getlist("checks")} if kept else {"checks": chosen},
            auto_id="trial-%s",
            label_suffix="",
        )
        self.keys = {str(key.pk): key for key in keys}
        self.finished = {check.pk: check for check in checks}
        cast(forms.ChoiceField, self.fields["key"]).choices = [("", "Choose a key"), *grouped_keys(keys)]
        cast(forms.ChoiceField, self.fields["checks"]).choices = [(str(check.pk), str(check)) for check in checks]
        self.fields["model"].widget.attrs["list"] = "trial-models"

    @property
    def chosen_key(self) -> ProviderKey | None:
        return self.keys.get(str(self["key"].value()))

    @property
    def chosen(self) -> list[CandidateCheck]:
        return [self.finished[pk] for pk in self.cleaned_data["checks"]]

    @property
    def ticked(self) -> set[str]:
        return {str(pk) for pk in self["checks"].value() or ()}

    def clean_checks(self) -> list[UUID]:
        chosen: list[UUID] = self.cleaned_data["checks"]
        if len(chosen) > MOST_CHECKS:
            raise forms.ValidationError(f"Choose {MOST_CHECKS} checks at most.")
        return chosen
