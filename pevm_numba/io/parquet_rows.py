"""Rows of a block file to the arrays of a Block: a null word is the stack top in SSTORE, an error in ADD."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import door, metadata
from ..machine.ops import CREDIT_FIELD, MAX_COUNT, TOP, Field, Op
from .columns import Column, column

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["KeyParts", "ProgramKeys", "limbs", "program_keys", "state_columns", "transaction_columns"]

_U64 = 2**64 - 1
_Rows = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


class KeyParts:
    """Collects key rows of programs, lists and declared sets into one table; `add` says where they begin."""

    def __init__(self) -> None:
        self.parts: list[_Rows] = []
        self.size = 0

    def add(self, address: NDArray[np.uint8], field: NDArray[np.uint8], slot: NDArray[np.uint8]) -> int:
        """Append rows and return the number of the first."""
        self.parts.append((address, field, slot))
        self.size += len(field)
        return self.size - len(field)

    def table(self) -> dict[str, Any]:
        """The key table in the words of `Block.from_arrays`."""
        names = ("key_address", "key_field", "key_slot")
        if len(self.parts) == 1:
            return dict(zip(names, self.parts[0]))
        empty = (np.zeros((0, 20), np.uint8), np.zeros(0, np.uint8), np.zeros((0, 32), np.uint8))
        return {name: np.concatenate(part) for name, part in zip(names, zip(empty, *self.parts))}


def limbs(words: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Big-endian words (n, 32) uint8 as little-endian limbs (n, 4) uint64."""
    return np.ascontiguousarray(words).view(">u8")[:, ::-1].astype(np.uint64)


def transaction_columns(path: Path, table: pa.Table, rows: NDArray[np.int64], keys: KeyParts) -> dict[str, Any]:
    """Arguments of `Block.from_arrays`, without the key table, from the rows of one block."""
    names = set(table.column_names)

    def get(name: str) -> Column:
        return column(path, table, name, rows)

    out: dict[str, Any] = {"sender": get("sender").required().fixed(20)}
    out |= _programs(get("program").required(), keys)
    if "nonce" in names:
        out["nonce"] = get("nonce").integers(np.uint64, 0, _U64)
    if "gas_limit" in names:
        out["gas_limit"] = get("gas_limit").integers(np.int64, 0, 2**63 - 1, door.DEFAULT_GAS_LIMIT)
    if "access_list" in names:
        out |= _access_lists(get("access_list"), keys)
    for name in ("declared_reads", "declared_writes"):
        if name in names:
            out[name] = _declared(get(name), keys)
    out["meta"] = {name: _meta(get(name), kind) for name, kind in metadata.META_COLUMNS.items() if name in names} or None
    return out


def _programs(programs: Column, keys: KeyParts) -> dict[str, Any]:
    """Flat programs; fields that an op does not use must be null or zero."""
    indptr, items, code, has_key, kinds = _ops(programs)
    where = np.flatnonzero(has_key)
    first = keys.add(items.member("address").fixed(20, where), kinds[where], items.member("slot").fixed(32, where))
    key = np.full(len(code), -1, np.int32)
    key[where] = first + np.arange(len(where), dtype=np.int32)
    takes = {name: _lookup(f"takes_{name}")[code] for name in ("word", "count")}
    hashed = code == Op.KECCAK

    word = items.member("word")
    words, given = word.fixed(32), word.known()
    word.reject(takes["word"] & (code != Op.SSTORE) & ~given, "ADD, SUB and CREDIT need a word")
    word.reject(~takes["word"] & words.any(axis=1), "an op without a literal has null or zero")

    count = items.member("count")
    counts = count.integers(np.uint64, 0, _U64)
    count.reject(takes["count"] & ~count.known(), "NOOP and BURN need a count")
    count.reject(takes["count"] & (counts > MAX_COUNT), f"must be in [0, {MAX_COUNT}]")
    count.reject(~takes["count"] & (counts != 0), "an op without a count has null or zero")

    data = items.member("data")
    ends, payload = data.binaries()
    data.reject(hashed & ~data.known(), "KECCAK needs data, which may be empty")
    data.reject(~hashed & (ends[1:] > ends[:-1]), "an op without a payload has null or no bytes")

    literal = takes["word"] & given
    arg = np.full(len(code), TOP, np.int64)
    arg[literal] = np.arange(np.count_nonzero(literal))
    arg[takes["count"]] = counts[takes["count"]]
    arg[hashed] = np.arange(np.count_nonzero(hashed))
    return {
        "op_indptr": indptr,
        "op_code": code,
        "op_key": key,
        "op_arg": arg.astype(np.int32),
        "words": limbs(words[literal]),
        "payload_indptr": np.concatenate([[0], ends[1:][hashed]]),
        "payload_data": payload,
    }


