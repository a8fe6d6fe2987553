"""A Block to the tables of its three files, from whole arrays: a Python object per op would cost minutes a million."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import metadata
from ..errors import TooLargeError
from ..machine.ops import TOP, Field, Op
from ..tabular import big_endian

if TYPE_CHECKING:
    import pyarrow as pa

    from ..block import Block

__all__ = [
    "SCHEMA_KEY", "block_schema", "block_tables", "fixed_binaries", "header_table", "state_schema", "state_tables",
]  # fmt: skip

#: Key of the file metadata that names the schema, e.g. ``pevm_numba.block/1``.
SCHEMA_KEY: Final = b"pevm_numba.schema"
#: Rows, and ops, at most in one row group: bounds what reading one block of many has to load, and memory while writing.
_GROUP_ROWS: Final = 1 << 17
_GROUP_OPS: Final = 1 << 20


def _fields(required: dict[str, Any], optional: dict[str, Any]) -> list[pa.Field]:
    import pyarrow as pa

    return [pa.field(k, v, nullable=False) for k, v in required.items()] + [pa.field(k, v) for k, v in optional.items()]


def _op_type() -> pa.DataType:
    import pyarrow as pa

    members = {"op": pa.uint8(), "address": pa.binary(20), "field": pa.uint8(), "slot": pa.binary(32)}
    members |= {"word": pa.binary(32), "count": pa.uint64(), "data": pa.binary()}
    return pa.struct([pa.field(k, v, nullable=k not in ("op", "field", "count")) for k, v in members.items()])


def _entry_type() -> pa.DataType:
    import pyarrow as pa

    return pa.struct([pa.field("address", pa.binary(20), nullable=False), pa.field("slot", pa.binary(32))])


def _key_type() -> pa.DataType:
    import pyarrow as pa

    return pa.struct(_fields({"address": pa.binary(20), "field": pa.uint8(), "slot": pa.binary(32)}, {}))


def block_schema() -> pa.Schema:
    """Arrow schema of a block file, with its metadata."""
    import pyarrow as pa

    u64, keys = pa.uint64(), pa.list_(_key_type())
    required = {"block_number": u64, "tx_index": pa.uint32(), "sender": pa.binary(20), "program": pa.list_(_op_type())}
    optional = {"nonce": u64, "gas_limit": u64, "access_list": pa.list_(_entry_type())}
    optional |= {"declared_reads": keys, "declared_writes": keys, **metadata.meta_types(), "input": pa.binary()}
    return pa.schema(_fields(required, optional), metadata={SCHEMA_KEY: b"pevm_numba.block/1"})


def state_schema() -> pa.Schema:
    """Arrow schema of a state file, with its metadata."""
    import pyarrow as pa

    members = {"block_number": pa.uint64(), "address": pa.binary(20), "field": pa.uint8()}
    members |= {"slot": pa.binary(32), "value": pa.binary(32)}
    return pa.schema(_fields(members, {}), metadata={SCHEMA_KEY: b"pevm_numba.state/1"})


def header_table(blocks: list[tuple[int, str, Any]]) -> pa.Table:
    """The blocks file: one row for each (number, fork, header)."""
    import pyarrow as pa

    required = {"block_number": pa.uint64(), "fork": pa.string()}
    optional = {"fee_recipient": pa.binary(20), "block_gas_limit": pa.uint64(), "timestamp": pa.uint64()}
    optional |= {"parent_hash": pa.binary(32)}
    schema = pa.schema(_fields(required, optional), metadata={SCHEMA_KEY: b"pevm_numba.blocks/1"})
    rows = [
        {"block_number": number, "fork": fork, **{name: getattr(header, name) for name in optional}}
        for number, fork, header in blocks
    ]
    return pa.Table.from_pylist(rows, schema=schema)


# -------------------------------------------------------------------- pieces


def _bits(known: NDArray[np.bool_]) -> pa.Buffer:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(known, bitorder="little"))


def fixed_binaries(rows: NDArray[np.uint8], known: NDArray[np.bool_] | None = None) -> pa.Array:
    """Binaries of one width from rows (n, width) uint8."""
    import pyarrow as pa

    data = pa.py_buffer(np.ascontiguousarray(rows))
    nulls = 0 if known is None else int(np.count_nonzero(~known))
    validity = None if nulls == 0 or known is None else _bits(known)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1]), len(rows), [validity, data], nulls)


def _spread(rows: NDArray[np.uint8], where: NDArray[np.bool_]) -> pa.Array:
    """Binaries of one width: `rows` at the places `where`, null elsewhere."""
    out = np.zeros((len(where), rows.shape[1]), np.uint8)
    out[where] = rows
    return fixed_binaries(out, where)


def _lists(offsets: NDArray[np.int64], items: pa.Array, known: NDArray[np.bool_] | None = None) -> pa.Array:
    import pyarrow as pa

    kind = pa.list_(items.type)
    ends = np.ascontiguousarray((offsets - offsets[0]).astype(np.int32))
    nulls = 0 if known is None else int(np.count_nonzero(~known))
    validity = None if nulls == 0 or known is None else _bits(known)
    return pa.Array.from_buffers(kind, len(ends) - 1, [validity, pa.py_buffer(ends)], nulls, children=[items])


def _structs(kind: pa.DataType, members: list[pa.Array]) -> pa.Array:
    import pyarrow as pa

    return pa.StructArray.from_arrays(members, fields=list(kind))


def _program_lists(block: Block, a: int, b: int) -> pa.Array:
    """Programs of the transactions a:b."""
    import pyarrow as pa

    first, last = int(block.op_indptr[a]), int(block.op_indptr[b])
    part = slice(first, last)
    code, key, arg = block.op_code[part], block.op_key[part], block.op_arg[part]
    has_key = key >= 0
    used = key[has_key]
    kinds = np.zeros(len(code), np.uint8)
    kinds[has_key] = block.key_field[used]
    storage = has_key.copy()
    storage[has_key] = kinds[has_key] == Field.STORAGE
    literal = ((code == Op.SSTORE) & (arg != TOP)) | np.isin(code, (Op.ADD, Op.SUB, Op.CREDIT))
    counted, hashed = np.isin(code, (Op.NOOP, Op.BURN)), code == Op.KECCAK
    payloads = arg[hashed]
    lengths = np.zeros(len(code), np.int64)
    lengths[hashed] = block.payload_indptr[payloads + 1] - block.payload_indptr[payloads]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    if ends[-1] >= 2**31:
        raise TooLargeError(f"transaction {a} hashes {ends[-1]} bytes: a row of a block file holds fewer than 2**31")
    begin = int(block.payload_indptr[payloads[0]]) if len(payloads) else 0
    data = block.payload_data[begin : begin + int(ends[-1])]
    binary = [_bits(hashed), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(np.ascontiguousarray(data))]
    items = [
        pa.array(code),
        _spread(block.key_address[used], has_key),
        pa.array(kinds),
        _spread(block.key_slot[key[storage]], storage),
        _spread(big_endian(block.words[arg[literal]]), literal),
        pa.array(np.where(counted, arg, 0).astype(np.uint64)),
        pa.Array.from_buffers(pa.binary(), len(code), binary, int(np.count_nonzero(~hashed))),
    ]
    return _lists(block.op_indptr[a : b + 1], _structs(_op_type(), items))


def _entry_lists(block: Block, a: int, b: int) -> pa.Array:
    """Access lists of the transactions a:b."""
    entry = block.list_entry[block.list_indptr[a] : block.list_indptr[b]]
    is_key = entry >= 0
    address = np.empty((len(entry), 20), np.uint8)
    address[is_key] = block.key_address[entry[is_key]]
    address[~is_key] = block.list_address[-1 - entry[~is_key]]
    items = _structs(_entry_type(), [fixed_binaries(address), _spread(block.key_slot[entry[is_key]], is_key)])
    return _lists(block.list_indptr[a : b + 1], items)


def _declared_lists(
    block: Block, indptr: NDArray[np.int64], key: NDArray[np.int32], declares: NDArray[np.bool_]
) -> pa.Array:
    """Declared keys; `indptr` and `declares` are cut to the transactions meant."""
    import pyarrow as pa

    used = key[indptr[0] : indptr[-1]]
    parts = [fixed_binaries(block.key_address[used]), pa.array(block.key_field[used]), fixed_binaries(block.key_slot[used])]
    return _lists(indptr, _structs(_key_type(), parts), declares)


# -------------------------------------------------------------------- tables


def _cuts(block: Block) -> Iterator[tuple[int, int]]:
    """Ranges of transactions, each with bounded rows, ops and payload bytes, but never less than one row."""
    hashed = np.concatenate([[0], np.cumsum(block.op_code == Op.KECCAK)])
    payload = block.payload_indptr[hashed[block.op_indptr]]
    start = 0
    while start < block.n_tx:
        by_ops = int(np.searchsorted(block.op_indptr, block.op_indptr[start] + _GROUP_OPS, side="right")) - 1
        by_bytes = int(np.searchsorted(payload, payload[start] + 32 * _GROUP_OPS, side="right")) - 1
        stop = min(block.n_tx, start + _GROUP_ROWS, max(start + 1, min(by_ops, by_bytes)))
        yield start, stop
        start = stop


def block_tables(block: Block) -> Iterator[pa.Table]:
    """Row groups of the block file for one block; none if it has no transactions."""
    import pyarrow as pa

    schema = block_schema()
    for a, b in _cuts(block):
        n = b - a
        reads = (block.read_indptr[a : b + 1], block.read_key, block.declares_reads[a:b])
        writes = (block.write_indptr[a : b + 1], block.write_key, block.declares_writes[a:b])
        columns = {
            "block_number": pa.array(np.full(n, block.number, np.uint64)),
            "tx_index": pa.array(np.arange(a, b, dtype=np.uint32)),
            "sender": fixed_binaries(block.sender[a:b]),
            "program": _program_lists(block, a, b),
            "nonce": pa.array(block.nonce[a:b]),
            "gas_limit": pa.array(block.gas_limit[a:b].astype(np.uint64)),
            "access_list": _entry_lists(block, a, b),
            "declared_reads": _declared_lists(block, *reads),
            "declared_writes": _declared_lists(block, *writes),
        }
        for name in metadata.META_COLUMNS:
            kind = schema.field(name).type
            if block.meta is None or name not in block.meta.column_names:
                columns[name] = pa.nulls(n, kind)
            else:
                columns[name] = block.meta[name].slice(a, n).cast(kind)
        yield pa.table(columns, schema=schema)


def state_tables(block: Block) -> Iterator[pa.Table]:
    """Row groups of the state file for one block: its non-zero values before the block."""
    import pyarrow as pa

    keys = np.flatnonzero(block.pre_values.any(axis=1))
    for a in range(0, len(keys), _GROUP_OPS):
        part = keys[a : a + _GROUP_OPS]
        columns = {
            "block_number": pa.array(np.full(len(part), block.number, np.uint64)),
            "address": fixed_binaries(block.key_address[part]),
            "field": pa.array(block.key_field[part]),
            "slot": fixed_binaries(block.key_slot[part]),
            "value": fixed_binaries(big_endian(block.pre_values[part])),
        }
        yield pa.table(columns, schema=state_schema())
