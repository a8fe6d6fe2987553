"""Copies of stores, what is said of a whole store, and of two: over every backend."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_backends import LASTING, PROGRAM, Key, change_of, entries, held, opened

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.errors import BlockError, StoreError, UsageError
from pevm_numba.evm.hashing import keccak
from pevm_numba.keys import KeyTable, StateChange
from pevm_numba.machine.ops import Field
from pevm_numba.storage.base import commit
from pevm_numba.storage.memory import MemoryStore
from pevm_numba.storage.opening import BACKENDS
from pevm_numba.storage.places import being_made

for library in ("lmdb", "rocksdict"):
    pytest.importorskip(library, reason=f"{library} is not installed")

A, B = b"\x01" * 20, b"\x02" * 20
WORLD = {A: (5, 1, b"code", {1: 2, 2**255: 3}), B: (0, 7, b"", {}), b"\x03" * 20: (1, 0, b"code", {})}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_copy_has_what_was_committed_and_goes_its_own_way(backend: str, folder: Path) -> None:
    with opened(folder / "state", backend) as store:
        for number in range(5):
            commit(store, number, change_of(number))
        before, last = held(store), store.last_block()
        store.snapshot(folder / "copy")
        commit(store, 5, change_of(5))
        assert held(store) != before
        with pn.open_store(folder / "copy", "w") as copy:
            assert copy.backend == ("mmap" if backend == "memory" else backend)
            assert (held(copy), copy.last_block()) == (before, last)
            for number in (0, 3):
                assert copy.get_codes(change_of(number).codes) == list(change_of(number).codes.values())
            commit(copy, 5, change_of(5))
            assert list(pn.compare_stores(store, copy)) == []
            commit(copy, 6, change_of(6))
            assert list(pn.compare_stores(store, copy)) != []
            copy.snapshot(folder / "another")
        assert store.last_block()[0] == 5  # type: ignore[index]
        with pytest.raises(StoreError, match="copy: is there already"):
            store.snapshot(folder / "copy")
        with pytest.raises(StoreError, match="cannot be written: No such file"):
            store.snapshot(folder / "nowhere" / "copy")
        with pytest.raises(UsageError, match="not a path"):
            store.snapshot(5)  # type: ignore[arg-type]
    assert {item.name.removesuffix("-lock") for item in folder.iterdir()} <= {"state", "copy", "another"}
    with pytest.raises(StoreError, match="the store is closed"):
        store.snapshot(folder / "late")
    if backend in LASTING:
        with pn.open_store(folder / "state", "r") as store:  # of a reader, too
            store.snapshot(folder / "of a reader")
        with pn.open_store(folder / "of a reader", "r") as copy, pn.open_store(folder / "another", "r") as other:
            assert copy.last_block()[0] == 5  # type: ignore[index]
            assert len(list(pn.compare_stores(copy, other))) > 0


@pytest.mark.skipif(DISABLED, reason="starts a process, which would be slow")
@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("backend", LASTING)
def test_a_reader_copies_what_a_writer_has_not_put_away_yet(backend: str, killed: bool, folder: Path) -> None:
    """Found in review: a checkpoint of a RocksDB that is only read lacks all that is in its log."""
    words = [sys.executable, str(PROGRAM), backend, str(folder / "state")]
    env = os.environ | {"PYTHONPATH": str(Path(pn.__file__).parents[1])}
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(5):
            assert child.stdout.readline()
        if killed:
            child.kill()
            child.wait()
        with pn.open_store(folder / "state", "r") as reader:
            before = reader.last_block()
            reader.snapshot(folder / "copy")
            after = reader.last_block()
        child.kill()
        child.stdout.read()
    with pn.open_store(folder / "copy", "w") as copy:
        last = copy.last_block()
        assert before is not None
        assert last is not None
        assert after is not None
        assert 4 <= before[0] <= last[0] <= after[0]
        model = MemoryStore()
        for number in range(last[0] + 1):
            commit(model, number, change_of(number))
        assert (held(copy), copy.last_block()) == (held(model), model.last_block())
        for number in range(0, last[0] + 1, 3):
            assert copy.get_codes(change_of(number).codes) == list(change_of(number).codes.values())
        commit(copy, last[0] + 1, change_of(last[0] + 1))


def test_a_log_that_is_left_of_another_database_is_not_taken_over(folder: Path) -> None:
    """Found in review: SQLite would have taken the log of a removed database for that of a new one."""
    (folder / "copy-wal").write_bytes(b"what is left of another")
    with opened(folder / "state", "sqlite") as store:
        commit(store, 0, change_of(0))
        with pytest.raises(StoreError, match="copy-wal: is there already: a database of that name would take it"):
            store.snapshot(folder / "copy")
    with pytest.raises(StoreError, match="copy-wal: is there already"):
        pn.open_store(folder / "copy", backend="sqlite")
    assert not (folder / "copy").exists()
    (folder / "copy-wal").write_bytes(b"")
    pn.open_store(folder / "copy", backend="sqlite").close()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_somebody_else_makes_meanwhile_is_left(kind: str, folder: Path) -> None:
    def make() -> None:
        with being_made(folder / "state") as made:
            if kind == "file":
                made.write_text("mine")
                (folder / "state").write_text("somebody's")
            else:
                made.mkdir()
                (folder / "state").mkdir()
                (folder / "state" / "thesis").write_text("somebody's")

    with pytest.raises(StoreError, match="state: is there already"):
        make()
    found = folder / "state" if kind == "file" else folder / "state" / "thesis"
    assert found.read_text() == "somebody's"
    assert len(list(folder.iterdir())) == 1


def test_a_database_that_is_not_all_in_its_file_is_not_made(folder: Path) -> None:
    def make() -> None:
        with being_made(folder / "state") as made:
            made.write_bytes(b"x")
            made.with_name("state-wal").write_bytes(b"y")  # as SQLite leaves it where there is no room

    with pytest.raises(StoreError, match="state: cannot be written: not all of it"):
        make()
    assert list(folder.iterdir()) == []


def test_a_row_of_zeros_is_damage_not_a_word(folder: Path) -> None:
    with opened(folder / "state", "sqlite") as store:
        store.put_many(*entries({(A, 0, 1): 5, (A, 0, 2): 6}))
    base = sqlite3.connect(folder / "state")
    base.execute("UPDATE state SET word = zeroblob(40) WHERE key = (SELECT max(key) FROM state)")
    base.commit()
    base.close()
    with pytest.raises(StoreError, match="slot 0x2 is damaged"):
        pn.open_store(folder / "state", "r")
    with pn.open_store(folder / "state", "r", verify=False) as store, pytest.raises(StoreError, match="slot 0x2 is damaged"):
        store.get_many(KeyTable.from_keys([(A, 0, 3), (A, 0, 1), (A, 0, 2)]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_copy_that_fails_leaves_nothing(backend: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(folder / "state", backend) as store:
        commit(store, 0, change_of(0))

        def full(*given: object) -> None:
            raise OSError(28, "No space left on device")

        for name in ("rename", "link"):
            monkeypatch.setattr(os, name, full)
        with pytest.raises(StoreError, match="copy: cannot be written: No space left"):
            store.snapshot(folder / "copy")
        monkeypatch.undo()
        assert {item.name.removesuffix("-lock") for item in folder.iterdir()} <= {"state", "state-wal", "state-shm"}
        store.snapshot(folder / "copy")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_whole_store_is_told_of(backend: str, folder: Path) -> None:
    with opened(folder / "state", backend) as store:
        assert pn.verify_store(store) == (0, 0, 0, 0, 0, None)
        pn.put_world(store, WORLD)
        found = pn.verify_store(store)
        assert found[:5] == (2 + 3 + 1 + 2, 2, 3, 1, 4)
        commit(store, 3, StateChange(*entries({(A, Field.STORAGE, 1): 0}), {}))
        assert pn.verify_store(store)[:2] == (7, 1)
        assert pn.verify_store(store).last == store.last_block()
        store.put_many(*entries({(B, Field.CODE, 0): int.from_bytes(keccak(b"unknown"), "big")}))
        with pytest.raises(BlockError, match="the store has no code of hash 0x"):
            pn.verify_store(store)


class Wrong(MemoryStore):
    """A store that says of itself what is not so."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def get_many(self, keys: KeyTable) -> np.ndarray:
        return super().get_many(keys) ^ np.uint8(self.how == "word")

    def get_codes(self, hashes: object) -> list[bytes]:
        return [code + b"!" * (self.how == "code") for code in super().get_codes(hashes)]  # type: ignore[arg-type]

    def items(self) -> Iterator[tuple[KeyTable, np.ndarray]]:
        yield from super().items()
        if self.how == "zero":
            yield KeyTable.from_keys([(B, 0, 99)]), np.zeros((1, 32), np.uint8)


