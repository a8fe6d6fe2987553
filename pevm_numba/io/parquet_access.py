"""What many blocks of a block file touch, in one go: only the columns that say so are read, none into a `Block`.

A column that is not needed is not looked at, so a fault in it goes unnoticed here.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .columns import column
from .parquet import BlockFile
from .parquet_file import TableFile, companion
from .parquet_rows import program_keys
from .paths import reading

__all__ = ["Accesses", "read_accesses"]

#: Members of a program's ops that say what it touches.
_MEMBERS: Final = ("op", "address", "field", "slot")
#: Ops to have in memory at a time, about; a block that has more is read whole.
_OPS: Final = 1 << 18
#: Of how many files the index is kept, and of how many transactions in all; that of the file read last always is.
_FILES: Final = 16
_TRANSACTIONS: Final = 1 << 24


@dataclass
class _Kept:
    """A place for the index of one file, made by whoever comes first, while others wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    file: BlockFile | None = None

    @property
    def size(self) -> int:
        """Transactions of the file, once it has been indexed."""
        return 0 if self.file is None else len(self.file.index.order)


#: Indices of the files read last, the latest at the end: a large file is read in many parts.
_kept: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()
_keeping = threading.Lock()


@dataclass(frozen=True)
class Accesses:
    """Programs of consecutive blocks, as far as they touch keys.

    Parameters
    ----------
    numbers : (n_blocks,) list of int
    tx_start : (n_blocks + 1,) int64
        Offsets of blocks into transactions.
    op_indptr : (n_tx + 1,) int64
        Offsets of transactions into ops.
    op_code : (n_ops,) uint8
    has_key : (n_ops,) bool
        Whether an op names a key.
    op_address, op_field, op_slot : (n_ops, 20), (n_ops,), (n_ops, 32) uint8
        That key; anything where there is none. Only fields that are storage have a slot, others anything.
    gas : (n_tx,) int64
        The chain's, or -1 where it is not known.
    fee_recipients : (n_blocks,) list of bytes or None
    """

    numbers: list[int]
    tx_start: NDArray[np.int64]
    op_indptr: NDArray[np.int64]
    op_code: NDArray[np.uint8]
    has_key: NDArray[np.bool_]
    op_address: NDArray[np.uint8]
    op_field: NDArray[np.uint8]
    op_slot: NDArray[np.uint8]
    gas: NDArray[np.int64]
    fee_recipients: list[bytes | None]


def read_accesses(path: Path, numbers: Sequence[int]) -> Iterator[Accesses]:
    """The accesses of blocks of one block file, several blocks at a time.

    Parameters
    ----------
    path : Path
    numbers : sequence of int
        Blocks that the file has, ascending.

    Raises
    ------
    FileFormatError
        Naming file, column, row, value and rule.
    """
    blocks = _indexed(path)
    with closing(TableFile(path, "block")) as file:
        columns = _columns(file)
        for some in _parts(file, blocks, numbers):
            yield _read(file, blocks, some, columns)


def _indexed(path: Path) -> BlockFile:
    """A block file, indexed once a process as long as neither it nor its blocks file changes."""
    with reading(path, "not a readable Parquet file"):
        facts = [(about.st_size, about.st_mtime_ns) for about in _about(path, companion(path, "blocks"))]
    key = (os.getpid(), os.path.realpath(path), *facts)  # after a fork, locks may be held by threads that are gone
    with _keeping:
        kept = _kept.setdefault(key, _Kept())
        _kept.move_to_end(key)
    with kept.lock:
        kept.file = kept.file or BlockFile(path, state=False)
    with _keeping:
        while len(_kept) > 1 and (len(_kept) > _FILES or sum(one.size for one in _kept.values()) > _TRANSACTIONS):
            _kept.popitem(last=False)
    return kept.file


def _about(*paths: Path) -> list[os.stat_result]:
    return [path.stat() for path in paths if path.exists()]


def _columns(file: TableFile) -> list[str]:
    """Leaves to read: paths as the file spells them, since writers call the items of a list differently."""
    leaves = [file.file.metadata.schema.column(i).path for i in range(file.file.metadata.num_columns)]
    program = [leaf for leaf in leaves if leaf.startswith("program.") and leaf.rsplit(".", 1)[-1] in _MEMBERS]
    return [*program, *(name for name in ("chain_gas_used",) if name in file.columns)]


def _parts(file: TableFile, blocks: BlockFile, numbers: Sequence[int]) -> Iterator[list[int]]:
    """Blocks to read together: by the ops of their row groups, as the file says; at least one."""
    meta = file.file.metadata
    ops = next((i for i in range(meta.num_columns) if meta.schema.column(i).path.startswith("program.")), 0)
    sizes = np.array([meta.row_group(g).column(ops).num_values for g in range(meta.num_row_groups)], np.int64)
    each = sizes / np.maximum(1, np.diff(file.ends))
    some: list[int] = []
    held = 0.0
    for number in numbers:
        rows = blocks.index.rows(number)
        size = float(each[np.searchsorted(file.ends, rows, side="right") - 1].sum())
        if some and held + size > _OPS:
            yield some
            some, held = [], 0.0
        some.append(number)
        held += size
    if some:
        yield some


def _read(file: TableFile, blocks: BlockFile, numbers: list[int], columns: list[str]) -> Accesses:
    parts = [blocks.index.rows(number) for number in numbers]
    rows = np.concatenate([np.zeros(0, np.int64), *parts])
    table = file.load_columns(rows, columns)
    found = program_keys(column(file.path, table, "program", rows).required())
    gas = np.full(len(rows), -1, np.int64)
    if "chain_gas_used" in table.column_names:
        given = column(file.path, table, "chain_gas_used", rows)
        gas = np.where(given.known(), given.integers(np.int64, 0, 2**63 - 1), -1)
    recipients = [blocks.headers[n][1].fee_recipient if n in blocks.headers else None for n in numbers]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return Accesses(numbers, starts, *found, gas=gas, fee_recipients=recipients)
