from __future__ import annotations

from typing import Any

from django import forms

from candidates.models import Candidate
from candidates.profiles.files import MAX_FILE_BYTES, FileUnreadable, parse_file
from candidates.profiles.links import normalize_link

NOTHING_GIVEN = "Choose a file, or paste profiles into the box."
BOTH_GIVEN = "Import either the file or the pasted profiles: empty the box, or choose no file."
NO_PROFILE = "There is no profile in it. Give JSON Resume documents: one object, a list, or one object a line."


class ImportForm(forms.Form):
    """A file or pasted text; `cleaned_data["rows"]` then holds its profiles and the errors among them."""

    file = forms.FileField(
        required=False,
        allow_empty_file=True,
        label="File",
        help_text="JSON Resume or an export of Reactive Resume, as .json (one or a list) or .jsonl (one a line), "
        f"up to {MAX_FILE_BYTES // 1024**2} MB.",
        widget=forms.FileInput(attrs={"accept": ".json,.jsonl,.ndjson,application/json"}),
    )
    text = forms.CharField(
        required=False,
        strip=False,
        label="Or paste profiles",
        help_text="The same formats. Larger amounts go by file.",
        widget=forms.Textarea(
            attrs={"rows": 8, "spellcheck": "false", "placeholder": '{"basics": {"name": "…", "label": "…"}}'}
        ),
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        file, text = cleaned.get("file"), cleaned.get("text") or ""
        if self.errors:
            return cleaned
        if not file and not text.strip():
            raise forms.ValidationError(NOTHING_GIVEN)
        if file and text.strip():
            raise forms.ValidationError(BOTH_GIVEN)
        try:
            # One byte over the limit is enough to be refused as too large.
            rows = parse_file(file.read(MAX_FILE_BYTES + 1) if file else text.encode())
        except FileUnreadable as error:
            self.add_error("file" if file else "text", str(error) if file else _pasted(str(error)))
            return cleaned
        if not rows:
            self.add_error("file" if file else "text", NO_PROFILE)
        cleaned["rows"] = rows
        return cleaned


def _pasted(sentence: str) -> str:
    """A sentence about a file, said of what was pasted."""
    return sentence.replace("The file ", "It ", 1)


class CandidateAdminForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's class takes no argument
    """Staff correct what identifies a person, in the spelling by which imports match."""

    class Meta:
        model = Candidate
        fields = ("name", "headline", "link", "email", "external_id")

    def clean_link(self) -> str:
        given: str = self.cleaned_data["link"]
        link = normalize_link(given)
        if given and not link:
            raise forms.ValidationError("Give the address of a LinkedIn, GitHub or GitLab profile, or none.")
        return link

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        return email.strip().lower()
