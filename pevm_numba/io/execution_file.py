"""An execution file is a record of one result: it belongs to the block whose digest it has, and what was altered is refused.

It holds no block: who reads it brings the block. Executions of EVM blocks have no file of this form: their receipts and block
access lists have forms of their own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..block import Block
from ..errors import FileFormatError
from ..execute.result import Changes, Execution, TxTimes
from ..machine.ops import Mode, Status
from ..schedule.plan import Schedule
from ..tabular import arrow_table, big_endian
from .columns import Column, column
from .parquet_file import EXECUTION_SCHEMA, SUFFIX, open_parquet
from .parquet_tables import SCHEMA_KEY
from .paths import COMPANIONS, existing, nameable, reading, replacing
from .schedule_columns import MAKESPAN, TIMES, WORKERS, timeline, waves

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SCHEMA", "read_execution", "write_execution"]

log = logging.getLogger("pevm_numba")

#: What the metadata of an execution file says it is.
SCHEMA: Final = EXECUTION_SCHEMA.decode()
_ABOUT, _CONTENT = b"about", b"content_sha256"
_I64: Final = 2**63 - 1
_RECEIPTS: Final = ("status", "gas_used", "refund", "output", "digest", "stop")
_REQUIRED: Final = ("block_number", "tx_index", *_RECEIPTS, "state")
_RUN: Final = ("worker", "start_ns", "end_ns", "runs")
_PLAN: Final = ("wave", "serial_position")
_PLANNED: Final = tuple(f"plan_{name}" for name in TIMES)
#: Members of `about`, and what each is.
_FACTS: Final[dict[str, type | tuple[type, ...]]] = {
    "block_number": int, "block_digest": str, "executor": str, "reason": str, "counters": dict, "timings": dict,
    "n_workers": (int, type(None)), "policy": (str, type(None)), "plan_workers": (int, type(None)),
    "plan_makespan": (float, type(None)),
}  # fmt: skip


# -------------------------------------------------------------------- writing


def write_execution(path: str | os.PathLike[str], execution: Execution) -> None:
    """Write an execution of a block of micro-ops as Parquet, one row per transaction.

    Columns: block_number u64, tx_index u32, status u8, gas_used i64, refund i64, output bin32, digest u64, stop i64 (ops of
    the program that were observed), state list<struct<key u32, value bin32>> (what is not as it was before the block, each
    key at the transaction that was the last to write it); if recorded, changes, as state, and worker u32, start_ns i64,
    end_ns i64, runs u32; with a schedule wave u32, serial_position u32, and with a timeline plan_worker u32, plan_start f64,
    plan_end f64. Words are big-endian; keys are those of the block. File metadata: ``pevm_numba.schema`` =
    ``pevm_numba.execution/1``, ``about``, a JSON object of all else, and ``content_sha256``.

    Parameters
    ----------
    path : path
        Ends in ``.parquet``, not as a companion of a block file does; a file of that name is replaced.
    execution : Execution

    Raises
    ------
    BlockError
        If it is not an Execution.
    FileFormatError
        If the path does not end so, or the system refuses to write.

    Notes
    -----
    Written to a temporary file first, so an interrupted write leaves the old file.

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
    door.instance("execution", execution, Execution, " of micro-ops, as execute(Block) makes it")
    import pyarrow.parquet as pq

    about = json.dumps(_facts(execution)).encode()
    metadata = {SCHEMA_KEY: EXECUTION_SCHEMA, _ABOUT: about, _CONTENT: _content(execution, about).encode()}
    table = _table(execution).replace_schema_metadata(metadata)
    with replacing(target) as (temporary,):
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
    log.info("%s: wrote an execution of %d transactions", target, execution.block.n_tx)


def _facts(execution: Execution) -> dict[str, Any]:
    """All that is not one value a transaction, or one a key."""
    block, times, plan = execution.block, execution.times, execution.schedule
    line = None if plan is None else plan.timeline
    return {
        "block_number": block.number, "block_digest": block.digest(), "executor": execution.executor,
        "reason": execution.reason, "counters": _integers("counters", execution.counters),
        "timings": _integers("timings", execution.timings), "n_workers": None if times is None else times.n_workers,
        "policy": None if plan is None else plan.policy, "plan_workers": None if line is None else line.n_workers,
        "plan_makespan": None if line is None else float(line.makespan),
    }  # fmt: skip


def _integers(name: str, given: Mapping[str, Any]) -> dict[str, int]:
    """Counts by name."""
    return {door.text(name, key): door.integer(f"{name}[{key!r}]", value, -_I64, _I64) for key, value in given.items()}


def _content(execution: Execution, about: bytes) -> str:
    """SHA-256 of all that a file holds, however Parquet lays it out."""
    sha = hashlib.sha256(about)
    given: list[tuple[str, Any, tuple[str, ...]]] = [
        ("", execution, (*_RECEIPTS, "values")), ("changes.", execution.changes, ("indptr", "keys", "values")),
        ("times.", execution.times, ("worker", "start", "end", "runs")),
        ("plan.", execution.schedule, ("wave_indptr", "wave_tx", "serial_order")),
        ("line.", None if execution.schedule is None else execution.schedule.timeline, TIMES),
    ]  # fmt: skip
    for part, holder, names in given:
        for name in names if holder is not None else ():
            values = np.ascontiguousarray(getattr(holder, name))
            sha.update(f"{part}{name}{values.shape}{values.dtype.str}".encode())
            sha.update(values.tobytes())
    return sha.hexdigest()


