"""An execution file is a record of one result: it belongs to the block whose digest it has, and what was altered is refused.

It holds no block: who reads it brings the block. Executions of blocks of micro-ops are written and read here, those of EVM
blocks in `evm_execution_file`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..block import Block
from ..errors import BlockError, FileFormatError
from ..evm.block import AnyBlock, EvmBlock, need_block
from ..execute.evm_result import EvmExecution
from ..execute.result import Changes, Execution
from ..machine.ops import Mode, Status
from ..tabular import arrow_table, big_endian
from .columns import Column, column
from .evm_execution_file import read_evm, write_evm
from .execution_columns import (
    GROUPS,
    I64,
    check_block,
    check_content,
    content,
    facts_of,
    frozen,
    held,
    limbs,
    open_table,
    plan_columns,
    read_facts,
    read_plan,
    read_times,
    run_arrays,
    time_columns,
    write_table,
)
from .parquet_file import EXECUTION_SCHEMA, SUFFIX
from .paths import COMPANIONS, existing, nameable

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SCHEMA", "read_execution", "write_execution"]

log = logging.getLogger("pevm_numba")

#: What the metadata of an execution file of micro-ops says it is.
SCHEMA: Final = EXECUTION_SCHEMA.decode()
_RECEIPTS: Final = ("status", "gas_used", "refund", "output", "digest", "stop")
_REQUIRED: Final = ("block_number", "tx_index", *_RECEIPTS, "state")


# -------------------------------------------------------------------- writing


def write_execution(path: str | os.PathLike[str], execution: Execution | EvmExecution) -> None:
    """Write an execution as Parquet.

    Parameters
    ----------
    path : path
        Ends in ``.parquet``, not as a companion of a block file does; a file of that name is replaced.
    execution : Execution or EvmExecution

    Raises
    ------
    BlockError
        If it is neither, or counters or timings are no integers.
    FileFormatError
        If the path does not end so, or the system refuses to write.

    Notes
    -----
    Written to a temporary file first, so an interrupted write leaves the old file. File metadata: ``pevm_numba.schema``,
    ``about``, a JSON object of all that is in no column, and ``content_sha256``. Words are big-endian.

    Of micro-ops, schema ``pevm_numba.execution/1``, one row per transaction: block_number u64, tx_index u32, status u8,
    gas_used i64, refund i64, output bin32, digest u64, stop i64 (ops of the program that were observed), state
    list<struct<key u32, value bin32>> (what is not as it was before the block, each key at the transaction that was the
    last to write it); if recorded, changes, as state, and worker u32, start_ns i64, end_ns i64, runs u32; with a schedule
    wave u32, serial_position u32, and with a timeline plan_worker u32, plan_start f64, plan_end f64. Keys are the block's.

    Of the EVM, schema ``pevm_numba.evm_execution/1``: see `pevm_numba.io.evm_execution_file`.

    Examples
    --------
    >>> import tempfile
    >>> from pevm_numba.execute.run import execute
    >>> block = Block.from_programs([[("SSTORE", (1, 0, 0), 5)]])
    >>> done = execute(block, "serial")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_execution(folder + "/done.parquet", done)
    ...     print(read_execution(folder + "/done.parquet", block).difference(done))
    None
    """
    target = nameable(path)
    if not target.name.endswith(SUFFIX) or target.name.endswith(COMPANIONS):
        raise FileFormatError(f"{target}: an execution file is named NAME{SUFFIX} (not {' or '.join(COMPANIONS)})")
    if isinstance(execution, EvmExecution):
        write_evm(target, execution)
    elif isinstance(execution, Execution):
        write_table(target, _table(execution), EXECUTION_SCHEMA, facts_of(execution), _arrays(execution))
    else:
        raise BlockError(f"execution = {door.shown(execution)}: must be an Execution or an EvmExecution, made by execute")
    log.info("%s: wrote an execution of %d transactions", target, execution.block.n_tx)


def _arrays(execution: Execution) -> Iterator[tuple[str, NDArray[Any]]]:
    """All that a file holds, in the order in which it is hashed."""
    yield from held("", execution, (*_RECEIPTS, "values"))
    yield from held("changes.", execution.changes, ("indptr", "keys", "values"))
    yield from run_arrays(execution)


def _table(execution: Execution) -> pa.Table:
    block = execution.block
    columns: dict[str, NDArray[Any]] = {
        "block_number": np.full(block.n_tx, block.number, np.uint64), "tx_index": np.arange(block.n_tx, dtype=np.uint32),
        **{name: getattr(execution, name) for name in _RECEIPTS},
    }  # fmt: skip
    columns |= {"output": big_endian(execution.output), "stop": execution.stop - block.op_indptr[:-1]}
    if execution.times is not None:
        columns |= time_columns(execution.times)
    if execution.schedule is not None:
        columns |= plan_columns(execution.schedule)
    table = arrow_table(columns).append_column("state", _changes_column(_state(execution)))
    return table if execution.changes is None else table.append_column("changes", _changes_column(execution.changes))


def _state(execution: Execution) -> Changes:
    """Keys that are not as they were before the block, each at the transaction that was the last to write it.

    What none is seen to have written stands at the last one: a file can hold a wrong result, too.
    """
    block, seen, plan = execution.block, execution.observed, execution.schedule
    order = np.arange(block.n_tx, dtype=np.int32) if plan is None else plan.serial_order
    by_order = seen.reordered(order)
    owner = np.repeat(order, np.diff(by_order.indptr))
    wrote = (by_order.modes & (Mode.WRITE | Mode.CREDIT)) > 0
    last = np.full(block.n_keys, max(0, block.n_tx - 1))
    last[by_order.keys[wrote]] = owner[wrote]  # of several the last one stays
    keys = np.flatnonzero((execution.values != block.pre_values).any(axis=1)).astype(np.int32)
    if len(keys) and not block.n_tx:
        raise FileFormatError("execution: a block without transactions changes its state: must leave it as it was")
    at = np.argsort(last[keys], kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(last[keys], minlength=block.n_tx)[: block.n_tx])])
    return Changes(indptr.astype(np.int64), keys[at], execution.values[keys[at]])


def _changes_column(changes: Changes) -> pa.Array:
    import pyarrow as pa

    words = arrow_table({"key": changes.keys.astype(np.uint32), "value": big_endian(changes.values)})
    entries = pa.StructArray.from_arrays([part.combine_chunks() for part in words.columns], words.column_names)
    return pa.LargeListArray.from_arrays(pa.array(changes.indptr, pa.int64()), entries)


# -------------------------------------------------------------------- reading


@overload
def read_execution(path: str | os.PathLike[str], block: Block) -> Execution: ...
@overload
def read_execution(path: str | os.PathLike[str], block: EvmBlock) -> EvmExecution: ...
def read_execution(path: str | os.PathLike[str], block: AnyBlock) -> Execution | EvmExecution:
    """Read an execution file.

    Parameters
    ----------
    path : path
        Of `write_execution`. Columns in any order, of any integer type that fits.
    block : Block or EvmBlock
        The one that was executed: the same content, whatever file it comes from.

    Returns
    -------
    Execution, or EvmExecution of an EvmBlock
        Equal to the one written in receipts, logs, state, observed accesses, changes, block access list, times, schedule,
        counters and timings. What an EVM block is compared with, ``block.after``, is that of the block given here. Not as it
        was is ``accesses.raw`` of the EVM, which has other numbers for its keys: `tx_accesses` of it is the same.

    Raises
    ------
    BlockError
        If `block` is neither.
    FileFormatError
        If the file is of another block, or breaks a rule: naming file, column, row, value and rule; or if it was altered
        after it was written.
    """
    where = existing(path)
    need_block("block", block)
    return read_evm(where, block) if isinstance(block, EvmBlock) else _read(where, block)


def _read(where: Path, block: Block) -> Execution:
    table, about, said = open_table(where, EXECUTION_SCHEMA, _REQUIRED, (("changes",), *GROUPS))
    facts = read_facts(where, about)
    check_block(where, facts, block)
    if len(table) != block.n_tx:
        raise FileFormatError(f"{where}: {len(table)} rows: must be {block.n_tx}, one for each transaction of the block")
    rows = np.arange(len(table))
    given = {name: column(where, table, name, rows).required() for name in table.column_names}
    number = given["block_number"].integers(np.uint64, 0, 2**64 - 1)
    given["block_number"].reject(number != block.number, f"must be {block.number}, as the block has it")
    index = given["tx_index"].integers(np.int64, 0, 2**32 - 1)
    given["tx_index"].reject(index != rows, "tx_index counts 0, 1, 2, ...: sorted, no gap, no row twice")
    changes = _changes(given["changes"], block) if "changes" in given else None
    plan = read_plan(where, given, facts)
    times = read_times(given, facts["n_workers"]) if "worker" in given else None
    made = Execution(
        block, facts["executor"], plan, **_receipts(given, block), values=_values(given["state"], block), changes=changes,
        counters=facts["counters"], timings=facts["timings"], times=times, reason=facts["reason"],
    )  # fmt: skip
    check_content(where, said, content(about, _arrays(made)))
    return made


def _receipts(given: dict[str, Column], block: Block) -> dict[str, NDArray[Any]]:
    """Receipts; `stop` becomes a place among all ops of the block."""
    found = {
        "status": given["status"].integers(np.uint8, 0, int(max(Status))),
        "gas_used": given["gas_used"].integers(np.int64, 0, I64),
        "refund": given["refund"].integers(np.int64, -I64 - 1, I64),
        "output": limbs(given["output"].fixed(32)),
        "digest": given["digest"].integers(np.uint64, 0, 2**64 - 1),
    }
    stop = given["stop"].integers(np.int64, 0, I64)
    given["stop"].reject(stop > np.diff(block.op_indptr), "must be at most the number of ops of the transaction")
    found["stop"] = stop + block.op_indptr[:-1]
    return {name: frozen(values) for name, values in found.items()}


def _entries(given: Column, block: Block) -> tuple[NDArray[np.int64], Column, NDArray[np.int32], NDArray[np.uint64]]:
    """Offsets, the column of keys, keys and values of a column of changes."""
    offsets, entries = given.items()
    if entries.is_null():
        return offsets, entries, np.empty(0, np.int32), np.empty((0, 4), np.uint64)
    key, value = entries.member("key").required(), entries.member("value").required()
    return offsets, key, key.integers(np.int32, 0, block.n_keys - 1), limbs(value.fixed(32))


def _values(given: Column, block: Block) -> NDArray[np.uint64]:
    """State after the block."""
    _, column_of_keys, keys, words = _entries(given, block)
    first = np.full(block.n_keys, len(keys), np.int64)
    np.minimum.at(first, keys, np.arange(len(keys)))
    column_of_keys.reject(first[keys] != np.arange(len(keys)), "another entry has that key: each key once")
    values = block.pre_values.copy()
    values[keys] = words
    return frozen(values)


def _changes(given: Column, block: Block) -> Changes:
    """Net changes of each transaction."""
    offsets, column_of_keys, keys, words = _entries(given, block)
    falls = np.zeros(len(keys), bool)
    falls[1:] = keys[1:] <= keys[:-1]
    falls[offsets[:-1][offsets[:-1] < len(keys)]] = False
    column_of_keys.reject(falls, "keys of a transaction must be distinct and ascending")
    return Changes(frozen(offsets), frozen(keys), frozen(words))
