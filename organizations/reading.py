"""Reading numbers that come in an address, in a form or from a hidden field; one spelling of a number, everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

LARGEST_ID = 2**63 - 1
MOST_PAGES = 10**9


def whole_number(text: str | None, *, most: int = LARGEST_ID) -> int | None:
    """
    The number from 0 to `most` that `text` spells in the digits 0 to 9, with nothing beside them; else None.

    For what pages put there themselves: ids, counts, page numbers. What a person types is read by `typed_number`.
    Python's int() takes other digits, signs, spaces and underscores as well, and raises for very long texts.
    """
    if not text or not text.isascii() or not text.isdigit() or len(text) > len(str(most)):
        return None
    number = int(text)
    return number if number <= most else None


def page_of(request: HttpRequest, rows: QuerySet[Any] | Sequence[Any], *, size: int) -> Page[Any]:
    """The page of `rows` that `?page=` names: the first for nonsense, the last where there are not so many."""
    return Paginator(rows, size).get_page(whole_number(request.GET.get("page"), most=MOST_PAGES))
