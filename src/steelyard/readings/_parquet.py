"""Readings as a Parquet file; what is known of them all is in the metadata of its schema."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from steelyard.errors import SteelyardError
from steelyard.readings._frames import METADATA, arrow_of, library
from steelyard.readings._heading import foreign
from steelyard.readings._rows import COLUMNS, Row


def dump(rows: Sequence[Row], heading: str) -> bytes:
    """The whole file, each page of it with a checksum."""
    table = arrow_of(rows, heading)
    file = io.BytesIO()
    library("pyarrow.parquet").write_table(table, file, write_page_checksum=True)
    return file.getvalue()


def split(data: bytes) -> tuple[str | bytes, Iterator[tuple[str, Row]]]:
    """The heading of a file, and its rows, each with the place where it is.

    Raises:
        SteelyardError: If it cannot be read.
        MissingDependencyError: If PyArrow is not installed.
    """
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    errors = (arrow.ArrowException, OSError, ValueError)
    try:
        file = parquet.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        metadata = file.schema_arrow.metadata or {}
    except errors as error:
        raise SteelyardError(f"no Parquet file, or one that was cut off: {error}") from error
    if METADATA not in metadata:
        raise foreign()
    return metadata[METADATA], _rows(file, errors)


def _rows(file: Any, errors: tuple[type[Exception], ...]) -> Iterator[tuple[str, Row]]:
    if tuple(file.schema_arrow.names) != COLUMNS:
        raise SteelyardError(f"its columns are not {', '.join(COLUMNS)}")
    try:
        columns = [column.to_pylist() for column in file.read().columns]
    except errors as error:
        raise SteelyardError(f"it is damaged: {error}") from error
    for number, cells in enumerate(zip(*columns, strict=True), start=1):
        row = Row(*cells)
        values = row.values
        yield f"row {number}", row._replace(values=tuple(values) if values is not None else None)
