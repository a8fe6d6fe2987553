"""Compiled kernels: kept on disk under a name that changes with any kernel source, one for each kernel, and never needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pevm_numba as pn

PACKAGE = Path(pn.__file__).parent
CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"

#: Uses the kernels behind `Block`, few and quick to compile.
FEW = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from pevm_numba._kernels import jit
    from pevm_numba.block import Block
    block = Block.from_programs([[("SSTORE", (1, 0, 0), 5)], [("SLOAD", (1, 0, 0))]], access_lists=[[(1, [0])], []])
    assert block.footprint_keys.tolist() == [0, 0]
mine = [w for w in caught if "pevm" in str(w.message) or "kernel" in str(w.message)]
print(jit.was_compiled(), len(jit.dispatchers_with_code()), len(mine), jit.cache_directory(), sep="|")
for w in mine:
    print(w.category.__name__, w.message)
"""


def run(code: str, *flags: str, path: Path | None = None, **environment: str) -> str:
    """Standard output of a fresh interpreter, Numba's settings left to `environment`."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PEVM_NUMBA_CACHE"))}
    root = path or PACKAGE.parent
    env |= {"PYTHONPATH": str(root)} | environment
    command = [sys.executable, *flags, "-c", code]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def few(cache: Path, path: Path | None = None, **environment: str) -> tuple[int, int, int, Path, str]:
    """Kernels compiled, kernels with code, warnings about the cache, its folder, and the warnings."""
    first, _, rest = run(FEW, path=path, PEVM_NUMBA_CACHE_DIR=str(cache), **environment).partition("\n")
    compiled, with_code, warned, folder = first.split("|")
    return int(compiled), int(with_code), int(warned), Path(folder), rest


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A folder in which one process has kept its kernels, and how many it compiled."""
    cache = tmp_path_factory.mktemp("cache")
    return cache, few(cache)[0]


def test_a_second_process_compiles_nothing(kept):
    cache, compiled = kept
    assert compiled >= 4
    again, with_code, warned, folder, _ = few(cache)
    assert (again, warned) == (0, 0)
    assert with_code > 0
    assert folder.parent == cache
    assert len(list(folder.glob("*.nbc"))) == compiled


def test_an_edit_in_another_kernel_file_starts_an_empty_folder(kept, tmp_path):
    cache, compiled = kept
    copy = tmp_path / "edited"
    shutil.copytree(PACKAGE, copy / "pevm_numba", ignore=shutil.ignore_patterns("__pycache__"))
    before = few(cache, path=copy)
    assert before[0] == 0  # the same sources elsewhere are the same kernels
    other = copy / "pevm_numba" / "_kernels" / "keccak.py"
    text = other.read_text()
    assert "RATE = 136" in text
    other.write_text(text.replace("RATE = 136", "RATE = 72"))
    after = few(cache, path=copy)
    assert after[3] != before[3]
    assert after[3].parent == cache
    assert after[0] == compiled


def test_bounds_checking_kernels_are_kept_apart(kept):
    cache, compiled = kept
    checked = few(cache, NUMBA_BOUNDSCHECK="1")
    assert checked[0] == compiled
    assert checked[3] != few(cache)[3]


def test_the_users_numba_settings_are_neither_used_nor_changed(kept, tmp_path):
    cache, _ = kept
    code = """
import os
before = dict(os.environ)
from numba import config
settings = {name: getattr(config, name) for name in ("CACHE_DIR", "THREADING_LAYER", "NUMBA_NUM_THREADS", "OPT")}
import numba, pevm_numba as pn
threads = numba.get_num_threads()
block = pn.generate(n_tx=50, key_space=20, conflict_ratio=0.5)
pn.execute(block, "waves", workers=1)
assert numba.get_num_threads() == threads
assert settings == {name: getattr(config, name) for name in settings}, settings
assert dict(os.environ) == before
"""
    theirs = tmp_path / "theirs"
    run(code, NUMBA_CACHE_DIR=str(theirs))
    assert few(cache, NUMBA_CACHE_DIR=str(theirs))[0] == 0
    assert not theirs.exists()


