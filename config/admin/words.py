"""
The staff admin in the words of the product, on every list and page of it at once.

Django heads a column by its name and shows what is stored there. Here both are said as on the pages of organizations:
USD for nano-USD, names for the slugs of providers, actions and agents, sentences for JSON. Times: config/formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib.admin import helpers
from django.core.exceptions import FieldDoesNotExist
from django.db.models import DateTimeField, JSONField, Model
from django.utils.formats import localize
from django.utils.text import capfirst
from unfold import fields
from unfold.templatetags import unfold_list

from organizations.models import AuditEvent
from routing.actions import agent_names
from usage import amounts
from usage.models import Mode
from usage.names import NONE, action_name, provider_name

HEADINGS = {
    "actor": "Who",
    "actor_label": "Who",
    "amount": "Credits",
    "are_tokens_estimated": "Tokens estimated",
    "captured": "Charged",
    "check_row": "Check",
    "cost_nanousd": "USD",
    "created_seq": "Of entry no.",
    "d_held": "Held change",
    "d_posted": "Change",
    "email": "E-mail",
    "first_byte_ms": "First byte, ms",
    "func": "What runs",
    "held_after": "Held after",
    "http_status": "HTTP status",
    "latency_ms": "Latency, ms",
    "lock": "Due, or kept by a worker until",
    "occurred_at": "Time",
    "posted": "Balance",
    "posted_after": "Balance after",
    "prev_hash": "Hash before",
    "price": "Credits quoted",
    "recency_window_days": "Recency window",
    "seq": "No.",
    "target": "Of what",
}


def speak() -> None:
    """Both of Unfold's modules that show rows, and Django's that labels them, look these up by name."""
    unfold_list.label_for_field = _labelled(unfold_list.label_for_field)
    helpers.label_for_field = unfold_list.label_for_field  # type: ignore[attr-defined]  # Django imports it there
    unfold_list.lookup_field = _worded(unfold_list.lookup_field)
    fields.lookup_field = _printed(unfold_list.lookup_field)
    unfold_list.result_list = _named(unfold_list.result_list)


def heading(name: str, label: str, *, is_moment: bool = False) -> str:
    if name in HEADINGS:
        return HEADINGS[name]
    words = label.replace("nanousd", "USD").removeprefix("is ")
    return capfirst(words.removesuffix(" at") if is_moment else words)


def _labelled(label_for_field: Callable[..., Any]) -> Callable[..., Any]:
    def label(name: Any, model: type[Model], *args: Any, **kwargs: Any) -> Any:
        found = label_for_field(name, model, *args, **kwargs)
        text, attribute = found if isinstance(found, tuple) else (found, None)
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            return found
        text = heading(name, str(text), is_moment=isinstance(field, DateTimeField))
        return (text, attribute) if isinstance(found, tuple) else text

    return label


def _worded(lookup_field: Callable[..., Any]) -> Callable[..., Any]:
    def look_up(name: Any, row: Any, model_admin: Any = None) -> tuple[Any, Any, Any]:
        field, attribute, value = lookup_field(name, row, model_admin)
        if field is None:  # of a method
            return field, attribute, value
        if name == "cost_nanousd" and hasattr(model_admin, "usd"):  # which knows why a cost is not there
            return None, None, model_admin.usd(row)
        words = _words(row, field, value)
        return (field, attribute, value) if words is None else (None, None, words)

    return look_up


def _printed(lookup_field: Callable[..., Any]) -> Callable[..., Any]:
    """Of a method, which a page shows as Python writes it; a list prints it as it does a field."""

    def look_up(name: Any, row: Any, model_admin: Any = None) -> tuple[Any, Any, Any]:
        field, attribute, value = lookup_field(name, row, model_admin)
        if field is None and value is None:
            value = getattr(attribute, "empty_value_display", model_admin.get_empty_value_display())
        elif field is None and not isinstance(value, bool):
            value = localize(value)
        return field, attribute, value

    return look_up


def _words(row: Any, field: Any, value: Any) -> str | None:
    """None where Django says it well."""
    if value is None or value == "" or field.is_relation or field.choices:
        return None
    if isinstance(row, AuditEvent) and field.name == "action":
        return row.title
    if isinstance(field, JSONField):
        parts = [value] if not isinstance(value, dict | list) else value
        if isinstance(parts, dict):
            return "\n".join(
                f"{heading(name, _spaced(name))}: {_told(name, each, row)}" for name, each in parts.items()
            )
        return "\n".join(_told(field.name, each, row) for each in parts)
    return _of(field.name, value, row)


def _of(name: str, value: Any, row: Any) -> str | None:
    if name == "action" and isinstance(value, str):
        return action_name(value, _agents_of(row))
    if name in ("provider", "managed_provider") and isinstance(value, str):
        return provider_name(value)
    if name == "mode" and value in Mode.values:
        return str(Mode(value).label)
    if "nanousd" in name and isinstance(value, int):
        return amounts.dollars(value, places=4)
    return None


def _told(name: str, value: Any, row: Any) -> str:
    """Within JSON."""
    if isinstance(value, dict):
        return ", ".join(
            f"{_spaced(each).replace('nanousd', 'USD')} {_told(each, of, row)}" for each, of in value.items()
        )
    if isinstance(value, list):
        return ", ".join(_told(name, each, row) for each in value)
    if value is None or isinstance(value, bool):
        return "–" if value is None else ("yes" if value else "no")
    return _of(name, value, row) or str(localize(value))


def _spaced(name: str) -> str:
    return name.replace("_", " ")


# Agents -------------------------------------------------------------------------------------------------


def _named(result_list: Callable[..., Any]) -> Callable[..., Any]:
    """Before a list is shown, the agents of its rows are looked up at once."""

    def named(context: Any, changelist: Any) -> Any:
        _name_agents(changelist.result_list)
        return result_list(context, changelist)

    return named


def _agents_of(row: Any) -> Any:
    if not hasattr(row, "agents_by_slug"):
        _name_agents([row])
    return row.agents_by_slug


def _name_agents(rows: Iterable[Any]) -> None:
    theirs = [row for row in rows if hasattr(row, "action") and not isinstance(row, AuditEvent)]
    theirs = [row for row in theirs if getattr(row, "organization_id", None)]
    names = agent_names({row.organization_id for row in theirs}, {row.action for row in theirs}) if theirs else {}
    for row in rows:
        row.agents_by_slug = names.get(getattr(row, "organization_id", 0), NONE)
