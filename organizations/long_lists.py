"""
Lists of the staff admin, whatever their tables grow to.

A list that shows the newest first is one of the newest MOST rows: of the table, or of the organization and the time
that filters choose. Within them everything is counted, filtered, searched and paged, so that no page reads more than
that. An id is found wherever it stands (`found_by`). What a list leaves out it says.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, cast

from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import FieldDoesNotExist
from django.core.paginator import Page, Paginator
from django.db import connection, transaction
from django.db.models import DateField, DateTimeField, Q, QuerySet, Subquery, UUIDField
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThanOrEqual
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RangeDateFilter, RangeDateTimeFilter
from unfold.decorators import display
from unfold.views import ChangeList

from organizations.models import Organization
from organizations.shown_lookups import ShownLookups

MOST, MOST_FOUND = 10_000, 1_000
_INDENTATION = re.compile(rb"\s*\n\s*")

OF_TIMES = (RangeDateFilter, RangeDateTimeFilter)
BY_ORGANIZATION = ("organization", AutocompleteSelectFilter)


class Pages(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Finds the ids of a page first: what stands beside its rows is read for them alone."""

    object_list: QuerySet[Any]
    template_name = "organizations/admin_pages.html"

    @cached_property
    def count(self) -> int:
        counted: int | None = getattr(self.object_list, "counted", None)
        return self.object_list.count() if counted is None else counted

    def page(self, number: int | str) -> Page[Any]:
        page = super().page(number)
        ids = cast("QuerySet[Any]", page.object_list).values_list("pk", flat=True)
        page.object_list = self.object_list.filter(pk__in=list(ids))
        return page


class NewestFirst(ChangeList):
    query: str
    model_admin: Any  # a LongList
    result_list: Any
    has_found_more = False

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.request = request
        super().__init__(request, *args, **kwargs)

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        typed, self.query = self.query, "" if self.named_by_id else self.query
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        self.query = typed
        if self.named_by_id:
            return rows.filter(self.named_by_id)
        if self.oldest is not None:
            pk, value = self.oldest
            rows = self._from(rows, pk, value)
        if self.query:  # looked through once, and no further than to what anybody reads
            found = list(rows.values_list("pk", flat=True)[: MOST_FOUND + 1])
            self.has_found_more = len(found) > MOST_FOUND
            rows = rows.filter(pk__in=found[:MOST_FOUND])
            rows.counted = min(len(found), MOST_FOUND)  # type: ignore[attr-defined]  # for Pages
        elif self.oldest is not None and not self.is_filtered:
            rows.counted = MOST  # type: ignore[attr-defined]
        return rows

    def _from(self, rows: QuerySet[Any], pk: Any, value: Any) -> QuerySet[Any]:
        """Those of `rows` that are as new as the row with this id and `value`, or newer."""
        if connection.vendor == "sqlite":  # as it stands there: its own moments have three decimals, Django's six
            value = Subquery(self.model._base_manager.filter(pk=pk).values(self.newest_by))
            rows = rows.filter(**{f"{self.newest_by}__gte": value})
            return rows.exclude(**{self.newest_by: value, "pk__lt": pk})
        rows = rows.filter(**{f"{self.newest_by}__gte": value})
        if self.newest_by == "pk":
            return rows
        # One comparison for an index: a day may have a hundred thousand.
        return rows.filter(TupleGreaterThanOrEqual(Tuple(self.newest_by, "pk"), (value, pk)))

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not (self.has_active_filters or self.query):
            self.full_result_count = self.result_count  # nothing is left out that a link could show

    @cached_property
    def named_by_id(self) -> Q | None:
        """The condition of the rows that have an id as it was typed; None if there is none."""
        condition = Q()
        for name in self.model_admin.found_by:
            if (value := _value(self.model, name, self.query.strip())) is not None:
                condition |= Q(**{name: value})
        if not condition:
            return None
        if any(field.name == "organization" for field in self.lookup_opts.fields):
            # Their indexes begin with the organization.
            condition &= Q(organization__in=Organization.objects.all())
        return condition if self.root_queryset.filter(condition).exists() else None

    @cached_property
    def newest_by(self) -> str:
        """The column by which the list shows the newest first; empty if it is ordered otherwise."""
        return _newest_by(self.model_admin, self.request)

    @cached_property
    def narrowing(self) -> list[Any]:
        """
        The filters that choose an organization, or a time by which the list is ordered: the newest rows are taken of
        what these leave. Another time has no index, and is looked for among the newest.
        """
        return [
            each
            for each in self.filter_specs
            if isinstance(each, AutocompleteSelectFilter)
            or (isinstance(each, OF_TIMES) and each.field_path == self.newest_by)
        ]

    @cached_property
    def narrowed_by(self) -> list[Any]:
        return [each for each in self.narrowing if any(each.used_parameters.values())]

    @cached_property
    def is_filtered(self) -> bool:
        """By anything else, that is."""
        names = {name for each in self.narrowing for name in each.expected_parameters()}
        return not self.get_filters_params().keys() <= names

    @cached_property
    def oldest(self) -> tuple[Any, Any] | None:
        """Where the newest rows end: a row's id, and what it is ordered by. None if these are all."""
        if not self.newest_by:
            return None
        rows = self.root_queryset
        for each in self.narrowed_by:
            narrowed = each.queryset(self.request, rows)
            rows = rows if narrowed is None else narrowed
        ordered = rows.order_by(f"-{self.newest_by}", "-pk").values_list("pk", self.newest_by)[MOST - 1 : MOST + 1]
        with nullcontext() if self.newest_by == "pk" and self.narrowed_by else _without_sorting():
            last, *more = list(ordered) or [None]
        return last if more else None

    @property
    def how_many(self) -> str:
        name = self.opts.verbose_name if self.result_count == 1 else self.opts.verbose_name_plural
        if self.has_found_more:
            return f"The first {MOST_FOUND:,} {name} of more that were found. Add a word to find fewer."
        if self.named_by_id or self.oldest is None:
            return f"{self.result_count:,} {name}"
        narrower = " or ".join(str(each.title) for each in self.narrowing)
        older = f" For older ones filter by {narrower}." if narrower else ""
        if self.is_filtered or self.query:
            return f"{self.result_count:,} of the newest {MOST:,} {name}.{older}"
        of = f"more than {MOST:,}" if self.narrowed_by else _about(self.lookup_opts.db_table)
        return f"The newest {MOST:,} of {of} {name}.{older}"


