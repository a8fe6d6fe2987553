"""Dataflow: tasks claimed in any order, waits by the footprint, surprises counted, circles reported and not waited for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import longest, neighbours, run_predecessors
from strategies import access_dicts, blocks
from test_execute import check, force_threads

import pevm_numba as pn
from pevm_numba._kernels.control import STOP
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.oracles import degrade
from pevm_numba.access.sets import AccessSets
from pevm_numba.block import Block
from pevm_numba.errors import ExecutionError
from pevm_numba.execute.dataflow import DataflowJob, tasks_of
from pevm_numba.execute.run import execute
from pevm_numba.execute.sample import PathSampler
from pevm_numba.generate import generate
from pevm_numba.schedule.check import check_schedule
from pevm_numba.schedule.dependencies import dependencies
from pevm_numba.schedule.plan import Schedule
from pevm_numba.schedule.policies import schedule
from pevm_numba.schedule.timeline import Timeline

A, B, C = (1, 0, 0), (2, 0, 0), (3, 0, 0)
FEE = (9, 1, 0)


@pytest.fixture(autouse=True)
def on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even the smallest block on several threads."""
    force_threads(monkeypatch)


# -------------------------------------------------------------------- tasks


def reached(preds: list[list[int]]) -> list[set[int]]:
    """All that must come before each task, however indirectly."""
    out: list[set[int] | None] = [None] * len(preds)

    def visit(i: int) -> set[int]:
        if out[i] is None:
            out[i] = set(preds[i]).union(*(visit(p) for p in preds[i]))
        return out[i] or set()

    return [visit(i) for i in range(len(preds))]


@given(access_dicts(max_tx=9), st.data())
def test_tasks_order_exactly_the_conflicting_transactions_whatever_the_order_of_claiming(
    given_sets: tuple[list[dict[int, int]], int], data: st.DataObject
) -> None:
    sets, n_keys = given_sets
    n = len(sets)
    order = np.array(data.draw(st.permutations(range(n))), np.int32)
    start = data.draw(st.none() | st.lists(st.integers(0, 3), min_size=n, max_size=n))
    deps = dependencies(AccessSets.from_dicts(sets, n_keys).reordered(order))
    tasks = tasks_of(deps, order, None if start is None else np.array(start, float))
    assert sorted(tasks.tx[tasks.tx >= 0].tolist()) == list(range(n))
    assert len(tasks.tx) == n + deps.n_joins
    if start is not None:  # claimed as planned
        planned = [start[t] for t in tasks.tx if t >= 0]
        assert planned == sorted(planned)
    preds = [tasks.preds[tasks.pred_indptr[i] : tasks.pred_indptr[i + 1]].tolist() for i in range(len(tasks.tx))]
    before = reached(preds)
    place = {int(t): p for p, t in enumerate(order)}
    graph = neighbours(sets)
    for i, t in enumerate(tasks.tx.tolist()):
        if t < 0:
            continue
        after = {int(tasks.tx[j]) for j in before[i] if tasks.tx[j] >= 0}
        assert after >= {u for u in graph[t] if place[u] < place[t]}
        # nothing is ordered that no chain of conflicts orders
        assert after == closure(graph, place, t)


def closure(graph: list[set[int]], place: dict[int, int], t: int) -> set[int]:
    """Transactions that a chain of conflicts puts before t."""
    found: set[int] = set()
    fresh = [t]
    while fresh:
        u = fresh.pop()
        more = {v for v in graph[u] if place[v] < place[u]} - found
        found |= more
        fresh += more
    return found


def test_a_join_is_claimed_before_whoever_waits_for_it() -> None:
    sets = [{0: 4}, {0: 4}, {0: 1}, {0: 1}, {0: 1}]
    deps = dependencies(AccessSets.from_dicts(sets, 1))
    assert deps.n_joins == 1
    tasks = tasks_of(deps, np.arange(5, dtype=np.int32))
    assert tasks.tx.tolist() == [0, 1, 2, -1, 3, 4]
    assert [tasks.preds[tasks.pred_indptr[i] : tasks.pred_indptr[i + 1]].tolist() for i in (2, 3, 4)] == [[1, 0], [1, 0], [3]]


