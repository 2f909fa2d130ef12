from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import TextIO

from candidates.profile_files import ProfileRow, RowError

_KINDS = {kind.__name__: kind for kind in (ProfileRow, RowError)}
_FIELDS = {name: [field.name for field in fields(kind)] for name, kind in _KINDS.items()}


class RowSpool:
    """Rows in the order in which they were added to an open file, to be gone through often: memory holds one."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.profiles = 0

    def add(self, row: ProfileRow | RowError) -> None:
        kind = type(row).__name__
        self._file.write(json.dumps([kind, *(getattr(row, name) for name in _FIELDS[kind])]) + "\n")
        self.profiles += isinstance(row, ProfileRow)

    def __iter__(self) -> Iterator[ProfileRow | RowError]:
        self._file.seek(0)
        for line in self._file:
            kind, *values = json.loads(line)
            yield _KINDS[kind](*values)
