"""Blocks for measuring engines, and taking their times in turn, after every outcome was compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..block import Block
from ..engines.engine import Engine
from ..execute.micro_op_job import MicroOpJob
from ..execute.micro_ops import JOBS

__all__ = ["FAMILIES", "job_of", "mixed_block", "nanoseconds", "stream", "times_of"]

#: Keys of the blocks that are made here: with them the state fits a second-level cache, so that programs are measured.
_KEYS: Final = 5_000

_Key = tuple[int, int, int]
_Ops = list[tuple[Any, ...]]


def _loads(count: int) -> Callable[[list[_Key], int], _Ops]:
    return lambda keys, t: [("SLOAD", keys[i % 24]) for i in range(count)]


def _stores(count: int, slots: int) -> Callable[[list[_Key], int], _Ops]:
    return lambda keys, t: [("SSTORE", keys[i % slots], t + 7 + i) for i in range(count)]


def _sums(count: int) -> Callable[[list[_Key], int], _Ops]:
    return lambda keys, t: [("SLOAD", keys[0]), *[("ADD" if i % 2 else "SUB", t + i) for i in range(count)]]


def _changes(count: int, adds: int) -> Callable[[list[_Key], int], _Ops]:
    def program(keys: list[_Key], t: int) -> _Ops:
        ops: _Ops = []
        for i in range(count):
            ops += [("SLOAD", keys[2 * i]), *[("ADD", t + 1)] * adds, ("SSTORE", keys[2 * i + 1], "TOP")]
        return ops

    return program


def _credits(count: int) -> Callable[[list[_Key], int], _Ops]:
    return lambda keys, t: [("CREDIT", (10 + keys[i % 24][2], 1, 0), t + i) for i in range(count)]


def _balances(count: int) -> Callable[[list[_Key], int], _Ops]:
    return lambda keys, t: [("SSTORE", (10 + keys[i][2], 1, 0), t + 7 + i) for i in range(count)]


def _digests(count: int) -> Callable[[list[_Key], int], _Ops]:
    def program(keys: list[_Key], t: int) -> _Ops:
        ops: _Ops = []
        for i in range(count):
            ops += [("KECCAK", t.to_bytes(8, "big")), ("ADD", i), ("SSTORE", keys[i], "TOP")]
        return ops

    return program


def _work(keys: list[_Key], t: int) -> _Ops:
    return [("SLOAD", keys[0]), ("NOOP", 3), ("SSTORE", keys[1], t + 5), ("NOOP", 2), ("SSTORE", keys[2], t + 6)]


#: Programs of one shape each, of keys and the number of the transaction: what transactions do, each kind alone, few and many.
FAMILIES: Final[dict[str, Callable[[list[_Key], int], _Ops]]] = {
    "1 load": _loads(1), "7 loads": _loads(7), "20 loads": _loads(20), "1 store": _stores(1, 1), "3 stores": _stores(3, 24),
    "20 stores": _stores(20, 24), "6 sums": _sums(6), "60 sums": _sums(60), "2 copies": _changes(2, 0),
    "load, add, store": _changes(1, 1), "3 of load, add, store": _changes(3, 1), "12 of load, add, store": _changes(12, 1),
    "4 stores to a slot": _stores(4, 1), "60 stores to a slot": _stores(60, 1), "3 stores to 20 slots each": _stores(60, 20),
    "8 credits": _credits(8), "60 credits": _credits(60), "4 balances": _balances(4), "3 digests": _digests(3),
    "120 loads": _loads(120), "a load, 2 stores, work": _work,
}  # fmt: skip


def stream(family: str, n_tx: int, *, seed: int = 42) -> Block:
    """Transactions of one of `FAMILIES`, on keys of their own of a state of 5,000.

    Examples
    --------
    >>> stream("3 stores", 10).n_ops
    30
    """
    rng = np.random.default_rng(seed)
    keys: list[_Key] = [(1, 0, int(k)) for k in range(_KEYS)]
    chosen = ([keys[int(k)] for k in rng.choice(_KEYS, 24, replace=False)] for _ in range(n_tx))
    programs = [FAMILIES[family](some, t) for t, some in enumerate(chosen)]
    return Block.from_programs(programs, {key: 1 + i for i, key in enumerate(keys)})


def mixed_block(n_tx: int, n_shapes: int, *, hashes: int = 0, seed: int = 42) -> Block:
    """Transactions of so many shapes in random order, on a state of 5,000 keys.

    Parameters
    ----------
    n_tx : int
    n_shapes : int in [1, 12]
        They have one to four loads and one to three stores, of literals but for the last, which adds to what was loaded.
    hashes : int
        KECCAK of 32 bytes in each transaction.
    seed : int

    Examples
    --------
    >>> mixed_block(100, 12).n_tx
    100
    """
    rng = np.random.default_rng(seed)
    keys = [(1, 0, int(k)) for k in range(_KEYS)]
    programs = []
    for t in range(n_tx):
        kind = int(rng.integers(n_shapes))
        chosen = [keys[int(k)] for k in rng.integers(0, _KEYS, 7)]
        loads, stores = 1 + kind % 4, kind // 4
        program: list[tuple[Any, ...]] = [("SLOAD", key) for key in chosen[:loads]]
        program += [("KECCAK", rng.bytes(32)) for _ in range(hashes)]
        program += [("ADD", t + 1), ("SSTORE", chosen[4], "TOP")]
        program += [("SSTORE", key, int(rng.integers(1, 2**63))) for key in chosen[5 : 5 + stores]]
        programs.append(program)
    return Block.from_programs(programs, {key: 1 + i for i, key in enumerate(keys)})


def job_of(block: Block, engine: Engine) -> MicroOpJob:
    """A serial job, ready to run."""
    job = JOBS["serial"](block, engine=engine)
    job.plan()
    return job


def nanoseconds(job: MicroOpJob) -> float:
    """Run it once."""
    job.reset()
    return float(job.run()[1]["execute_ns"])


def times_of(jobs: dict[str, MicroOpJob], rounds: int) -> dict[str, NDArray[np.float64]]:
    """Nanoseconds of each job in each round, taken in turn; every outcome is compared first."""
    first = None
    for job in jobs.values():
        job.reset()
        outcome = job.collect(*job.run())
        outcome.check_equal(outcome if first is None else first)
        first = first or outcome
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            nanoseconds(job)  # caches as after a run of its own
            found[name].append(nanoseconds(job))
    return {name: np.array(times) for name, times in found.items()}
