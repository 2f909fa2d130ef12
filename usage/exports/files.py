"""How a file is written: piece by piece, as its events are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from usage.exports.cells import Piece
from usage.models import UsageEvent


class File(Protocol):
    @property
    def name(self) -> str: ...

    def begin(self) -> Piece: ...

    def add(self, events: Sequence[UsageEvent]) -> Piece: ...

    def end(self) -> Piece: ...


def written(file: File, events: Iterable[Sequence[UsageEvent]]) -> Iterator[Piece]:
    yield file.begin()
    for some in events:
        yield file.add(some)
    yield file.end()


class Count:
    """Rows and digest of what passed."""

    def __init__(self) -> None:
        self.rows = 0
        self._digest = hashlib.sha256()

    def add(self, piece: Piece) -> None:
        self.rows += piece.rows
        self._digest.update(piece.content)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def as_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "sha256": self.sha256}