def test_without_a_writable_folder_all_works_after_one_warning(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    compiled, with_code, warned, _, text = few(file / "below")
    assert compiled > 0
    assert with_code > 0
    assert warned == 1
    assert text.startswith("RuntimeWarning compiled kernels cannot be kept in")
    assert "PEVM_NUMBA_CACHE_DIR" in text
    assert file.read_text() == "not a folder"


@pytest.mark.parametrize("damage", ["empty", "half", "noise"])
def test_damaged_files_in_the_cache_are_compiled_anew(kept, tmp_path, damage):
    cache = tmp_path / "cache"
    shutil.copytree(kept[0], cache)
    folder = few(cache)[3]
    for file in [*folder.glob("*.nbi"), *folder.glob("*.nbc")]:
        data = file.read_bytes()
        file.write_bytes({"empty": b"", "half": data[: len(data) // 2], "noise": b"\x80\x04noise" * 50}[damage])
    assert few(cache)[0] == kept[1]


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_missing_or_cut_kind_of_file_is_made_again(kept, tmp_path, suffix):
    cache = tmp_path / "cache"
    shutil.copytree(kept[0], cache)
    folder = few(cache)[3]
    files = sorted(folder.glob(f"*.{suffix}"))
    files[0].unlink()
    for file in files[1:]:
        file.write_bytes(file.read_bytes()[:-10])
    assert few(cache)[0] == kept[1]
    assert few(cache)[0] == 0


#: Everything public that runs kernels, twice over with arrays of other origin and writability.
TOUR = """
import sys
from pathlib import Path
import numpy as np
import pevm_numba as pn
from pevm_numba._kernels import jit
from pevm_numba.access.quality import accuracy
from pevm_numba.bench.contest import EXECUTORS as CONTESTANTS
from pevm_numba.bench.contest import contest
from pevm_numba.bench.scenarios import Scenario, add_noops
from pevm_numba.bench.timing import Options, WarmUp, compare_graphs, measure
from pevm_numba.execute import dataflow, waves
from pevm_numba.execute.auto import pick
from pevm_numba.execute.machine import EXECUTORS
from pevm_numba.inspection import inspect_lines
from pevm_numba.io.files import block_numbers
from pevm_numba.machine.gas import gas_schedule
from pevm_numba.schedule.bounds import critical_path_cost, speedup_bound
from pevm_numba.schedule.dependencies import EdgeKind
from pevm_numba.schedule.policies import POLICIES
from pevm_numba.schedule.simulate import MODELS

folder, corpus = Path(sys.argv[1]), Path(sys.argv[2])
waves.LEAST_WORK = dataflow.LEAST_WORK = dataflow.LEAST_GAIN = 0


def tour(block):
    pn.Block.concat([block.slice(0, block.n_tx // 2), block.slice(block.n_tx // 2)])
    truth = pn.access_sets(block)
    for oracle in ("static", "eip2930", "union"):
        pn.access_sets(block, oracle)
    if block.declares_reads.any():
        pn.access_sets(block, "declared")
    guess = pn.access_sets(block, "degraded", miss_rate=0.3, extra_rate=0.2)
    view = pn.select(truth, block, fields=["storage"], granularity="account")
    for access in (truth, guess, view, pn.AccessSets.from_arrays(truth.n_keys, truth.indptr, truth.keys, truth.modes)):
        pn.conflict_counts(access)
        pn.conflict_counts(access, work_limit=0)
        accuracy(access, access)
        for edges in ("all", "raw", "waw"):
            found = pn.dependencies(access, edges=edges)
            found.slack(np.arange(block.n_tx))
            found.only(EdgeKind.RAW).remaining()
            found.critical_path()
            found.earliest_start(np.arange(block.n_tx))
            found.successors()
        pn.bounds(access, np.arange(block.n_tx), 3)
        critical_path_cost(access)
        speedup_bound(access, np.ones(block.n_tx), 2)
        plan = pn.schedule(access)
        pn.check_schedule(plan, access)
        pn.check_schedule(pn.Schedule.from_waves("by hand", plan.waves()), access)
        if block.n_tx <= 3000:
            pn.conflict_graph(access)
            for policy in POLICIES:
                for workers in (None, 3):
                    pn.check_schedule(pn.schedule(access, policy, workers=workers, cost="accesses"), access)
            for policy, priority in (("list", "block"), ("first-fit", "random"), ("largest-first", "estimated-degree")):
                pn.check_schedule(pn.schedule(access, policy, priority=priority), access)
            for model in MODELS:
                for overheads in (pn.Overheads(), pn.Overheads(1, 2, 3, 4, prefetch=2)):
                    pn.simulate(access, model, workers=3, overheads=overheads)
            reward, gas = np.arange(block.n_tx), np.ones(block.n_tx, np.int64)
            pn.build_block(access, reward, gas, gas_limit=9, workers=2, deadline=7, key_cap=5)
            pn.build_block(access, reward, gas, gas_limit=9, blobs=reward % 3, blob_limit=2, method="lp")
    accuracy(guess, truth)
    if block.n_tx > 3000:
        return
    compare_graphs(block)
    inspect_lines(block)
    own = pn.schedule(block, "mis")
    by_hand = pn.Schedule.from_waves("by hand", own.waves(), own.serial_order.copy())
    timed = pn.schedule(block, "list", workers=2)
    for executor in EXECUTORS:
        for plan in (None, own, by_hand, timed):
            result = pn.execute(block, executor, schedule=plan, record=("changes", "times"), gas=gas_schedule("berlin"))
            result.observed
            result.block_access_list()
        for access in (truth, guess):
            for workers in (1, 2):
                pn.execute(block, executor, access=access, workers=workers)
    pick(block, 2)
    for kind in ("gas", "ns", "ops", "accesses"):
        pn.transaction_costs(block, kind, repeat=1)


blocks = [
    pn.generate(n_tx=60, key_space=30, conflict_ratio=0.5), pn.generate(n_tx=40, pattern="zipf", key_space=50),
    pn.generate(n_tx=30, pattern="clique"), pn.generate(n_tx=20, pattern="chain", n_senders=3), pn.generate(n_tx=0),
    pn.generate(n_tx=25, blob_ratio=0.5),
    pn.Block.from_programs([[("CREDIT", (1, 1, 0), 2), ("KECCAK", b"x" * 200)]] * 9 + [[("ADD", 1)]]),
]
for block in blocks:
    tour(block)
    tour(add_noops(block, 5))
numbered = [pn.generate(n_tx=20 + n, number=n) for n in range(3)]
for backend in (None, "mmap", "sqlite"):
    for writing in (True, False):
        with pn.open_store(backend and folder / backend, "w" if backend and not writing else "c", backend=backend) as store:
            for block in numbered[:2] if writing else numbered[2:]:
                pn.execute(block, "serial", store=store)
            big = pn.generate(n_tx=400, number=9)
            for keys, words in list(store.items()):
                store.put_many(keys, words)
                store.slots_of(keys.address[0].tobytes())
            if not writing:
                pn.execute(big, "serial", store=store)
pn.write_blocks(folder / "many.parquet", numbered)
for block in pn.read_blocks(folder / "many.parquet"):
    tour(block)
plain = pn.Block.from_programs([[("SLOAD", (1, 0)), ("ADD", 2), ("SSTORE", (2, 0), 5), ("KECCAK", b"x")]] * 4)
pn.write_blocks(folder / "one.json.gz", plain)
tour(pn.read_block(folder / "one.json.gz"))
for policy, oracle in (("levels", "static"), ("mis", "static"), ("mis-parallel", "degraded")):
    for executor in EXECUTORS:
        options = Options(executor, policy, oracle, 0.5 if oracle == "degraded" else 0.0, 2, 3, 1.0)
        measure(Scenario("tour", blocks[0]), options, WarmUp(0.0, 0))
contest(blocks[0], CONTESTANTS, 2, 1)
if corpus.is_dir():
    for part in ("op_trace", "cryo"):
        numbers = block_numbers(corpus / part)
        for number in (numbers[0], numbers[-1]):
            tour(pn.read_block(corpus / part, number))
found = jit.dispatchers_with_code()
print(len(found), jit.was_compiled())
for name, n in found:
    if n != 1:
        print(name, n)
"""


def test_every_kernel_has_one_specialisation_after_a_tour_of_the_public_functions(tmp_path):
    script = tmp_path / "tour.py"
    script.write_text(TOUR)
    for turn in range(2):  # a kernel that is compiled here also compiles its callees, for the types of that caller
        folder = tmp_path / f"turn {turn}"  # stores of the turn before have had the blocks
        folder.mkdir()
        code = f"import runpy, sys; sys.argv = ['tour', {str(folder)!r}, {str(CORPUS)!r}]; runpy.run_path({str(script)!r})"
        (count, compiled), *several = (line.split() for line in run(code).splitlines())
        if compiled == "0":
            break
    assert (compiled, several) == ("0", [])
    assert int(count) >= 40


#: Executes without machine code and compares with the specification.
PLAIN = """
from pevm_numba._kernels import jit
import pevm_numba as pn
from pevm_numba.execute import dataflow, waves
from pevm_numba.execute.machine import EXECUTORS
from pevm_numba.machine import spec
from pevm_numba.programs import access_lists_of, integers
A, B, FEE = (1, 0, 0), (2, 0, 0), (9, 1, 0)
assert jit.DISABLED
programs = [
    [("SLOAD", A), ("ADD", 2**256 - 1), ("SSTORE", B, "TOP"), ("CREDIT", FEE, 2**255)],
    [("SLOAD", B), ("SUB", 5), ("SSTORE", A, "TOP"), ("KECCAK", b"abc" * 60), ("SSTORE", B, "TOP"), ("CREDIT", FEE, 2**255)],
    [("ADD", 1)],
    [("TOUCH", FEE), ("NOOP", 30), ("BURN", 7), ("SSTORE", A, 0), ("SLOAD", A)],
]
lists, limits = [[(1, [0])], [], [], []], [2**24] * 3 + [25_000]
block = pn.Block.from_programs(programs, {A: 7, FEE: 3}, access_lists=lists, gas_limits=limits)
missed = pn.access_sets(block, "degraded", miss_rate=1.0)
waves.LEAST_WORK = dataflow.LEAST_WORK = dataflow.LEAST_GAIN = 0
for executor, access in [(name, access) for name in EXECUTORS for access in (None, missed)]:
    got = pn.execute(block, executor, access=access, workers=2)
    want, state = spec.execute(block.to_programs(), block.state(), block.gas_limit.tolist(), access_lists_of(block))
    outputs = integers(got.output)
    for t, receipt in enumerate(want):
        mine = (int(got.status[t]), int(got.gas_used[t]), int(got.refund[t]), outputs[t], int(got.digest[t]))
        assert mine == (receipt.status, receipt.gas_used, receipt.refund, receipt.output, receipt.digest), (t, mine, receipt)
        assert {block.key(k): m for k, m in got.observed[t].items()} == receipt.observed
    assert got.state() == state
small = pn.generate(n_tx=20, key_space=10, conflict_ratio=0.5)
for executor in EXECUTORS:
    pn.execute(small, executor, workers=2).check_equal(pn.execute(small, "serial"))
pn.check_schedule(pn.schedule(small, "mis"), pn.access_sets(small))
assert (pn.conflict_graph(pn.access_sets(small)).nnz // 2) == pn.conflict_counts(pn.access_sets(small)).pairs
print("equal")
"""


def test_kernels_run_as_plain_python_without_a_warning():
    assert run(PLAIN, "-W", "error", NUMBA_DISABLE_JIT="1") == "equal\n"


def test_whatever_the_kernels_import_is_part_of_the_stamp():
    # found in review: op codes and gas items are frozen into kernels, but their files were not hashed
    from test_architecture import MODULES, PACKAGE, imports_of

    from pevm_numba._kernels import jit

    sources = {path.resolve() for path in jit.kernel_sources()}
    for module in MODULES:
        if module.startswith("_kernels"):
            for target in imports_of(module):
                path = PACKAGE / f"{target}.py"
                if path.exists():
                    assert path.resolve() in sources, f"{module} imports {target}"
