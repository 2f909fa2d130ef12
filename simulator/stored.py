"""What OpenAI keeps of responses: each is found by its id, and by those of its items, with the key it was made with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

MOST_KEPT = 10_000  # the oldest make room

Texts = tuple[tuple[bool, str], ...]  # who wrote it, as the prompts have it, and what


class Stored:
    def __init__(self) -> None:
        self._texts: OrderedDict[tuple[str, str], Texts] = OrderedDict()

    def keep(self, key: str, ids: Iterable[str], texts: Iterable[tuple[bool, str]]) -> None:
        kept = tuple(texts)
        self._texts |= {(key, each): kept for each in ids}
        while len(self._texts) > MOST_KEPT:
            self._texts.popitem(last=False)

    def find(self, key: str, stored_id: object) -> Texts | None:
        return self._texts.get((key, str(stored_id)))
