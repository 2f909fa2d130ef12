"""The form of a managed key in the staff admin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django import forms
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from organizations.models import Organization
from providers.catalog import PROVIDERS, Provider
from providers.forms import AddKeyForm
from providers.models import ProviderKey


class ManagedKeyForm(AddKeyForm):
    """A managed key, pasted by staff; `replaced` fixes provider and label."""

    slug = forms.ChoiceField(label="Provider", widget=UnfoldAdminSelectWidget)

    field_order = ["slug", "label", "key", "anyway"]

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        replaced: ProviderKey | None = None,
        organization: Organization | None = None,
    ) -> None:
        slug = replaced.provider if replaced else str((data or {}).get("slug", ""))
        offered = {each.slug: each for each in PROVIDERS.values() if not each.takes_base_url}
        provider = PROVIDERS[slug] if replaced else offered.get(slug) or next(iter(offered.values()))
        super().__init__(data, provider=provider, auto_id="managed-%s", organization=organization)
        if replaced:
            del self.fields["slug"], self.fields["label"]
        else:
            choices = [(each.slug, each.name) for each in offered.values()]
            cast(forms.ChoiceField, self.fields["slug"]).choices = choices
            self.fields["label"].widget = UnfoldAdminTextInputWidget()
        pasted = self.fields["key"].widget.attrs
        self.fields["key"].widget = UnfoldAdminPasswordWidget({**pasted, "class": ""})
        self.fields["anyway"].widget = UnfoldBooleanWidget()

    def complaint_about_lookalike(self, other: Provider) -> str:
        return f"This looks like a key from {other.name}. If it is one, choose {other.name} as its provider."