class ProgramKeys(NamedTuple):
    """What programs touch, op by op; where `has_key` is false, `address`, `field` and `slot` may hold anything.

    Parameters
    ----------
    indptr : (n_tx + 1,) int64
    code : (n_ops,) uint8
    has_key : (n_ops,) bool
    address, field, slot : (n_ops, 20), (n_ops,), (n_ops, 32) uint8
        Of fields other than storage `slot` may hold anything, too.
    """

    indptr: NDArray[np.int64]
    code: NDArray[np.uint8]
    has_key: NDArray[np.bool_]
    address: NDArray[np.uint8]
    field: NDArray[np.uint8]
    slot: NDArray[np.uint8]


def program_keys(programs: Column) -> ProgramKeys:
    """What programs touch, checked, but not copied out of the column if it lies there as it is needed.

    Parameters
    ----------
    programs : Column
        Of lists of structs with, at least, the members op, address, field, slot.

    Raises
    ------
    FileFormatError
        Naming column, row, value and rule.
    """
    indptr, items, code, has_key, kinds = _ops(programs)
    address, slot = items.member("address"), items.member("slot")
    null_slot = bool((has_key & (kinds == Field.STORAGE) & ~slot.known()).any())  # means slot 0
    return ProgramKeys(indptr, code, has_key, address.rows(20), kinds, slot.fixed(32) if null_slot else slot.rows(32))


def _lookup(trait: str) -> NDArray[np.bool_]:
    return np.array([getattr(op, trait) for op in Op])


def _ops(programs: Column) -> tuple[NDArray[np.int64], Column, NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint8]]:
    """Offsets and items of programs, code of each op, whether it names a key, and that key's field; all of it checked."""
    indptr, items = programs.items()
    code = items.member("op").required().integers(np.uint8, 0, max(Op))
    takes = _lookup("takes_key")[code]
    address, kind, slot = items.member("address"), items.member("field"), items.member("slot")
    kinds = kind.integers(np.uint8, 0, max(Field))
    address.reject(takes & ~address.known(), "SLOAD, SSTORE, TOUCH and CREDIT need an address")
    address.reject(_not_zero(address, 20, ~takes), "an op without a key has null or zero")
    kind.reject(takes & ~kind.known(), "SLOAD, SSTORE, TOUCH and CREDIT need a field")
    kind.reject((code == Op.CREDIT) & (kinds != CREDIT_FIELD), "CREDIT names a balance (field 1)")
    kind.reject(~takes & (kinds != 0), "an op without a key has null or zero")
    slot.reject(_not_zero(slot, 32, ~takes), "an op without a key has null or zero")
    _no_stray_slot(slot, kinds, _not_zero(slot, 32, kinds != Field.STORAGE))
    return indptr, items, code, takes, kinds


