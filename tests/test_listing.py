"""List scheduling and timelines against slow twins on the plain conflict relation, their laws, and their proof."""

from __future__ import annotations

import itertools
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import naive
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import blocks

import pevm_numba as pn
from pevm_numba.access.sets import AccessSets
from pevm_numba.errors import BlockError, ScheduleError, TooLargeError
from pevm_numba.schedule.check import check_schedule
from pevm_numba.schedule.costs import COSTS, cost_of, costs
from pevm_numba.schedule.dependencies import dependencies
from pevm_numba.schedule.listing import PRIORITIES, list_timeline, priority_order, wave_timeline
from pevm_numba.schedule.plan import Schedule
from pevm_numba.schedule.policies import POLICIES, schedule
from pevm_numba.schedule.timeline import Timeline

R, W, C = 1, 2, 4
THREE = [{0: W}, {0: W, 1: W}, {1: W}]

several = st.lists(st.dictionaries(st.integers(0, 5), st.sampled_from([R, W, C, C, R, R | W]), max_size=3), max_size=12)
amounts = st.integers(0, 4).map(float) | st.sampled_from([0.25, 0.1, 0.3, 1e-9, 7e9])


def sets_of(plain: list[dict[int, int]], n_keys: int = 6) -> AccessSets:
    return AccessSets.from_dicts(plain, n_keys)


def some(n: int) -> st.SearchStrategy[list[float]]:
    """n amounts of time."""
    return st.lists(amounts, min_size=n, max_size=n)


# -------------------------------------------------------------------- slow twins


def before(plain: list[dict[int, int]]) -> list[list[int]]:
    """For each transaction all the earlier ones that it conflicts with."""
    pairs = naive.pair_kinds(plain)
    return [[i for i, j in pairs if j == t] for t in range(len(plain))]


def naive_order(plain: list[dict[int, int]], cost: list[float], priority: str) -> list[int]:
    height = [0.0] * len(plain) if priority == "block" else list(cost)
    if priority == "longest-path":
        for t in reversed(range(len(plain))):
            height[t] = cost[t] + max((height[u] for u, early in enumerate(before(plain)) if t in early), default=0.0)
    return sorted(range(len(plain)), key=lambda t: (-height[t], t))


def naive_list(
    plain: list[dict[int, int]], order: list[int], workers: int, cost: list[float], release: list[float], dispatch: float
) -> tuple[list[float], list[float], list[int]]:
    """Start, end and worker of each: at every instant all is looked at anew, and one transaction is started at a time."""
    early, now = before(plain), 0.0
    start, end, worker = dict[int, float](), dict[int, float](), dict[int, int]()
    while len(start) < len(plain):
        free = [w for w in range(workers) if all(end[t] <= now for t in start if worker[t] == w)]
        ready = [
            t for t in order
            if t not in start and release[t] <= now and all(u in end and end[u] <= now for u in early[t])
        ]  # fmt: skip
        if free and ready:
            t = ready[0]
            start[t], end[t], worker[t] = now, now + (dispatch + cost[t]), free[0]
        else:
            waiting = [release[t] for t in order if t not in start]
            now = min(instant for instant in [*end.values(), *waiting] if instant > now)
    n = range(len(plain))
    return [start[t] for t in n], [end[t] for t in n], [worker[t] for t in n]


def naive_waves(
    waves: list[list[int]], workers: int, cost: list[float], release: list[float], dispatch: float, barrier: float
) -> tuple[dict[int, tuple[float, float, int]], float]:
    """(start, end, worker) of each, and the makespan."""
    out, now = dict[int, tuple[float, float, int]](), 0.0
    for wave in waves:
        free = [now] * workers
        for t in sorted(wave, key=lambda t: -cost[t]):
            w = free.index(min(free))
            start = max(free[w], release[t])
            free[w] = start + (dispatch + cost[t])
            out[t] = start, free[w], w
        now = max(free) + barrier
    return out, now


# -------------------------------------------------------------------- equal to the twins


