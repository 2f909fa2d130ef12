"""Reading numbers that come in an address, in a form or from a hidden field; one spelling of a number, everywhere."""

from __future__ import annotations

LARGEST_ID = 2**63 - 1


def whole_number(text: str | None, *, most: int = LARGEST_ID) -> int | None:
    """
    The number from 0 to `most` that `text` spells in the digits 0 to 9, with nothing beside them; else None.

    For what pages put there themselves: ids, counts, places in a list. What a person types is read by `typed_number`.
    Python's int() takes other digits, signs, spaces and underscores as well, and raises for very long texts.
    """
    if not text or not text.isascii() or not text.isdigit() or len(text) > len(str(most)):
        return None
    number = int(text)
    return number if number <= most else None
