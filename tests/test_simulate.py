"""Simulated runs against obvious event loops on dicts, against closed forms, and against what holds for any block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pevm_numba as pn
from pevm_numba.access.sets import AccessSets
from pevm_numba.errors import BlockError, ScheduleError
from pevm_numba.schedule.bounds import critical_path_cost
from pevm_numba.schedule.dependencies import dependencies
from pevm_numba.schedule.models import _among
from pevm_numba.schedule.plan import Schedule
from pevm_numba.schedule.simulate import MODELS, Overheads, Simulation, compare, simulate

R, W, C = 1, 2, 4
N_KEYS = 4

entries = st.dictionaries(st.integers(0, N_KEYS - 1), st.integers(1, 7), max_size=3)
hot = st.dictionaries(st.integers(0, 1), st.sampled_from([R, R | W, C, W, R | C]), min_size=1, max_size=2)
sparse = st.dictionaries(st.integers(0, N_KEYS - 1), st.sampled_from([R, R, W, R | W, C]), max_size=2)
several = st.one_of(st.lists(entries, max_size=12), st.lists(hot, max_size=24), st.lists(sparse, max_size=24))
small = st.integers(0, 4).map(lambda x: x / 2)
overheads = st.builds(Overheads, barrier=small, dispatch=small, validation=small, cold_read=small, prefetch=st.integers(0, 3))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[dict[int, int]], list[int], int]:
    """Access sets, costs, workers."""
    plain = draw(several)
    cost = draw(st.lists(st.integers(0, 9), min_size=len(plain), max_size=len(plain)))
    return plain, cost, draw(st.sampled_from([1, 2, 3, 4, 7, 30]))


def sets_of(plain: Sequence[dict[int, int]]) -> AccessSets:
    return AccessSets.from_dicts(plain, N_KEYS)


def independent(n: int) -> AccessSets:
    return AccessSets.from_arrays(n, np.arange(n + 1), np.arange(n), np.full(n, R | W))


# -------------------------------------------------------------------- the twins


@dataclass
class Twin:
    """What a slow model took."""

    makespan: float
    start: dict[int, float] = field(default_factory=dict)
    end: dict[int, float] = field(default_factory=dict)
    worker: dict[int, int] = field(default_factory=dict)
    again: dict[int, int] = field(default_factory=dict)
    validations: int = 0


def plain_latencies(plain, over):
    """Per transaction what it waits for itself, and when its keys are there."""
    listed = plain if over.prefetch_access is None else list(over.prefetch_access)
    promised: list[int] = []
    for entry in listed if over.prefetch else []:
        promised += [key for key in sorted(entry) if key not in promised]
    there = {key: math.floor(q / over.prefetch) * over.cold_read + over.cold_read for q, key in enumerate(promised)}
    warm, paid = set(promised), [0.0] * len(plain)
    for t, entry in enumerate(plain):
        paid[t] = over.cold_read * len(entry.keys() - warm)
        warm |= entry.keys()
    return paid, [max((there[key] for key in entry if key in there), default=0.0) for entry in plain]


def plain_list(names, before, length, release, p, begin=0.0):
    """Names in order of priority; whoever is first among the ready takes the lowest free worker."""
    twin, now, running = Twin(begin), begin, {}
    left = list(names)
    while left or running:
        for t in [t for t in running if twin.end[t] <= now]:
            del running[t]
        done = set(twin.end) - set(running)
        ready = [t for t in left if release[t] <= now and all(u in done or u not in names for u in before[t])]
        idle = sorted(set(range(p)) - set(running.values()))
        for t, w in zip(ready, idle):
            twin.start[t], twin.end[t], twin.worker[t] = now, now + length[t], w
            running[t] = w
            left.remove(t)
            twin.makespan = max(twin.makespan, twin.end[t])
            if twin.end[t] <= now:  # over at once: what waited for it may go before the next one
                break
        instants = [twin.end[t] for t in running]
        instants += [release[t] for t in left if release[t] > now]
        now = min(instants, default=now)
    return twin


def plain_waves(waves, cost, length, release, p, barrier):
    twin = Twin(0.0)
    for wave in waves:
        free = [(twin.makespan, w) for w in range(p)]
        for t in sorted(wave, key=lambda t: (-cost[t], t)):
            at, w = min(free)
            free.remove((at, w))
            twin.start[t] = max(at, release[t])
            twin.end[t], twin.worker[t] = twin.start[t] + length[t], w
            free.append((twin.end[t], w))
        twin.makespan = max(twin.end[t] for t in wave) + barrier
    return twin


def two_phases(plain, cost, p, over, again, second):
    n, nothing = len(plain), [set() for _ in plain]
    paid, release = plain_latencies(plain, over)
    first = plain_list(range(n), nothing, [c + x + over.validation + over.dispatch for c, x in zip(cost, paid)], release, p)
    first.again, first.validations = {t: int(t in again) for t in range(n)}, n
    if again:
        after = second(first.makespan + over.barrier)
        for name in ("start", "end", "worker"):
            getattr(first, name).update(getattr(after, name))
        first.makespan = max(first.end.values())
    return first


def plain_two_bin(plain, cost, p, over):
    kept, again = [], []
    graph = naive.neighbours(plain)
    for t in range(len(plain)):
        (again if graph[t] & set(kept) else kept).append(t)

    def second(begin):
        before = [{u for u in again if u < t} for t in range(len(plain))]
        return plain_list(again, before, [c + over.dispatch for c in cost], [0.0] * len(plain), 1, begin)

    return two_phases(plain, cost, p, over, again, second)


def heights(names, before, cost):
    """The longest path from each transaction on."""
    out = {}
    for t in sorted(names, reverse=True):
        out[t] = cost[t] + max((out[u] for u in out if t in before[u]), default=0)
    return out


def plain_two_pass(plain, cost, p, over):
    sources = naive.raw_sources(plain)
    again = [t for t in range(len(plain)) if sources[t]]

    def second(begin):
        height = heights(again, sources, cost)
        order = sorted(again, key=lambda t: (-height[t], t))
        return plain_list(order, sources, [c + over.dispatch for c in cost], [0.0] * len(plain), p, begin)

    return two_phases(plain, cost, p, over, again, second)


class PlainBlockSTM:
    """Versions in a dict of dicts; a reader walks down from the transaction below it."""

    def __init__(self, plain, cost, p, over):
        self.plain, self.cost, self.p, self.over = plain, cost, p, over
        self.paid, self.release = plain_latencies(plain, over)
        n = len(plain)
        self.published = [None] * n  # number of the execution, "estimate", or None
        self.executions, self.status = [0] * n, ["ready"] * n
        self.seen: list[object] = [None] * n
        self.waiters: list[list[int]] = [[] for _ in plain]
        self.doubtful: set[int] = set()
        self.twin = Twin(0.0)

    def read(self, t):
        """Versions that t reads now, or the transaction whose estimate it meets."""
        seen = {}
        for key, mode in sorted(self.plain[t].items()):
            if not mode & R:
                continue
            seen[key] = []
            for u in reversed(range(t)):
                theirs = self.plain[u].get(key, 0)
                if not theirs & (W | C) or self.published[u] is None:
                    continue
                if self.published[u] == "estimate":
                    return u
                seen[key].append((u, self.published[u]))
                if theirs & W:
                    break
        return seen

    def doubt_readers(self, t):
        """Executed ones above t between which and t nobody has published a write of the key, itself excepted."""
        for key, mode in self.plain[t].items():
            if not mode & (W | C):
                continue
            for u in range(t + 1, len(self.plain)):
                theirs = self.plain[u].get(key, 0)
                if theirs & R and self.status[u] == "executed":
                    self.doubtful.add(u)
                if theirs & W and self.published[u] is not None:
                    break

    def executed(self, t):
        self.published[t], self.status[t] = self.executions[t], "executed"
        self.doubtful.add(t)
        for u in self.waiters[t]:
            self.status[u] = "ready"
        self.waiters[t] = []
        if self.executions[t] == 1:
            self.doubt_readers(t)

    def validated(self, t, version):
        if self.status[t] == "executed" and version == self.executions[t] and self.read(t) != self.seen[t]:
            self.published[t], self.status[t] = "estimate", "ready"
            self.doubtful.discard(t)
            self.doubt_readers(t)

    def next_task(self):
        ready = [("execute", t, 0) for t, status in enumerate(self.status) if status == "ready"]
        tasks = ready + [("validate", t, self.executions[t]) for t in self.doubtful]
        task = min(tasks, key=lambda task: task[1], default=None)
        if task:
            self.doubtful.discard(task[1])
        return task

    def begin(self, now, task, w):
        """When it ends; None if it has to wait."""
        what, t, _ = task
        if what == "validate":
            self.twin.validations += 1
            return now + self.over.validation
        seen = self.read(t)
        if isinstance(seen, int):
            self.status[t] = "waiting"
            self.waiters[seen].append(t)
            return None
        self.seen[t], self.status[t] = seen, "executing"
        self.executions[t] += 1
        begin = max(now, self.release[t])
        waits = self.paid[t] if self.executions[t] == 1 else 0
        self.twin.start[t], self.twin.worker[t] = begin, w
        self.twin.end[t] = begin + self.over.dispatch + self.cost[t] + waits
        return self.twin.end[t]

    def finish(self, task):
        what, t, version = task
        if what == "execute":
            self.executed(t)
        else:
            self.validated(t, version)

    def run(self):
        """One event at a time: an end that is due, else a start if anybody is free, else time goes on."""
        now, running = 0.0, {}  # worker: (end, task)
        workers = range(min(self.p, len(self.plain)))
        while True:
            due = [w for w in running if running[w][0] == now]
            idle = [w for w in workers if w not in running]
            if due:
                self.finish(running.pop(min(due))[1])
            elif idle and (task := self.next_task()):
                until = self.begin(now, task, min(idle))
                if until is not None:
                    running[min(idle)] = until, task
            elif running:
                now = min(until for until, _ in running.values())
            else:
                break
        self.twin.makespan = now
        self.twin.again = {t: n - 1 for t, n in enumerate(self.executions)}
        return self.twin


def plain_run(model, plain, cost, p, over) -> Twin:
    n = len(plain)
    paid, release = plain_latencies(plain, over)
    own = [c + x for c, x in zip(cost, paid)]
    length = [c + over.dispatch for c in own]
    before = [{u for u in partners if u < t} for t, partners in enumerate(naive.neighbours(plain))]
    match model:
        case "serial":
            return plain_waves([[t] for t in range(n)], own, own, release, 1, 0.0)
        case "waves":
            return plain_waves(naive.levels(plain), own, length, release, p, over.barrier)
        case "list":
            height = heights(range(n), before, own)
            return plain_list(sorted(range(n), key=lambda t: (-height[t], t)), before, length, release, p)
        case "bal":
            return plain_list(list(range(n)), [set() for _ in plain], length, release, p)
        case "two-bin":
            return plain_two_bin(plain, cost, p, over)
        case "two-pass":
            return plain_two_pass(plain, cost, p, over)
    return PlainBlockSTM(plain, cost, p, over).run()


@pytest.mark.parametrize("model", MODELS)
@given(cases(), overheads, st.none() | st.lists(entries, max_size=24))
@settings(deadline=None)
def test_every_model_equals_its_slow_twin(model, case, over, listed):
    plain, cost, p = case
    if listed is not None:
        over = replace(over, prefetch_access=sets_of((listed + [{}] * len(plain))[: len(plain)]))
    run, twin = simulate(sets_of(plain), model, workers=p, cost=cost, overheads=over), plain_run(model, plain, cost, p, over)
    n = len(plain)
    line = run.timeline
    assert line.start.tolist() == [twin.start[t] for t in range(n)]
    assert line.end.tolist() == [twin.end[t] for t in range(n)]
    assert line.worker.tolist() == [twin.worker[t] for t in range(n)]
    assert run.makespan == line.makespan == twin.makespan
    again = [twin.again.get(t, 0) for t in range(n)]
    assert (run.executions, run.validations) == (n + sum(again), twin.validations)
    assert run.wasted == sum(c * a for c, a in zip(cost, again))
    dispatch = 0.0 if model == "serial" else over.dispatch
    held = sum(cost) + run.wasted + sum(plain_latencies(plain, over)[0])
    assert run.busy == held + dispatch * run.executions + over.validation * run.validations
    assert run.serial == plain_run("serial", plain, cost, 1, over).makespan


@given(several, st.data())
@settings(deadline=None)
def test_dependencies_among_some_are_those_of_all_without_the_rest(plain, data):
    deps = dependencies(sets_of(plain), edges="raw")
    sources = naive.raw_sources(plain)
    kept = [t for t in range(len(plain)) if sources[t]]
    few = _among(deps, np.array([bool(s) for s in sources], bool))
    cost = data.draw(st.lists(st.integers(0, 9), min_size=len(kept), max_size=len(kept)))
    before = [{kept.index(u) for u in sources[t] if u in kept} for t in kept]
    assert few.critical_path(cost)[0] == max(naive.longest(before, cost), default=0)
    assert few.remaining(cost).tolist() == [heights(range(len(kept)), before, cost)[t] for t in range(len(kept))]


# -------------------------------------------------------------------- closed forms

G, LARGEST = 300_000_000, 2**24


@pytest.mark.parametrize(
    ("n", "lower", "greedy", "ordered"),
    [(4, 75.00, 83.89, 87.58), (8, 37.50, 50.33, 52.18), (16, 18.75, 33.55, 34.48), (32, 16.78, 16.78, 25.63)],
)
def test_worst_cases_of_ethresear_ch_23418(n, lower, greedy, ordered):
    full = [LARGEST] * (G // LARGEST)
    full.append(G - sum(full))
    largest_first = simulate(independent(len(full)), priority="largest", workers=n, cost=full)
    assert largest_first.bound == max(G / n, LARGEST)
    assert largest_first.makespan == math.ceil(G // LARGEST / n) * LARGEST
    assert f"{largest_first.bound / 1e6:.2f}" == f"{lower:.2f}"
    assert f"{largest_first.makespan / 1e6:.2f}" == f"{greedy:.2f}"

    grain, rest = divmod(G - LARGEST, 32)  # so that workers have equal shares when the largest comes, last
    assert rest == 0
    last = simulate(independent(33), priority="block", workers=n, cost=[grain] * 32 + [LARGEST])
    assert last.makespan * n == G + (n - 1) * LARGEST
    assert f"{last.makespan / 1e6:.2f}" == f"{ordered:.2f}"


@given(st.lists(st.integers(1, LARGEST), min_size=1, max_size=60), st.integers(1, 40))
@settings(deadline=None)
def test_ordered_list_scheduling_never_exceeds_its_bound(cost, n):
    for model in ("list", "bal"):
        options = {"priority": "block"} if model == "list" else {}
        run = simulate(independent(len(cost)), model, workers=n, cost=cost, **options)
        assert run.makespan * n <= sum(cost) + (n - 1) * max(cost)
        assert run.makespan >= run.bound == max(sum(cost) / n, max(cost))


# -------------------------------------------------------------------- laws


@given(cases(), overheads)
@settings(deadline=None)
def test_no_run_beats_its_bound_and_counts_add_up(case, over):
    plain, cost, p = case
    for run in compare(sets_of(plain), workers=[p], cost=cost, overheads=over):
        assert run.makespan >= run.bound - 1e-9 * run.bound
        assert run.executions == len(plain) + run.reexecutions
        assert 0 <= run.idle_share <= 1
        if not over.prefetch:
            assert run.speedup <= p + 1e-9
        if run.model not in ("two-bin", "two-pass", "block-stm"):
            assert (run.reexecutions, run.validations, run.wasted) == (0, 0, 0)
        assert (run.order == "own") == (run.model == "two-bin")
        assert run.timeline.n_workers == p
        assert (run.timeline.worker < p).all()


@given(cases(), st.integers(0, 3))
@settings(deadline=None)
def test_one_worker_without_overheads_takes_serial_time(case, cold_read):
    plain, cost, _ = case
    n = len(plain)
    for run in compare(sets_of(plain), ["serial", "waves", "list", "bal", "block-stm"], workers=[1], cost=cost,
                       overheads=Overheads(cold_read=cold_read)):  # fmt: skip
        touched = len({key for entry in plain for key in entry})
        assert run.makespan == run.serial == run.busy == sum(cost) + cold_read * touched
        assert run.speedup == 1
        assert run.reexecutions == 0
    costly = simulate(sets_of(plain), "block-stm", workers=1, cost=cost, overheads=Overheads(validation=2, dispatch=1))
    assert (costly.makespan, costly.validations) == (sum(cost) + 3 * n, n)


@given(cases())
@settings(deadline=None)
def test_with_a_worker_for_each_transaction_the_longest_chain_decides(case):
    plain, cost, _ = case
    access, p = sets_of(plain), max(1, len(plain))
    runs = {run.model: run for run in compare(access, workers=[p], cost=cost)}
    path, flow = critical_path_cost(access, cost), dependencies(access, edges="raw").critical_path(cost)[0]
    assert runs["bal"].makespan == max(cost, default=0)
    assert runs["list"].makespan == path
    assert runs["waves"].makespan >= path
    assert runs["bal"].makespan <= flow <= min(runs["block-stm"].makespan, runs["two-pass"].makespan)
    assert all(runs["bal"].makespan <= run.makespan for run in runs.values())


@given(cases(), overheads)
@settings(deadline=None)
def test_the_execution_that_counts_starts_after_all_that_it_reads_is_final(case, over):
    plain, cost, p = case
    sources = naive.raw_sources(plain)
    for model in ("list", "waves", "two-pass", "block-stm"):
        line = simulate(sets_of(plain), model, workers=p, cost=cost, overheads=over).timeline
        assert all(line.end[u] <= line.start[t] for t in range(len(plain)) for u in sources[t])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 20))
@settings(deadline=None)
def test_a_chain_gains_nothing_and_independent_transactions_lose_nothing(cost, p):
    n = len(cost)
    chain = AccessSets.from_dicts([{0: R | W}] * n, 1)
    for run in compare(chain, [m for m in MODELS if m != "bal"], workers=[p], cost=cost):
        assert run.makespan >= run.serial == sum(cost)
    apart = {run.model: run for run in compare(independent(n), workers=[p], cost=cost)}
    assert all(run.reexecutions == 0 for run in apart.values())
    assert apart["two-bin"].makespan == apart["two-pass"].makespan == apart["bal"].makespan == apart["block-stm"].makespan
    credits = AccessSets.from_dicts([{0: C}] * n, 1)
    assert all(run.reexecutions == 0 and run.makespan == apart[run.model].makespan
               for run in compare(credits, workers=[p], cost=cost))  # fmt: skip


@given(cases(), st.integers(1, 4), st.integers(1, 5))
@settings(deadline=None)
def test_latency_that_is_zero_is_none_and_deeper_prefetch_never_slows_one_worker_or_enough_of_them(case, depth, cold_read):
    plain, cost, p = case
    access = sets_of(plain)
    for model in MODELS:
        none = simulate(access, model, workers=p, cost=cost)
        assert simulate(access, model, workers=p, cost=cost, overheads=Overheads(prefetch=depth)).row() == none.row()
    over = Overheads(cold_read=cold_read, prefetch=depth)
    for model, workers in (("serial", 1), ("bal", max(1, len(plain)))):
        at = [simulate(access, model, workers=workers, cost=cost, overheads=o).makespan
              for o in (over, replace(over, prefetch=depth + 1))]  # fmt: skip
        assert at[1] <= at[0]
        assert at[0] >= simulate(access, model, workers=workers, cost=cost).makespan


def test_block_stm_on_the_three_transaction_example_by_hand():
    access = AccessSets.from_dicts([{0: R | W}, {0: R | W, 1: R | W}, {1: R | W}], 2)
    run = simulate(access, "block-stm", workers=3, cost=[3, 2, 1], overheads=Overheads(validation=0.5))
    # T2 is right until T1 is thrown away at 4: T0 ends at 3, and the validation counter falls to 0. T1, T2 are validated
    # from 3 to 3.5; T1 fails, runs again from 3.5 to 5.5; T2's sources are then estimates, so it waits for T1.
    twin = PlainBlockSTM([{0: 3}, {0: 3, 1: 3}, {1: 3}], [3, 2, 1], 3, Overheads(validation=0.5)).run()
    assert run.makespan == twin.makespan
    assert run.timeline.start[0] == 0
    assert run.timeline.start[1] == 3.5
    assert run.timeline.end[1] == 5.5
    assert run.timeline.start[2] >= 5.5


@pytest.mark.parametrize(
    ("plain", "cost", "makespan", "executions", "validations"),
    [
        ([{0: W}, {0: R}, {0: R}, {0: R | W}, {0: R}], [4, 1, 1, 2, 3], 10, 8, 10),
        ([{0: W}, {0: R}], [0, 5], 5, 2, 2),  # T0 is over, and has published, before T1 starts
    ],
)
def test_tasks_that_take_no_time_end_before_the_next_starts_in_block_stm(plain, cost, makespan, executions, validations):
    run = simulate(AccessSets.from_dicts(plain, 1), "block-stm", workers=2, cost=cost)
    assert (run.makespan, run.executions, run.validations) == (makespan, executions, validations)


def test_block_stm_gives_nothing_to_more_workers_than_transactions():
    plain, cost, over = [{}, {0: 6}, {0: 5}, {}, {0: 1}], [1, 2, 1, 2, 1], Overheads(dispatch=1, validation=2)
    access = AccessSets.from_dicts(plain, 1)
    few, many = (simulate(access, "block-stm", workers=p, cost=cost, overheads=over) for p in (5, 50))
    assert (few.makespan, few.busy, few.validations) == (many.makespan, many.busy, many.validations)
    assert few.timeline.worker.tolist() == many.timeline.worker.tolist()


@given(cases(), overheads)
@settings(deadline=None, max_examples=50)
def test_a_list_of_nothing_is_no_prefetch_and_a_list_of_all_is_that_of_the_sets(case, over):
    plain, cost, p = case
    access, nothing = sets_of(plain), sets_of([{}] * len(plain))

    def rows(over):
        return [run.row() for run in compare(access, workers=[p], cost=cost, overheads=over)]

    assert rows(replace(over, prefetch_access=nothing)) == rows(replace(over, prefetch=0))
    assert rows(replace(over, prefetch_access=access)) == rows(over)


def test_a_prefetcher_fetches_what_its_list_names_and_the_rest_is_read_cold():
    access = AccessSets.from_dicts([{0: R, 1: R}, {1: R, 2: W}, {2: R}], 4)
    listed = AccessSets.from_dicts([{3: R}, {2: R}, {}], 4)
    over = Overheads(cold_read=10, prefetch=1, prefetch_access=listed)
    line = simulate(access, "bal", workers=3, overheads=over).timeline
    # Key 3 is fetched first, for nothing; key 2 is there at 20. T0 reads keys 0 and 1 itself, for T1 too.
    assert (line.start.tolist(), line.end.tolist()) == ([0, 20, 20], [21, 21, 21])


def test_a_prefetch_list_may_come_from_an_oracle_and_only_its_storage_keys_are_fetched():
    block = pn.Block.from_programs(
        [[("SLOAD", (1, 0, 5)), ("TOUCH", (2, 1, 0))], [("SLOAD", (1, 0, 6))]],
        access_lists=[[(2, []), (1, [5])], []],
    )
    over = Overheads(cold_read=10, prefetch=1, prefetch_access=pn.access_sets(block, "eip2930"))
    line = simulate(block, "bal", workers=2, overheads=over).timeline
    assert (line.start.tolist(), line.end.tolist()) == ([10, 0], [11, 11])


def test_a_schedule_is_checked_with_the_senders_of_the_block():
    block = pn.Block.from_programs([[], []], senders=[1, 1], nonces=[1, 0])
    bare = AccessSets.from_dicts([{}, {}], block.n_keys)
    at_once = Schedule.from_waves("x", [[0, 1]], serial_order=[1, 0])
    for given_sets in (bare, pn.access_sets(block), block):
        with pytest.raises(ScheduleError, match="transaction 0 comes after 1 in serial order and has the same sender"):
            simulate(given_sets, "waves", schedule=at_once, block=block)
    assert simulate(bare, "waves", schedule=at_once, workers=2).makespan == 1


@pytest.mark.parametrize("model", MODELS)
def test_key_numbers_that_nobody_uses_change_nothing(model):
    rng = np.random.default_rng(5)
    plain = [{int(k): int(m) for k, m in zip(rng.integers(0, 9, 3), rng.integers(1, 8, 3))} for _ in range(40)]
    far = [{k * 200_000_000 + 5: m for k, m in entry.items()} for entry in plain]
    cost, over = rng.integers(0, 9, 40), Overheads(1, 1, 1, 2, 2)
    near, wide = (
        simulate(AccessSets.from_dicts(sets, n), model, workers=3, cost=cost, overheads=over)
        for sets, n in ((plain, 9), (far, 2**31 - 1))
    )
    assert near.row() == wide.row()
    assert near.timeline == wide.timeline


def test_waves_of_a_schedule_of_its_own_order_are_simulated_as_such():
    access = AccessSets.from_dicts([{0: W}, {0: W, 1: W}, {1: W}], 2)
    run = simulate(access, "waves", workers=2, schedule=pn.schedule(access, "mis"), overheads=Overheads(barrier=0.25))
    assert (run.makespan, run.order, run.bound) == (2.5, "own", 1.5)
    levels = simulate(access, "waves", workers=2)
    assert simulate(access, "waves", workers=2, schedule=pn.schedule(access)).row() == levels.row()
    with pytest.raises(ScheduleError, match="transaction 1"):
        simulate(access, "waves", schedule=Schedule.from_waves("wrong", [[0, 1], [2]]))


def test_only_storage_keys_of_a_block_are_cold():
    programs = [[("SLOAD", (1, 0, 5)), ("TOUCH", (2, 1, 0))], [("SLOAD", (1, 0, 5)), ("SLOAD", (1, 0, 6))]]
    block = pn.Block.from_programs(programs)
    slow = Overheads(cold_read=10)
    assert simulate(block, "serial", overheads=slow).makespan == 22
    access = pn.access_sets(block)
    bare = AccessSets.from_arrays(access.n_keys, access.indptr, access.keys, access.modes)
    assert simulate(bare, "serial", overheads=slow).makespan == 32
    assert simulate(bare, "serial", overheads=slow, block=block).makespan == 22
    fetched = simulate(block, "bal", workers=2, overheads=replace(slow, prefetch=1))
    assert fetched.timeline.start.tolist() == [10, 20]


def test_many_workers_and_many_transactions_are_no_trouble():
    block = pn.generate("large", seed=3)
    for run in compare(block, workers=[16, 1024, 2**31 - 1], cost="ops"):
        assert run.makespan >= run.bound
    hot_key = AccessSets.from_dicts([{0: R | W}] * 2000, 1)
    for run in compare(hot_key, ["block-stm", "two-pass", "two-bin"], workers=[16, 1024]):
        assert run.makespan >= 2000
    mixed = AccessSets.from_dicts([{0: R if t % 2 else C} for t in range(2000)], 1)
    assert simulate(mixed, "block-stm", workers=16).makespan >= 125


def test_runs_are_plain_values_and_the_same_each_time():
    block = pn.generate("small", seed=1)
    first, second = (simulate(block, "block-stm", workers=5, cost="accesses") for _ in range(2))
    assert first.row() == second.row()
    assert isinstance(first, Simulation)
    assert all(isinstance(value, str | int | float) and not isinstance(value, np.generic) for value in first.row().values())
    empty = compare(AccessSets.from_dicts([], 0), overheads=Overheads(1, 1, 1, 1))
    assert {(run.makespan, run.speedup, run.idle_share, run.executions) for run in empty} == {(0, 1, 0, 0)}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "fast"}, ScheduleError, "model = 'fast': must be one of serial, waves"),
        ({"model": None}, ScheduleError, "model = None"),
        ({"workers": 0}, BlockError, "workers = 0"),
        ({"workers": 2.5}, BlockError, "workers = 2.5"),
        ({"cost": [1]}, BlockError, "cost has shape"),
        ({"cost": [1, -1]}, BlockError, r"cost\[1\]"),
        ({"cost": [1e15, 1]}, BlockError, "cost: the sum must be at most 1e15"),
        ({"cost": [1e308, 1e308]}, BlockError, "cost: the sum must be at most 1e15"),
        ({"cost": "gas"}, BlockError, "cost = 'gas'"),
        ({"overheads": 3}, BlockError, "overheads = 3: must be an Overheads"),
        ({"priority": "random"}, ScheduleError, "priority = 'random': must be one of block"),
        ({"priority": "block", "model": "waves"}, ScheduleError, "priority = 'block': only models list, two-pass"),
        ({"schedule": []}, BlockError, r"schedule = \[\]"),
        ({"schedule": Schedule.from_waves("x", [[0, 1]])}, ScheduleError, "only model waves"),
        ({"block": 3}, BlockError, "block = 3"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        simulate(AccessSets.from_dicts([{0: W}, {1: W}], 2), **options)


def test_overheads_and_lists_are_checked():
    for name in ("barrier", "dispatch", "validation", "cold_read"):
        for value in (-1, math.nan, math.inf, 1e16, "1", None, True):
            with pytest.raises(BlockError, match=f"{name} = "):
                Overheads(**{name: value})
    for value in (-1, 1.5, 2**31, None):
        with pytest.raises(BlockError, match="prefetch = "):
            Overheads(prefetch=value)
    access = AccessSets.from_dicts([{0: W}], 1)
    with pytest.raises(BlockError, match=r"prefetch_access = \[\]: must be an AccessSets"):
        Overheads(prefetch_access=[])
    for other in (AccessSets.from_dicts([{}, {}], 1), AccessSets.from_dicts([{}], 2)):
        with pytest.raises(BlockError, match=r"prefetch_access has .*: must be as many as the access sets have, 1 and 1"):
            simulate(access, overheads=Overheads(prefetch_access=other))
    assert hash(Overheads(prefetch_access=access)) == hash(Overheads())
    assert Overheads(prefetch_access=access) != Overheads()
    with pytest.raises(ScheduleError, match="cannot be simulated"):
        simulate([{0: W}])
    with pytest.raises(BlockError, match="models = 'list'"):
        compare(access, "list")
    with pytest.raises(BlockError, match="workers = 8"):
        compare(access, workers=8)
    with pytest.raises(BlockError, match="number of transactions"):
        simulate(access, block=pn.generate("small"))


# -------------------------------------------------------------------- real blocks


@pytest.mark.corpus
def test_real_blocks_under_every_model(shared: Path):
    blocks = [b for _, b in zip(range(3), pn.read_blocks(shared / "corpus" / "op_trace"))]
    for block in blocks:
        runs = compare(block, workers=[8, 16], cost="chain-gas", overheads=Overheads())
        for run in runs:
            assert run.makespan >= run.bound * (1 - 1e-12)
            assert run.serial == block.chain_gas_used.sum() == run.busy - run.wasted
        for run in runs:
            if run.model == "list":  # Graham: the shared work and (1 - 1 / p) of the longest chain
                shared, path = run.serial / run.workers, critical_path_cost(pn.access_sets(block), block.chain_gas_used)
                assert run.makespan <= shared + (1 - 1 / run.workers) * path + 1
            if run.model in ("serial", "waves", "list", "bal"):
                assert run.reexecutions == 0
            if run.model == "block-stm":
                assert run.validations >= block.n_tx
                assert block.n_tx <= run.executions
