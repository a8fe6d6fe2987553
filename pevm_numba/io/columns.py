"""One column of an Arrow table, checked and handed out as NumPy arrays; complaints name file, column, row and value.

Arrow types are a promise about layout, not about content: widths, ranges and nulls are looked at here, value by value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

__all__ = ["Column", "column", "show"]


def show(value: Any) -> str:
    """A value as an error message prints it: binaries in hexadecimal, long ones cut."""
    text = f"0x{bytes(value).hex()}" if isinstance(value, bytes | bytearray | memoryview) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def column(path: Path, table: pa.Table, name: str, rows: NDArray[np.int64]) -> Column:
    """Column `name` of a table that holds the rows `rows` of a file.

    Raises
    ------
    FileFormatError
        If the column is missing or there are two of that name.
    """
    count = table.column_names.count(name)
    if count != 1:
        rule = "a required column" if count == 0 else "a column may be there once"
        raise FileFormatError(f"{path}: column {name}: {'missing' if count == 0 else f'{count} times'}: {rule}")
    return Column(str(path), name, _flat(table[name]), lambda i: f"row {rows[i]}")


def _flat(values: Any) -> Any:
    """One array: chunks joined, dictionaries and views resolved."""
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray):
        chunks = values.chunks
        values = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks) if chunks else pa.array([], values.type)
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _flat(values.dictionary_decode())
    if pa.types.is_binary_view(kind):
        return values.cast(pa.large_binary())
    return values


@dataclass(frozen=True)
class Column:
    """One column, or one member of a list of structs.

    Parameters
    ----------
    file, name : str
        For messages.
    values : pyarrow.Array
    place : callable
        Position in `values` to words such as ``row 5, item 2``.
    """

    file: str
    name: str
    values: pa.Array
    place: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.values)

    def wrong_type(self, rule: str) -> FileFormatError:
        """The error for a column of another Arrow type."""
        return FileFormatError(f"{self.file}: column {self.name}: type {self.values.type}: must be {rule}")

    def wrong(self, i: int, rule: str) -> FileFormatError:
        """The error for the value at position `i`."""
        value = self.values[int(i)].as_py()
        return FileFormatError(f"{self.file}: column {self.name}, {self.place(int(i))} = {show(value)}: {rule}")

    def reject(self, bad: NDArray[np.bool_], rule: str) -> None:
        """Raise for the first position where `bad` holds."""
        if bad.any():
            raise self.wrong(int(np.argmax(bad)), rule)

    def known(self) -> NDArray[np.bool_]:
        """Which values are not null, (n,) bool."""
        if not self.values.null_count:
            return np.ones(len(self), bool)
        return self.values.is_valid().to_numpy(zero_copy_only=False)

    def required(self) -> Column:
        """This column, if nothing in it is null."""
        if self.values.null_count:
            self.reject(~self.known(), "must not be null")
        return self

    def is_null(self) -> bool:
        """Whether the column has Arrow's null type: no value at all, as inference gives it for empty data."""
        import pyarrow as pa

        return pa.types.is_null(self.values.type)

    def integers(self, dtype: Any, low: int, high: int, default: int = 0) -> NDArray[Any]:
        """Values as `dtype`, each in [low, high]; null gives `default`. Any integer type that fits will do."""
        import pyarrow as pa

        if self.is_null():
            return np.full(len(self), default, dtype)
        if not pa.types.is_integer(self.values.type):
            raise self.wrong_type(f"integers in [{low}, {high}]")
        filled = self.values.fill_null(pa.scalar(0, self.values.type)) if self.values.null_count else self.values
        given = filled.to_numpy()
        if len(given) and not (low <= int(given.min()) and int(given.max()) <= high):
            known = self.known()
            self.reject(known & ((given < low) | (given > high)), f"must be in [{low}, {high}]")
        out = given.astype(dtype) if given.dtype != dtype or self.values.null_count else given
        if default and self.values.null_count:
            out[~self.known()] = default
        return out

    def booleans(self) -> pa.Array:
        """The values as an Arrow bool array, nulls kept."""
        import pyarrow as pa

        if self.is_null():
            return pa.nulls(len(self), pa.bool_())
        if not pa.types.is_boolean(self.values.type):
            raise self.wrong_type("bool")
        return self.values

    def strings(self) -> list[str | None]:
        """The values as Python strings."""
        import pyarrow as pa

        if self.is_null():
            return [None] * len(self)
        kind = self.values.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
            raise self.wrong_type("string")
        return self.values.to_pylist()

    def rows(self, width: int) -> NDArray[np.uint8]:
        """Values of exactly `width` bytes, (n, width) uint8, not copied if they lie so; anything where null."""
        import pyarrow as pa

        values, n = self.values, len(self)
        if self.is_null():
            return np.zeros((n, width), np.uint8)
        if pa.types.is_fixed_size_binary(values.type):
            if values.type.byte_width != width:
                raise self.wrong_type(f"binary of {width} bytes")
            if values.null_count == n:
                return np.zeros((n, width), np.uint8)
            return _bytes(values.buffers()[1])[values.offset * width : (values.offset + n) * width].reshape(n, width)
        offsets, data = self.binaries()
        known = self.known()
        self.reject(known & (offsets[1:] - offsets[:-1] != width), f"must be {width} bytes")
        rows = data.reshape(-1, width)
        if not values.null_count:
            return rows
        out = np.zeros((n, width), np.uint8)
        out[known] = rows
        return out

    def fixed(self, width: int, at: NDArray[np.int64] | None = None) -> NDArray[np.uint8]:
        """Values of exactly `width` bytes, (n, width) uint8; zero where null. With `at`, those at these positions."""
        rows = self.rows(width) if at is None else self.rows(width)[at]
        if self.is_null() or not self.values.null_count:
            return rows
        rows = rows.copy() if at is None else rows
        rows[~(self.known() if at is None else self.known()[at])] = 0
        return rows

    def binaries(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Values of any length as offsets (n + 1,) int64 from 0 and bytes; null counts as empty."""
        import pyarrow as pa

        values, n = self.values, len(self)
        if self.is_null():
            return np.zeros(n + 1, np.int64), np.zeros(0, np.uint8)
        kind = values.type
        if pa.types.is_fixed_size_binary(kind):
            ends = np.zeros(n + 1, np.int64)
            np.cumsum(self.known() * np.int64(kind.byte_width), out=ends[1:])
            return ends, self.fixed(kind.byte_width)[self.known()].reshape(-1)
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            raise self.wrong_type("binary")
        if values.null_count:  # a null may cover bytes: an empty value never does
            values = values.fill_null(pa.scalar(b"", kind))
        dtype = np.int64 if pa.types.is_large_binary(kind) else np.int32
        raw = _bytes(values.buffers()[1])
        if n == 0 or not len(raw):
            return np.zeros(n + 1, np.int64), np.zeros(0, np.uint8)
        ends = raw.view(dtype)[values.offset : values.offset + n + 1].astype(np.int64)
        return ends - ends[0], _bytes(values.buffers()[2])[ends[0] : ends[-1]]

    def items(self) -> tuple[NDArray[np.int64], Column]:
        """A list column as offsets (n + 1,) int64 from 0 and the column of its items; null counts as empty."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kind, n = self.values.type, len(self)
        offsets = np.zeros(n + 1, np.int64)
        if self.is_null():
            inner = pa.nulls(0)
        elif any(test(kind) for test in _list_tests()):
            lengths = pc.list_value_length(self.values)
            np.cumsum(lengths.fill_null(0).to_numpy(), out=offsets[1:])
            inner = _flat(self.values.flatten())
        else:
            raise self.wrong_type("a list")

        def place(i: int) -> str:
            row = int(np.searchsorted(offsets, i, side="right")) - 1
            return f"{self.place(row)}, item {i - offsets[row]}"

        return offsets, Column(self.file, self.name, inner, place)

    def member(self, name: str) -> Column:
        """Member `name` of a struct column without nulls."""
        import pyarrow as pa

        full = f"{self.name}.{name}"
        if self.is_null():
            return Column(self.file, full, self.required().values, self.place)
        if not pa.types.is_struct(self.values.type):
            raise self.wrong_type("a list of structs")
        at = self.values.type.get_field_index(name)
        if at < 0:
            rule = f"a required member of {self.name}, once"
            raise FileFormatError(f"{self.file}: column {full}: missing, or there twice: {rule}")
        return Column(self.file, full, _flat(self.required().values.field(at)), self.place)


def _list_tests() -> tuple[Callable[[pa.DataType], bool], ...]:
    import pyarrow as pa

    kinds = pa.types
    return kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list, kinds.is_list_view, kinds.is_large_list_view


def _bytes(buffer: pa.Buffer | None) -> NDArray[np.uint8]:
    return np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)
