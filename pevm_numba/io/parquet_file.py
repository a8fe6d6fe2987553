"""One Parquet file of ours, read by block number; what it says about its own size is doubted first."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError
from ..metadata import META_COLUMNS
from .parquet_tables import SCHEMA_KEY
from .paths import reading

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = [
    "EVM_EXECUTION_SCHEMA", "EXECUTION_SCHEMA", "SCHEDULE_SCHEMA", "SUFFIX", "SURVEY_SCHEMA", "RowIndex", "TableFile",
    "companion", "file_kind", "not_a_survey", "open_parquet",
]  # fmt: skip

#: What files of schedules, executions and surveys say they are: files beside block files, never one of them.
SCHEDULE_SCHEMA = b"pevm_numba.schedule/1"
EXECUTION_SCHEMA = b"pevm_numba.execution/1"
SURVEY_SCHEMA = b"pevm_numba.survey/1"
EVM_EXECUTION_SCHEMA = b"pevm_numba.evm_execution/1"

log = logging.getLogger("pevm_numba")

SUFFIX: Final = ".parquet"
_REQUIRED: Final = {
    "block": ("block_number", "tx_index", "sender", "program"),
    "blocks": ("block_number", "fork"),
    "state": ("block_number", "address", "field", "slot", "value"),
}
_OPTIONAL: Final = {
    "block": ("nonce", "gas_limit", "access_list", "declared_reads", "declared_writes", *META_COLUMNS),
    "blocks": ("fee_recipient", "block_gas_limit", "timestamp", "parent_hash"),
    "state": (),
}


def companion(path: Path, kind: str) -> Path:
    """Name of the blocks or state file beside a block file."""
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}.{kind}{SUFFIX}")


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file whose own account of its size has been found consistent."""
    import pyarrow.parquet as pq

    with reading(path, "not a readable Parquet file"):
        file = pq.ParquetFile(path, page_checksum_verification=True)
        about = file.metadata
        sizes = [about.row_group(g).num_rows for g in range(about.num_row_groups)]
        if sum(sizes) != about.num_rows or min(sizes, default=0) < 0 or about.num_rows >= 2**31:
            rule = "sizes must add up, below 2**31"
            raise FileFormatError(f"{path}: {about.num_rows} rows in groups of {sizes[:9]}: {rule}")
        if len(file.schema_arrow) == 0:  # also raises here for a schema that Arrow cannot hold
            raise FileFormatError(f"{path}: no columns")
        return file


def file_kind(path: Path) -> str | None:
    """Which of our Parquet files this is by metadata, else by columns: block, blocks, state, or None for another.

    Raises
    ------
    FileFormatError
        If it is no Parquet file, or of a schema or version that is not known.
    """
    with closing(open_parquet(path)) as file:
        return _kind(path, file)


def not_a_survey(path: Path) -> None:
    """A FileFormatError if a Parquet file is of a survey, which is easily taken for the blocks that were surveyed.

    Raises
    ------
    FileFormatError
    """
    with closing(open_parquet(path)) as file:
        if (file.metadata.metadata or {}).get(SCHEMA_KEY) == SURVEY_SCHEMA:
            text = "results of a survey, which pevm_numba.read_survey reads; give the blocks that were surveyed"
            raise FileFormatError(f"{path}: {text}")


def _kind(path: Path, file: pq.ParquetFile) -> str | None:
    named = (file.metadata.metadata or {}).get(SCHEMA_KEY)
    if named is not None:
        for kind in _REQUIRED:
            if named == f"pevm_numba.{kind}/1".encode():
                return kind
        if named in (SCHEDULE_SCHEMA, EXECUTION_SCHEMA, EVM_EXECUTION_SCHEMA, SURVEY_SCHEMA):
            return None
        known = ", ".join(f"pevm_numba.{kind}/1" for kind in _REQUIRED)
        raise FileFormatError(f"{path}: schema {named.decode(errors='replace')!r} is unknown: one of {known}")
    names = set(file.schema_arrow.names)
    for kind in ("block", "state", "blocks"):
        if names.issuperset(_REQUIRED[kind]):
            return kind
    return None