@given(several, st.sampled_from(PRIORITIES), st.integers(1, 5), st.data())
@settings(deadline=None, max_examples=300)
def test_list_timelines_equal_the_slow_twin(plain, priority, workers, data):
    n = len(plain)
    cost = data.draw(some(n))
    release = data.draw(some(n) | st.just([0.0] * n))
    dispatch = data.draw(st.sampled_from([0.0, 0.5, 0.1]))
    deps = dependencies(sets_of(plain))
    order = priority_order(deps, cost, priority)
    assert order.tolist() == naive_order(plain, cost, priority)
    line = list_timeline(deps, order, workers, cost, release=release, dispatch=dispatch)
    expected = naive_list(plain, order.tolist(), workers, cost, release, dispatch)
    assert (line.start.tolist(), line.end.tolist(), line.worker.tolist()) == expected
    assert (line.n_workers, line.makespan) == (workers, max(expected[1], default=0.0))
    assert (line.worker.dtype, line.start.dtype) == (np.int32, np.float64)
    plan = Schedule.from_waves("list", naive.levels(plain), timeline=line)
    check_schedule(plan, sets_of(plain))


@given(several, st.integers(1, 5), st.data())
@settings(deadline=None, max_examples=150)
def test_wave_timelines_equal_the_slow_twin(plain, workers, data):
    n = len(plain)
    cost, release = data.draw(some(n)), data.draw(some(n) | st.just([0.0] * n))
    dispatch, barrier = data.draw(st.sampled_from([0.0, 0.5])), data.draw(st.sampled_from([0.0, 0.75]))
    plan = schedule(sets_of(plain))
    line = wave_timeline(
        plan.wave_indptr, plan.wave_tx, workers, cost, release=release, dispatch=dispatch, barrier=barrier
    )
    expected, makespan = naive_waves(plan.waves(), workers, cost, release, dispatch, barrier)
    assert list(zip(line.start, line.end, line.worker)) == [expected[t] for t in range(n)]
    assert line.makespan == makespan
    check_schedule(Schedule.from_waves("levels", plan.waves(), timeline=line), sets_of(plain))


@given(several, st.sampled_from(PRIORITIES), st.integers(1, 5), st.data())
@settings(deadline=None, max_examples=100)
def test_the_list_policy_is_levels_with_that_timeline(plain, priority, workers, data):
    cost = data.draw(some(len(plain)))
    plan = schedule(sets_of(plain), "list", workers=workers, cost=cost, priority=priority)
    assert plan.waves() == naive.levels(plain)
    assert plan.block_order
    order = naive_order(plain, cost, priority)
    start, end, worker = naive_list(plain, order, workers, cost, [0.0] * len(plain), 0.0)
    assert plan.timeline == Timeline(workers, worker, start, end, max(end, default=0.0))
    assert pickle.loads(pickle.dumps(plan)) == plan
    check_schedule(plan, sets_of(plain))


# -------------------------------------------------------------------- laws


@given(several, st.sampled_from(PRIORITIES), st.integers(1, 5), st.data())
@settings(deadline=None, max_examples=150)
def test_list_timelines_keep_precedence_share_no_worker_and_stay_within_grahams_bound(plain, priority, workers, data):
    cost = data.draw(some(len(plain)))
    deps = dependencies(sets_of(plain))
    line = list_timeline(deps, priority_order(deps, cost, priority), workers, cost)
    for t, early in enumerate(before(plain)):
        ready = max((line.end[u] for u in early), default=0.0)
        assert ready <= line.start[t]
        for w in range(workers):  # nobody was free from when it was ready to when it started
            mine = sorted((line.start[u], line.end[u]) for u in range(len(plain)) if line.worker[u] == w and u != t)
            reach = ready
            for a, b in mine:
                reach = max(reach, b) if a <= reach else reach
            assert reach >= line.start[t] or line.start[t] == ready
    for a, b in itertools.combinations(range(len(plain)), 2):
        assert line.worker[a] != line.worker[b] or line.end[a] <= line.start[b] or line.end[b] <= line.start[a]
    total, path = sum(cost), deps.critical_path(cost)[0]
    slack = 1 + 1e-12
    assert max(total / workers, path) <= line.makespan * slack
    assert line.makespan <= (total / workers + (1 - 1 / workers) * path) * slack


