from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from organizations.models import Membership, Organization


class AddMemberForm(forms.Form):
    email = forms.EmailField(label="E-mail", widget=forms.EmailInput(attrs={"autocomplete": "off"}))
    role = forms.ChoiceField(choices=Membership.Role.choices, initial=Membership.Role.MEMBER)

    def __init__(self, *args: Any, roles: Sequence[Membership.Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = [(role.value, role.label) for role in roles]  # type: ignore[attr-defined]


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Membership.Role.choices)


class RecencyWindowForm(forms.Form):
    days = forms.TypedChoiceField(
        label="Recency window",
        coerce=int,
        choices=Organization.RecencyWindow.choices,
        widget=forms.RadioSelect,
        error_messages={"invalid_choice": "Choose 30, 60 or 90 days."},
    )
