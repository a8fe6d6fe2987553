"""Facts that a block carries, writes and compares but never executes: its header, and optional columns a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from . import door
from .errors import BlockError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["META_COLUMNS", "Header", "concat_meta", "hash_meta", "meta_table", "meta_types"]

#: Optional columns and their types; a number is the width of a binary in bytes.
META_COLUMNS: Final[dict[str, str | int]] = {
    "tx_hash": 32,
    "to": 20,
    "value": 32,
    "input": "binary",
    "chain_gas_used": "uint64",
    "chain_success": "bool",
    "blob_count": "uint8",
    "max_fee_per_blob_gas": "uint64",
    "gas_hint": "uint64",
    "blob_size": "uint64",
}


@dataclass(frozen=True)
class Header:
    """What a block carries besides its transactions; all of it optional.

    Parameters
    ----------
    fee_recipient : bytes of length 20, optional
    block_gas_limit : int in [0, 2**64), optional
        In gas.
    timestamp : int in [0, 2**64), optional
        Unix time in seconds.
    parent_hash : bytes of length 32, optional

    Raises
    ------
    BlockError
        If a length or range is wrong.
    """

    fee_recipient: bytes | None = None
    block_gas_limit: int | None = None
    timestamp: int | None = None
    parent_hash: bytes | None = None

    def __post_init__(self) -> None:
        for name, size in (("fee_recipient", 20), ("parent_hash", 32)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, bytes) or len(value) != size):
                raise BlockError(f"{name} = {door.shown(value)}: must be {size} bytes")
        for name in ("block_gas_limit", "timestamp"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, door.integer(name, value, 0, 2**64 - 1))


def meta_types() -> dict[str, pa.DataType]:
    """Arrow type of each column of `META_COLUMNS`."""
    import pyarrow as pa

    names = {"binary": pa.large_binary(), "uint64": pa.uint64(), "bool": pa.bool_(), "uint8": pa.uint8()}
    return {k: pa.binary(v) if isinstance(v, int) else names[v] for k, v in META_COLUMNS.items()}


def meta_table(given: pa.Table | Mapping[str, Any] | None, n_tx: int) -> pa.Table | None:
    """Checked optional columns in fixed order and type; columns without any value are left out, None if none is left."""
    if given is None:
        return None
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(given, pa.Table | Mapping):
        raise BlockError(f"meta = {door.shown(given)}: must be a pyarrow.Table or a mapping of column name to values")
    names = given.column_names if isinstance(given, pa.Table) else list(given)
    for name in names:
        if name not in META_COLUMNS:
            raise BlockError(f"meta has no column {door.shown(name)}: one of {', '.join(META_COLUMNS)}")
        if names.count(name) > 1:
            raise BlockError(f"meta has {names.count(name)} columns {name!r}: must be one")
    columns = {name: given[name] for name in names}
    kept = {}
    for name, dtype in meta_types().items():
        if name not in columns:
            continue
        try:
            column = columns[name]
            chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([pa.array(column)])
            chunked = chunked.cast(dtype)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise BlockError(f"meta column {name!r}: must hold {dtype}: {error}") from None
        if len(chunked) != n_tx:
            raise BlockError(f"meta column {name!r} has {len(chunked)} rows: must be {n_tx}, one a transaction")
        if name == "chain_gas_used" and n_tx and (pc.max(chunked).as_py() or 0) >= 2**63:
            raise BlockError(f"meta column {name!r}: gas must be below 2**63")
        if chunked.null_count < n_tx:
            kept[name] = chunked.combine_chunks()
    return pa.table(kept) if kept else None


def concat_meta(parts: Sequence[tuple[pa.Table | None, int]]) -> pa.Table | None:
    """Optional columns of several blocks, null where one has none."""
    if all(table is None for table, _ in parts):
        return None
    import pyarrow as pa

    columns = {}
    for name, dtype in meta_types().items():
        pieces = [
            pa.nulls(n, dtype) if table is None or name not in table.column_names else table[name].combine_chunks()
            for table, n in parts
        ]
        columns[name] = pa.chunked_array(pieces, type=dtype)
    return pa.table(columns)


def hash_meta(sha: Any, table: pa.Table | None) -> None:
    """Feed optional columns to a hash, independently of how Arrow happens to lay them out."""
    if table is None:
        return
    for name in table.column_names:
        for value in table[name].to_pylist():
            sha.update(f"{name}:{value!r};".encode())
