"""Every backend keeps what a dictionary keeps, through reopening, kills, damage and full disks."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import evm_corpus
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from store_backends import LASTING, PROGRAM, Key, block_of, change_of, entries, held, opened

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.errors import BlockError, StoreError, UsageError
from pevm_numba.evm.hashing import keccak
from pevm_numba.keys import KeyTable, StateChange
from pevm_numba.storage import rocksdb, rocksdb_logs
from pevm_numba.storage.base import StateStore, commit, post_digest
from pevm_numba.storage.memory import MemoryStore
from pevm_numba.storage.mmap import MmapStore
from pevm_numba.storage.opening import BACKENDS, backend_of, open_store
from pevm_numba.storage.world import put_world, read_world

for library in ("lmdb", "rocksdict"):
    pytest.importorskip(library, reason=f"{library} is not installed")

SOAK = bool(os.environ.get("PEVM_NUMBA_SOAK"))
ADDRESSES = [bytes([i]) * 20 for i in range(3)]
KEYS = st.builds(
    lambda address, field, slot: (address, field, slot if field == 0 else 0),
    st.sampled_from(ADDRESSES), st.integers(0, 3), st.sampled_from([0, 1, 2**255]),
)  # fmt: skip
ENTRIES = st.dictionaries(KEYS, st.sampled_from([0, 1, 2**256 - 1]), max_size=8)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# -------------------------------------------------------------------- what a dictionary keeps


class Stored(RuleBasedStateMachine):
    """A store and a dictionary."""

    backend = "memory"
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "state")
        self.store: StateStore | Any = opened(self.path, self.backend, **self.options)
        self.model, self.codes = dict[Key, int](), {b"": keccak(b"")}
        self.last: int | None = None

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(given=ENTRIES)
    def put(self, given: dict[Key, int]) -> None:
        self.store.put_many(*entries(given))
        self.model |= given

    @rule(codes=st.lists(st.binary(max_size=3), max_size=3))
    def put_codes(self, codes: list[bytes]) -> None:
        self.store.put_codes(codes)
        self.codes |= {code: keccak(code) for code in codes}

    @rule(given=ENTRIES, step=st.integers(-1, 2), code=st.binary(max_size=3))
    def commit(self, given: dict[Key, int], step: int, code: bytes) -> None:
        number = max(step, 0) if self.last is None else self.last + step
        change = StateChange(*entries(given), {keccak(code): code})
        if number < 0:
            return
        if self.last is not None and number <= self.last:
            with pytest.raises(BlockError, match=rf"block {number}: the store has had block {self.last}"):
                commit(self.store, number, change)
            return
        digest = post_digest(self.store, number, change)
        commit(self.store, number, change)
        assert self.store.last_block() == (number, digest)
        self.model |= given
        self.last = number
        self.codes[code] = keccak(code)

    @rule(keys=st.lists(KEYS, unique=True, max_size=8))
    def get(self, keys: list[Key]) -> None:
        words = self.store.get_many(KeyTable.from_keys(keys))
        assert [int.from_bytes(word.tobytes(), "big") for word in words] == [self.model.get(key, 0) for key in keys]

    @rule(read_only=st.booleans())
    def reopen(self, read_only: bool) -> None:
        if self.backend == "memory":
            return
        before = self.store.last_block()
        if read_only and self.backend != "lmdb":  # which one process opens once
            with opened(self.path, self.backend, "r") as reader:  # beside the one that writes
                assert held(reader) == held(self.store)
                assert reader.last_block() == before
        self.store.close()
        self.store = opened(self.path, self.backend, "w", **self.options)
        assert self.store.last_block() == before

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert held(self.store) == {key: value for key, value in self.model.items() if value}
        for address in ADDRESSES:
            slots = [key[2] for key in self.store.slots_of(address)]
            assert slots == sorted(key[2] for key, value in self.model.items() if key[:2] == (address, 0) and value)
        assert self.store.get_codes(self.codes.values()) == list(self.codes)


def cases_of(backend: str, **options: Any) -> Any:
    kind = type(f"Stored_{backend}", (Stored,), {"backend": backend, "options": options})
    kind.TestCase.settings = settings(max_examples=200 if SOAK else 12, stateful_step_count=20, deadline=None)
    return kind.TestCase


TestMemory = cases_of("memory")
TestMmap = cases_of("mmap")
TestMmapWithAShortLog = cases_of("mmap", log_bytes=300)
TestRocksdb = cases_of("rocksdb")
TestLmdb = cases_of("lmdb", map_bytes=1 << 16)
TestSqlite = cases_of("sqlite")


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_keys_are_kept(backend: str, folder: Path) -> None:
    n = 2_000 if DISABLED else 1_000_000 if backend in ("memory", "mmap") or SOAK else 30_000
    rng = np.random.default_rng(1)
    keys = KeyTable(rng.integers(0, 9, (n, 20), np.uint8), np.zeros(n, np.uint8), rng.integers(0, 256, (n, 32), np.uint8))
    words = rng.integers(0, 256, (n, 32), np.uint8)
    with opened(folder / "state", backend) as store:
        for start in range(0, n, n // 4):
            part = slice(start, start + n // 4)
            store.put_many(KeyTable(keys.address[part], keys.field[part], keys.slot[part]), words[part])
        some = rng.permutation(n)[: n // 2]
        gone = KeyTable(keys.address[some], keys.field[some], keys.slot[some])
        assert np.array_equal(store.get_many(gone), words[some])
        store.put_many(gone, np.zeros((len(some), 32), np.uint8))
        words[some] = 0
        assert np.array_equal(store.get_many(keys), words)
        assert sum(len(part) for part, _ in store.items()) == n - len(some)
        told = store.metrics()
        assert (told.reads, told.hits, told.misses) == (2, n, n // 2)
        assert (told.writes, told.keys_written, told.bytes_read) == (5, n + n // 2, 85 * (n + n // 2))
        assert 0 < told.read_key.p50 <= told.read_call.p99
    if backend != "memory":
        with opened(folder / "state", backend, "r") as store:
            assert np.array_equal(store.get_many(keys), words)


@pytest.mark.parametrize("backend", LASTING)
def test_chains_of_blocks_come_back(backend: str, folder: Path) -> None:
    model = MemoryStore()
    for number in range(30):
        with opened(folder / "state", backend) as store:
            commit(store, number, change_of(number))
        commit(model, number, change_of(number))
    with opened(folder / "state", backend, "r") as store:
        assert held(store) == held(model)
        assert store.last_block() == model.last_block()
        for number in range(0, 30, 3):
            (digest, code), = block_of(number)[1].items()
            assert store.get_codes([digest]) == [code]


@pytest.mark.corpus
@pytest.mark.parametrize("backend", BACKENDS)
def test_real_blocks_on_a_store_leave_what_they_leave_in_memory(backend: str, folder: Path) -> None:
    for number in evm_corpus.numbers()[:: 1 if SOAK else 8]:
        block = evm_corpus.blocks()[number]
        store = opened(folder / str(number), backend)
        put_world(store, block.state)
        done, expected = pn.execute(block, "serial", store=store), evm_corpus.serial(number)
        assert done.gas_used.tolist() == expected.gas_used.tolist()
        assert done.receipts_root() == expected.receipts_root()
        if backend != "memory":
            store.close()
            store = opened(folder / str(number), backend, "r")
        with store:
            assert read_world(store) == expected.state
            last = store.last_block()
            assert last is not None
            assert last[0] == number


# -------------------------------------------------------------------- paths, modes, who may


@pytest.mark.parametrize("backend", LASTING)
@pytest.mark.parametrize("name", ["Zustände é 状態", "with space % and ? and #", "plain"])
def test_any_path_will_do(backend: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with open_store(name, "x", backend=backend) as store:
        commit(store, 4, change_of(4))
    monkeypatch.chdir("/")
    with open_store(str(folder / name), "r") as store:
        assert store.backend == backend
        assert store.last_block() is not None
    assert backend_of(folder / name) == backend


@pytest.mark.parametrize("backend", LASTING)
def test_modes_hold(backend: str, folder: Path) -> None:
    path = folder / "state"
    for mode in ("r", "w"):
        with pytest.raises(StoreError, match="there is no store"):
            open_store(path, mode, backend=backend)
    assert not path.exists()
    with open_store(path, "x", backend=backend) as store:
        commit(store, 1, change_of(1))
    with pytest.raises(StoreError, match="there is a store already"):
        open_store(path, "x")
    other = next(name for name in LASTING if name != backend)
    with pytest.raises(StoreError, match=f"is a store of {backend}: must be one of {other}"):
        open_store(path, backend=other)
    with open_store(path, "r") as store:
        assert held(store) == {key: value for key, value in block_of(1)[0].items() if value}
        for write in (lambda: commit(store, 2, change_of(2)), lambda: store.put_codes([b"x"])):
            with pytest.raises(StoreError, match="to be read only"):
                write()
        with pytest.raises(StoreError, match="to be read only"):
            store.put_many(*entries({(ADDRESSES[0], 0, 1): 1}))
    for act in (store.last_block, store.items, lambda: store.get_codes([]), lambda: store.slots_of(ADDRESSES[0])):
        with pytest.raises(StoreError, match="the store is closed"):
            act()
    store.close()


def elsewhere(path: Path, mode: str) -> str:
    """What another process finds in a store within a minute, or the error that it gets."""
    lines = (
        "import sys; import pevm_numba as pn; from store_backends import held",
        "try:",
        "    with pn.open_store(sys.argv[1], sys.argv[2]) as store: print((store.last_block(), held(store)), end='')",
        "except pn.PevmError as error: print(f'{type(error).__name__}: {error}', end='')",
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(pn.__file__).parents[1]), str(PROGRAM.parent)])}
    words = [sys.executable, "-c", "\n".join(lines), str(path), mode]
    return subprocess.run(words, env=env, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_left_of_a_closed_store_is_not_handed_out(backend: str, folder: Path) -> None:
    store = opened(folder / "state", backend)
    store.put_many(*entries({(address, 0, slot): 7 for address in ADDRESSES for slot in range(20_000)}))
    fresh, begun = store.items(), store.items()
    next(begun)
    store.close()
    for parts in (fresh, begun):
        with pytest.raises(StoreError, match="the store is closed"):
            next(parts)


COMPILING = """
import sys, threading
from llvmlite.binding import ffi
from numba.core.compiler_lock import global_compiler_lock
import pevm_numba as pn
store = pn.open_store(sys.argv[1], backend="lmdb")
pn.put_world(store, {bytes([i]) * 20: (5, 1, b"code", {7: 8}) for i in range(9)})
store.close()
pn.open_store(sys.argv[1]).close()
held, enough = threading.Event(), threading.Event()
def compiling():
    with ffi.lib._lock, global_compiler_lock:
        held.set()
        enough.wait()
