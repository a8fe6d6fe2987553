"""Results as tables for pyarrow and pandas: a class names its columns as NumPy arrays, and this makes tables of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import door
from .errors import BlockError, PevmError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Tabular", "arrow_table", "big_endian", "pandas_frame", "to_arrow", "to_pandas"]


class Tabular(ABC):
    """Something that is a table: `columns` says which, `to_arrow` and `to_pandas` make one."""

    @abstractmethod
    def columns(self) -> dict[str, NDArray[Any]]:
        """Arrays of one length by name; (n, width) uint8 is one binary of that width a row."""

    def to_arrow(self) -> pa.Table:
        """`columns` as a pyarrow.Table; numbers keep their width, words are binaries of 32 bytes, big-endian."""
        return arrow_table(self.columns())

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow` as a DataFrame; words are bytes.

        Raises
        ------
        PevmError
            If pandas is not installed.
        """
        return pandas_frame(self.to_arrow())


def arrow_table(columns: Mapping[str, NDArray[Any]]) -> pa.Table:
    """A table of NumPy arrays.

    Parameters
    ----------
    columns : mapping of str to (n,) array, or to (n, width) uint8
        The latter become binaries of one width; objects are texts.

    Examples
    --------
    >>> made = arrow_table({"gas": np.array([5, 6]), "to": np.zeros((2, 20), np.uint8)})
    >>> [str(kind) for kind in made.schema.types]
    ['int64', 'fixed_size_binary[20]']
    """
    import pyarrow as pa

    return pa.table({name: _column(values) for name, values in columns.items()})


def _column(values: NDArray[Any]) -> pa.Array:
    import pyarrow as pa

    if values.ndim == 1:
        return pa.array(values, pa.string() if values.dtype == object else None)
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(values.shape[1]), len(values), [None, data])


def pandas_frame(table: pa.Table) -> pd.DataFrame:
    """A pyarrow.Table as a DataFrame.

    Raises
    ------
    PevmError
        If pandas is not installed.
    """
    try:
        import pandas  # noqa: F401  # pyarrow would complain in its own words
    except ImportError:
        raise PevmError("data frames need pandas: pip install pandas") from None
    return table.to_pandas()


def to_arrow(results: Iterable[Any]) -> pa.Table:
    """One row for each result that has a `row`: simulations or bounds, of any numbers of workers.

    Parameters
    ----------
    results : iterable of Simulation, or of Bounds
        All of one kind.

    Returns
    -------
    pyarrow.Table
        A column for each field.

    Raises
    ------
    BlockError
        If one has no row, or is of another kind than the first.

    Examples
    --------
    >>> from pevm_numba.access.sets import AccessSets
    >>> from pevm_numba.schedule.bounds import bounds
    >>> sets = AccessSets.from_dicts([{0: 2}, {0: 2}, {}], n_keys=1)
    >>> to_arrow([bounds(sets, workers=workers) for workers in (1, 2)])["makespan"].to_pylist()
    [3.0, 2.0]
    """
    import pyarrow as pa

    given = door.items("results", results, "results, such as of compare")
    for i, one in enumerate(given):
        if not callable(getattr(one, "row", None)):
            raise BlockError(f"results[{i}] = {door.shown(one, 80)}: must have a row, as a Simulation or Bounds has")
        if type(one) is not type(given[0]):
            rule = f"must be a {type(given[0]).__name__}, as results[0] is"
            raise BlockError(f"results[{i}] = {door.shown(one, 80)}: {rule}")
    return pa.Table.from_pylist([one.row() for one in given])


def to_pandas(results: Iterable[Any]) -> pd.DataFrame:
    """`to_arrow` as a DataFrame.

    Raises
    ------
    BlockError
        As `to_arrow`.
    PevmError
        If pandas is not installed.
    """
    return pandas_frame(to_arrow(results))


def big_endian(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Limbs (n, 4) uint64, least significant first, as words (n, 32) uint8, most significant first.

    Examples
    --------
    >>> big_endian(np.array([[258, 0, 0, 0]], np.uint64))[0, -3:].tolist()
    [0, 1, 2]
    """
    return np.ascontiguousarray(words[:, ::-1].astype(">u8")).view(np.uint8).reshape(-1, 32)