def _table(execution: Execution) -> pa.Table:
    block, plan = execution.block, execution.schedule
    columns: dict[str, NDArray[Any]] = {
        "block_number": np.full(block.n_tx, block.number, np.uint64), "tx_index": np.arange(block.n_tx, dtype=np.uint32),
        **{name: getattr(execution, name) for name in _RECEIPTS},
    }  # fmt: skip
    columns |= {"output": big_endian(execution.output), "stop": execution.stop - block.op_indptr[:-1]}
    if execution.times is not None:
        made = execution.times.columns()
        columns |= {name: made[name].astype(np.int64 if name.endswith("ns") else np.uint32) for name in _RUN}
    if plan is not None:
        made = plan.columns()
        columns |= {name: made[name].astype(np.uint32) for name in _PLAN}
        planned = zip(_PLANNED, TIMES, (np.uint32, np.float64, np.float64))
        columns |= {name: made[source].astype(dtype) for name, source, dtype in planned if source in made}
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


def read_execution(path: str | os.PathLike[str], block: Block) -> Execution:
    """Read an execution file.

    Parameters
    ----------
    path : path
        Of `write_execution`. Columns in any order, of any integer type that fits.
    block : Block
        The one that was executed: the same content, whatever file it comes from.

    Returns
    -------
    Execution
        Equal to the one written in receipts, state, observed accesses, changes, times, schedule, counters and timings.

    Raises
    ------
    BlockError
        If `block` is not a Block.
    FileFormatError
        If the file is of another block, or breaks a rule: naming file, column, row, value and rule; or if it was altered
        after it was written.
    """
    where = existing(path)
    door.instance("block", block, Block)
    table, about, content = _read(where)
    facts = _read_facts(where, about)
    if facts["block_digest"] != block.digest():
        told = f"block {facts['block_number']} with digest {door.shown(facts['block_digest'], 80)}"
        raise FileFormatError(f"{where}: execution of {told}: must be of {block!r} with digest {block.digest()}")
    if len(table) != block.n_tx:
        raise FileFormatError(f"{where}: {len(table)} rows: must be {block.n_tx}, one for each transaction of the block")
    rows = np.arange(len(table))
    given = {name: column(where, table, name, rows).required() for name in table.column_names}
    number = given["block_number"].integers(np.uint64, 0, 2**64 - 1)
    given["block_number"].reject(number != block.number, f"must be {block.number}, as the block has it")
    index = given["tx_index"].integers(np.int64, 0, 2**32 - 1)
    given["tx_index"].reject(index != rows, "tx_index counts 0, 1, 2, ...: sorted, no gap, no row twice")
    changes = _changes(given["changes"], block) if "changes" in given else None
    plan = _plan(where, given, facts)
    made = Execution(
        block, facts["executor"], plan, **_receipts(given, block), values=_values(given["state"], block), changes=changes,
        counters=facts["counters"], timings=facts["timings"], times=_times(given, facts["n_workers"]), reason=facts["reason"],
    )  # fmt: skip
    if _content(made, about) != content:
        rule = "the file was altered after it was written: execute the block again"
        raise FileFormatError(f"{where}: metadata {_CONTENT.decode()} = {content!r:.80}: is not that of the content: {rule}")
    return made


def _read(where: Path) -> tuple[pa.Table, bytes, str]:
    """Columns that are ours, checked for whole groups of them; `about`, and the hash of the content."""
    with closing(open_parquet(where)) as file:
        named = dict(file.metadata.metadata or {})
        if named.get(SCHEMA_KEY) != EXECUTION_SCHEMA:
            said = named.get(SCHEMA_KEY, b"none").decode(errors="replace")
            raise FileFormatError(f"{where}: schema {said!r:.80}: must be {SCHEMA}")
        for key in (_ABOUT, _CONTENT):
            if key not in named:
                raise FileFormatError(f"{where}: metadata {key.decode()}: missing")
        names = dict.fromkeys(file.schema_arrow.names)
        wanted = [*_REQUIRED]
        for group in (("changes",), _RUN, _PLAN, _PLANNED):
            wanted += group if any(name in names for name in group) else ()
        for name in wanted:
            if name not in names:
                raise FileFormatError(f"{where}: column {name}: missing: a required column")
        with reading(where, "damaged"):
            table = file.read(columns=wanted)
            table.validate(full=True)
        if len(table) != file.metadata.num_rows:
            raise FileFormatError(f"{where}: {len(table)} rows: must be {file.metadata.num_rows}, as the file says")
    return table, named[_ABOUT], named[_CONTENT].decode(errors="replace")


