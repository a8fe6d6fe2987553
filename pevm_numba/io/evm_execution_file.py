"""Executions of EVM blocks in files: schema ``pevm_numba.evm_execution/1``, one row for each block access index of EIP-7928.

Row 0 is before the transactions, rows 1 to n_tx are theirs, and row n_tx + 1 is after them. Columns: block_number u64,
block_access_index u32; of each transaction, null in the first row and the last, tx_index u32, success bool, gas_used i64
(refunds taken off), worker u32, start_ns i64, end_ns i64, runs u32, with a schedule wave u32, serial_position u32, and with a
timeline plan_worker u32, plan_start f64, plan_end f64. All else are lists; words are big-endian, a key is the number of an
entry of another list:

- logs of a transaction: address bin20, topics list<bin32>, data binary;
- accesses of a transaction: key u32 (of keys), mode u8 (`Mode`); changes: key u32 (of keys), kind u8 (1 a new value, 2 an
  amount that is added), value bin32; touched, in failed calls, too: address bin20, slot bin32 (null for the account itself),
  saved i64 (gas that listing it would have saved, EIP-2930);
- listed, what the block access list says of an index: key u32 (of listed_keys), value bin32;
- in row 0, of the whole block: keys (address bin20, field u8, slot bin32, before bin32), that transactions accessed;
  listed_keys (address, field, slot) and listed_addresses (address), that the block accessed; changed (address, field, slot,
  value), what a store commits; state (address, field, slot, value), what is not as it was before the block, without a value
  if it is gone; after_transactions, as state, what is not yet as in state; codes binary, each once, known by its hash.

File metadata is as of executions of micro-ops; ``about`` has ``fetches``, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels.evm.layout import MET
from ..errors import BlockError, FileFormatError
from ..evm.accesses import BlockAccesses
from ..evm.block import EvmBlock
from ..evm.hashing import EMPTY_HASH, keccak
from ..evm.lazy import Fetches
from ..evm.observation import CHANGES, Observation
from ..evm.outcomes import NOTES
from ..evm.plans import CELLS
from ..evm.receipts import Log
from ..evm.tx_accesses import RawAccesses, TxAccesses, tx_accesses
from ..execute.evm_result import EvmExecution
from ..keys import KeyTable, StateChange
from ..machine.ops import Field
from ..tabular import arrow_table
from .columns import Column, column
from .evm_execution_columns import (
    ALL_LISTS,
    Arrays,
    as_binaries,
    check_lists,
    known_codes,
    list_arrays,
    pieces,
    read_lists,
    reject_filled_ends,
    rows_of,
)
from .execution_columns import (
    GROUPS,
    I64,
    RUN,
    check_block,
    check_content,
    content,
    facts_of,
    frozen,
    integers,
    open_table,
    plan_columns,
    read_facts,
    read_plan,
    read_times,
    run_arrays,
    time_columns,
    write_table,
)
from .parquet_file import EVM_EXECUTION_SCHEMA
from .paths import reading
from .state_rows import StateRows, account_states, state_rows, with_rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_evm", "write_evm"]

_OF_BLOCK: Final = ("block_number", "block_access_index")
_OF_TX: Final = ("tx_index", "success", "gas_used", *RUN)
_REQUIRED: Final = (*_OF_BLOCK, *_OF_TX, *ALL_LISTS)
#: Words of accounts without code.
_NONE: Final = (bytes(32), EMPTY_HASH)


# -------------------------------------------------------------------- writing


def write_evm(target: Path, execution: EvmExecution) -> None:
    """Write an execution of an EVM block.

    Raises
    ------
    BlockError
        If counters, timings or fetches are no integers, or codes are not those that its changes put somewhere.
    FileFormatError
        If the system refuses to write.
    """
    arrays = _arrays(execution)
    facts = {**facts_of(execution), "fetches": integers("fetches", execution.fetches._asdict())}
    hashed = [*sorted(arrays.items()), *run_arrays(execution)]
    write_table(target, _table(execution, arrays), EVM_EXECUTION_SCHEMA, facts, hashed)


def _table(execution: EvmExecution, arrays: Arrays) -> pa.Table:
    import pyarrow as pa

    block = execution.block
    n = block.n_tx
    rows: dict[str, NDArray[Any]] = {
        "block_number": np.full(n + 2, block.number, np.uint64),
        "block_access_index": np.arange(n + 2, dtype=np.uint32),
    }
    txs: dict[str, NDArray[Any]] = {
        "tx_index": np.arange(n, dtype=np.uint32), "success": execution.success, "gas_used": execution.gas_used,
        **time_columns(execution.times),
    }  # fmt: skip
    if execution.schedule is not None:
        txs |= plan_columns(execution.schedule)
    table = arrow_table(rows)
    for name, values in txs.items():
        given = pa.array(values)
        none = pa.nulls(1, given.type)
        table = table.append_column(name, pa.concat_arrays([none, given, none]))
    for name, lists in list_arrays(arrays).items():
        table = table.append_column(name, lists)
    return table


def _arrays(execution: EvmExecution) -> Arrays:
    """All that lists hold, and receipts."""
    n, seen, known = execution.block.n_tx, execution.seen, execution.accesses
    made: Arrays = {"success": execution.success, "gas_used": execution.gas_used}
    made |= _log_arrays(execution.logs) | _change_arrays(seen, n)
    made |= {"accesses.indptr": _between(seen.indptr), "accesses.key": seen.key, "accesses.mode": seen.modes}
    touched = tx_accesses(known.raw)
    made |= {
        "touched.indptr": _between(touched.indptr), "touched.address": touched.address, "touched.slot": touched.slot,
        "touched.slot.known": touched.is_slot, "touched.saved": touched.saved,
    }  # fmt: skip
    by = np.lexsort((known.change_key, known.change_index))
    made["listed.indptr"] = np.searchsorted(known.change_index[by], np.arange(n + 3)).astype(np.int64)
    made |= {"listed.key": known.change_key[by].astype(np.int32), "listed.value": known.change_value[by]}
    made |= _first("keys", n, **_key_arrays(seen.keys), before=seen.before[:, ::-1])
    made |= _first("listed_keys", n, **_key_arrays(known.keys)) | _first("listed_addresses", n, address=known.addresses)
    made |= _first("changed", n, **_key_arrays(execution.change.keys), value=execution.change.words)
    codes = {keccak(code): code for code in (*seen.codes, *known.codes.values(), *execution.change.codes.values()) if code}
    after = execution.state
    for name, one, two in (
        ("state", account_states(execution.block.state), after), ("after_transactions", after, execution.after_transactions),
    ):  # fmt: skip
        rows, more = state_rows(one, two)
        made |= _first(name, n, **rows._asdict())
        made[f"{name}.value.known"] = made.pop(f"{name}.known")
        codes |= more
    listed = [code for _, code in sorted(codes.items())]
    made |= as_binaries("codes.code", listed) | {"codes.indptr": _whole(len(listed), n)}
    given = (seen.codes, dict(known.codes), dict(execution.change.codes))
    if given != _codes_put(made, {**dict.fromkeys(_NONE, b""), **codes}):
        raise BlockError("execution: codes of seen, accesses and change must be those that their changes put somewhere")
    return made


def _between(indptr: NDArray[np.int64]) -> NDArray[np.int64]:
    """Offsets of transactions as offsets of rows: one before them, one after."""
    return np.concatenate([indptr[:1], indptr, indptr[-1:]])


def _whole(count: int, n_tx: int) -> NDArray[np.int64]:
    """Offsets of a list that is in the first row."""
    return np.concatenate([[0], np.full(n_tx + 2, count)]).astype(np.int64)


def _first(name: str, n_tx: int, **members: NDArray[Any]) -> Arrays:
    """A list that is in the first row."""
    (count,) = {len(values) for values in members.values()}
    return {f"{name}.{member}": values for member, values in members.items()} | {f"{name}.indptr": _whole(count, n_tx)}


def _key_arrays(keys: KeyTable) -> Arrays:
    return {"address": keys.address, "field": keys.field, "slot": keys.slot}


def _log_arrays(given: Iterable[tuple[Log, ...]]) -> Arrays:
    sizes = [len(logs) for logs in given]
    every = [log for logs in given for log in logs]
    words = [one if isinstance(one, bytes) else one.to_bytes(32, "big") for log in every for one in log.topics]
    return {
        "logs.indptr": _between(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)),
        "logs.address": np.frombuffer(b"".join(log.address for log in every), np.uint8).reshape(-1, 20),
        "logs.topics.indptr": np.concatenate([[0], np.cumsum([len(log.topics) for log in every])]).astype(np.int64),
        "logs.topics": np.frombuffer(b"".join(words), np.uint8).reshape(-1, 32),
        **as_binaries("logs.data", [log.data for log in every]),
    }


def _change_arrays(seen: Observation, n_tx: int) -> Arrays:
    changes = seen.changes[np.lexsort((seen.changes["key"], seen.changes["tx"]))]
    return {
        "changes.indptr": _between(np.searchsorted(changes["tx"], np.arange(n_tx + 1)).astype(np.int64)),
        "changes.key": changes["key"].astype(np.int32), "changes.kind": changes["kind"].astype(np.uint8),
        "changes.value": changes["value"][:, ::-1],
    }  # fmt: skip


def _codes_put(
    arrays: Arrays, known: Mapping[bytes, bytes]
) -> tuple[tuple[bytes, ...], dict[bytes, bytes], dict[bytes, bytes]]:
    """Codes as an observation, the accesses of the block, and the change of the state have them; unknown ones left out."""
    found = []
    for name, field in (
        ("changes", arrays["keys.field"][arrays["changes.key"]]),
        ("listed", arrays["listed_keys.field"][arrays["listed.key"]]), ("changed", arrays["changed.field"]),
    ):  # fmt: skip
        words = arrays[f"{name}.value"][field == int(Field.CODE)]
        found.append(sorted({word.tobytes() for word in words} & known.keys()))
    placed, listed, changed = found
    return (
        tuple(sorted({known[one] for one in placed} - {b""})),
        {one: known[one] for one in listed if any(one)} | {bytes(32): b""},
        {one: known[one] for one in changed if one not in _NONE},
    )


# -------------------------------------------------------------------- reading


def read_evm(where: Path, block: EvmBlock) -> EvmExecution:
    """Read an execution of an EVM block.

    Raises
    ------
    FileFormatError
        If the file is of another block, breaks a rule, or was altered: naming file, column, row, value and rule.
    """
    table, about, said = open_table(where, EVM_EXECUTION_SCHEMA, _REQUIRED, GROUPS)
    facts = _read_facts(where, about)
    check_block(where, facts, block)
    n = block.n_tx
    if len(table) != n + 2:
        rule = f"must be {n + 2}, one for each transaction of the block, one before them and one after"
        raise FileFormatError(f"{where}: {len(table)} rows: {rule}")
    given = {name: column(where, table, name, np.arange(n + 2)) for name in table.column_names}
    _check_rows(given, block)
    reject_filled_ends(given, tuple(name for name in given if name not in (*_OF_BLOCK, *ALL_LISTS)))
    inner, places = table.slice(1, n), np.arange(1, n + 1)
    of_tx = {name: column(where, inner, name, places).required() for name in given if name not in ALL_LISTS}
    index = of_tx["tx_index"].integers(np.int64, 0, 2**32 - 1)
    of_tx["tx_index"].reject(index != np.arange(n), "tx_index counts 0, 1, 2, ... from row 1 on")
    arrays, columns = read_lists(given)
    check_lists(given, arrays, columns)
    arrays["success"] = of_tx["success"].booleans().to_numpy(zero_copy_only=False).astype(bool)
    arrays["gas_used"] = of_tx["gas_used"].integers(np.int64, 0, I64)
    made = _made(where, block, facts, of_tx, arrays)
    check_content(where, said, content(about, [*sorted(arrays.items()), *run_arrays(made)]))
    return made


def _read_facts(where: Path, about: bytes) -> dict[str, Any]:
    """`about`, with what only executions of the EVM have."""
    facts = read_facts(where, about, {"fetches": dict})
    if facts["n_workers"] is None:
        raise FileFormatError(f"{where}: metadata about, n_workers = None: must be an integer, as times are always recorded")
    if facts["fetches"].keys() != set(Fetches._fields):
        told = door.shown(facts["fetches"], 80)
        raise FileFormatError(f"{where}: metadata about, fetches = {told}: must have {', '.join(Fetches._fields)}")
    with reading(where, "metadata about"):
        facts["fetches"] = Fetches(**integers("fetches", facts["fetches"]))
    return facts


def _check_rows(given: Mapping[str, Column], block: EvmBlock) -> None:
    number = given["block_number"].required().integers(np.uint64, 0, 2**64 - 1)
    given["block_number"].reject(number != block.number, f"must be {block.number}, as the block has it")
    index = given["block_access_index"].required().integers(np.int64, 0, 2**32 - 1)
    given["block_access_index"].reject(index != np.arange(len(index)), "block_access_index counts 0, 1, 2, ... in order")


def _made(where: Path, block: EvmBlock, facts: dict[str, Any], of_tx: Mapping[str, Column], arrays: Arrays) -> EvmExecution:
    """The execution, of arrays that have been checked."""
    codes = known_codes(arrays)
    placed, listed, changed = _codes_put(arrays, codes)
    state = with_rows(account_states(block.state), _state_rows(arrays, "state"), codes)
    between = with_rows(state, _state_rows(arrays, "after_transactions"), codes)
    words = frozen(arrays["changed.value"])
    return EvmExecution(
        block, facts["executor"], read_plan(where, of_tx, facts), frozen(arrays["success"]), frozen(arrays["gas_used"]),
        _logs(arrays), _seen(arrays, placed), between, state, read_times(of_tx, facts["n_workers"]),
        _accesses(arrays, block.n_tx, listed), StateChange(_keys(arrays, "changed"), words, changed), facts["fetches"],
        facts["counters"], facts["timings"], facts["reason"],
    )  # fmt: skip


def _keys(arrays: Arrays, name: str) -> KeyTable:
    return KeyTable(arrays[f"{name}.address"], arrays[f"{name}.field"], arrays[f"{name}.slot"])


def _state_rows(arrays: Arrays, name: str) -> StateRows:
    columns = (arrays[f"{name}.{member}"] for member in ("address", "field", "slot", "value", "value.known"))
    return StateRows(*columns)


def _within(indptr: NDArray[np.int64]) -> NDArray[np.int64]:
    """Offsets of rows as offsets of transactions."""
    return frozen(indptr[1:-1])


def _logs(arrays: Arrays) -> tuple[tuple[Log, ...], ...]:
    address, words = arrays["logs.address"].tobytes(), arrays["logs.topics"].tobytes()
    topics = [int.from_bytes(words[at : at + 32], "big") for at in range(0, len(words), 32)]
    ends = arrays["logs.topics.indptr"].tolist()
    every = tuple(
        Log(address[20 * i : 20 * i + 20], tuple(topics[ends[i] : ends[i + 1]]), data)
        for i, data in enumerate(pieces(arrays, "logs.data"))
    )
    return tuple(every[start:stop] for start, stop in pairwise(_within(arrays["logs.indptr"]).tolist()))


def _seen(arrays: Arrays, codes: tuple[bytes, ...]) -> Observation:
    changes = np.empty(len(arrays["changes.key"]), CHANGES)
    changes["tx"] = rows_of(arrays, "changes") - 1
    changes["key"], changes["kind"] = arrays["changes.key"], arrays["changes.kind"]
    changes["value"] = arrays["changes.value"][:, ::-1]
    return Observation(
        _keys(arrays, "keys"), _within(arrays["accesses.indptr"]), frozen(arrays["accesses.key"]),
        frozen(arrays["accesses.mode"]), frozen(changes), frozen(arrays["keys.before"][:, ::-1]), codes,
    )  # fmt: skip


def _accesses(arrays: Arrays, n_tx: int, codes: Mapping[bytes, bytes]) -> BlockAccesses:
    key, index, value = arrays["listed.key"].astype(np.int64), rows_of(arrays, "listed"), arrays["listed.value"]
    by = np.lexsort((index, key))
    touched = TxAccesses(
        _within(arrays["touched.indptr"]), arrays["touched.address"], arrays["touched.slot.known"], arrays["touched.slot"],
        arrays["touched.saved"],
    )  # fmt: skip
    return BlockAccesses(
        n_tx, _keys(arrays, "listed_keys"), frozen(index[by]), frozen(key[by]), frozen(value[by]),
        frozen(arrays["listed_addresses.address"]), codes, _raw(touched),
    )  # fmt: skip


def _raw(touched: TxAccesses) -> RawAccesses:
    """Notes from which `tx_accesses` makes that again: a table of accounts, three keys each, and of slots after them."""
    _, first, account = np.unique(_text(touched.address), return_index=True, return_inverse=True)
    account = account.reshape(-1)
    slots = np.flatnonzero(touched.is_slot)
    pairs = np.concatenate([touched.address[slots], touched.slot[slots]], axis=1)
    _, first_slot, place = np.unique(_text(pairs), return_index=True, return_inverse=True)
    n_heads = 3 * len(first)
    words = np.zeros((n_heads + len(first_slot), 32), np.uint8)
    words[:n_heads, :20] = np.repeat(touched.address[first, ::-1], 3, axis=0)
    words[n_heads:] = touched.slot[slots[first_slot], ::-1]
    owners = np.concatenate([np.full(n_heads, -1), 3 * account[slots[first_slot]]]).astype(np.int64)
    notes = np.zeros(len(account), NOTES)
    notes["key"], notes["saved"] = MET - 3 * account, touched.saved
    notes["key"][slots] = n_heads + place.reshape(-1)
    each = [notes[start:stop] for start, stop in pairwise(touched.indptr.tolist())]
    return RawAccesses(words, owners, each, [np.empty(0, CELLS)] * len(each))


def _text(rows: NDArray[np.uint8]) -> NDArray[Any]:
    return np.ascontiguousarray(rows).view(f"S{rows.shape[1]}").reshape(-1)
