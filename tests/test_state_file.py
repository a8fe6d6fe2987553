"""Files of state: what a store has comes back, whatever the backends; what is none is refused, and changes nothing."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_backends import change_of, entries, held, opened

import pevm_numba as pn
from pevm_numba.errors import BlockError, FileFormatError, PevmError, StoreError
from pevm_numba.evm.hashing import keccak
from pevm_numba.io import state_file
from pevm_numba.io.state_file import is_state_file, load_state, write_state
from pevm_numba.machine.ops import Field
from pevm_numba.storage.base import commit
from pevm_numba.storage.memory import MemoryStore
from pevm_numba.storage.opening import BACKENDS

for library in ("lmdb", "rocksdict"):
    pytest.importorskip(library, reason=f"{library} is not installed")

A, B, C = (bytes([i]) * 20 for i in (1, 2, 3))
WORLD = {A: (5, 1, b"code", {1: 2, 2**255: 3}), B: (0, 7, b"", {}), C: (1, 0, b"code", {})}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_store_has_comes_back(backend: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_file, "_ROWS", 50)
    with opened(folder / "one", backend) as store:
        pn.put_world(store, WORLD)
        for number in range(20):
            commit(store, number, change_of(number))
        rows = write_state(folder / "state.parquet", store)
        for other in ("memory", backend):
            with opened(folder / other, other) as again:
                assert load_state(folder / "state.parquet", again) == rows == len(held(store))
                assert held(again) == held(store)
                assert again.last_block() == store.last_block()
                assert pn.verify_store(again) == pn.verify_store(store)
    assert is_state_file(folder / "state.parquet")
    table = pq.read_table(folder / "state.parquet")
    assert table["code"].drop_null().to_pylist() == [b"code"]
    assert pq.ParquetFile(folder / "state.parquet").metadata.num_row_groups > 1


@given(st.dictionaries(st.tuples(st.sampled_from([A, B]), st.just(0), st.integers(0, 3)), st.integers(0, 2**256 - 1)))
@settings(deadline=None)
def test_any_state_comes_back(given: dict[Any, int]) -> None:
    store, again, file = MemoryStore(), MemoryStore(), io.BytesIO()
    store.put_many(*entries(given))
    with tempfile.NamedTemporaryFile(suffix=".parquet") as made:
        file.close()
        write_state(made.name, store)
        load_state(made.name, again)
    assert held(again) == held(store)


def rows(**changed: Any) -> pa.Table:
    """Two rows as they must be, or with other columns."""
    code = keccak(b"code")
    columns = {
        "address": pa.array([A, B], pa.binary(20)), "field": pa.array([0, int(Field.CODE)], pa.uint8()),
        "slot": pa.array([bytes(31) + b"\x05", bytes(32)], pa.binary(32)),
        "value": pa.array([bytes(31) + b"\x07", code], pa.binary(32)), "code": pa.array([None, b"code"], pa.binary()),
    } | changed  # fmt: skip
    return pa.table({name: values for name, values in columns.items() if values is not None})


def binaries(*values: bytes | None, width: int = 32) -> pa.Array:
    return pa.array(values, pa.binary(width))


WRONG: list[tuple[str, Callable[[], pa.Table], str]] = [
    ("no column", lambda: rows(slot=None), "column slot: missing"),
    ("type", lambda: rows(address=pa.array([1, 2])), "column address: type int64"),
    ("width", lambda: rows(value=binaries(bytes(31), bytes(31), width=31)), "column value: type fixed_size_binary"),
    ("null", lambda: rows(value=binaries(None, keccak(b"code"))), "column value, row 0 = None: must not be null"),
    ("field", lambda: rows(field=pa.array([9, 3], pa.uint8())), r"column field, row 0 = 9: must be in \[0, 3\]"),
    ("slot", lambda: rows(slot=binaries(bytes(32), bytes(31) + b"\1")), "column slot, row 1 = 0x0+1: must be 0 but for"),
    ("zero", lambda: rows(value=binaries(bytes(32), keccak(b"code"))), "column value, row 0 = 0x0+: must not be 0"),
    ("twice", lambda: pa.concat_tables([rows(), rows()]), "column address, row 2 = 0x(01)+: an earlier row has this key"),
    ("code", lambda: rows(code=pa.array([None, b"xx"], pa.binary())), "column code, row 1 = 0x7878: must be the code"),
    ("no code", lambda: rows(code=pa.nulls(2)), "column value, row 1 = 0x[0-9a-f]+: no row has a code of that hash"),
    ("stray code", lambda: rows(code=pa.array([b"x", b"code"], pa.binary())), "column code, row 0 = 0x78: must be the code"),
]  # fmt: skip


@pytest.mark.parametrize("group", [1, 100])
@pytest.mark.parametrize(("make", "said"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_no_state_is_refused_and_changes_nothing(
    make: Callable[[], pa.Table], said: str, group: int, folder: Path
) -> None:
    path, store = folder / "state.parquet", MemoryStore()
    table = make().replace_schema_metadata({"pevm_numba.schema": "pevm_numba.dump/1"})
    pq.write_table(table, path, row_group_size=group)
    with pytest.raises(FileFormatError, match=f"{path}: {said}"):
        load_state(path, store)
    assert held(store) == {}
    assert store.last_block() is None


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"pevm_numba.schema": "pevm_numba.block/1"}, "is no file of state"), ({}, "is no file of state"),
        ({"last_block": " 1_0 ", "digest": "00" * 32}, "must be a number"),
        ({"last_block": "5"}, "must be a number below 2"), ({"last_block": "-5", "digest": "00" * 32}, "must be a number"),
        ({"last_block": "5", "digest": "0x"}, "must be a number below"), ({"digest": "00" * 32}, "must be a number below"),
    ],
)  # fmt: skip
def test_metadata_that_says_no_state_is_refused(about: dict[str, str], said: str, folder: Path) -> None:
    schema = {} if "pevm_numba.schema" in about or not about else {"pevm_numba.schema": "pevm_numba.dump/1"}
    pq.write_table(rows().replace_schema_metadata(schema | about), folder / "state.parquet")
    with pytest.raises(FileFormatError, match=said):
        load_state(folder / "state.parquet", MemoryStore())


def test_paths_and_stores_that_will_not_do_are_refused(folder: Path) -> None:
    store = MemoryStore()
    for act, kind, said in (
        (lambda: write_state(folder / "state.json", store), FileFormatError, "is named NAME.parquet"),
        (lambda: write_state(folder / "no" / "s.parquet", store), FileFormatError, "there is no folder|No such file"),
        (lambda: write_state(folder / "s.parquet", {}), BlockError, "must be a StateStore"),  # type: ignore[arg-type]
        (lambda: load_state(folder / "s.parquet", store), FileFormatError, "no such file"),
    ):
        with pytest.raises(kind, match=said):
            act()
    assert list(folder.iterdir()) == []
    pn.put_world(store, WORLD)
    write_state(folder / "s.parquet", store)
    with pytest.raises(BlockError, match="only an empty store"):
        load_state(folder / "s.parquet", store)
    assert held(store)
    with pytest.raises(FileFormatError, match=r"schema 'pevm_numba\.dump/1' is unknown"):
        pn.read_block(folder / "s.parquet")


def test_a_load_that_cannot_be_ended_is_undone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    commit(store, 5, change_of(0))
    write_state(folder / "s.parquet", store)

    def full(*given: object) -> None:
        raise StoreError("no room")

    again = MemoryStore()
    monkeypatch.setattr(again, "commit_block", full)
    with pytest.raises(StoreError, match="no room"):
        load_state(folder / "s.parquet", again)
    assert held(again) == {}
    monkeypatch.setattr(again, "put_many", full)  # nor can it be undone: what went wrong first is told
    with pytest.raises(StoreError, match="no room"):
        load_state(folder / "s.parquet", again)


def test_a_state_that_changes_while_it_is_written_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    commit(store, 0, change_of(0))
    parts = store.items

    def meddled() -> Iterator[Any]:
        yield from parts()
        commit(store, 1, change_of(1))

    monkeypatch.setattr(store, "items", meddled)
    with pytest.raises(StoreError, match="somebody commits to the store meanwhile"):
        write_state(folder / "s.parquet", store)
    assert list(folder.iterdir()) == []


def test_groups_that_are_too_large_to_be_read_together_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    pn.put_world(store, WORLD)
    write_state(folder / "s.parquet", store)
    monkeypatch.setattr(state_file, "_MOST_ROWS", 3)
    with pytest.raises(FileFormatError, match="row group 0 has 8 rows: must be at most 3"):
        load_state(folder / "s.parquet", MemoryStore())


def test_damage_is_an_error_or_the_state(folder: Path) -> None:
    store, path = MemoryStore(), folder / "s.parquet"
    pn.put_world(store, WORLD)
    write_state(path, store)
    data, rng, errors = path.read_bytes(), np.random.default_rng(3), 0
    for _ in range(150):
        hurt = bytearray(data)
        hurt[rng.integers(len(hurt))] ^= 1 << int(rng.integers(8))
        path.write_bytes(hurt)
        again = MemoryStore()
        try:
            load_state(path, again)
            assert held(again) == held(store)
        except PevmError:
            errors += 1
            assert held(again) == {}
    assert errors > 50
