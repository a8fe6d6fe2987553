"""Columns of cryo-style Parquet files as plain arrays; what is wrong in one is a FileFormatError, Arrow's errors too.

Nothing here knows what the columns mean: that is the business of `op_trace` and `cryo`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Columns", "DataFile", "DataFolder", "data_files", "limbs", "read_columns", "subtract"]

#: ``{network}__{dataset}__{start}_to_{end}.parquet``, as cryo names its files.
_NAME: Final = re.compile(r"[^/]*?__(?P<dataset>[a-z0-9_]+?)__(?P<start>\d{1,19})_to_(?P<end>\d{1,19})\.parquet")


#: What pyarrow raises for a damaged file, besides its own exceptions.
_DAMAGE: Final = (OSError, EOFError, MemoryError, OverflowError, RuntimeError, ValueError, LookupError, TypeError)


@dataclass(frozen=True)
class DataFile:
    """One file of a dataset and the block numbers that its name promises, `start` to `end` inclusive."""

    path: Path
    dataset: str
    start: int
    end: int

    @classmethod
    def of(cls, path: Path) -> DataFile | None:
        """What the name says, or None if it is not a name of the kind."""
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        return cls(path, match["dataset"], int(match["start"]), int(match["end"]))


def data_files(folder: Path) -> dict[str, list[DataFile]]:
    """Dataset -> its files in a folder, by first block; an unreadable or absent folder has none."""
    found: dict[str, list[DataFile]] = {}
    if not folder.is_dir():
        return found
    with arrow_errors(folder):
        paths = sorted(folder.iterdir())
    for path in paths:
        item = DataFile.of(path)
        if item is not None:
            found.setdefault(item.dataset, []).append(item)
    for files in found.values():
        files.sort(key=lambda f: (f.start, f.end, f.path))
    return found


@contextmanager
def arrow_errors(path: Path) -> Iterator[None]:
    """Turn what Arrow and the operating system raise about a file into a FileFormatError that names it."""
    import pyarrow as pa

    try:
        yield
    except FileFormatError:
        raise
    except (pa.ArrowException, *_DAMAGE) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise FileFormatError(f"{path}: not readable as a Parquet file of this kind: {text[:300]}") from error


class DataFolder:
    """The datasets of a folder; of each dataset the file read last is kept, since neighbouring blocks share files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: Mapping[str, list[DataFile]] = data_files(folder)
        self._opened: dict[str, Columns] = {}

    def block(self, dataset: str, number: int, required: Iterable[str], optional: Iterable[str] = ()) -> Columns | None:
        """The rows of a block, or None if no file of the dataset has it in the range of its name.

        Raises
        ------
        FileFormatError
            As `read_columns`; or if several files have the block.
        """
        covering = [f for f in self.files.get(dataset, []) if f.start <= number <= f.end]
        if len(covering) > 1:
            also = f"block {number} is also in the range of {covering[1].path.name}"
            raise FileFormatError(f"{covering[0].path}: {also}: a block must be in one file of a dataset")
        if not covering:
            return None
        path = covering[0].path
        opened = self._opened.get(dataset)
        if opened is None or opened.path != path:
            opened = self._opened[dataset] = read_columns(path, required, optional)
        return opened.of_block(number)


def read_columns(path: Path, required: Iterable[str], optional: Iterable[str] = ()) -> Columns:
    """Read some columns of a file.

    Parameters
    ----------
    required, optional : column names
        Other columns are not read.

    Raises
    ------
    FileFormatError
        If the file cannot be read, or a required column is missing or appears twice.
    """
    import pyarrow.parquet as pq

    required = list(required)
    with arrow_errors(path):
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in required:
                if names.count(name) != 1:
                    rule = f"must be there once; the file has {', '.join(names) or 'none'}"
                    raise FileFormatError(f"{path}: column {name!r} is there {names.count(name)} times: {rule}")
            wanted = required + [name for name in optional if names.count(name) == 1 and name not in required]
            table = file.read(columns=wanted)
        table.validate(full=True)  # a flipped bit must not become a wild dictionary index or offset
    return Columns(path, table, 0)


