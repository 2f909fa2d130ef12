"""
Usage events as Parquet, for what leaves the database: one row an event, one file a month, with `pyarrow`.

Numbers are 64-bit integers as they are stored, money in nano-USD; ids are text, times UTC to the microsecond, labels
JSON. The first column is the organization.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from django.db import models

from usage.models import UsageEvent
from usage.querysets import UsageEventQuerySet

ROWS_AT_ONCE = 50_000  # a row group


class ParquetFailed(Exception):
    """Nothing was left behind under its name; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Written:
    path: Path
    rows: int
    sha256: str


def refuse_without_pyarrow() -> None:
    try:
        import_module("pyarrow.parquet")
    except ImportError:
        raise ParquetFailed(
            "Parquet needs `pyarrow`, which is not installed: pip install --require-hashes -r requirements/parquet.txt"
        ) from None


def write(events: UsageEventQuerySet, name: str, folder: Path) -> Written:
    """
    A new file `name`.parquet, or `name`-2.parquet if that is there, on disk as a whole when this returns, and readable
    by its owner only. Raises ParquetFailed.
    """
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    fields = [UsageEvent._meta.get_field("organization"), *UsageEvent._meta.concrete_fields]
    columns = list(dict.fromkeys(field.attname for field in fields))
    schema = pyarrow.schema([(field.attname, _kind(pyarrow, field)) for field in dict.fromkeys(fields)])
    unfinished = folder / f".{name}.{os.getpid()}"
    rows = 0
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w+b") as file:
            with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
                for group in _groups(events, columns):
                    values = (list(map(_value, column)) for column in zip(*group, strict=True))
                    writer.write_table(pyarrow.table(dict(zip(columns, values, strict=True)), schema=schema))
                    rows += len(group)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path = _free(folder, name)
        unfinished.rename(path)
        _to_disk(folder)
    except OSError as error:
        raise ParquetFailed(f"{error.filename or folder}: {error.strerror}.") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()
    return Written(path, rows, digest)


def _groups(events: UsageEventQuerySet, columns: list[str]) -> Iterator[list[tuple[Any, ...]]]:
    ends = events.aggregate(first=models.Min("id"), last=models.Max("id"))
    for start in range(ends["first"] or 0, (ends["last"] or -1) + 1, ROWS_AT_ONCE):
        group = list(events.filter(id__gte=start, id__lt=start + ROWS_AT_ONCE).order_by("id").values_list(*columns))
        if group:
            yield group


def _kind(pyarrow: Any, field: models.Field[Any, Any]) -> Any:
    if isinstance(field, models.DateTimeField):
        return pyarrow.timestamp("us", tz="UTC")
    if isinstance(field, models.DateField):
        return pyarrow.date32()
    if isinstance(field, models.BooleanField):
        return pyarrow.bool_()
    if isinstance(field, models.IntegerField | models.ForeignKey):
        return pyarrow.int64()
    return pyarrow.string()


def _value(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return str(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, dict) else value


def _free(folder: Path, name: str) -> Path:
    path, number = folder / f"{name}.parquet", 1
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}.parquet"
    return path


def _to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