@pytest.mark.parametrize(("how", "said"), [("word", "has another word"), ("code", "its hash is another"), ("zero", "word 0")])
def test_a_store_that_is_not_whole_is_told(how: str, said: str) -> None:
    store = Wrong(how)
    pn.put_world(store, WORLD)
    with pytest.raises(StoreError, match=said):
        pn.verify_store(store)


STATES = st.dictionaries(
    st.tuples(st.sampled_from([A, B]), st.just(0), st.integers(0, 3)), st.integers(0, 3), max_size=8
)  # fmt: skip


@given(STATES, STATES)
@settings(deadline=None)
def test_what_is_unlike_is_what_dictionaries_say(left: dict[Key, int], right: dict[Key, int]) -> None:
    stores = []
    for state in (left, right):
        stores.append(MemoryStore())
        stores[-1].put_many(*entries(state))
    found = list(pn.compare_stores(*stores))
    wanted = {
        (*key, left.get(key, 0), right.get(key, 0)) for key in left.keys() | right.keys()
        if left.get(key, 0) != right.get(key, 0)
    }  # fmt: skip
    assert len(found) == len(wanted)
    assert {tuple(one) for one in found} == wanted


def test_stores_of_different_backends_are_compared(folder: Path) -> None:
    with opened(folder / "left", "lmdb") as left, opened(folder / "right", "mmap") as right:
        for store in (left, right):
            pn.put_world(store, WORLD)
        assert list(pn.compare_stores(left, right)) == []
        right.put_many(*entries({(A, Field.BALANCE, 0): 6, (B, 0, 9): 1}))
        assert [str(one) for one in pn.compare_stores(left, right)] == [
            f"0x{A.hex()} balance: 0x5, 0x6", f"0x{B.hex()} slot 0x9: 0x0, 0x1",
        ]  # fmt: skip
