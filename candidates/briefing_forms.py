from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from django import forms
from django.http import QueryDict

from candidates.briefing_models import model_parts
from candidates.briefings import MAX_JOB_DESCRIPTION_CHARACTERS
from candidates.models import Briefing, Requirement
from candidates.prompts.draft import MAX_REQUIREMENT_CHARACTERS, MAX_WEIGHT
from candidates.requirement_conflicts import Together
from candidates.requirements import MAX_REQUIREMENTS, RequirementInput
from organizations.edits import stamp
from organizations.names import NameFormField
from organizations.typed_numbers import WholeNumberField
from providers.adapters.key_shapes import model_holds_key
from providers.forms import ModelIdField, OpenText
from providers.models import ProviderKey
from routing.forms import grouped_keys

EMPTY_ROWS = 4


class DraftForm(forms.Form):
    """What a briefing is drafted from."""

    job_description = forms.CharField(
        label="Job description",
        max_length=MAX_JOB_DESCRIPTION_CHARACTERS,
        help_text="A model proposes must-have and nice-to-have requirements from it, which you then edit.",
        error_messages={"required": "Paste the job description that the requirements are to be drafted from."},
        widget=forms.Textarea(attrs={"rows": 12}),
    )
    title = NameFormField(
        label="Title",
        max_length=200,
        required=False,
        help_text="Left empty, the job description names it.",
    )


class TitleForm(forms.Form):
    title = NameFormField(label="Title", max_length=200, error_messages={"required": "Give the briefing a title."})


class BriefingModelForm(OpenText, forms.Form):
    """Key and model of a briefing's own; no key: as the action is routed."""

    open_fields: ClassVar = {"model": model_holds_key}

    key = forms.ChoiceField(required=False, error_messages={"invalid_choice": "Choose a connected key."})
    model = ModelIdField(
        required=False,
        max_length=Briefing._meta.get_field("model").max_length,
        help_text="One that the chosen key can call.",
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        briefing: Briefing,
        keys: Sequence[ProviderKey],
        unsaved: Mapping[str, str] | None = None,
    ) -> None:
        stored = model_parts(briefing)
        super().__init__(
            data, initial={**stored, "seen": stamp(stored), **(unsaved or {})}, auto_id="briefing-%s", label_suffix=""
        )
        self.stored_model, self.keys = briefing.model, {str(key.pk): key for key in keys}
        cast(forms.ChoiceField, self.fields["key"]).choices = [("", "As the action is routed"), *grouped_keys(keys)]
        self.fields["model"].widget.attrs["list"] = f"models-of-{self['key'].value()}"

    @property
    def chosen_key(self) -> ProviderKey | None:
        return self.keys.get(str(self["key"].value()))

    def clean(self) -> dict[str, Any]:
        key, model = self.cleaned_data.get("key"), self.cleaned_data.get("model")
        if key and model == "":
            self.add_error("model", "Choose a model.")
        elif key == "" and model not in ("", None, self.stored_model):
            self.add_error("key", "Choose the key that calls this model, or empty the model.")
        return self.cleaned_data


class RequirementForm(forms.Form):
    id = WholeNumberField(required=False, widget=forms.HiddenInput)
    text = forms.CharField(
        label="Requirement",
        max_length=MAX_REQUIREMENT_CHARACTERS,
        required=False,
        widget=forms.Textarea(attrs={"rows": 1, "class": "input"}),
    )
    kind = forms.ChoiceField(
        label="Kind",
        choices=Requirement.Kind.choices,
        initial=Requirement.Kind.NICE,
        widget=forms.Select(attrs={"class": "input auto"}),
    )
    weight = WholeNumberField(
        label="Weight",
        min_value=1,
        max_value=MAX_WEIGHT,
        initial=1,
        widget=forms.TextInput(attrs={"class": "input auto", "size": 4}),
        error_messages={
            "required": "Give a weight.",
            "invalid": "A weight is a whole number.",
            "min_value": f"A weight is 1 to {MAX_WEIGHT}.",
            "max_value": f"A weight is 1 to {MAX_WEIGHT}.",
        },
    )
    remove = forms.BooleanField(label="Remove", required=False)

    meanwhile = ""  # what to say of it beside the row

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        is_emptied = cleaned.get("id") and "text" in cleaned and not cleaned["text"] and not cleaned.get("remove")
        if is_emptied and not self.fields["text"].disabled:
            self.add_error("text", "Write the requirement, or tick Remove.")
        return cleaned


_RequirementFormSet = forms.formset_factory(
    RequirementForm,
    extra=0,
    max_num=MAX_REQUIREMENTS + EMPTY_ROWS,
    absolute_max=MAX_REQUIREMENTS + EMPTY_ROWS,
)


def requirement_rows(
    requirements: Sequence[Requirement],
    *,
    locked: bool,
    data: QueryDict | None = None,
    shown: Together | None = None,
) -> forms.BaseFormSet[RequirementForm]:
    """
    One row for each requirement, or for those that are to be `shown` with their notes, and empty ones to add more.
    Locked texts are shown and never read from `data`.
    """
    existing: list[dict[str, Any]] = (
        shown.rows
        if shown
        else [{"id": each.pk, "text": each.text, "kind": each.kind, "weight": each.weight} for each in requirements]
    )
    texts = {str(each.pk): each.text for each in requirements}
    empty = 0 if locked else min(EMPTY_ROWS, MAX_REQUIREMENTS - len(existing))
    rows = _RequirementFormSet(
        data,
        initial=existing + [{"kind": "must" if not existing else "nice", "weight": 1}] * empty,
        prefix="requirements",
    )
    if locked:
        for row in rows.forms:
            row.fields["text"].disabled = True
            del row.fields["remove"]
            if data is not None:  # whatever is posted stands beside the words of its own requirement
                row.initial = {**row.initial, "text": texts.get(str(row["id"].value()), "")}
    for row, note in zip(rows.forms, shown.notes if shown else (), strict=False):
        row.meanwhile = note
    return rows


def wanted_requirements(rows: forms.BaseFormSet[RequirementForm]) -> list[RequirementInput]:
    """What valid rows ask for; rows that are empty or to be removed are left out."""
    return [
        RequirementInput(row["text"], row["kind"], row["weight"], row.get("id"))
        for row in rows.cleaned_data
        if row.get("text") and not row.get("remove")
    ]