@pytest.mark.parametrize("priority", PRIORITIES)
@pytest.mark.parametrize("workers", [1, 3, 16, 1024])
def test_laws_hold_on_many_transactions(workers, priority):
    n_tx, rng = 30_000, np.random.default_rng(workers)
    keys = np.sort(rng.integers(0, 4000, (n_tx, 3)), axis=1) + np.arange(3)
    modes = rng.choice(np.array([R, W, R | W, C], np.uint8), (n_tx, 3), p=[0.6, 0.1, 0.1, 0.2])
    access = AccessSets.from_arrays(4003, np.arange(n_tx + 1) * 3, keys.ravel().astype(np.int32), modes.ravel())
    cost = rng.integers(1, 1000, n_tx)
    plan = schedule(access, "list", workers=workers, cost=cost, priority=priority)
    check_schedule(plan, access)
    line, deps = plan.timeline, dependencies(access)
    assert line is not None
    assert (line.end - line.start == cost).all()
    total, path = cost.sum(), deps.critical_path(cost)[0]
    assert max(total / workers, path) <= line.makespan <= total / workers + (1 - 1 / workers) * path + 1e-6
    assert line.idle_share == pytest.approx(1 - total / (workers * line.makespan))
    assert line.busy.sum() == total
    times, running = line.profile()
    assert (times[0], running.max()) == (0, min(workers, running.max()))
    # from the instant that a transaction is ready to its start no worker is idle
    ready = ready_times(deps, line)
    idle = np.concatenate([[0.0], np.cumsum(np.diff(times) * (running[:-1] < workers))])
    assert (np.interp(line.start, times, idle) == np.interp(ready, times, idle)).all()


def ready_times(deps: Any, line: Timeline) -> np.ndarray:
    """When the last predecessor ends; joins come in the order of their numbers, each before whom it stands for."""
    n_tx, end = deps.n_tx, line.end.tolist() + [0.0] * deps.n_joins
    rows = [deps.indices[a:b].tolist() for a, b in zip(deps.indptr[:-1], deps.indptr[1:])]
    for q in range(deps.n_joins):
        end[n_tx + q] = max((end[p] for p in rows[n_tx + q]), default=0.0)
    return np.array([max((end[p] for p in row), default=0.0) for row in rows[:n_tx]])


@given(st.lists(st.integers(0, 2**24), max_size=40), st.integers(1, 32))
@settings(deadline=None, max_examples=100)
def test_an_ordered_list_without_conflicts_stays_within_its_closed_form(gas, n):
    deps = dependencies(AccessSets.from_dicts([{}] * len(gas), 0))
    line = list_timeline(deps, priority_order(deps, gas, "block"), n, gas)
    assert line.makespan * n <= sum(gas) + (n - 1) * max(gas, default=0)
    assert (np.diff(line.start) >= 0).all()


@pytest.mark.parametrize(("n", "worst"), [(4, 87.58), (8, 52.18), (16, 34.48), (32, 25.63)])
def test_the_closed_form_is_reached_by_a_large_transaction_that_comes_last(n, worst):
    limit, largest = 300e6, 2.0**24
    gas = [(limit - largest) / (100 * n)] * (100 * n) + [largest]
    deps = dependencies(AccessSets.from_dicts([{}] * len(gas), 0))
    assert list_timeline(deps, priority_order(deps, gas, "block"), n, gas).makespan / 1e6 == pytest.approx(worst, abs=5e-3)
    better = list_timeline(deps, priority_order(deps, gas, "largest"), n, gas).makespan
    assert better <= (4 / 3) * max(limit / n, largest)