threading.Thread(target=compiling).start()
held.wait()
pn.open_store(sys.argv[1]).close()
enough.set()
"""


@pytest.mark.skipif(DISABLED, reason="nothing is compiled")
def test_lmdb_is_opened_while_another_thread_compiles(folder: Path) -> None:
    words = [sys.executable, "-W", "ignore", "-c", COMPILING, str(folder / "state")]
    env = os.environ | {"PYTHONPATH": str(Path(pn.__file__).parents[1])}
    child = subprocess.Popen(words, env=env, start_new_session=True)
    try:
        assert child.wait(300) == 0  # or it waits for ever
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # with the process that it has begun


@pytest.mark.parametrize("backend", LASTING)
def test_one_writes_and_others_read(backend: str, folder: Path) -> None:
    path = folder / "state"
    with open_store(path, backend=backend) as store:
        commit(store, 1, change_of(1))
        with pytest.raises(StoreError, match=r"open to write|lock|LOCK"):
            open_store(path, "w")
        assert elsewhere(path, "w").startswith("StoreError: ")
        assert elsewhere(path, "r") == repr((store.last_block(), held(store)))
        commit(store, 2, change_of(2))  # the attempt has not broken the lock, nor the store
    with open_store(path, "w") as store:
        assert store.last_block() is not None
        commit(store, 3, change_of(3))


def test_arguments_are_checked(folder: Path) -> None:
    with pytest.raises(BlockError, match="mode = 'a': must be one of r, w, c, x"):
        open_store(folder / "state", "a")
    with pytest.raises(BlockError, match="backend = 'sled': must be one of memory, mmap"):
        open_store(folder / "state", backend="sled")
    with pytest.raises(UsageError, match="option 'cash_bytes': sqlite has none of that name: one of cache_bytes, sync"):
        open_store(folder / "state", backend="sqlite", cash_bytes=5)
    with pytest.raises(UsageError, match="only a memory store has none"):
        open_store(None, backend="mmap")
    with pytest.raises(UsageError, match="a memory store has none"):
        open_store(folder / "state", backend="memory")
    with pytest.raises(UsageError, match="not a path"):
        open_store("a\0b")
    for backend, name, value, said in (
        ("mmap", "log_bytes", "x", "must be an integer"), ("mmap", "log_bytes", -1, "must be at least 0"),
        ("mmap", "sync", None, "must be a bool"), ("lmdb", "sync", 3, "must be a bool"),
        ("lmdb", "verify", "no", "must be a bool"), ("lmdb", "map_bytes", -1, "must be in"),
        ("lmdb", "map_bytes", 4096, "must be in"), ("sqlite", "cache_bytes", 1.5, "must be an integer"),
        ("sqlite", "cache_bytes", -1, "must be in"), ("sqlite", "sync", "x", "must be a bool"),
        ("sqlite", "verify", 0, "must be a bool"), ("rocksdb", "sync", "x", "must be a bool"),
        ("rocksdb", "compression", "bz2", "must be one of lz4, none, snappy, zstd"),
        ("rocksdb", "compression", 3, "must be one of lz4"), ("rocksdb", "cache_bytes", -1, "must be in"),
        ("rocksdb", "bloom_bits", "a", "must be a finite number"), ("rocksdb", "bloom_bits", -1, "must be a finite number"),
        ("rocksdb", "write_buffer_bytes", 0, "must be in"),
    ):  # fmt: skip
        with pytest.raises(BlockError, match=rf"{name} = {value!r}: {said}"):
            open_store(folder / "state", backend=backend, **{name: value})
    assert list(folder.iterdir()) == []
    store = open_store()
    assert isinstance(store, StateStore)
    keys, words = entries({(ADDRESSES[0], 0, 5): 7})
    for act, rule_ in (
        (lambda: store.commit_block(-1, StateChange(keys, words), bytes(32)), "number = -1"),
        (lambda: store.commit_block(1, StateChange(keys, words), b"short"), "digest = "),
        # here and below types are ignored that are what is refused
        (lambda: store.commit_block(1, None, bytes(32)), "change = None: must be a StateChange"),  # type: ignore[arg-type]
        (lambda: store.put_codes(["text"]), "code = 'text'"),  # type: ignore[list-item]
        (lambda: store.get_many(5), "keys = 5"),  # type: ignore[arg-type]
        (lambda: store.slots_of(b"short"), "address = "),
    ):
        with pytest.raises(BlockError, match=rule_):
            act()
    assert list(store.items()) == []


@pytest.mark.parametrize(("backend", "module"), [("lmdb", "lmdb"), ("rocksdb", "rocksdict")])
def test_a_library_that_is_not_there_is_named_with_its_extra(
    backend: str, module: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"needs {module}, of the extra 'storage': pip install 'pevm_numba\[storage\]'"):
        open_store(folder / "state", backend=backend)
    assert list(folder.iterdir()) == []


def in_child(act: Callable[[], None]) -> str:
    """What a StoreError says in a child process; raises if there is none."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing was raised"
        try:
            act()
        except StoreError as error:
            said = f"StoreError: {error}"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    assert os.waitpid(child, 0)[1] == 0, "the child died"
    assert said.startswith("StoreError: "), said
    return said


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
@pytest.mark.parametrize("backend", LASTING)
def test_who_may_not_is_told(backend: str, folder: Path) -> None:
    path = folder / "state"
    with open_store(path, backend=backend) as store:
        commit(store, 1, change_of(1))
    for place in [folder, path, *(path.rglob("*") if path.is_dir() else [])]:
        place.chmod(0o755 if place.is_dir() else 0o600)

    def as_nobody() -> None:
        os.setuid(65534)
        open_store(path, "w")

    assert str(path) in in_child(as_nobody)

    def makes() -> None:
        os.setuid(65534)
        open_store(folder / "other", backend=backend)

    assert "other" in in_child(makes)
    with open_store(path, "r") as store:
        assert store.last_block() is not None