def _read_facts(where: Path, about: bytes) -> dict[str, Any]:
    """`about`, each member of its type."""
    with reading(where, "metadata about: not readable JSON"):
        facts = json.loads(about)
    if not isinstance(facts, dict) or facts.keys() != _FACTS.keys():
        raise FileFormatError(f"{where}: metadata about = {door.shown(facts, 80)}: must have {', '.join(_FACTS)}")
    for name, kind in _FACTS.items():
        if not isinstance(facts[name], kind) or isinstance(facts[name], bool):
            raise FileFormatError(f"{where}: metadata about, {name} = {door.shown(facts[name], 80)}: is of a wrong type")
    with reading(where, "metadata about"):
        for name in ("counters", "timings"):
            facts[name] = _integers(name, facts[name])
        for name in ("n_workers", "plan_workers"):
            if facts[name] is not None:
                door.integer(name, facts[name], 1, 2**31 - 1)
    return facts


def _receipts(given: dict[str, Column], block: Block) -> dict[str, NDArray[Any]]:
    """Receipts; `stop` becomes a place among all ops of the block."""
    found = {
        "status": given["status"].integers(np.uint8, 0, int(max(Status))),
        "gas_used": given["gas_used"].integers(np.int64, 0, _I64),
        "refund": given["refund"].integers(np.int64, -_I64 - 1, _I64),
        "output": _limbs(given["output"].fixed(32)),
        "digest": given["digest"].integers(np.uint64, 0, 2**64 - 1),
    }
    stop = given["stop"].integers(np.int64, 0, _I64)
    given["stop"].reject(stop > np.diff(block.op_indptr), "must be at most the number of ops of the transaction")
    found["stop"] = stop + block.op_indptr[:-1]
    return {name: _frozen(values) for name, values in found.items()}


def _limbs(words: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Big-endian words (n, 32) as limbs (n, 4), least significant first."""
    return np.ascontiguousarray(np.ascontiguousarray(words).view(">u8")[:, ::-1].astype(np.uint64))


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    """A read-only array that shares nothing with Arrow."""
    made = np.array(values)
    made.flags.writeable = False
    return made


def _entries(given: Column, block: Block) -> tuple[NDArray[np.int64], Column, NDArray[np.int32], NDArray[np.uint64]]:
    """Offsets, the column of keys, keys and values of a column of changes."""
    offsets, entries = given.items()
    if entries.is_null():
        return offsets, entries, np.empty(0, np.int32), np.empty((0, 4), np.uint64)
    key, value = entries.member("key").required(), entries.member("value").required()
    return offsets, key, key.integers(np.int32, 0, block.n_keys - 1), _limbs(value.fixed(32))


def _values(given: Column, block: Block) -> NDArray[np.uint64]:
    """State after the block."""
    _, column_of_keys, keys, words = _entries(given, block)
    first = np.full(block.n_keys, len(keys), np.int64)
    np.minimum.at(first, keys, np.arange(len(keys)))
    column_of_keys.reject(first[keys] != np.arange(len(keys)), "another entry has that key: each key once")
    values = block.pre_values.copy()
    values[keys] = words
    return _frozen(values)


def _changes(given: Column, block: Block) -> Changes:
    """Net changes of each transaction."""
    offsets, column_of_keys, keys, words = _entries(given, block)
    falls = np.zeros(len(keys), bool)
    falls[1:] = keys[1:] <= keys[:-1]
    falls[offsets[:-1][offsets[:-1] < len(keys)]] = False
    column_of_keys.reject(falls, "keys of a transaction must be distinct and ascending")
    return Changes(_frozen(offsets), _frozen(keys), _frozen(words))


def _times(given: dict[str, Column], n_workers: int | None) -> TxTimes | None:
    """When transactions ran, if that was recorded."""
    if "worker" not in given:
        return None
    n_workers = 0 if n_workers is None else n_workers
    worker = given["worker"].integers(np.int32, 0, 2**31 - 2)
    given["worker"].reject(worker >= n_workers, f"must be below n_workers = {n_workers}")
    start = given["start_ns"].integers(np.int64, 0, _I64)
    end = given["end_ns"].integers(np.int64, 0, _I64)
    given["end_ns"].reject(end < start, "must not be before start_ns")
    runs = given["runs"].integers(np.int32, 1, 2**31 - 1)
    return TxTimes(_frozen(start), _frozen(end), _frozen(worker), _frozen(runs), n_workers)


def _plan(where: Path, given: dict[str, Column], facts: dict[str, Any]) -> Schedule | None:
    """The schedule that was followed, if the file has one."""
    if "wave" not in given:
        return None
    columns = {name: given[name] for name in ("block_number", "tx_index", *_PLAN)}
    columns |= {source: given[name] for name, source in zip(_PLANNED, TIMES) if name in given}
    named = {WORKERS: str(facts["plan_workers"]).encode(), MAKESPAN: repr(facts["plan_makespan"]).encode()}
    line = timeline(where, columns, named if facts["plan_workers"] is not None else {})
    with reading(where, "not a schedule"):
        return Schedule(facts["policy"], *waves(columns), line)