def test_three_transactions_keep_block_order_on_any_number_of_workers():
    access = AccessSets.from_dicts(THREE, 2)
    for workers, priority in itertools.product((1, 2, 3, 64), PRIORITIES):
        plan = schedule(access, "list", workers=workers, priority=priority, cost=[1, 1, 9])
        assert plan.waves() == schedule(access).waves() == [[0], [1], [2]]
        assert plan.serial_order.tolist() == [0, 1, 2]
        assert plan.timeline is not None
        assert plan.timeline.start.tolist() == [0, 1, 2]
        assert plan.timeline.end.tolist() == [1, 2, 11]
        check_schedule(plan, access)
    hurried = Timeline(2, [0, 0, 1], [0, 1, 0], [1, 2, 1], 2)
    with pytest.raises(ScheduleError, match=r"2 comes after 1 .* on key 1, but starts at 0\.0, before that ends at 2\.0"):
        check_schedule(Schedule.from_waves("mis", [[0], [1], [2]], timeline=hurried), access)


def test_readers_and_crediters_of_a_key_meet_in_a_join():
    plain = [{0: R}] * 4 + [{0: C}] * 4 + [{0: R}] * 4
    deps = dependencies(sets_of(plain))
    assert deps.n_joins == 2
    cost = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
    line = list_timeline(deps, range(12), 12, cost)
    assert line.start.tolist() == [0] * 4 + [4] * 4 + [13] * 4
    assert line.makespan == 21


def test_what_takes_no_time_lets_others_through_at_the_same_instant():
    plain = [{0: W}, {0: W}, {1: R}, {2: R}]
    deps = dependencies(sets_of(plain))
    line = list_timeline(deps, [0, 1, 2, 3], 2, [0, 5, 2, 2])
    assert line.start.tolist() == [0, 0, 0, 2]
    assert line.worker.tolist() == [0, 0, 1, 1]
    nothing = list_timeline(deps, [3, 2, 1, 0], 1, [0] * 4)
    assert (nothing.makespan, nothing.idle_share, nothing.busy.tolist()) == (0, 0, [0])
    assert [part.tolist() for part in nothing.profile()] == [[], []]


def test_shares_and_times_next_to_the_last_float_are_finite_or_refused():
    assert Timeline(2, [0, 1], [0, 0], [1.7e308, 1.7e308], 1.7e308).idle_share == 0
    assert Timeline(4, [0, 1], [0, 0], [1.7e308, 1.7e308], 1.7e308).idle_share == 0.5
    assert Timeline(2**31 - 1, [0], [0], [5e-324], 5e-324).idle_share == pytest.approx(1)
    with pytest.raises(BlockError, match="worker 1: its transactions last longer than a float can hold"):
        _ = Timeline(2, [1, 1], [0, 0], [1.7e308, 1.7e308], 1.7e308).busy
    huge = np.array([1, np.longdouble("1e400")])
    for options in ({"start": huge}, {"end": huge}):
        with pytest.raises(BlockError, match=rf"{next(iter(options))}\[1\] = 1e[+]400: must be finite"):
            Timeline(**{"n_workers": 2, "worker": [0, 1], "start": [0, 0], "end": [1, 1], "makespan": 1, **options})
    with pytest.raises(BlockError, match=r"cost\[1\] = 1e[+]400: must be finite"):
        costs(huge, 2)


def test_release_times_hold_back_and_barriers_count_after_the_last_wave():
    deps = dependencies(AccessSets.from_dicts([{}] * 3, 0))
    line = list_timeline(deps, [0, 1, 2], 1, [2, 2, 2], release=[5, 0, 1], dispatch=0.5)
    assert line.start.tolist() == [5, 0, 2.5]
    waves = wave_timeline([0, 2, 3], [0, 1, 2], 2, [1, 2, 3], barrier=10, release=[0, 0, 20])
    assert waves.start.tolist() == [0, 0, 20]
    assert waves.makespan == 33
    assert Timeline(1, [0], [0], [1], 3) != Timeline(1, [0], [0], [1], 2)


@pytest.mark.parametrize("policy", POLICIES)
def test_schedules_are_the_same_whatever_number_of_threads_is_set(policy):
    block = pn.generate("small", n_tx=400, seed=3)
    before_ = numba.get_num_threads()
    plans = []
    try:
        for threads in sorted({1, min(2, before_), before_}):
            numba.set_num_threads(threads)
            plans.append(schedule(block, policy, workers=5, cost="ops"))
    finally:
        numba.set_num_threads(before_)
    assert all(plan == plans[0] for plan in plans)
    assert plans[0] != schedule(block, policy, workers=4, cost="ops")
    check_schedule(plans[0], pn.access_sets(block))