# -------------------------------------------------------------------- no room


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    place = folder / "disk"
    place.mkdir()
    tool = shutil.which("mount")
    done = None if tool is None else subprocess.run([tool, "-t", "tmpfs", "-o", "size=12m", "tmpfs", place], check=False)
    if done is None or done.returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("backend", LASTING)
def test_a_full_disk_ends_a_commit_and_nothing_else(backend: str, small_disk: Path) -> None:
    path, rng, n = small_disk / "state", np.random.default_rng(2), 2_000
    options = {"write_buffer_bytes": 1 << 20} if backend == "rocksdb" else {}
    model = MemoryStore()
    store, said = open_store(path, backend=backend, **options), ""
    for number in range(400):
        keys = KeyTable(
            rng.integers(0, 256, (n, 20), np.uint8), np.zeros(n, np.uint8), rng.integers(0, 256, (n, 32), np.uint8)
        )
        change = StateChange(keys, rng.integers(0, 256, (n, 32), np.uint8))
        try:
            commit(store, number, change)
        except StoreError as error:
            said = str(error)
            break
        commit(model, number, change)
    assert str(path) in said
    assert 2 < number < 399
    assert store.last_block() == model.last_block()
    assert held(store) == held(model)
    store.close()
    with open_store(path, "r") as store:  # what was refused has left nothing
        assert store.last_block() == model.last_block()
        assert held(store) == held(model)