def _not_zero(column: Column, width: int, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which values have a byte that is not 0, of those that `where` asks for; few of these are not null."""
    out = where & column.known()
    out[out] = column.rows(width)[out].any(axis=1)
    return out


def _no_stray_slot(slot: Column, kinds: NDArray[np.uint8], has_slot: NDArray[np.bool_]) -> None:
    slot.reject((kinds != Field.STORAGE) & has_slot, "only storage keys (field 0) have a slot, others null or zero")


def _access_lists(lists: Column, keys: KeyParts) -> dict[str, Any]:
    """EIP-2930 lists: a row without slot is an address entry, the rows below it are keys of that address."""
    indptr, items = lists.items()
    address, slot = items.member("address"), items.member("slot")
    addresses, slots, is_key = address.required().fixed(20), slot.fixed(32), slot.known()
    at = np.arange(len(is_key))
    head = np.maximum.accumulate(np.where(is_key, -1, at)) if len(at) else at
    start = np.repeat(indptr[:-1], indptr[1:] - indptr[:-1])
    orphan = is_key & ((head < start) | (addresses[np.maximum(head, 0)] != addresses).any(axis=1))
    address.reject(orphan, "a key row (slot not null) must follow an address row (slot null) of its own address")

    first = keys.add(addresses[is_key], np.zeros(np.count_nonzero(is_key), np.uint8), slots[is_key])
    entry = np.empty(len(is_key), np.int64)
    entry[is_key] = first + np.arange(np.count_nonzero(is_key))
    entry[~is_key] = -1 - np.arange(np.count_nonzero(~is_key))
    return {"list_indptr": indptr, "list_entry": entry.astype(np.int32), "list_address": addresses[~is_key]}


def _declared(lists: Column, keys: KeyParts) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_]]:
    """Declared reads or writes: offsets, key rows, and which transactions declare anything."""
    indptr, items = lists.items()
    first = keys.add(*_keys(items.member("address"), items.member("field"), items.member("slot")))
    return indptr, np.arange(first, keys.size, dtype=np.int32), lists.known()


def _keys(address: Column, kind: Column, slot: Column) -> _Rows:
    kinds, slots = kind.required().integers(np.uint8, 0, max(Field)), slot.fixed(32)
    _no_stray_slot(slot, kinds, np.asarray(slots.any(axis=1)))
    return address.required().fixed(20), kinds, slots


def _meta(given: Column, kind: str | int) -> pa.Array:
    """A column that the block only carries, in the exact type of `metadata.meta_types`."""
    import pyarrow as pa

    if kind == "bool":
        return given.booleans()
    mask = ~given.known()
    if isinstance(kind, int):
        data = np.ascontiguousarray(given.fixed(kind))
        return pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(kind), len(given), [_validity(mask), pa.py_buffer(data)], int(mask.sum())
        )
    if kind == "binary":
        ends, payload = given.binaries()
        buffers = [_validity(mask), pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(payload))]
        return pa.Array.from_buffers(pa.large_binary(), len(given), buffers, int(mask.sum()))
    dtype = np.dtype(kind)
    high = 2**63 - 1 if given.name == "chain_gas_used" else int(np.iinfo(dtype).max)
    return pa.array(given.integers(dtype, 0, high), mask=mask)


def _validity(mask: NDArray[np.bool_]) -> pa.Buffer | None:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(~mask, bitorder="little")) if mask.any() else None


def state_columns(path: Path, table: pa.Table, rows: NDArray[np.int64], keys: KeyParts) -> dict[str, Any]:
    """Pre-state arguments of `Block.from_arrays` from the rows of one block in a state file."""
    address, kind, slot = (column(path, table, name, rows) for name in ("address", "field", "slot"))
    parts = _keys(address, kind, slot)
    values = column(path, table, "value", rows).required().fixed(32)
    if len(rows):
        ids, first = door.intern_rows(*(_aligned(part) for part in parts))
        again = first[ids] != np.arange(len(ids))
        if again.any():
            i = int(np.argmax(again))
            name = f"field {parts[1][i]}, slot 0x{parts[2][i].tobytes().hex()}"
            raise address.wrong(i, f"row {rows[first[ids[i]]]} has this key ({name}) already: a key has one value")
    start = keys.add(*parts)
    return {"state_key": np.arange(start, keys.size, dtype=np.int32), "state_value": limbs(values)}


def _aligned(part: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What `intern_rows` needs: contiguous rows at an address that a uint64 view may have."""
    part = np.ascontiguousarray(part)
    return part if part.ctypes.data % 8 == 0 else part.copy()
