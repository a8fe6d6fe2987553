"""Block access lists of real blocks: reads carry no transaction there, so only what was written can make dependencies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..access.sets import AccessSets
from ..errors import FileFormatError
from ..io.corpus_columns import Columns, read_columns
from ..machine.ops import Mode
from ..schedule.dependencies import dependencies

__all__ = ["FIRST", "LAST", "bal_table", "storage_writes"]

#: The consecutive blocks of which the list's indices have been found complete, both inclusive.
FIRST: Final = 20_615_532
LAST: Final = 20_615_581

_KINDS: Final = (
    "storage_read", "storage_write", "balance_change", "nonce_change", "code_change", "account_access"
)  # fmt: skip
_ENCODINGS: Final = ("rlp", "ssz")
_COLUMNS: Final = ("block_number", "block_access_index", "address", "slot", "kind", "has_reads", "encoding")


def storage_writes(path: Path, *, first: int = FIRST, last: int = LAST) -> Iterator[tuple[int, AccessSets]]:
    """Which transaction wrote which slot, by the RLP lists with reads.

    Parameters
    ----------
    path : Path
        Parquet file of decoded lists, one row for each entry.
    first, last : int
        Block numbers, both inclusive.

    Yields
    ------
    number : int
    access : AccessSets
        WRITE only, of slots. Transactions are 0 up to the highest index that any change of the block carries, so one
        that wrote no slot counts too; the 0-based index in these lists is the transaction's place in the block.

    Raises
    ------
    FileFormatError
        If the file cannot be read, a column is missing or of another type, or no such block is in it.
    """
    table = read_columns(path, _COLUMNS)
    numbers = table.integers("block_number", 0, 2**63 - 1)
    wanted = (numbers >= first) & (numbers <= last) & table.flags("has_reads")
    wanted &= table.codes("encoding", _ENCODINGS) == _ENCODINGS.index("rlp")
    if not wanted.any():
        raise FileFormatError(f"{path}: no RLP list with reads of blocks {first} to {last}")
    index = table.integers("block_access_index", 0, 2**16 - 1, null=-1)
    written = table.codes("kind", _KINDS) == _KINDS.index("storage_write")
    address, slot = _keys(table, wanted & written, index)
    place = np.cumsum(wanted & written) - 1
    for number in np.unique(numbers[wanted]):
        here = wanted & (numbers == number)
        rows = np.flatnonzero(here & written)
        yield int(number), _sets(int(index[here].max()) + 1, index[rows], address[place[rows]], slot[place[rows]])


def _keys(table: Columns, rows: NDArray[np.bool_], index: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Address and slot of the rows, which must have both and an index."""
    address, _ = table.fixed("address", 20)
    slot, has_slot = table.fixed("slot", 32, nulls=True)
    for name, bad in (("slot", rows & ~has_slot), ("block_access_index", rows & (index < 0))):
        if bad.any():
            raise table.fail(name, int(np.argmax(bad)), "null", "a storage_write must have one")
    return address[rows], slot[rows]


def _sets(n_tx: int, tx: NDArray[np.int64], address: NDArray[np.uint8], slot: NDArray[np.uint8]) -> AccessSets:
    ids, firsts = door.intern_rows(address, np.zeros(len(tx), np.uint8), slot)
    n_keys = max(1, len(firsts))
    entry = np.unique(tx * n_keys + ids)
    indptr = np.searchsorted(entry, np.arange(n_tx + 1) * n_keys)
    return AccessSets.from_arrays(len(firsts), indptr, entry % n_keys, np.full(len(entry), Mode.WRITE, np.uint8))


def bal_table(path: Path, *, first: int = FIRST, last: int = LAST) -> list[dict[str, Any]]:
    """Critical path and isolated transactions of each block, with consecutive writers of a slot as edges, unit cost.

    Returns
    -------
    list of dict
        `block_number`, `n_tx`, `n_writes` (distinct slots, summed over transactions), `critical_path` (transactions),
        `isolated` (transactions without any edge), `isolated_share` (in [0, 1]).

    Raises
    ------
    FileFormatError
        As `storage_writes`.
    """
    rows = []
    for number, access in storage_writes(path, first=first, last=last):
        deps = dependencies(access, edges="waw")
        isolated = int(deps.isolated.sum())
        rows.append({
            "table": "bal", "block_number": number, "n_tx": access.n_tx, "n_writes": access.n_accesses,
            "critical_path": deps.critical_path()[0], "isolated": isolated,
            "isolated_share": isolated / access.n_tx if access.n_tx else 0.0,
        })  # fmt: skip
    return rows