# -------------------------------------------------------------------- killed


def states(most: int) -> list[tuple[Any, dict[Key, int]]]:
    """Last block and contents after each block of the chain; the first, before any."""
    model = MemoryStore()
    found = [(None, dict[Key, int]())]
    now: dict[Key, int] = {}
    for number in range(most):
        commit(model, number, change_of(number))
        now = {key: value for key, value in (now | block_of(number)[0]).items() if value}
        found.append((model.last_block(), now))
    return found


@pytest.mark.skipif(DISABLED, reason="starts many processes, each of which would be slow")
@pytest.mark.parametrize("backend", [*LASTING, "mmap with a short log"])
def test_whenever_it_is_killed_what_was_acknowledged_is_there(backend: str, folder: Path) -> None:
    kills, rng = 200 if SOAK else 6, random.Random(backend)
    name, _, short = backend.partition(" ")
    words = [sys.executable, str(PROGRAM), name, str(folder / "state"), *(["log_bytes=20000"] if short else [])]
    env = os.environ | {"PYTHONPATH": str(Path(pn.__file__).parents[1])}
    known, acknowledged, seen = states(400), -1, set()
    for _ in range(kills):
        child = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        first = child.stdout.readline()
        assert first, "it ended by itself"
        time.sleep(rng.random() ** 2 * 0.05)
        child.send_signal(signal.SIGKILL)
        told = [int(line) for line in [first, *child.stdout.read().split("\n")] if line.strip()]
        child.wait()
        child.stdout.close()
        acknowledged = max([acknowledged, *told])
        with opened(folder / "state", name, "w") as store:
            last = store.last_block()
            assert last is not None
            while last[0] + 1 >= len(known):
                known = states(2 * len(known))
            assert last[0] >= acknowledged, "what was acknowledged is lost"
            assert (last, held(store)) == known[last[0] + 1]
            for number in range(last[0] // 3 * 3, max(-1, last[0] - 60), -3):
                (digest, code), = block_of(number)[1].items()
                assert store.get_codes([digest]) == [code]
        seen.add(last[0])
    assert len(seen) > kills // 2


@pytest.mark.skipif(DISABLED, reason="starts a process, which would be slow")
@pytest.mark.parametrize("backend", [*LASTING, "mmap with a short log"])
def test_who_reads_while_another_process_commits_sees_the_state_after_some_block(backend: str, folder: Path) -> None:
    name, _, short = backend.partition(" ")
    words = [sys.executable, str(PROGRAM), name, str(folder / "state"), *(["log_bytes=20000"] if short else [])]
    env = os.environ | {"PYTHONPATH": str(Path(pn.__file__).parents[1])}
    known, before = states(400), 0
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        for _ in range(100 if SOAK else 12):
            with opened(folder / "state", name, "r") as store:
                last = store.last_block()
                assert last is not None
                while last[0] + 1 >= len(known):
                    known = states(2 * len(known))
                assert last[0] >= before
                if name in ("mmap", "rocksdb"):  # it stays what it was when it was opened
                    assert (last, held(store)) == known[last[0] + 1]
                again = store.last_block()
                assert again is not None
                assert again[0] >= last[0]
                before = last[0]
        child.kill()
        child.stdout.read()
    with opened(folder / "state", name, "w") as store:
        last = store.last_block()
        assert last is not None
        while last[0] + 1 >= len(known):
            known = states(2 * len(known))
        assert (last, held(store)) == known[last[0] + 1]


class Meddled:
    """rocksdict, whose databases are opened to read while another writes."""

    def __init__(self, real: Any, meddle: Callable[[], None], fails: bool) -> None:
        self.real, self.meddle, self.fails, self.opened = real, meddle, fails, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def Rdict(self, *given: Any, **named: Any) -> Any:
        self.opened += 1
        db = self.real.Rdict(*given, **named)
        self.meddle()
        if self.fails:
            db.close()
            raise Exception("Corruption: Can't access /000041.sst")
        return db


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("times", [0, 2, 1_000])
def test_who_opens_a_rocksdb_whose_files_change_opens_it_again(
    fails: bool, times: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by CI: a compaction between reading the list of files and opening them looked like damage."""
    with open_store(folder / "state", backend="rocksdb") as store:
        commit(store, 0, change_of(0))
        number = 0

        def meddle() -> None:
            nonlocal number
            if number < times:
                number += 1
                commit(store, number, change_of(number))
                store._db.flush()  # type: ignore[attr-defined]

        meddled = Meddled(rocksdb.library("rocksdict"), meddle, fails)
        monkeypatch.setattr(rocksdb, "library", lambda name: meddled)
        if times > 100 or fails:  # what fails though nothing changes is damaged
            with pytest.raises(StoreError, match=r"000041" if times < 100 else "changed while they were read, 100 times"):
                open_store(folder / "state", "r")
        else:
            with open_store(folder / "state", "r") as reader:
                assert reader.last_block() == store.last_block()
                assert held(reader) == held(store)
        assert meddled.opened == min(times + 1, 100)


def until_it_fails(store: Any) -> tuple[int, BaseException]:
    """Commit blocks: which was refused, and how."""
    for number in range(100):
        try:
            commit(store, number, change_of(number))
        except (StoreError, ZeroDivisionError) as error:
            return number, error
    raise AssertionError("nothing failed")


def test_a_table_that_could_be_written_but_not_opened_closes_the_store(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in review: it would have gone on in the old log, which nobody reads any more."""
    store = open_store(folder / "state", backend="mmap", log_bytes=2_000)
    assert isinstance(store, MmapStore)
    monkeypatch.setattr(MmapStore, "_open_generation", lambda self, generation: 1 // 0)
    number, error = until_it_fails(store)
    assert isinstance(error, ZeroDivisionError)
    monkeypatch.undo()
    with pytest.raises(StoreError, match="the store is closed"):
        commit(store, number, change_of(number))
    with open_store(folder / "state", "w") as store:
        assert store.last_block() == states(number)[-1][0]
        commit(store, number, change_of(number))


def test_a_table_that_could_not_be_written_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, start: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    with open_store(folder / "state", backend="mmap", log_bytes=2_000) as store:
        files = sorted(folder.rglob("*"))
        monkeypatch.setattr(os, "posix_fallocate", full)
        number, error = until_it_fails(store)
        assert "no new table can be written: No space left on device" in str(error)
        assert sorted(folder.rglob("*")) == files
        assert store.last_block() == states(number)[-1][0]
        monkeypatch.undo()
        commit(store, number, change_of(number))
        assert held(store) == states(number + 1)[-1][1]


@pytest.mark.parametrize("mode", ["r", "w"])
def test_a_log_is_read_to_its_end_however_little_a_read_gives(
    mode: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(folder / "state", backend="mmap") as store:
        for number in range(30):
            commit(store, number, change_of(number))
    read = os.pread  # of which the system gives 2 GiB at most, whatever is asked for
    monkeypatch.setattr(os, "pread", lambda handle, size, at: read(handle, min(size, 1_000), at))
    with open_store(folder / "state", mode) as store:
        assert (store.last_block(), held(store)) == states(30)[-1]
    monkeypatch.undo()
    with open_store(folder / "state", mode) as store:
        assert (store.last_block(), held(store)) == states(30)[-1]


# -------------------------------------------------------------------- damaged


def damages(data: bytes, rng: random.Random) -> bytes:
    """A flipped bit, a cut, zeros, or other bytes."""
    out, kind, at = bytearray(data), rng.randrange(4), rng.randrange(max(1, len(data)))
    if kind <= 1 and out:
        out[at] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del out[at:]
    else:
        n = min(rng.choice((1, 16, 600)), len(out) - at)
        out[at : at + n] = bytes(n) if rng.random() < 0.5 else rng.randbytes(n)
    return bytes(out)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(DISABLED, reason="opens hundreds of stores")
@pytest.mark.parametrize("backend", LASTING)
def test_damage_is_an_error_or_a_state_that_once_was(backend: str, folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    good, bad = folder / "good", folder / "bad"
    options = {"log_bytes": 20_000} if backend == "mmap" else {}
    with open_store(good, backend=backend, **options) as store:
        for number in range(60):
            commit(store, number, change_of(number))
    with open_store(good, "w", backend=backend, **options):
        pass
    known = states(60)
    files = sorted(path for path in ([good] if good.is_file() else good.rglob("*")) if path.is_file() and path.stat().st_size)
    files = [path for path in files if "LOG" not in path.name and not path.name.lower().startswith("lock")]
    outcomes = {"error": 0, "state": 0}
    for seed in range(2_000 if SOAK else 120):
        rng = random.Random(seed)
        victim = rng.choice(files)
        for old in folder.glob("bad*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for path in folder.glob("good*"):
            copy = path.with_name(path.name.replace("good", "bad"))
            shutil.copytree(path, copy) if path.is_dir() else shutil.copy(path, copy)
        hurt = bad / victim.relative_to(good) if good.is_dir() else bad
        hurt.write_bytes(damages(hurt.read_bytes(), rng))
        try:
            with open_store(bad, rng.choice("rw"), backend=backend) as store:
                last = store.last_block()
                place = 0 if last is None else last[0] + 1
                assert place < len(known), seed
                assert (last, held(store)) == known[place], (seed, hurt)
                every = KeyTable.from_keys([(bytes([a]) * 20, 0, slot) for a in range(5) for slot in range(60)])
                words = [int.from_bytes(word.tobytes(), "big") for word in store.get_many(every)]
                assert {key: value for key, value in zip(every, words) if value} == known[place][1], (seed, hurt)
            outcomes["state"] += 1
        except StoreError:
            outcomes["error"] += 1
    assert outcomes["error"] > 20, outcomes


@pytest.mark.parametrize("mode", ["r", "w"])
def test_a_message_that_quotes_damage_is_an_error_like_any(mode: str, folder: Path) -> None:
    """Found by damaging 2,000 files: sqlite3 could not decode its own message, and that was no StoreError."""
    open_store(folder / "state", backend="sqlite").close()
    data = (folder / "state").read_bytes()
    assert data.count(b"CREATE TABLE state") == 1
    (folder / "state").write_bytes(data.replace(b"CREATE TABLE state", b"CREATE TABL\xba state"))
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(folder / "state", mode)


@pytest.mark.skipif(DISABLED, reason="starts processes, which would be slow")
@pytest.mark.parametrize("kind", [5, 8, 11])
@pytest.mark.parametrize("log", ["MANIFEST-*", "*.log"])
def test_damage_that_rocksdb_never_ends_to_read_is_an_error(kind: int, log: str, folder: Path) -> None:
    """Found by damaging 2,000 files: one bit of a record's kind, and RocksDB read that record again for half an hour."""
    with open_store(folder / "state", backend="rocksdb") as store:
        for number in range(3):
            commit(store, number, change_of(number))
        shutil.copytree(folder / "state", folder / "copy")  # as after a kill: with something in its log
    (victim,) = (folder / "copy").glob(log)
    data = bytearray(victim.read_bytes())
    second = 7 + int.from_bytes(data[4:6], "little")
    data[second + 6] = kind
    victim.write_bytes(data)
    for mode in "rw":
        assert f"{victim}: the record at byte {second} is damaged" in elsewhere(folder / "copy", mode)


def test_a_log_that_grows_while_it_is_looked_at_is_no_damage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found in review: what was added to the last block was taken for the beginning of another."""
    record = bytes(4) + (300).to_bytes(2, "little") + b"\x01" + b"\x05" * 300
    path, look = folder / "000001.log", rocksdb_logs._used_again
    path.write_bytes(record * 3)

    def meanwhile(blocks: Any) -> int | None:
        given = iter(blocks)
        first = next(given)
        with open(path, "ab") as file:
            file.write(record[5:] * 200)
        return look(chain([first], given))

    monkeypatch.setattr(rocksdb_logs, "_used_again", meanwhile)
    rocksdb_logs.check_logs(folder)


@pytest.mark.parametrize("backend", LASTING)
def test_foreign_files_are_refused_and_left_alone(backend: str, folder: Path) -> None:
    path = folder / "state"
    if backend == "sqlite":
        path.write_text("no database, but somebody's text\n" * 40)
    else:
        path.mkdir()
        (path / "thesis.txt").write_text("somebody's work")
    before = {item: item.read_bytes() for item in folder.rglob("*") if item.is_file()}
    with pytest.raises(StoreError, match="state"):
        open_store(path, backend=backend)
    after = {item: item.read_bytes() for item in folder.rglob("*") if item.is_file() and "lock" not in item.name.lower()}
    assert after == before
