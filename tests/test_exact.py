"""Exact optima against exhaustive search, heuristics against optima, and the 1.5 that does not hold."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import neighbours
from strategies import access_dicts

import pevm_numba as pn
from pevm_numba.access.sets import AccessSets
from pevm_numba.errors import BlockError, TooLargeError, UsageError
from pevm_numba.schedule.exact import EXACT_LIMIT, largest_independent_set, optimal_makespan, optimal_waves
from pevm_numba.schedule.optimality import MEASURES, optimality
from pevm_numba.schedule.senders import chains_of, with_senders

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "op_trace"
#: Seven transactions of which `mis` takes two where four are free of conflicts; the lowest index wins ties.
SEVEN = [(0, 1), (0, 2), (0, 5), (1, 3), (1, 4), (2, 3), (2, 4), (3, 5), (3, 6), (4, 5), (4, 6)]


def from_edges(n_tx: int, edges: Sequence[tuple[int, int]]) -> AccessSets:
    """Access sets with this conflict graph: one key an edge, written by both."""
    sets: list[dict[int, int]] = [{} for _ in range(n_tx)]
    for k, pair in enumerate(edges):
        for t in pair:
            sets[t][k] = 2
    return AccessSets.from_dicts(sets, n_keys=len(edges))


def pool(sets: Sequence[dict[int, int]], senders: Sequence[int] | None, nonces: Sequence[int] | None) -> pn.Block:
    """A block whose only purpose is its senders and nonces."""
    return pn.Block.from_programs([[] for _ in sets], {}, senders=senders, nonces=nonces)


def sender_pairs(senders: Sequence[int], nonces: Sequence[int]) -> set[tuple[int, int]]:
    """(earlier, later) of each two transactions of one sender, by (nonce, index)."""
    order = sorted(range(len(senders)), key=lambda t: (nonces[t], t))
    return {(a, b) for a, b in itertools.combinations(order, 2) if senders[a] == senders[b]}


def shortest(conflicts: Sequence[set[int]], orders: list[tuple[int, ...]], workers: int, cost: Sequence[int]) -> int:
    """Least makespan when conflicting transactions run in the order and each takes the worker that is free first."""
    best = sum(cost)
    for order in orders:
        free, end = [0] * workers, {}
        for t in order:
            w = free.index(min(free))
            begin = max([free[w], *(end[u] for u in conflicts[t] if u in end)])
            free[w] = end[t] = begin + cost[t]
        best = min(best, max(free))
    return best


def orders_of(n_tx: int, before: set[tuple[int, int]]) -> list[tuple[int, ...]]:
    """All permutations that keep the pairs of `before`."""
    kept = []
    for order in itertools.permutations(range(n_tx)):
        place = {t: i for i, t in enumerate(order)}
        if all(place[a] < place[b] for a, b in before):
            kept.append(order)
    return kept


def fewest_waves(conflicts: Sequence[set[int]], before: set[tuple[int, int]]) -> int:
    """Chromatic number, with a rising colour along `before`, by trying every assignment."""
    n_tx = len(conflicts)
    for count in range(n_tx + 1):
        for wave in itertools.product(range(count), repeat=n_tx):
            clash = any(wave[a] == wave[b] for a in range(n_tx) for b in conflicts[a])
            if not clash and all(wave[a] < wave[b] for a, b in before):
                return count
    raise AssertionError("n_tx waves always do")


def largest_set(conflicts: Sequence[set[int]], among: Sequence[int]) -> int:
    """Size of the largest set without conflicts, by trying every subset."""
    subsets = (s for size in range(len(among), -1, -1) for s in itertools.combinations(among, size))
    return next(len(s) for s in subsets if not any(conflicts[t] & set(s) for t in s))


costs = st.lists(st.integers(1, 9), min_size=6, max_size=6)
owners = st.lists(st.integers(1, 3), min_size=6, max_size=6)
nonces = st.lists(st.integers(0, 2), min_size=6, max_size=6)


@settings(max_examples=30, deadline=None)
@given(access_dicts(6, 4), costs, st.integers(1, 4))
def test_the_makespan_in_block_order_is_that_of_exhaustive_search(
    drawn: tuple[list[dict[int, int]], int], cost: list[int], workers: int
) -> None:
    sets, n_keys = drawn
    cost, access = cost[: len(sets)], AccessSets.from_dicts(sets, n_keys)
    near = neighbours(sets)
    before = {(a, b) for b in range(len(sets)) for a in near[b] if a < b}
    found = optimal_makespan(access, workers, cost)
    assert found.proved
    assert found.value == found.bound == shortest(near, orders_of(len(sets), before), workers, cost)
    assert found.schedule.timeline.makespan == found.value
    assert found.schedule.block_order
    pn.check_schedule(found.schedule, access)
    for priority in ("block", "longest-path", "largest"):
        line = pn.schedule(access, "list", workers=workers, cost=cost, priority=priority).timeline
        assert found.value <= line.makespan <= (2 - 1 / workers) * found.value + 1e-9


@settings(max_examples=30, deadline=None)
@given(access_dicts(6, 4), costs, st.integers(1, 3), owners, nonces)
def test_the_makespan_in_any_order_is_that_of_exhaustive_search(
    drawn: tuple[list[dict[int, int]], int], cost: list[int], workers: int, sender: list[int], nonce: list[int]
) -> None:
    sets, n_keys = drawn
    n_tx = len(sets)
    cost, sender, nonce = cost[:n_tx], sender[:n_tx], nonce[:n_tx]
    access, block = AccessSets.from_dicts(sets, n_keys), pool(sets, sender, nonce)
    before = sender_pairs(sender, nonce)
    near = [part | {b if a == t else a for a, b in before if t in (a, b)} for t, part in enumerate(neighbours(sets))]
    found = optimal_makespan(access, workers, cost, block_order=False, block=block)
    assert found.proved
    assert found.value == shortest(near, orders_of(n_tx, before), workers, cost)
    pn.check_schedule(found.schedule, access, block=block)
    free = optimal_makespan(access, workers, cost, block_order=False)
    assert free.value <= min(found.value, optimal_makespan(access, workers, cost).value)


@settings(max_examples=30, deadline=None)
@given(access_dicts(5, 5), owners, nonces)
def test_waves_and_sets_are_those_of_exhaustive_search(
    drawn: tuple[list[dict[int, int]], int], sender: list[int], nonce: list[int]
) -> None:
    sets, n_keys = drawn
    access, block = AccessSets.from_dicts(sets, n_keys), pool(sets, sender[: len(sets)], nonce[: len(sets)])
    near, before = neighbours(sets), sender_pairs(sender[: len(sets)], nonce)
    assert optimal_waves(access).value == fewest_waves(near, set())
    ordered = optimal_waves(access, block=block)
    assert ordered.proved
    assert ordered.value == ordered.schedule.n_waves == fewest_waves(near, before)
    pn.check_schedule(ordered.schedule, access, block=block)
    assert largest_independent_set(access).value == largest_set(near, range(len(sets)))
    heads = [t for t in range(len(sets)) if all(later != t for _, later in before)]
    taken = largest_independent_set(access, block=block)
    assert taken.value == len(taken.transactions) == largest_set(near, heads)
    assert set(taken.transactions.tolist()) <= set(heads)


@settings(max_examples=25, deadline=None)
@given(access_dicts(12, 8), st.integers(1, 4), st.data())
def test_no_heuristic_beats_the_optimum(drawn: tuple[list[dict[int, int]], int], workers: int, data: st.DataObject) -> None:
    sets, n_keys = drawn
    cost = data.draw(st.lists(st.integers(1, 50), min_size=len(sets), max_size=len(sets)))
    rows = optimality(AccessSets.from_dicts(sets, n_keys), workers, cost)
    assert {row.measure for row in rows} == set(MEASURES)
    for row in rows:
        assert row.proved
        assert row.ratio >= 1
        if row.heuristic.startswith("list"):
            assert row.ratio <= 2 - 1 / workers + 1e-9


def test_the_seeds_ratio_of_one_and_a_half_does_not_hold() -> None:
    access = from_edges(7, SEVEN)
    row = optimality(access, measures=["independent set"])[0]
    assert (row.heuristic, row.value, row.optimum, row.proved) == ("mis", 2, 4, True)


@pytest.mark.parametrize("m", [2, 3, 4, 8, 20])
def test_the_first_wave_can_be_any_number_of_times_too_small(m: int) -> None:
    free, crowd = range(1, m + 1), range(m + 1, 2 * m + 1)
    edges = [(0, t) for t in free] + list(itertools.product(free, crowd)) + list(itertools.combinations(crowd, 2))
    row = optimality(from_edges(2 * m + 1, edges), measures=["independent set"])[0]
    assert (row.heuristic, row.value, row.optimum, row.proved) == ("mis", 2, m, True)


@settings(max_examples=40, deadline=None)
@given(access_dicts(14, 10))
def test_the_first_wave_keeps_the_limits_that_do_hold(drawn: tuple[list[dict[int, int]], int]) -> None:
    sets, n_keys = drawn
    degree = [len(part) for part in neighbours(sets)]
    row = optimality(AccessSets.from_dicts(sets, n_keys), measures=["independent set"])[0]
    assert row.value >= sum(1 / (d + 1) for d in degree) - 1e-9
    assert row.optimum <= max([1, *degree]) * row.value


def test_an_odd_ring_needs_a_third_wave_that_no_clique_shows() -> None:
    ring = from_edges(5, [(t, (t + 1) % 5) for t in range(5)])
    found = optimal_waves(ring)
    assert (found.value, found.proved) == (3, True)


def test_block_order_can_cost_time_and_a_common_divisor_changes_nothing() -> None:
    access = from_edges(4, [(0, 1), (2, 3)])
    cost = np.array([4, 1, 1, 4])
    assert optimal_makespan(access, 2, cost).value == 5
    for unit in (1, 21_000, 2**40):
        assert optimal_makespan(access, 2, cost * unit).value == 5 * unit
        assert optimal_makespan(from_edges(3, []), 2, np.array([3, 3, 2]) * unit).value == 5 * unit


def test_without_time_the_result_is_the_heuristic_and_says_so() -> None:
    rng = np.random.default_rng(3)
    edges = [pair for pair in itertools.combinations(range(40), 2) if rng.random() < 0.2]
    access, cost = from_edges(40, edges), rng.integers(1, 1000, 40)
    for found, kind in (
        (optimal_makespan(access, 3, cost, block_order=False, time_limit=0), "schedule"),
        (optimal_waves(access, time_limit=0), "schedule"),
        (largest_independent_set(access, time_limit=0), "transactions"),
    ):
        assert getattr(found, kind) is not None
        assert not found.proved
        assert found.bound != found.value
        assert "not proved" in repr(found)


def test_results_are_the_same_each_time() -> None:
    access = pn.access_sets(pn.generate("small", n_tx=60, seed=5))
    cost = np.random.default_rng(0).integers(1, 30, 60)
    one, two = (optimal_makespan(access, 4, cost) for _ in range(2))
    assert one.proved
    assert one.schedule == two.schedule
    first, second = (largest_independent_set(access).transactions.tolist() for _ in range(2))
    assert first == second


def test_blocks_without_transactions_have_optima_of_zero() -> None:
    empty = AccessSets.from_dicts([], n_keys=0)
    for found in (optimal_makespan(empty, 2), optimal_waves(empty), largest_independent_set(empty)):
        assert (found.value, found.proved, found.bound) == (0, True, 0)
    assert all(row.ratio == 1.0 for row in optimality(empty))


def test_bad_arguments_are_refused_at_the_door() -> None:
    access = from_edges(3, [(0, 1)])
    wrong = (([1, 0, 2], "at least 1"), ([1, 1.5, 2], "whole number"), ([2**50, 1, 1], r"2\*\*50"),
             ([1e308] * 3, "cost adds up to inf"), ("ns", "known only by running"))
    for cost, rule in wrong:
        with pytest.raises(BlockError, match=rule):
            optimal_makespan(access, 2, cost)
    for call in (
        lambda: optimal_makespan(access, 0),
        lambda: optimal_makespan(access, 2, block_order=1),
        lambda: optimal_makespan(access, 2, time_limit=-1),
        lambda: optimal_waves([{}]),
        lambda: optimal_waves(access, block=3),
        lambda: largest_independent_set(access, time_limit="long"),
        lambda: optimality(access, measures=["beauty"]),
        lambda: optimality(access, measures="waves"),
        lambda: optimality([1]),
        lambda: optimal_waves(access, block=pool([{}], None, None)),
    ):
        with pytest.raises(BlockError):
            call()
    large = AccessSets.from_dicts([{}] * (EXACT_LIMIT + 1), n_keys=0)
    for function in (optimal_waves, largest_independent_set, lambda a: optimal_makespan(a, 2)):
        with pytest.raises(TooLargeError, match=r"301 transactions: the limit is 300"):
            function(large)


def test_key_numbers_that_nobody_uses_change_nothing() -> None:
    near = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 1}, {1: 1}], 2)
    far = AccessSets.from_dicts([{9: 2}, {9: 2, 2**31 - 2: 2}, {2**31 - 2: 1}, {2**31 - 2: 1}], 2**31 - 1)
    for measure in (optimal_waves, largest_independent_set, lambda access: optimal_makespan(access, 2, [3, 1, 4, 2])):
        assert measure(near).value == measure(far).value
    assert optimality(near) == optimality(far)


def test_without_ortools_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(UsageError, match=r"pip install \"pevm-numba\[exact\]\""):
        optimal_waves(from_edges(2, []))


@settings(max_examples=60, deadline=None)
@given(access_dicts(6, 3), owners, nonces)
def test_sender_keys_join_exactly_the_transactions_of_a_sender(
    drawn: tuple[list[dict[int, int]], int], sender: list[int], nonce: list[int]
) -> None:
    sets, n_keys = drawn
    sender = sender[: len(sets)]
    access = AccessSets.from_dicts(sets, n_keys)
    joined = with_senders(access, *chains_of(len(sets), pool(sets, sender, nonce[: len(sets)])))
    again = AccessSets.from_arrays(joined.n_keys, joined.indptr, joined.keys, joined.modes)
    assert again == joined
    for t, entry in enumerate(joined):
        assert {k: m for k, m in entry.items() if k < n_keys} == sets[t]
        assert len(entry) - len(sets[t]) == (sender.count(sender[t]) > 1)
    for a, b in itertools.combinations(range(len(sets)), 2):
        shared = {k for k in joined[a] if k >= n_keys} & set(joined[b])
        assert bool(shared) == (sender[a] == sender[b])


@pytest.mark.corpus
def test_real_blocks_are_compared_with_proved_optima() -> None:
    if not CORPUS.exists():
        pytest.skip("needs the folder of real blocks beside the checkout")
    block = next(b for b in pn.read_blocks(CORPUS) if 40 <= b.n_tx <= 150)
    rows = optimality(block, 8, "chain-gas", time_limit=20.0)
    assert len(rows) == 9
    assert all(row.ratio >= 1 for row in rows)
    assert all(row.proved for row in rows if row.measure != "makespan")
