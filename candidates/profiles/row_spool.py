from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

from candidates.profiles.files import ProfileRow, RowError

READ_AT_ONCE = 64 * 1024  # bytes


class RowSpool:
    """
    Rows in the order in which they were added to an open file, to be gone through often, also while somebody is at
    it: memory holds a few.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.profiles = 0

    def add(self, row: ProfileRow | RowError) -> None:
        """As one line: the content is JSON already, in which no tab stands."""
        if isinstance(row, ProfileRow):
            head = (row.line, row.name, row.headline, row.link, row.email, row.external_id, row.digest, row.file)
            self._file.write(f"{json.dumps(head)}\t{row.content_json}\n".encode())
            self.profiles += 1
        else:
            self._file.write(f"{json.dumps((row.line, row.reason, row.file))}\n".encode())

    def __iter__(self) -> Iterator[ProfileRow | RowError]:
        place = 0
        while True:
            self._file.seek(place)
            lines = self._file.readlines(READ_AT_ONCE)
            place = self._file.tell()
            if not lines:
                return
            yield from map(_row, lines)


def _row(line: bytes) -> ProfileRow | RowError:
    head, _, content = line.partition(b"\t")
    if not content:
        return RowError(*json.loads(head))
    number, name, headline, link, email, external_id, digest, file = json.loads(head)
    content_json = content.rstrip(b"\n").decode()
    return ProfileRow(number, name, headline, link, email, external_id, content_json, digest, file)