class TableFile:
    """A file of one kind, read by rows; holds the last row group, so that neighbours do not load it again."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind
        self.file = open_parquet(path)
        names = self.file.schema_arrow.names
        try:
            found = _kind(path, self.file)
            missing = [name for name in _REQUIRED[kind] if name not in names]
            if missing:
                text = ", ".join(_REQUIRED[kind])
                raise FileFormatError(f"{path}: column {missing[0]}: missing: a {kind} file needs {text}")
            if found != kind and (self.file.metadata.metadata or {}).get(SCHEMA_KEY) is not None:
                raise FileFormatError(f"{path}: is a {found} file by its metadata: must be a {kind} file")
        except FileFormatError:
            self.close()
            raise
        self.columns = [name for name in dict.fromkeys(names) if name in _REQUIRED[kind] + _OPTIONAL[kind]]
        about = self.file.metadata
        self.ends = np.cumsum([0] + [about.row_group(g).num_rows for g in range(about.num_row_groups)])
        self._held: tuple[int, pa.Table | None] = (-1, None)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def read(self, columns: list[str]) -> pa.Table:
        """Some columns of all rows."""
        with reading(self.path, "damaged"):
            table = self.file.read(columns=columns)
            table.validate(full=True)
        if len(table) != self.ends[-1]:
            raise FileFormatError(f"{self.path}: {len(table)} rows: must be {self.ends[-1]}, as the file says")
        return table

    def _group(self, g: int) -> pa.Table:
        if self._held[0] != g:
            self._held = (-1, None)
            log.debug("%s: loading row group %d of %d", self.path, g, len(self.ends) - 1)
            table = self.file.read_row_group(g, columns=self.columns)
            table.validate(full=True)
            if len(table) != self.ends[g + 1] - self.ends[g]:
                raise FileFormatError(f"{self.path}: row group {g} has {len(table)} rows: the file says otherwise")
            self._held = (g, table)
        return self._held[1]

    def load_columns(self, rows: NDArray[np.int64], columns: list[str]) -> pa.Table:
        """Some columns of the given rows, ascending; all the row groups that hold them are read at once.

        Parameters
        ----------
        rows : (n,) int64
        columns : list of str
            Of leaves, too, such as ``program.list.element.op``.
        """
        import pyarrow as pa

        with reading(self.path, "damaged"):
            groups = np.unique(np.searchsorted(self.ends, rows, side="right") - 1)
            table = self.file.read_row_groups(groups.tolist(), columns=columns, use_threads=False)
            table.validate(full=True)
            sizes = np.diff(self.ends)[groups]
            if len(table) != sizes.sum():
                raise FileFormatError(f"{self.path}: {len(table)} rows in some row groups: must be {sizes.sum()}")
            if len(rows) == len(table):
                return table
            begins = np.cumsum(sizes) - sizes
            if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
                return table.slice(rows[0] - self.ends[groups[0]], len(rows))
            inside = rows - np.repeat(self.ends[groups] - begins, np.diff(np.searchsorted(rows, [*self.ends[groups], 2**62])))
            return table.take(pa.array(inside))

    def load(self, rows: NDArray[np.int64]) -> pa.Table:
        """The given rows, ascending; only the row groups that hold them are read."""
        import pyarrow as pa

        with reading(self.path, "damaged"):
            parts = [self.file.schema_arrow.empty_table().select(self.columns)]
            groups = np.searchsorted(self.ends, rows, side="right") - 1
            for g in np.unique(groups):
                inside = rows[groups == g] - self.ends[g]
                table = self._group(int(g))
                if inside[-1] - inside[0] + 1 == len(inside):
                    parts.append(table.slice(inside[0], len(inside)))
                else:
                    parts.append(table.take(pa.array(inside)))
            return pa.concat_tables(parts)


@dataclass(frozen=True)
class RowIndex:
    """Which rows of a file belong to which block: ``order[starts[i]:starts[i + 1]]`` to block ``numbers[i]``."""

    numbers: list[int]
    starts: NDArray[np.int64]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, numbers: NDArray[np.uint64]) -> RowIndex:
        order = np.argsort(numbers, kind="stable")
        distinct, starts = np.unique(numbers[order], return_index=True)
        return cls(distinct.tolist(), np.append(starts, len(numbers)), order)

    @cached_property
    def place(self) -> dict[int, int]:
        """Position of each block number."""
        return {number: i for i, number in enumerate(self.numbers)}

    def rows(self, number: int) -> NDArray[np.int64]:
        """File rows of a block, ascending; none if it is not there."""
        i = self.place.get(number)
        return self.order[:0] if i is None else self.order[self.starts[i] : self.starts[i + 1]]