@dataclass(frozen=True)
class Columns:
    """A table read from `path`; `first_row` is the place of its first row in the file."""

    path: Path
    table: pa.Table
    first_row: int

    def __len__(self) -> int:
        return self.table.num_rows

    def __contains__(self, name: str) -> bool:
        return name in self.table.column_names

    def fail(self, name: str, row: int, value: Any, rule: str) -> FileFormatError:
        """The error for one value; raise it."""
        if isinstance(value, bytes | bytearray):
            value = "0x" + bytes(value[:40]).hex()
        return FileFormatError(f"{self.path}: column {name!r}, row {self.first_row + int(row)} = {value}: {rule}")

    def slice(self, start: int, stop: int) -> Columns:
        """Rows start:stop."""
        return Columns(self.path, self.table.slice(start, stop - start), self.first_row + start)

    def _column(self, name: str, kind: pa.DataType) -> pa.Array:
        """A column in one piece; where writers left the type open (every value null, or no rows) it becomes `kind`."""
        import pyarrow as pa

        column = self.table[name]
        with arrow_errors(self.path):
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            if pa.types.is_null(column.type):
                column = column.cast(kind)
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)

    def numbers(self) -> NDArray[np.int64]:
        """Distinct block numbers, ascending; an error if the rows are not sorted by them."""
        return np.unique(self._sorted_numbers)

    @cached_property
    def _sorted_numbers(self) -> NDArray[np.int64]:
        values = self.integers("block_number", 0, 2**63 - 1)
        falls = np.flatnonzero(values[1:] < values[:-1])
        if len(falls):
            row = int(falls[0]) + 1
            raise self.fail("block_number", row, values[row], f"rows must be sorted; row before: {values[row - 1]}")
        return values

    def of_block(self, number: int) -> Columns:
        """The rows of one block."""
        values = self._sorted_numbers
        start, stop = np.searchsorted(values, [number, number + 1])
        return self.slice(int(start), int(stop))

    # ---------------------------------------------------------------- typed columns

    def integers(self, name: str, low: int, high: int, *, null: int | None = None) -> NDArray[np.int64]:
        """An integer column as int64, every value in [low, high]; nulls become `null`, or an error if that is None."""
        import pyarrow as pa

        column = self._column(name, pa.int64())
        if not pa.types.is_integer(column.type):
            raise FileFormatError(f"{self.path}: column {name!r} has type {column.type}: must be an integer type")
        self._no_nulls(name, column, allowed=null is not None)
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        raw = column.fill_null(0).to_numpy(zero_copy_only=False)
        bad = np.flatnonzero(valid & ((raw < low) | (raw > high)))
        if len(bad):
            raise self.fail(name, bad[0], raw[bad[0]], f"must be in [{low}, {high}]")
        values = raw.astype(np.int64)
        return values if null is None else np.where(valid, values, np.int64(null))

    def flags(self, name: str) -> NDArray[np.bool_]:
        """A boolean column without nulls."""
        import pyarrow as pa

        column = self._column(name, pa.bool_())
        if not pa.types.is_boolean(column.type):
            raise FileFormatError(f"{self.path}: column {name!r} has type {column.type}: must be bool")
        self._no_nulls(name, column, allowed=False)
        return column.to_numpy(zero_copy_only=False)

    def codes(self, name: str, known: Sequence[str]) -> NDArray[np.int64]:
        """A text column without nulls as positions in `known`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self._column(name, pa.string())
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise FileFormatError(f"{self.path}: column {name!r} has type {column.type}: must be text")
        self._no_nulls(name, column, allowed=False)
        with arrow_errors(self.path):
            places = pc.index_in(column, pa.array(known, column.type))
        bad = np.flatnonzero(places.is_null().to_numpy(zero_copy_only=False))
        if len(bad):
            raise self.fail(name, bad[0], repr(column[int(bad[0])].as_py()), f"must be one of {', '.join(known)}")
        return places.to_numpy(zero_copy_only=False).astype(np.int64)

    def fixed(self, name: str, width: int, *, nulls: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Byte strings of one width: bytes (n, width) uint8, zero where null, and which are not null.

        Text is taken as hexadecimal with 0x, as cryo writes it with ``--hex``.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.binary(name, nulls=nulls)
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        lengths = pc.binary_length(column).fill_null(width).to_numpy(zero_copy_only=False)
        bad = np.flatnonzero(lengths != width)
        if len(bad):
            row = int(bad[0])
            raise self.fail(name, row, column[row].as_py(), f"has {lengths[row]} bytes: must have {width}")
        column = column.fill_null(bytes(width)).cast(pa.large_binary())
        offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
        data = column.buffers()[2]
        if len(column) == 0 or data is None:
            return np.zeros((len(column), width), np.uint8), valid
        raw = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
        return raw.reshape(len(column), width).copy(), valid

    def binary(self, name: str, *, nulls: bool = False) -> pa.Array:
        """A column of byte strings as a large_binary array."""
        import pyarrow as pa

        column, types = self._column(name, pa.large_binary()), pa.types
        if types.is_string(column.type) or types.is_large_string(column.type):
            column = self._from_hex(name, column)
        elif not any(is_(column.type) for is_ in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)):
            rule = "must be binary, or hexadecimal text"
            raise FileFormatError(f"{self.path}: column {name!r} has type {column.type}: {rule}")
        self._no_nulls(name, column, allowed=nulls)
        with arrow_errors(self.path):
            if types.is_fixed_size_binary(column.type):  # Arrow does not cast these to large_binary in one step
                column = column.cast(pa.binary())
            return column.cast(pa.large_binary())

    def _from_hex(self, name: str, column: pa.Array) -> pa.Array:
        import pyarrow as pa

        with arrow_errors(self.path):
            texts = column.to_pylist()
        out: list[bytes | None] = []
        for row, text in enumerate(texts):
            digits = text[2:] if text is not None and text.startswith("0x") else None
            if text is not None and (digits is None or not re.fullmatch("([0-9a-fA-F]{2})*", digits)):
                raise self.fail(name, row, repr(text[:80]), "text must be 0x and pairs of hexadecimal digits")
            out.append(None if digits is None else bytes.fromhex(digits))
        return pa.array(out, pa.large_binary())

    def _no_nulls(self, name: str, column: pa.Array, *, allowed: bool) -> None:
        if column.null_count and not allowed:
            row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise self.fail(name, row, "null", "must not be null")


# -------------------------------------------------------------------- 256-bit words


def limbs(raw: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Big-endian bytes (n, 32) as limbs (n, 4), least significant first."""
    return np.ascontiguousarray(raw[:, ::-1]).view(np.uint64).reshape(-1, 4)


def subtract(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """a - b mod 2**256 for limbs (n, 4), and where a < b."""
    out, borrow = np.empty_like(a), np.zeros(len(a), bool)
    for i in range(4):
        out[:, i] = a[:, i] - b[:, i] - borrow
        borrow = (a[:, i] < b[:, i]) | ((a[:, i] == b[:, i]) & borrow)
    return out, borrow