def test_a_huge_number_of_workers_takes_no_memory():
    access = AccessSets.from_dicts(THREE, 2)
    schedule(access, "list", workers=2)  # compiles
    schedule(access, workers=2)
    tracemalloc.start()
    try:
        for policy in ("list", "levels"):
            line = schedule(access, policy, workers=2**31 - 1).timeline
            assert line is not None
            assert (line.makespan, line.idle_share) == (3, pytest.approx(1))
            with pytest.raises(TooLargeError, match="busy times of 2,147,483,647 workers: the limit is 16,777,216"):
                line.busy  # noqa: B018  # a property that raises
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


# -------------------------------------------------------------------- the proof of timelines


def naive_verdict(plan: Schedule, plain: list[dict[int, int]], block: pn.Block | None) -> tuple[Any, ...] | None:
    """What `check_schedule` must name first, by its definition and by trying all pairs; None if the schedule is valid."""
    order, line, n = plan.serial_order.tolist(), plan.timeline, range(len(plain))
    waves = naive.first_violation(plan.waves(), order, plain)
    if waves:
        return "wave", *waves
    wave = {t: w for w, part in enumerate(plan.waves()) for t in part}
    for position, later in enumerate(order) if line else ():
        for key in sorted(plain[later]):
            bad = [
                (-line.end[u], p, u)
                for p, u in enumerate(order[:position])
                if key in plain[u] and naive.conflict(plain[u][key], plain[later][key]) and line.end[u] > line.start[later]
            ]
            if bad:
                return "time", later, key, min(bad)[2]
    if block is not None and order != list(n):
        bad = []
        for who in {bytes(sender) for sender in block.sender}:
            mine = sorted((int(block.nonce[t]), t) for t in n if bytes(block.sender[t]) == who)
            for (_, one), (_, other) in itertools.pairwise(mine):
                overlap = line is not None and line.end[one] > line.start[other]
                if order.index(other) < order.index(one) or wave[other] <= wave[one] or overlap:
                    bad.append((order.index(other), other, one))
        if bad:
            return "sender", *min(bad)[1:]
    overlaps = [
        (line.worker[a], line.start[a], line.end[a], a, b)
        for a, b in itertools.permutations(n, 2)
        if line and line.worker[a] == line.worker[b] and line.end[a] > line.start[b] and line.end[b] > line.start[a]
        and (line.start[a], line.end[a], a) < (line.start[b], line.end[b], b)
    ]  # fmt: skip
    return ("worker", min(overlaps)[3]) if overlaps else None


SAID = {
    "wave": r"^transaction {} comes after {} in serial order and conflicts with it on key {}\b.*, but runs in",
    "time": r"^transaction {} comes after {} in serial order and conflicts with it on key {}\b.*, but starts at",
    "sender": r"^transaction {}\b.* comes (after|before) {}\b.* the same sender",
    "worker": r"^transactions {} and \d+ both run on worker \d+, but",
}


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Schedule, list[dict[int, int]], pn.Block | None]:
    """A valid schedule of a few transactions, with up to three changes that may or may not break it."""
    plain = [{k: m & 3 for k, m in entry.items() if m & 3} for entry in draw(several.filter(len))]
    n = len(plain)
    owned = draw(st.booleans())
    block = None
    if owned:
        ops = [
            [op for k, m in entry.items() for op in [("TOUCH", (1, 0, k))] * (m & 1) + [("SSTORE", (1, 0, k), 1)] * (m >> 1)]
            for entry in plain
        ]
        some_ = st.lists(st.integers(0, 2), min_size=n, max_size=n)
        block = pn.Block.from_programs(ops, senders=[1 + s for s in draw(some_)], nonces=draw(some_))
    policy = draw(st.sampled_from(["list", "levels", "mis"]))
    plan = schedule(sets_of(plain), policy, workers=draw(st.integers(1, 3)), cost=draw(some(n)), block=block)
    line = plan.timeline
    assert line is not None
    wave, order = plan.wave_of.tolist(), plan.serial_order.tolist()
    arrays = [line.start.tolist(), line.end.tolist(), line.worker.tolist()]
    for _ in range(draw(st.integers(0, 3))):
        kind, a, b = draw(st.integers(0, 6)), draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))
        if kind == 0:
            order[a], order[b] = order[b], order[a]
        elif kind == 1:
            wave[a] = wave[b]
        elif kind == 2:
            wave[a], wave[b] = wave[b], wave[a]
        elif kind == 3:
            for column in arrays:
                column[a], column[b] = column[b], column[a]
        elif kind == 4:
            arrays[2][a] = arrays[2][b]
        elif kind == 5:
            arrays[0][a] = min(arrays[1][a], arrays[0][b])
        else:
            arrays[1][a] = max(arrays[0][a], arrays[1][b])
    start, end, worker = arrays
    waves = [[t for t in range(n) if wave[t] == w] for w in sorted(set(wave))]
    made = Timeline(line.n_workers, worker, start, end, max(end))
    return Schedule.from_waves("drawn", waves, order, made if draw(st.integers(0, 9)) else None), plain, block