class LongList(ShownLookups):
    """For every ModelAdmin."""

    found_by: tuple[str, ...] = ()  # fields of the rows themselves that name few: ids, addresses, digests
    paginator = Pages
    list_filter_submit = True
    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NewestFirst

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """By organization and by time wherever rows have them, and by what else a list names."""
        named = list(super().get_list_filter(request))  # type: ignore[misc]
        own: list[Any] = []
        if any(field.name == "organization" for field in self.model._meta.fields):  # type: ignore[attr-defined]
            own.append(BY_ORGANIZATION)
        if time := _time_of(self, request):
            own.append((time.name, RangeDateTimeFilter if isinstance(time, DateTimeField) else RangeDateFilter))
        return [*own, *named]

    @property
    def search_help_text(self) -> str:
        """What a search looks at."""
        admin: Any = self
        names = dict.fromkeys(_words(admin.model, path) for path in (*admin.search_fields, *self.found_by))
        return ", ".join(names).capitalize()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response: HttpResponse = super().changelist_view(request, extra_context)  # type: ignore[misc]
        if isinstance(response, TemplateResponse):
            response.add_post_render_callback(_without_indentation)
        return response

    @display(description="")
    def action_checkbox(self, row: Any) -> SafeString:
        return format_html(
            '<input type="checkbox" name="_selected_action" value="{}" class="action-select" '
            'aria-label="Select record">',
            row.pk,
        )


def _without_indentation(response: HttpResponse) -> None:
    """Half of what Unfold's templates write around the rows."""
    response.content = _INDENTATION.sub(b"\n", response.content)


@contextmanager
def _without_sorting() -> Iterator[None]:
    """
    PostgreSQL reckons that its wall (organizations/tenancy.py) leaves a hundredth of the rows: where the newest end
    would lie beyond, so it would sort all there are. The index has them in order.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_sort = off")
        yield
        cursor.execute("SET LOCAL enable_sort = on")


def _newest_by(admin: Any, request: HttpRequest) -> str:
    first = str(next(iter(admin.get_ordering(request)), "-pk"))
    return first[1:] if first.startswith("-") and "__" not in first else ""


def _time_of(admin: Any, request: HttpRequest) -> DateField[Any, Any] | None:
    """What a list is filtered by: the time it is ordered by, or when rows were made, or the first that it shows."""
    shown = admin.get_list_display(request)
    times = {field.name: field for field in admin.model._meta.fields if isinstance(field, DateField)}
    names = (_newest_by(admin, request), *(("created_at",) if "created_at" in shown else ()), *shown)
    return next((times[name] for name in names if name in times), None)


def _value(model: Any, name: str, typed: str) -> Any:
    field = model._meta.get_field(name)
    if not isinstance(field.target_field if field.is_relation else field, UUIDField):
        return typed or None
    try:
        return uuid.UUID(typed)
    except ValueError:
        return None


def _words(model: Any, path: str) -> str:
    try:
        *relations, field = get_fields_from_path(model, path)
    except FieldDoesNotExist:
        return path
    if relations and relations[-1].name == "organization":
        return "organization"
    return " ".join(str(each.verbose_name) for each in (*relations[-1:], field))


def _about(table: str) -> str:
    """How many rows PostgreSQL reckons a table has; it counts them now and then."""
    reckoned = 0
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [table])
            (reckoned,) = cursor.fetchone()
    return f"about {round(reckoned, -4):,}" if reckoned > MOST else f"more than {MOST:,}"
