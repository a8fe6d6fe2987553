"""All that a store has, as Parquet: to keep it, to hand it on, to look at it with other tools."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..errors import BlockError, FileFormatError, StoreError
from ..evm.hashing import EMPTY_HASH, keccak
from ..keys import KeyTable, StateChange
from ..machine.ops import Field
from ..storage.base import StateStore
from .columns import Column, column
from .parquet_file import SUFFIX, open_parquet
from .parquet_tables import SCHEMA_KEY, fixed_binaries
from .paths import existing, nameable, reading, replacing

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["is_state_file", "load_state", "write_state"]

log = logging.getLogger("pevm_numba")

_SCHEMA: Final = b"pevm_numba.dump/1"
_NUMBER, _DIGEST = b"last_block", b"digest"
#: Column -> bytes of a value, or None.
_COLUMNS: Final = {"address": 20, "field": None, "slot": 32, "value": 32, "code": None}
#: Rows of a group.
_ROWS: Final = 1 << 16
#: Rows of a group that somebody else has written: they are read together.
_MOST_ROWS: Final = 1 << 20
_NO_CODE: Final = (bytes(32), EMPTY_HASH)


def _schema(last: tuple[int, bytes] | None) -> pa.Schema:
    import pyarrow as pa

    fields = [pa.field(name, pa.binary(width), nullable=False) for name, width in _COLUMNS.items() if width]
    fields.insert(1, pa.field("field", pa.uint8(), nullable=False))
    about = {SCHEMA_KEY: _SCHEMA}
    if last is not None:
        about |= {_NUMBER: str(last[0]).encode(), _DIGEST: last[1].hex().encode()}
    return pa.schema([*fields, pa.field("code", pa.binary())], metadata=about)


# -------------------------------------------------------------------- writing


def write_state(path: str | os.PathLike[str], store: StateStore) -> int:
    """Write all that a store has to a Parquet file, codes as far as accounts have them.

    Columns: address (20 bytes), field u8 (`Field`), slot (32 bytes, 0 but for storage), value (32 bytes, big-endian; of a
    code its hash), code (bytes, where a code comes first, else null). Rows in the store's own order. File metadata:
    ``pevm_numba.schema`` = ``pevm_numba.dump/1``, and after a block ``last_block`` and ``digest``.

    Parameters
    ----------
    path : path
        Ends in ``.parquet``; a file of that name is replaced.
    store : StateStore
        Must not change meanwhile.

    Returns
    -------
    int
        Rows.

    Raises
    ------
    FileFormatError
        If the path does not end so, or the system refuses to write.
    StoreError, BlockError
        If the store is damaged, lacks a code, or somebody commits to it meanwhile.

    Examples
    --------
    >>> import tempfile
    >>> from ..storage.memory import MemoryStore
    >>> from ..storage.world import put_world, read_world
    >>> store, again = MemoryStore(), MemoryStore()
    >>> put_world(store, {bytes(20): (5, 1, b"code", {7: 8})})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_state(f"{folder}/state.parquet", store), load_state(f"{folder}/state.parquet", again)
    (4, 4)
    >>> read_world(again) == read_world(store)
    True
    """
    target = nameable(path)
    if not target.name.endswith(SUFFIX):
        raise FileFormatError(f"{target}: a file of state is named NAME{SUFFIX}")
    _need_store(store)
    import pyarrow.parquet as pq

    last = store.last_block()
    rows, known, schema = 0, set(_NO_CODE), _schema(last)
    with replacing(target) as (temporary,):
        options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True, "use_dictionary": ["address", "field"]}
        with pq.ParquetWriter(temporary, schema, **options) as writer:
            for keys, words in store.items():
                for start in range(0, len(keys), _ROWS):
                    part = slice(start, start + _ROWS)
                    table = _table(store, keys, words, part, known, schema)
                    writer.write_table(table, row_group_size=_ROWS)
                    rows += len(table)
        if store.last_block() != last:
            raise StoreError(f"{target}: not written: somebody commits to the store meanwhile: write a snapshot of it")
    log.info("%s: wrote %d keys", target, rows)
    return rows


def _need_store(store: Any) -> None:
    if not isinstance(store, StateStore):
        raise BlockError(f"store = {door.shown(store, 80)}: must be a StateStore")


def _table(
    store: StateStore, keys: KeyTable, words: NDArray[np.uint8], part: slice, known: set[bytes], schema: pa.Schema
) -> pa.Table:
    import pyarrow as pa

    field, values = keys.field[part], words[part]
    codes: list[bytes | None] = [None] * len(field)
    for k in np.flatnonzero(field == int(Field.CODE)).tolist():
        digest = values[k].tobytes()
        if digest not in known:
            known.add(digest)
            (codes[k],) = store.get_codes([digest])
    columns = [
        fixed_binaries(keys.address[part]), pa.array(field), fixed_binaries(keys.slot[part]), fixed_binaries(values),
        pa.array(codes, pa.binary()),
    ]  # fmt: skip
    return pa.table(columns, schema=schema)


# -------------------------------------------------------------------- reading


def is_state_file(path: Path) -> bool:
    """Whether that is a file that `write_state` wrote."""
    if not path.is_file() or not path.name.endswith(SUFFIX):
        return False
    with closing(open_parquet(path)) as file:
        return bool((file.metadata.metadata or {}).get(SCHEMA_KEY) == _SCHEMA)


def load_state(path: str | os.PathLike[str], store: StateStore) -> int:
    """Put all that a file of state has into an empty store.

    Parameters
    ----------
    path : path
        Of a file as `write_state` writes it.
    store : StateStore
        Has no keys yet, and no block.

    Returns
    -------
    int
        Keys.

    Raises
    ------
    FileFormatError
        Naming file, column, row, value and rule, if the file is damaged, a value is none, or a key comes twice; the store
        has no keys then, as before.
    StoreError
        If the store cannot be written; it may keep some keys, if it cannot be written then either.
    BlockError
        If the store is not empty.
    """
    where = existing(path)
    _need_store(store)
    if store.last_block() is not None or next(store.items(), None) is not None:
        raise BlockError(f"{where}: only an empty store can be loaded")
    with closing(open_parquet(where)) as file:
        last = _last(where, file)
        try:
            rows = _load(where, file, store)
            if last is not None:
                nothing = StateChange(KeyTable.from_keys([]), np.empty((0, 32), np.uint8))
                store.commit_block(last[0], nothing, last[1])
        except BaseException:
            _empty(store)
            raise
    log.info("%s: loaded %d keys", where, rows)
    return rows


def _empty(store: StateStore) -> None:
    """Take all keys out again, as far as the store lets anybody: what went wrong before is what counts."""
    try:
        for keys, words in store.items():
            store.put_many(keys, np.zeros_like(words))
    except StoreError as error:
        log.warning("not all that was loaded could be taken out again: %s", error)


def _last(path: Path, file: pq.ParquetFile) -> tuple[int, bytes] | None:
    about = file.metadata.metadata or {}
    if about.get(SCHEMA_KEY) != _SCHEMA:
        raise FileFormatError(f"{path}: is no file of state: its metadata must say {_SCHEMA.decode()}")
    if _NUMBER not in about and _DIGEST not in about:
        return None
    try:
        text = about[_NUMBER].decode()
        if not (text.isascii() and text.isdigit() and len(text) <= 20):
            raise ValueError
        number, digest = int(text), bytes.fromhex(about[_DIGEST].decode())
        if number >= 2**64 or len(digest) != 32:
            raise ValueError
    except (KeyError, ValueError):
        said = {name.decode(): about.get(name, b"").decode(errors="replace")[:80] for name in (_NUMBER, _DIGEST)}
        raise FileFormatError(f"{path}: metadata {said}: must be a number below 2**64 and 32 bytes") from None
    return number, digest


def _load(path: Path, file: pq.ParquetFile, store: StateStore) -> int:
    rows, given, named = 0, set(_NO_CODE), dict[bytes, int]()
    for table in _tables(path, file):
        at = np.arange(rows, rows + len(table))
        columns = {name: column(path, table, name, at) for name in _COLUMNS}
        keys, words = _entries(columns)
        held = (store.get_many(keys) != 0).any(axis=1)
        columns["address"].reject(np.asarray(held), "an earlier row has this key already: a key has one value")
        codes = _codes(columns["code"], keys, words)
        for k in np.flatnonzero(keys.field == int(Field.CODE)).tolist():
            named.setdefault(words[k].tobytes(), rows + k)
        given |= {keccak(code) for code in codes}
        store.put_codes(codes)
        store.put_many(keys, words)
        rows += len(table)
    lacking = sorted((row, digest) for digest, row in named.items() if digest not in given)
    if lacking:
        row, digest = lacking[0]
        raise FileFormatError(f"{path}: column value, row {row} = 0x{digest.hex()}: no row has a code of that hash")
    return rows


def _tables(path: Path, file: pq.ParquetFile) -> Iterator[pa.Table]:
    """Row groups, damage told."""
    for group in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        if size > _MOST_ROWS:
            raise FileFormatError(f"{path}: row group {group} has {size:,} rows: must be at most {_MOST_ROWS:,}")
        with reading(path, "damaged"):
            table = file.read_row_group(group)
            table.validate(full=True)
            if len(table) != size:
                raise FileFormatError(f"{path}: row group {group} has {len(table)} rows: the file says otherwise")
        yield table


def _entries(columns: dict[str, Column]) -> tuple[KeyTable, NDArray[np.uint8]]:
    address, slot, words = (columns[name].required().fixed(_COLUMNS[name] or 0) for name in ("address", "slot", "value"))
    field = columns["field"].required().integers(np.uint8, 0, max(Field))
    columns["slot"].reject(np.asarray((field != int(Field.STORAGE)) & slot.any(axis=1)), "must be 0 but for storage")
    columns["value"].reject(np.asarray(~words.any(axis=1)), "must not be 0: such a key is not there")
    try:
        return KeyTable(address, field, slot), np.ascontiguousarray(words)
    except BlockError:
        seen = set[bytes]()
        for k, row in enumerate(np.concatenate([address, field[:, None], slot], axis=1)):
            if row.tobytes() in seen:
                raise columns["address"].wrong(k, "an earlier row has this key already: a key has one value") from None
            seen.add(row.tobytes())
        raise


def _codes(given: Column, keys: KeyTable, words: NDArray[np.uint8]) -> list[bytes]:
    """Codes that come in a row group, each beside its hash."""
    ends, data = given.binaries()
    found = []
    for k in np.flatnonzero(given.known()).tolist():
        code = data[ends[k] : ends[k + 1]].tobytes()
        if keys.field[k] != int(Field.CODE) or keccak(code) != words[k].tobytes():
            raise given.wrong(k, "must be the code whose hash is the value, in a row of a code")
        found.append(code)
    return found
