"""The storage benchmark: what it draws, that it compares what it reads, that every figure is defined."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evm_corpus import CORPUS
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import in_process

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.bench import __main__ as bench
from pevm_numba.bench import storage_chain, storage_direct
from pevm_numba.bench.storage import Request, run
from pevm_numba.bench.storage_cells import OPERATIONS, Stores, load_rows, workload_rows
from pevm_numba.bench.storage_chain import KINDS, backend_rows, delay_rows, in_parts
from pevm_numba.bench.storage_direct import against_rows
from pevm_numba.bench.storage_load import DISTRIBUTIONS, Draws, keys_of, words_of
from pevm_numba.errors import ExecutionError, UsageError
from pevm_numba.fields import TABLES
from pevm_numba.storage.memory import MemoryStore
from pevm_numba.storage.opening import BACKENDS

for library in ("lmdb", "rocksdict"):
    pytest.importorskip(library, reason=f"{library} is not installed")


def mixed(value: int) -> int:
    """The slow twin: splitmix64's finaliser, after one step."""
    value = (value * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31


@given(st.lists(st.integers(0, 10**8), unique=True, max_size=40), st.integers(0, 1000))
@settings(deadline=None)
def test_keys_and_words_are_what_their_numbers_say(ids: list[int], version: int) -> None:
    given, table = np.array(ids, np.int64), keys_of(np.array(ids, np.int64))
    assert [key[2] for key in table] == [i % 64 for i in ids]
    for i, (address, _, _) in zip(ids, table, strict=True):
        parts = [mixed(i // 64 * 3 + part).to_bytes(8, "little") for part in range(3)]
        assert address == parts[0] + parts[1][:4] + parts[2]
    limbs = [[mixed(4 * i + (version << 40) + k) | 1 for k in range(4)] for i in ids]
    assert words_of(given, version).view(np.uint64).reshape(-1, 4).tolist() == limbs


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_batches_are_drawn_as_they_are_called(distribution: str) -> None:
    draws, counts = Draws(500, 1), np.zeros(500, np.int64)
    for _ in range(300):
        ids = draws.batch(distribution, 40)
        assert len(set(ids.tolist())) == 40
        assert ids.min() >= 0
        assert ids.max() < 500
        assert distribution != "sequential" or np.array_equal(np.diff(ids), np.ones(39))
        counts[ids] += 1
    popular = np.sort(counts)[::-1]
    assert (popular[:10].mean() > 8 * popular[250:].mean()) == (distribution == "zipf")
    assert np.array_equal(Draws(500, 1).batch(distribution, 40), Draws(500, 1).batch(distribution, 40))


def test_every_store_is_filled_used_and_compared(tmp_path: Path) -> None:
    stores = Stores(tmp_path, BACKENDS, 400)
    rows = [*load_rows(stores, 1), *workload_rows(stores, 20, 2)]
    assert len(rows) == len(BACKENDS) * (1 + len(DISTRIBUTIONS) * len(OPERATIONS))
    assert stores.version.max() > 1
    for store in stores.open.values():
        stores.read(store, np.arange(400))
        assert store.last_block() is not None
    for row in rows:
        assert set(row) == set(TABLES[row["table"]][1]) | {"table"}
        assert row["verified"]
    sized = {row["backend"]: row["bytes_per_key"] for row in rows if row["table"] == "store"}
    assert sized["memory"] is None
    assert min(size for size in sized.values() if size is not None) > 20
    stores.close()


def test_a_store_that_gives_another_word_ends_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = Stores(tmp_path, ("memory", "sqlite"), 400)
    list(load_rows(stores, 1))
    put = MemoryStore.put_many
    monkeypatch.setattr(MemoryStore, "put_many", lambda self, keys, words: put(self, keys, np.asarray(words) ^ 2))
    with pytest.raises(ExecutionError, match="memory: a word is not what was put there"):
        list(workload_rows(stores, 20, 2))
    stores.close()


def test_libraries_are_driven_beside_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(against_rows(tmp_path, BACKENDS, 400, 50, 2))
    assert [(row["backend"], row["operation"]) for row in rows] == [
        ("memory", "read"), ("mmap", "read"), *((name, what) for name in BACKENDS[2:] for what in ("read", "write")),
    ]  # fmt: skip
    for row in rows:
        assert set(row) == set(TABLES["store against"][1]) | {"table"}
        assert row["ratio"] > 0
    monkeypatch.setattr(storage_direct._Lmdb, "read", lambda self, rows: [bytes(32)] * len(rows))
    (tmp_path / "again").mkdir()
    with pytest.raises(ExecutionError, match="lmdb, library read: a word"):
        list(against_rows(tmp_path / "again", ("lmdb",), 400, 50, 1))


@pytest.mark.skipif(DISABLED, reason="chains of blocks take minutes of plain Python")
def test_chains_are_run_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = in_parts(pn.generate_evm("erc20", n_tx=30, seed=2, number=20_000_000), 3)
    whole = pn.execute(pn.generate_evm("erc20", n_tx=30, seed=2, number=20_000_000), "serial")
    assert [block.n_tx for block in chain.blocks] == [10, 10, 10]
    assert chain.after == whole.state
    rows = [*delay_rows(chain, 1, (0, 50)), *backend_rows(chain, tmp_path, ("memory", "lmdb"), 1)]
    for row in rows:
        assert set(row) == set(TABLES["chain"][1]) | {"table"}
    found = {(row["delay_us"], row["kind"]): row for row in rows[: 2 * len(KINDS)]}
    for delay in (0, 50):
        demand, named, listed = (found[delay, kind] for kind in KINDS)
        assert demand["prefetched"] == listed["met"] == 0
        assert demand["met"] >= named["met"] > 0
        assert listed["prefetched"] > named["prefetched"] > 0
    assert found[50, "on demand"]["met_ms"] >= 0.05 * found[50, "on demand"]["met"]
    monkeypatch.setattr(storage_chain, "read_world", lambda store: {})
    with pytest.raises(ExecutionError, match="chain of block 20000000, on demand: accounts are others"):
        list(delay_rows(chain, 1, (0,)))


@pytest.mark.corpus
@pytest.mark.skipif(DISABLED, reason="too slow in plain Python")
def test_all_that_is_written_is_defined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(storage_chain, "DELAYS_US", (0, 10))
    said = in_process(bench.main, monkeypatch, capsys)(
        "storage", CORPUS, "--sizes", "1000,2000", "--batch", 100, "--rounds", 2, "--blocks", "12300570", "--chain-rounds",
        1, "--json", tmp_path / "a.json", "--chart", tmp_path / "a.png", "--folder", tmp_path,
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    rows = json.loads((tmp_path / "a.json").read_text())
    assert {row["table"] for row in rows} == {"store", "store workload", "store against", "chain"}
    assert all(row["verified"] for row in rows)
    text = " ".join(said.out.split())
    for words in ("Stores filled in no order", "zipf: popular keys", "Beside what they are made of", "Chains of 6 blocks"):
        assert words in text
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.json", "a.png"]


def test_without_blocks_there_are_no_chains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run(Request(None, (200,), ("memory", "sqlite"), 10, 1, folder=tmp_path, chart=tmp_path / "a.svg"))
    assert {row["table"] for row in rows} == {"store", "store workload", "store against"}
    assert "Chains" not in capsys.readouterr().out
    assert "keys a second" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sizes": "many"}, "--sizes 'many': must be numbers"), ({"sizes": "inf"}, "--sizes 'inf'"),
        ({"sizes": "100"}, r"--sizes 100: must be in \[2000, "), ({"backends": "sled"}, "--backends: 'sled' is unknown"),
        ({"batch": 5}, "--batch 5"), ({"rounds": 0}, "--rounds 0"), ({"chain_rounds": 0}, "--chain-rounds 0"),
        ({"folder": Path("nowhere")}, "--folder nowhere: there is no such folder"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(given: dict[str, object], said: str) -> None:
    texts = {name: str(given.get(name, default)) for name, default in (("sizes", "1e5"), ("backends", "all"))}
    more = {name: value for name, value in given.items() if name not in texts}
    with pytest.raises(UsageError, match=said):
        Request.parse(None, texts["sizes"], texts["backends"], **more)
