"""Block-STM: versions as a naive walk gives them, every stale read found, nothing counted twice, and a way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import access_dicts, blocks
from test_execute import check, force_threads

import pevm_numba as pn
from pevm_numba._kernels import optimistic as _k
from pevm_numba._kernels import versions as _v
from pevm_numba._kernels.jit import DISABLED, inputs, kernel, read_only
from pevm_numba._kernels.optimistic import Queue, optimistic_cells
from pevm_numba.access.oracles import degrade
from pevm_numba.access.sets import AccessSets
from pevm_numba.block import Block
from pevm_numba.execute import optimistic
from pevm_numba.execute.optimistic import OptimisticJob
from pevm_numba.execute.run import execute
from pevm_numba.generate import generate

A, B = (1, 0, 0), (2, 0, 0)
FEE = (9, 1, 0)
real_threads = pytest.mark.skipif(DISABLED, reason="needs real threads")

# -------------------------------------------------------------------- multi-version memory


@kernel
def resolve(entry, key, versions, status):
    return _v.resolve(entry, key, versions, status)


def linked(sets: list[dict[int, int]], n_keys: int, order: list[int]) -> tuple[AccessSets, dict[str, np.ndarray]]:
    """Access sets and the arrays that `chain_entries` makes of them."""
    access = AccessSets.from_dicts(sets, n_keys)
    n, n_tx = access.n_accesses, len(sets)
    out = {
        "tx_of": np.empty(n, np.int32), "place": np.empty(n_tx, np.int32), "before": np.empty(n, np.int32),
        "after": np.empty(n, np.int32), "last": np.full(n_keys, -1, np.int32), "follows": np.zeros(n_tx, bool),
    }  # fmt: skip
    given = inputs(np.array(order, np.int32), access.indptr, access.keys, access.modes)
    out["total"] = _v.chain_entries(*given, np.full(n_keys, -1, np.int32), *out.values())
    return access, out


@given(access_dicts(max_tx=8), st.randoms(use_true_random=False))
def test_entries_are_linked_as_a_walk_over_all_of_them_finds(given_sets: Any, random: Any) -> None:
    sets, n_keys = given_sets
    order = list(range(len(sets)))
    random.shuffle(order)
    access, out = linked(sets, n_keys, order)
    entries = [(order.index(t), int(access.keys[e]), int(access.modes[e]), e) for t in range(len(sets))
               for e in range(access.indptr[t], access.indptr[t + 1])]  # fmt: skip
    for place, key, _mode, e in entries:
        earlier = [(p, f) for p, k, m, f in entries if k == key and p < place and m != 1]
        later = [(p, f) for p, k, _, f in entries if k == key and p > place]
        assert out["before"][e] == (max(earlier)[1] if earlier else -1)
        assert out["after"][e] == (min(later)[1] if later else -1)
        assert out["place"][out["tx_of"][e]] == place
    for key in range(n_keys):
        writers = [(p, e) for p, k, m, e in entries if k == key and m != 1]
        assert out["last"][key] == (max(writers)[1] if writers else -1)
    for t in range(len(sets)):
        mine = [e for e in range(access.indptr[t], access.indptr[t + 1]) if access.modes[e] != 4]
        assert out["follows"][t] == any(out["before"][e] >= 0 for e in mine)
    assert out["total"] == sum(m != 1 for _, _, m, _ in entries)


STATES = st.sampled_from(["new", "executed", "failed", "again", "waits", "runs", "runs again"])


@given(access_dicts(max_tx=7, max_keys=3), st.data())
def test_a_versioned_read_is_the_newest_earlier_write_and_all_credits_since(given_sets: Any, data: st.DataObject) -> None:
    sets, n_keys = given_sets
    n_tx = len(sets)
    access, out = linked(sets, n_keys, list(range(n_tx)))
    n = access.n_accesses
    kinds = data.draw(st.lists(STATES, min_size=n_tx, max_size=n_tx))
    numbers = {"new": 0, "runs": 1, "executed": 2, "failed": 6, "again": 4, "runs again": 5, "waits": 3}
    values = data.draw(st.lists(st.integers(0, 2**256 - 1), min_size=n + n_keys, max_size=n + n_keys))
    hinted = data.draw(st.none() | st.lists(st.booleans(), min_size=n, max_size=n))
    contended = data.draw(st.lists(st.booleans(), min_size=n_keys, max_size=n_keys))
    cells = limbs(values[:n])
    versions = _v.Versions(
        *inputs(access.indptr, access.keys, access.modes, out["tx_of"], out["place"], out["before"], out["after"],
                out["last"], out["follows"]), read_only(np.array(hinted or [], bool)), read_only(limbs(values[n:])),
        cells, cells.copy(), np.array([numbers[kind] for kind in kinds], np.int32),
        np.array(contended, np.int32),
    )  # fmt: skip
    status = np.array([kind == "failed" for kind in kinds], np.uint8)
    for key in range(n_keys):
        blocker, *found = resolve(out["last"][key], key, versions, status)
        expected = walk(key, access, kinds, values, [True] * n if contended[key] else hinted, n)
        if isinstance(expected, str):
            assert (int(blocker), [int(x) for x in found]) == (int(expected), [0, 0, 0, 0])
        else:
            assert blocker == _v.FINAL
            assert sum(int(limb) << 64 * i for i, limb in enumerate(found)) == expected


def limbs(values: list[int]) -> np.ndarray:
    return np.array([[v >> 64 * i & (2**64 - 1) for i in range(4)] for v in values], np.uint64).reshape(-1, 4)


def walk(key: int, access: AccessSets, kinds: list[str], values: list[int], hinted: Any, n: int) -> int | str:
    """The value of a key after all transactions, or as text the one that must run first; by the definition."""
    credits = 0
    for t in reversed(range(len(kinds))):
        for e in range(access.indptr[t], access.indptr[t + 1]):
            if access.keys[e] != key or access.modes[e] == 1:
                continue
            if kinds[t] in ("again", "waits", "runs again") or (
                kinds[t] in ("new", "runs") and hinted is not None and hinted[e]
            ):
                return str(t)
            if kinds[t] == "executed":
                credits += values[e]
                if access.modes[e] != 4:
                    return credits % 2**256
    return (credits + values[n + key]) % 2**256


# -------------------------------------------------------------------- execution


@given(blocks(max_tx=10, max_keys=5), st.sampled_from([1, 2, 3, 8]), st.sampled_from([None, 0.0, 0.3, 1.0]))
def test_hints_of_any_quality_change_no_result(block: Block, workers: int, miss: float | None) -> None:
    access = None if miss is None else degrade(pn.access_sets(block), miss, 0.5, 3)
    counters = check(block, "optimistic", workers=workers, access=access).counters
    assert counters["reexecuted"] == counters["aborts"] == counters["executions"] - block.n_tx
    assert counters["fallback"] == 0


def test_one_worker_throws_nothing_away() -> None:
    block = generate(n_tx=400, key_space=10, conflict_ratio=0.9, seed=1)
    counters = check(block, "optimistic", workers=1).counters
    assert (counters["aborts"], counters["waits"], counters["executions"]) == (0, 0, 400)
    assert counters["validations"] == 0  # in the promised order, nobody can have read too early


@real_threads
def test_exact_hints_make_transactions_wait_instead_of_running_twice() -> None:
    block = generate(n_tx=1500, key_space=10, conflict_ratio=0.9, seed=1)
    for _ in range(5):
        hinted = check(block, "optimistic", workers=2, access=pn.access_sets(block)).counters
        assert hinted["aborts"] == 0
        assert hinted["executions"] == 1500


@real_threads
def test_incarnations_are_counted_for_each_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimistic, "SLACK", 10**6)  # a late thread may make an avalanche here
    work = ("NOOP", 2000)
    block = Block.from_programs([[("SLOAD", A), work, ("ADD", 1), ("SSTORE", A, "TOP")] for _ in range(300)])
    result = execute(block, "optimistic", workers=2, record="times")
    assert result.times is not None
    assert int(result.times.runs.sum()) == result.counters["executions"]
    assert (result.times.runs >= 1).all()
    assert list(result.state().values()) == [300]


@real_threads
def test_writes_that_failures_take_back_are_not_versions() -> None:
    """Every third transaction fails after its store: later ones must read past it."""
    programs, limits = [], []
    for t in range(600):
        programs.append([("SLOAD", A), ("NOOP", 400), ("ADD", 1), ("SSTORE", A, "TOP"), ("BURN", 5000)])
        limits.append(21_000 + 2_100 + 400 + 3 + 2_900 + 2_400 if t % 3 == 1 else 10**6)
    block = Block.from_programs(programs, {A: 1}, gas_limits=limits)
    reference = execute(block, "serial")
    assert 0 < int((reference.status != 0).sum()) < 600
    for workers in (2, 3, 8):
        for _ in range(10):
            execute(block, "optimistic", workers=workers).check_equal(reference)


@real_threads
def test_readers_of_a_balance_that_all_credit_see_the_exact_sum() -> None:
    pay = [("CREDIT", FEE, 3), ("NOOP", 200)]
    programs = [pay if t % 9 else [("SLOAD", FEE), ("NOOP", 200), ("SSTORE", (20 + t, 0, 0), "TOP")] for t in range(600)]
    block = Block.from_programs(programs, {FEE: 1})
    reference = execute(block, "serial")
    for workers in (2, 3, 8):
        for _ in range(10):
            execute(block, "optimistic", workers=workers).check_equal(reference)


# -------------------------------------------------------------------- the way out


@real_threads
@pytest.mark.parametrize("timed", [False, True])
def test_too_much_thrown_away_ends_in_dataflow(monkeypatch: pytest.MonkeyPatch, timed: bool) -> None:
    monkeypatch.setattr(optimistic, "LARGEST_SHARE", 0.0)
    monkeypatch.setattr(optimistic, "SLACK", 0)
    monkeypatch.setattr(optimistic, "FREE_SHARE", 0.0)
    force_threads(monkeypatch)
    block = generate(n_tx=1500, key_space=6, conflict_ratio=0.9, seed=2)
    reference = execute(block, "serial")
    counters: dict[str, int] = {}
    for _ in range(50):  # whether two meet is up to the cores
        result = execute(block, "optimistic", workers=2, record="times" if timed else None)
        result.check_equal(reference)
        counters = result.counters
        if counters["fallback"]:
            break
    assert counters["fallback"] == 1
    assert counters["aborts"] > 0
    assert result.reason == f"dataflow, after {counters['aborts']:,} results had been thrown away"
    assert counters["reexecuted"] == counters["executions"] - 1500 >= counters["aborts"]
    assert (result.times is not None) == timed


@real_threads
def test_a_job_that_gave_up_can_be_reset_and_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    block = generate(n_tx=1500, key_space=6, conflict_ratio=0.9, seed=2)
    reference = execute(block, "serial")
    job = OptimisticJob(block, workers=2)
    job.plan()
    for share in (0.0, 0.25, 0.0, 0.25):
        monkeypatch.setattr(optimistic, "LARGEST_SHARE", share)
        monkeypatch.setattr(optimistic, "SLACK", int(256 * share))
        monkeypatch.setattr(optimistic, "FREE_SHARE", share / 4)
        for _ in range(5):
            job.reset()
            job.collect(*job.run()).check_equal(reference)


@real_threads
def test_a_dependent_chain_costs_few_executions() -> None:
    """Without waiting for estimates each of two workers would run nearly every transaction twice.

    The least of ten counts: where another process takes a core for a while, who runs on alone goes ahead of who waits.
    """
    block = Block.from_programs([[("SLOAD", A), ("NOOP", 500), ("ADD", 1), ("SSTORE", A, "TOP")] for _ in range(2000)])
    reference = execute(block, "serial")
    counts = []
    for _ in range(10):
        result = execute(block, "optimistic", workers=2)
        result.check_equal(reference)
        counts.append(result.counters["executions"])
    assert min(counts) <= 2000 * 1.3 + 64


@real_threads
def test_where_reads_would_add_up_many_credits_dataflow_runs_the_block() -> None:
    """Each reader walks over all credits since the last write, to read and to validate: quadratic, six times serial once."""
    programs = [[("CREDIT", FEE, 1), ("NOOP", 300)], [("SLOAD", FEE), ("NOOP", 300)]] * 400
    block = Block.from_programs(programs, {FEE: 1})
    result = execute(block, "optimistic", workers=2)
    result.check_equal(execute(block, "serial"))
    assert (result.counters["fallback"], result.counters["aborts"], result.counters["reexecuted"]) == (1, 0, 0)
    assert result.counters["executions"] == 800
    assert result.reason.startswith("dataflow: reads would add up 80,200 credits")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_every_ticket_of_the_ring_gives_its_own_transaction(plan: list[int]) -> None:
    """Puts and takes in any order, many times around a ring of four: first in, first out."""
    ring = np.arange(4, dtype=np.int64) << 32
    queue = Queue(np.zeros(1, np.int32), np.zeros(1, np.int32), ring, np.zeros(1, np.int32))
    control, waiting, number = np.zeros(optimistic_cells(1), np.int64), [], 0
    for step in plan:
        if step and len(waiting) < 4:
            ring_put(number, queue, control)
            waiting.append(number)
            number += 1
        else:
            assert ring_take(queue, control) == (waiting.pop(0) if waiting else -1)
    assert [ring_take(queue, control) for _ in range(len(waiting) + 1)] == [*waiting, -1]


@kernel
def ring_put(t, queue, control):
    _k._give_away(t, queue, control)


@kernel
def ring_take(queue, control):
    return _k._take(queue, control)