@given(blocks(), st.data())
def test_one_worker_in_the_promised_order_looks_for_nobody(block: Block, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(block.n_tx)))
    plan = Schedule.from_waves("one wave", [order] if order else [], order)
    for given_plan, promised in ((None, None), (plan, plan)):
        job = DataflowJob(block, workers=1, schedule=given_plan)
        job.plan()
        assert len(job.flow.preds) == 0
        job.reset()
        job.collect(*job.run()).check_equal(execute(block, "serial", schedule=promised))


@given(blocks(), st.data(), st.sampled_from([2, 3]))
def test_predecessors_found_while_running_are_those_of_the_runs_of_each_key(
    block: Block, data: st.DataObject, workers: int
) -> None:
    order = data.draw(st.permutations(range(block.n_tx)))
    job = DataflowJob(block, workers=workers, schedule=None)
    with pytest.MonkeyPatch.context() as patch:
        force_threads(patch)
        patch.setattr(DataflowJob, "order", np.array(order, np.int32))
        for _ in range(2):
            job.plan()
            job.reset()
            job.run()
            sets = list(AccessSets.footprint(block).reordered(job.order))
            ends, preds = job.flow.pred_indptr.tolist(), job.flow.preds.tolist()
            found = [sorted(preds[ends[i] : ends[i + 1]]) for i in range(block.n_tx)]
            assert found == run_predecessors(sets)
            for p, before in enumerate(reached(found)):  # nothing that conflicts is missing
                assert before >= {u for u in neighbours(sets)[p] if u < p}


# -------------------------------------------------------------------- equality


def by_start(block: Block, start: list[float], order: list[int] | None = None) -> Schedule:
    """A schedule that has transactions claimed by `start`, in one wave, right or not."""
    n = block.n_tx
    line = Timeline(3, [t % 3 for t in range(n)], start, [s + 0.5 for s in start], max([0.0, *start]) + 1)
    waves = [list(range(n))] if n else []
    return Schedule.from_waves("claimed by start", waves, order, line)


@given(blocks(), st.data(), st.sampled_from([1, 2, 3, 8]))
def test_any_order_of_claiming_gives_the_promised_result(block: Block, data: st.DataObject, workers: int) -> None:
    start = data.draw(st.lists(st.integers(0, 5), min_size=block.n_tx, max_size=block.n_tx))
    order = data.draw(st.permutations(range(block.n_tx)))
    with pytest.MonkeyPatch.context() as patch:
        force_threads(patch)
        check(block, "dataflow", order, schedule=by_start(block, list(map(float, start)), order), workers=workers)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_readers_and_crediters_of_one_balance_meet_through_joins(workers: int) -> None:
    pay = [("CREDIT", FEE, 3)]
    read = [("SLOAD", FEE), ("SSTORE", A, "TOP")]
    programs = ([pay] * 7 + [[("SLOAD", FEE)]] * 5 + [read]) * 6 + [[("SSTORE", FEE, 10)]] + [pay] * 4
    block = Block.from_programs(programs, {FEE: 100})
    for _ in range(1 if DISABLED else 30):
        result = check(block, "dataflow", workers=workers)
    assert sorted(result.state().values()) == [22, 100 + 42 * 3]


@pytest.mark.skipif(DISABLED, reason="needs real threads")
@pytest.mark.parametrize("shape", ["star", "chain", "readers"])
def test_many_waiting_for_one_and_one_for_many(shape: str) -> None:
    work = ("NOOP", 300)
    n = 600
    if shape == "star":  # one writer, many readers, one writer
        programs = [[work, ("SSTORE", A, 5)], *[[("SLOAD", A), work, ("SSTORE", (10 + t, 0, 0), "TOP")] for t in range(n)]]
        programs.append([("SLOAD", A), ("ADD", 1), ("SSTORE", A, "TOP")])
    elif shape == "chain":
        programs = [[("SLOAD", A), work, ("ADD", 1), ("SSTORE", A, "TOP")] for _ in range(n)]
    else:  # chains that split and meet again
        programs = [
            [("SLOAD", (1 + t % 7, 0, 0)), work, ("ADD", t), ("SSTORE", (1 + t * t % 5, 0, 0), "TOP")] for t in range(n)
        ]
    block = Block.from_programs(programs)
    reference = execute(block, "serial")
    for workers in (2, 3, 8):
        for _ in range(20):
            execute(block, "dataflow", workers=workers).check_equal(reference)