@given(mutated())
@settings(deadline=None, max_examples=400)
def test_check_accepts_a_changed_schedule_iff_every_pair_is_right_and_names_the_first_that_is_not(drawn):
    plan, plain, block = drawn
    expected = naive_verdict(plan, plain, block)
    if expected is None:
        check_schedule(plan, sets_of(plain), block=block)
        return
    kind, *numbers = expected
    if kind in ("wave", "time"):
        later, key, earlier = numbers
        numbers = [later, earlier, key]
    with pytest.raises(ScheduleError, match=SAID[kind].format(*numbers)):
        check_schedule(plan, sets_of(plain), block=block)


def test_of_partners_that_end_last_at_the_same_instant_the_first_in_serial_order_is_named():
    waves = [[0], [1], [2]]
    for plain, start in (([{0: R}, {0: R}, {0: W}], [0, 0, 1]), ([{0: C}, {0: R}, {0: W}], [2, 2, 1])):
        for order, first in (([0, 1, 2], 0), ([1, 0, 2], 1)):
            parts = [[t] for t in order] if first else waves
            plan = Schedule.from_waves("x", parts, order, Timeline(3, [0, 1, 2], start, [2, 2, 3], 3))
            with pytest.raises(ScheduleError, match=f"^transaction 2 comes after {first} .* starts at 1.0, before that ends"):
                check_schedule(plan, sets_of(plain))


def test_two_at_once_on_a_worker_are_named_and_instants_may_touch():
    access = AccessSets.from_dicts([{}] * 4, 0)
    waves = [[0, 1, 2, 3]]
    touching = Timeline(2, [0, 0, 0, 0], [0, 2, 2, 3], [2, 2, 3, 4], 9)
    check_schedule(Schedule.from_waves("x", waves, timeline=touching), access)
    inside = Timeline(2, [1, 0, 1, 1], [0, 2, 5, 3], [4, 3, 6, 3], 6)  # takes no time, but in the middle of another
    with pytest.raises(ScheduleError, match=r"^transactions 0 and 3 both run on worker 1, but 3 starts at 3\.0, before"):
        check_schedule(Schedule.from_waves("x", waves, timeline=inside), access)


def test_a_senders_transactions_do_not_overlap_in_time_when_the_order_is_free():
    block = pn.Block.from_programs([[], [], []], senders=[7, 8, 7], nonces=[1, 0, 0])
    access = AccessSets.from_dicts([{}] * 3, 0)
    waves, order = [[1, 2], [0]], [1, 2, 0]
    good = Timeline(2, [0, 0, 1], [2, 0, 0], [3, 2, 2], 3)
    check_schedule(Schedule.from_waves("x", waves, order, good), access, block=block)
    early = Timeline(3, [2, 0, 1], [1, 0, 0], [3, 2, 2], 3)
    with pytest.raises(ScheduleError, match=r"0 comes after 2 .* same sender 0x0*7, but starts at 1\.0, before that"):
        check_schedule(Schedule.from_waves("x", waves, order, early), access, block=block)
    check_schedule(Schedule.from_waves("x", waves, order, early), access)


