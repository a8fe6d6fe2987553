"""The columns of a schedule in a Parquet file, checked: those of a schedule file, and of an execution that followed one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..errors import FileFormatError
from ..schedule.timeline import Timeline
from .columns import Column

__all__ = ["MAKESPAN", "TIMES", "WORKERS", "metadata_text", "timeline", "waves"]

#: Metadata of a timeline.
WORKERS: Final = b"n_workers"
MAKESPAN: Final = b"makespan"
#: Columns of a timeline.
TIMES: Final = ("worker", "start", "end")


def metadata_text(path: Path, named: dict[bytes, bytes], key: bytes, default: str) -> str:
    """Text of a file's metadata, or the default if it has none of that name.

    Raises
    ------
    FileFormatError
        If it is not UTF-8.
    """
    try:
        return named[key].decode() if key in named else default
    except UnicodeDecodeError:
        raise FileFormatError(f"{path}: metadata {key.decode()} = {door.shown(named[key], 80)}: must be UTF-8 text") from None


def waves(given: dict[str, Column]) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Wave offsets, transactions by wave, and serial order.

    Parameters
    ----------
    given : dict of str to Column
        ``block_number``, ``tx_index``, ``wave`` and ``serial_position``, one value for each transaction of one block.

    Raises
    ------
    FileFormatError
        Naming column, row, value and rule.
    """
    n = len(given["tx_index"])
    number = given["block_number"].required()
    numbers = number.integers(np.uint64, 0, 2**64 - 1)
    if n:
        number.reject(numbers != numbers[0], f"must be {numbers[0]} in all rows: one file holds the schedule of one block")
    index = given["tx_index"].required()
    wrong = index.integers(np.int64, 0, 2**32 - 1) != np.arange(n)
    index.reject(wrong, "tx_index counts 0, 1, 2, ...: sorted, no gap, no row twice")

    waves = given["wave"].required()
    wave = waves.integers(np.int64, 0, max(n - 1, 0))
    sizes = np.bincount(wave, minlength=int(wave.max(initial=-1)) + 1)
    if (sizes == 0).any():
        empty = int(np.argmin(sizes))
        waves.reject(wave > empty, f"wave {empty} has no transaction: waves count 0, 1, 2, ... without a gap")
    positions = given["serial_position"].required()
    position = positions.integers(np.int64, 0, max(n - 1, 0))
    first = np.full(n, n, np.int64)
    np.minimum.at(first, position, np.arange(n))
    positions.reject(first[position] != np.arange(n), "another row has that place: each place in serial order once")
    order = np.argsort(position).astype(np.int32)
    return np.concatenate([[0], np.cumsum(sizes)]), np.argsort(wave, kind="stable").astype(np.int32), order


def timeline(path: Path, given: dict[str, Column], named: dict[bytes, bytes]) -> Timeline | None:
    """The timeline, if the file has one: all three columns known in every row, or none in any.

    Parameters
    ----------
    path : Path
        For messages.
    given : dict of str to Column
        ``tx_index``, and ``worker``, ``start`` and ``end`` if they are there.
    named : dict of bytes to bytes
        Metadata: `WORKERS` and `MAKESPAN`, each if it is there.

    Raises
    ------
    FileFormatError
        Naming column, row, value and rule.
    """
    n, columns = len(given["tx_index"]), [given[name] for name in TIMES if name in given]
    known = [part.known() for part in columns]
    if not any(there.any() for there in known) and (n or not {WORKERS, MAKESPAN} & set(named)):
        return None
    if len(columns) < len(TIMES):
        missing = next(name for name in TIMES if name not in given)
        raise FileFormatError(f"{path}: column {missing}: missing: a timeline needs {', '.join(TIMES)}")
    for part, there in zip(columns, known):
        part.reject(~there, "must not be null where other rows or columns have a timeline")
    worker = given["worker"].integers(np.int64, 0, 2**31 - 2)
    start, end = _real(given["start"]), _real(given["end"])
    given["end"].reject(end < start, "must not be before start")
    n_workers, makespan = _whole(path, named), _makespan(path, named, float(end.max(initial=0.0)))
    if n_workers is None:
        n_workers = int(worker.max(initial=0)) + 1
    given["worker"].reject(worker >= n_workers, f"must be below n_workers = {n_workers}")
    given["end"].reject(end > makespan, f"must not be after makespan = {makespan:.17g}")
    return Timeline(n_workers, worker.astype(np.int32), start, end, makespan)


def _real(given: Column) -> NDArray[np.float64]:
    """Finite numbers that are not negative; none is null here."""
    import pyarrow as pa

    kind = given.values.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise given.wrong_type("floats, finite and not negative")
    if given.is_null():
        return np.zeros(0)
    values: NDArray[np.float64] = given.values.to_numpy(zero_copy_only=False).astype(np.float64)
    given.reject(~(np.isfinite(values) & (values >= 0)), "must be finite and not negative")
    return values


def _whole(path: Path, named: dict[bytes, bytes]) -> int | None:
    text = metadata_text(path, named, WORKERS, "")
    if not text and WORKERS not in named:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= 2**31 - 1):
        raise FileFormatError(f"{path}: metadata n_workers = {door.shown(text, 80)}: must be an integer in [1, {2**31 - 1}]")
    return int(text)


def _makespan(path: Path, named: dict[bytes, bytes], default: float) -> float:
    text = metadata_text(path, named, MAKESPAN, repr(default))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise FileFormatError(f"{path}: metadata makespan = {door.shown(text, 80)}: must be a finite number, not negative")
    return value