# -------------------------------------------------------------------- what is counted


def test_one_worker_in_block_order_never_finds_anything_unfinished() -> None:
    block = generate(n_tx=300, key_space=30, conflict_ratio=0.8, seed=1)
    access = degrade(pn.access_sets(block), 1.0, 0.0, 1)
    counters = check(block, "dataflow", workers=1, access=access).counters
    assert (counters["waits"], counters["runtime_conflicts"], counters["requeued"]) == (0, 0, 0)
    assert counters["executions"] == 300


def test_what_an_estimate_missed_is_counted_where_it_made_somebody_wait() -> None:
    write = [[("SSTORE", A, 1)], [("SLOAD", A), ("SSTORE", B, "TOP")], [("SLOAD", B), ("SSTORE", C, "TOP")]]
    block = Block.from_programs(write)
    backwards = by_start(block, [2.0, 1.0, 0.0])
    counters = check(block, "dataflow", schedule=backwards, workers=1).counters
    assert (counters["waits"], counters["runtime_conflicts"], counters["requeued"]) == (2, 2, 2)
    # the same order of claiming, but with times that order the pairs: waits, and no surprise
    line = Timeline(1, [0, 0, 0], [0.0, 5.0, 9.0], [1.0, 6.0, 10.0], 10.0)
    right = Schedule.from_waves("right", [[0], [1], [2]], None, line)
    assert check(block, "dataflow", schedule=right, workers=1).counters["runtime_conflicts"] == 0


@pytest.mark.skipif(DISABLED, reason="needs real threads")
def test_no_surprise_with_an_exact_estimate_and_at_most_all_waits_with_none() -> None:
    block = generate(n_tx=800, key_space=20, conflict_ratio=0.9, seed=3)
    exact = pn.access_sets(block)
    assert check(block, "dataflow", access=exact, workers=2).counters["runtime_conflicts"] == 0
    counts = check(block, "dataflow", access=degrade(exact, 1.0, 0.0, 1), workers=2).counters
    assert counts["requeued"] <= counts["runtime_conflicts"] <= counts["waits"]
    assert counts["reexecuted"] == counts["aborts"] == 0


# -------------------------------------------------------------------- when it stays serial


def test_small_blocks_and_chains_run_serially_and_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    small = execute(generate(n_tx=20, key_space=1000), "dataflow", workers=2)
    assert small.counters["workers"] == 1
    assert small.reason.startswith("serial: guessed work")
    chain = execute(generate(n_tx=2000, pattern="chain"), "dataflow", workers=2)
    assert chain.counters["workers"] == 1
    assert "dependencies allow some 1.0" in chain.reason
    free = execute(generate(n_tx=2000, pattern="independent"), "dataflow", workers=2)
    assert free.counters["workers"] == 2
    assert free.reason.endswith("on 2 workers")
    alone = execute(generate(n_tx=20, key_space=1000), "dataflow", workers=1)
    assert "serial" not in alone.reason


def test_a_job_can_be_planned_anew_and_run_again() -> None:
    block = generate(n_tx=200, key_space=30, conflict_ratio=0.7, seed=2)
    reference = execute(block, "serial")
    job = DataflowJob(block, workers=2)
    for _ in range(3):
        job.plan()
        for _ in range(2):
            job.reset()
            job.collect(*job.run()).check_equal(reference)
    job.schedule = schedule(block, "mis")
    job.plan()
    job.reset()
    job.collect(*job.run()).check_equal(execute(block, "serial", schedule=job.schedule))


# -------------------------------------------------------------------- times


