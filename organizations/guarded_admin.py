"""Changes by staff: a form left open overwrites nothing in silence, and what is added twice at once is refused."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.db import IntegrityError
from django.db.models import Model
from django.forms.models import BaseModelForm
from django.http import HttpRequest, HttpResponse

from organizations.edits import FIELD, ChangedMeanwhile, Seen, stamp
from organizations.long_lists import LongList
from organizations.models import User


class SeenForm(BaseModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A form of a model that compares what it showed with what it finds."""

    reader: ClassVar[User | None] = None
    seen = ""  # for the hidden field

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._parts = {name: self._stored(name) for name, field in self.fields.items() if not field.disabled}
        self._posted = self.data.get(FIELD) if self.is_bound else None
        self.seen = stamp(self._parts) if self._posted is None else self._posted

    def _stored(self, name: str) -> object:
        value = self.get_initial_for_field(self.fields[name], name)
        return sorted(each.pk for each in value) if isinstance(value, list) else str(value)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        changed = Seen(self._posted).changed(self._parts) if self._posted is not None else []
        if changed and self.has_changed():
            self.seen = stamp(self._parts)
            self.add_error(None, forms.ValidationError(str(self._conflict(changed))))
        return cleaned

    def _conflict(self, changed: list[str]) -> ChangedMeanwhile:
        labels = {name: str(self.fields[name].label or name) for name in changed if name in self.fields}
        what = ", ".join(
            label if isinstance(self._parts[name], list) else f"{label} to “{self._shown(name)}”"
            for name, label in labels.items()
        )
        entries = LogEntry.objects.select_related("user").filter(
            content_type=get_content_type_for_model(self.instance), object_id=str(self.instance.pk), action_flag=CHANGE
        )
        last = entries.order_by("-action_time").first()
        by = last if last and any(label in last.change_message for label in labels.values()) else None
        return ChangedMeanwhile(
            what or "this",
            by=by.user if by else None,
            at=by.action_time if by else None,
            reader=self.reader,
            what_to_do="What you typed is still here: correct it, or save again to overrule.",
        )

    def _shown(self, name: str) -> str:
        choices = dict(getattr(self.fields[name], "choices", ()))
        return str(choices.get(self._parts[name], self._parts[name]))


class GuardedAdmin(LongList):
    """For every ModelAdmin whose rows staff add or change."""

    change_form_before_template = "organizations/admin_seen.html"
    raced: tuple[type[Exception], ...] = (IntegrityError,)  # what saving raises when the same was added meanwhile

    def get_form(self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)  # type: ignore[misc]  # of the ModelAdmin beside
        return type(form.__name__, (SeenForm, form), {"reader": request.user}) if change else form

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = super().get_object(request, object_id, from_field)  # type: ignore[misc]
        if request.method != "POST" or found is None:
            return found
        self.lock(found)
        return super().get_object(request, object_id, from_field)  # type: ignore[misc]

    def lock(self, row: Any) -> None:
        """Lock what is going to be changed, in the transaction that changes it (docs/locking.md)."""
        type(row)._default_manager.select_for_update(no_key=True).filter(pk=row.pk).first()

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response: HttpResponse = super().changeform_view(request, *args, **kwargs)  # type: ignore[misc]
        except self.raced:
            response = super().changeform_view(request, *args, **kwargs)  # type: ignore[misc]  # now its form knows
        return response
