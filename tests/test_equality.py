"""Every executor equals serial execution: on real blocks, on one contended block again and again, on many random ones.

Which transaction meets which is up to the cores, so it is repetition that finds what is wrong here.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import SHARED
from test_execute import force_threads

import pevm_numba as pn
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.oracles import degrade
from pevm_numba.block import Block
from pevm_numba.execute import waves
from pevm_numba.execute.micro_ops import JOBS
from pevm_numba.execute.result import Execution
from pevm_numba.execute.run import execute
from pevm_numba.generate import OpMix, generate
from pevm_numba.io.files import read_blocks
from pevm_numba.schedule.policies import schedule

SOAK = bool(os.environ.get("PEVM_NUMBA_SOAK"))
N_BLOCKS = 10_000 if SOAK else (5 if DISABLED else 150)
PARALLEL = [name for name in JOBS if name != "serial"]
FEE = (9, 1, 0)

real_threads = pytest.mark.skipif(DISABLED, reason="needs real threads")


@pytest.fixture(autouse=True)
def on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even the smallest block on several threads."""
    force_threads(monkeypatch)


def state_hash(result: Execution) -> str:
    """One hash of the state and of all receipts."""
    digest = hashlib.sha256()
    for name in ("values", "status", "gas_used", "refund", "output", "digest", "stop"):
        digest.update(np.ascontiguousarray(getattr(result, name)).tobytes())
    return digest.hexdigest()


# -------------------------------------------------------------------- real blocks


@cache
def real_blocks() -> list[Block]:
    return list(read_blocks(SHARED / "corpus" / "op_trace"))


@pytest.mark.corpus
@real_threads
@pytest.mark.parametrize("executor", PARALLEL)
def test_every_real_block_is_executed_as_serially(executor: str) -> None:
    found = real_blocks()
    assert len(found) == 65
    for block in found:
        reference = execute(block, "serial")
        for workers in (2, 3):
            execute(block, executor, workers=workers).check_equal(reference)


@pytest.mark.corpus
@real_threads
@pytest.mark.parametrize("executor", PARALLEL)
def test_all_real_blocks_as_one(executor: str) -> None:
    block = Block.concat(real_blocks(), fork="free")
    assert block.n_tx == 13_000
    reference = execute(block, "serial")
    exact = pn.access_sets(block)
    for access in (None, exact, degrade(exact, 0.01, 0.0, 7)):
        result = execute(block, executor, workers=2, access=access)
        result.check_equal(reference)
        assert state_hash(result) == state_hash(reference)


# -------------------------------------------------------------------- one contended block


def contended() -> Block:
    """Hot keys, a balance that most pay into and some read, failures that undo stores, and little work in between."""
    rng = np.random.default_rng(5)
    programs: list[list[tuple[Any, ...]]] = []
    limits = []
    for t in range(500):
        key, other = ((int(k), 0, 0) for k in rng.integers(1, 8, 2))
        work = ("NOOP", int(rng.integers(1, 300)))
        program = [("SLOAD", key), work, ("ADD", t), ("SSTORE", other, "TOP"), ("CREDIT", FEE, 3)]
        if t % 11 == 0:
            program += [("SLOAD", FEE), ("SSTORE", (100 + t, 0, 0), "TOP")]
        if t % 7 == 3:
            program.append(("BURN", 500_000))
        programs.append(program)
        limits.append(400_000)
    return Block.from_programs(programs, {FEE: 1}, gas_limits=limits)


@real_threads
@pytest.mark.parametrize("executor", PARALLEL)
def test_two_hundred_runs_of_one_contended_block_leave_the_same_hash(executor: str) -> None:
    block = contended()
    reference = execute(block, "serial")
    assert 0 < np.count_nonzero(reference.status) < block.n_tx
    expected = state_hash(reference)
    for i in range(200):
        assert state_hash(execute(block, executor, workers=(2, 3, 8)[i % 3])) == expected, i


# -------------------------------------------------------------------- random blocks


def test_random_blocks_with_hot_keys_equal_serial_at_any_miss_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(20240611)
    for i in range(N_BLOCKS):
        pattern = str(rng.choice(["uniform", "zipf", "chain", "star", "clique"]))
        block = generate(
            n_tx=int(rng.integers(0, 120)),
            key_space=int(rng.integers(1, 200)),
            conflict_ratio=float(rng.choice([0.1, 0.5, 0.9])),
            pattern=pattern,
            seed=i,
            mix=OpMix(top_share=0.5, noop_count=int(rng.choice([1, 1000]))),
        )
        monkeypatch.setattr(waves, "LEAST_WORK", int(rng.choice([0, 8000])))
        workers = int(rng.choice([1, 2, 3, 8]))
        access = degrade(pn.access_sets(block), float(rng.choice([0.0, 0.01, 0.5, 1.0])), 0.05, i)
        reference = execute(block, "serial")
        plan = schedule(access, str(rng.choice(["mis", "list", "first-fit"])), block=block)
        ordered = execute(block, "serial", schedule=plan)
        for executor in PARALLEL:
            execute(block, executor, access=access, workers=workers).check_equal(reference)
            execute(block, executor, schedule=plan, workers=workers).check_equal(ordered)