@pytest.mark.parametrize("executor", ["serial", "waves", "dataflow"])
@pytest.mark.parametrize("seed", range(3))
def test_measured_times_are_a_valid_schedule(executor: str, seed: int) -> None:
    """What ran in place can only be right if conflicting transactions did not overlap, in the promised order."""
    block = generate(n_tx=300, key_space=40, conflict_ratio=0.7, seed=seed)
    result = check(block, executor, workers=2, record="times")
    times = result.times
    assert times is not None
    assert (times.runs == 1).all()
    assert (times.end >= times.start).all()
    assert times.start.min() == 0
    assert set(times.worker.tolist()) <= set(range(times.n_workers))
    levels = schedule(block, "levels")
    measured = Schedule.from_arrays("measured", levels.wave_indptr, levels.wave_tx, levels.serial_order, times.timeline())
    check_schedule(measured, pn.access_sets(block))
    assert times.latency(0) <= times.latency(50) <= times.latency(100) == (times.end - times.start).max()
    assert execute(block, executor, workers=2).times is None


# -------------------------------------------------------------------- errors


def circle(job: DataflowJob) -> None:
    """Make the last task wait for the first and the first for the last, in a job that knows its dependencies."""
    n = len(job.flow.task_tx)
    indptr = np.zeros(n + 1, np.int64)
    indptr[1:n] = 1
    indptr[n] = 2
    awaited = np.ones(n, bool)
    preds = np.array([n - 1, 0], np.int32)
    awaited.flags.writeable = False
    job.flow = job.flow._replace(pred_indptr=indptr, preds=preds, awaited=awaited)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_transactions_that_wait_for_each_other_end_the_run_with_an_error(workers: int) -> None:
    block = generate(n_tx=50, key_space=1000, seed=4)
    job = DataflowJob(block, workers=workers, schedule=schedule(block, "levels"))
    job.plan()
    circle(job)
    job.reset()
    with pytest.raises(ExecutionError, match="block 0: transactions wait for each other: their dependencies form a circle"):
        job.run()
    job.plan()
    job.reset()
    job.collect(*job.run()).check_equal(execute(block, "serial"))


def test_a_run_that_was_stopped_gives_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    block = generate(n_tx=50, key_space=1000, seed=4)
    job = DataflowJob(block, workers=2)
    job.plan()
    job.reset()
    job.space.control[STOP] = 1
    with pytest.raises(ExecutionError, match="stopped before it was complete; nothing of the run is kept"):
        job.run()


# -------------------------------------------------------------------- the longest path by sample


@given(blocks(), st.data())
def test_the_sampled_path_of_a_block_that_is_looked_at_whole_is_the_longest_path(block: Block, data: st.DataObject) -> None:
    order = np.array(data.draw(st.permutations(range(block.n_tx))), np.int32)
    work = np.array(data.draw(st.lists(st.integers(0, 9), min_size=block.n_tx, max_size=block.n_tx)), np.int64)
    sets = list(AccessSets.footprint(block).reordered(order))
    before = [{u for u in graph if u < p} for p, graph in enumerate(neighbours(sets))]
    expected = max(longest(before, work[order].tolist()), default=0) / max(1, work.sum())
    sources = [
        {u for u in range(p) if any(sets[u].get(k, 0) & 6 and mode != 4 for k, mode in entry.items())}
        for p, entry in enumerate(sets)
    ]
    versioned = max(longest(sources, work[order].tolist()), default=0) / max(1, work.sum())
    sampler = PathSampler(block)
    for _ in range(2):  # scratch rows are used again
        assert sampler.shares(order, work) == pytest.approx((expected, versioned))


def test_the_sampled_path_of_a_large_block_is_near_where_chains_run_through_all_of_it() -> None:
    for pattern, least, most in [("chain", 1.0, 1.0), ("independent", 1e-4, 0.025)]:
        block = generate(n_tx=5000, pattern=pattern)
        shares = PathSampler(block).shares(np.arange(5000, dtype=np.int32), np.ones(5000, np.int64))
        assert least <= min(shares) <= max(shares) <= most