# -------------------------------------------------------------------- running them


@pytest.mark.parametrize("policy", POLICIES)
@given(block=blocks(max_tx=10))
@settings(deadline=None, max_examples=25)
def test_every_policy_gives_the_state_of_its_serial_order(policy, block):
    plan = schedule(block, policy, workers=2, cost="accesses")
    check_schedule(plan, pn.access_sets(block))
    serial = pn.execute(block, "serial", schedule=plan)
    waves = pn.execute(block, "waves", schedule=plan, workers=2)
    serial.check_equal(waves)
    assert waves.counters["requeued"] == waves.counters["runtime_conflicts"] == 0
    if POLICIES[policy]:
        pn.execute(block, "serial").check_equal(waves)
    bare = Schedule.from_arrays(policy, plan.wave_indptr, plan.wave_tx, plan.serial_order, plan.timeline)
    assert (plan.proved_for, bare.proved_for) == (block, None)
    again = pn.execute(block, "waves", schedule=bare, workers=2)
    serial.check_equal(again)
    assert again.counters["requeued"] == 0


# -------------------------------------------------------------------- costs


def test_costs_of_transactions_are_what_a_run_of_the_block_charges_or_counts():
    block = pn.generate("small", n_tx=60, seed=2)
    assert (pn.transaction_costs(block) == pn.execute(block, "serial").gas_used).all()
    for kind in ("unit", "accesses", "ops"):
        cost = pn.transaction_costs(block, kind)
        assert cost.dtype == np.int64
        assert (cost == cost_of(kind, pn.access_sets(block), block)).all()
        assert schedule(block, "list", workers=3, cost=kind) == schedule(block, "list", workers=3, cost=cost)
    measured = pn.transaction_costs(block, "ns", repeat=3)
    assert (measured.dtype, measured.shape) == (np.float64, (60,))
    assert (measured > 0).all()
    empty = pn.Block.from_programs([])
    assert [len(pn.transaction_costs(empty, kind)) for kind in COSTS if kind != "chain-gas"] == [0] * 5


def test_more_work_takes_more_measured_time():
    block = pn.Block.from_programs([[("NOOP", 10)], [("NOOP", 100_000)], [("KECCAK", bytes(50_000))]])
    cost = pn.transaction_costs(block, "ns")
    assert cost[1] > 10 * cost[0]
    assert cost[2] > 10 * cost[0]


def test_the_gas_of_the_chain_is_a_cost_where_the_block_knows_it():
    known = pn.Block.from_programs([[], []], meta={"chain_gas_used": [5, 7]})
    line = schedule(known, "list", workers=1, cost="chain-gas").timeline
    assert line is not None
    assert line.makespan == 12
    half = pn.Block.from_programs([[], []], meta={"chain_gas_used": [5, None]})
    rule = r"see transaction_costs\(block\)"
    with pytest.raises(BlockError, match=rf"the block does not know the chain's gas of transaction 1: {rule}"):
        schedule(half, "list", cost="chain-gas")
    with pytest.raises(BlockError, match=rf"the block does not know the chain's gas: {rule}"):
        schedule(pn.Block.from_programs([[]]), cost="chain-gas")


@pytest.mark.corpus
def test_real_blocks_keep_the_bounds_by_the_chains_gas(shared: Path):
    for block in itertools.islice(pn.read_blocks(shared / "corpus" / "op_trace"), 4):
        access, gas = pn.access_sets(block), block.chain_gas_used
        total, path = gas.sum(), pn.dependencies(access).critical_path(gas)[0]
        for workers in (1, 8, 16):
            plan = schedule(block, "list", workers=workers, cost="chain-gas")
            check_schedule(plan, access)
            assert plan.timeline is not None
            makespan = plan.timeline.makespan
            assert max(total / workers, path) <= makespan <= total / workers + (1 - 1 / workers) * path
            assert makespan <= schedule(block, workers=workers, cost="chain-gas").timeline.makespan
