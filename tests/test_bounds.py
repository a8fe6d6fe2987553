"""Bounds against the best that trying everything finds: never above it, and exact where one key decides."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import replace

import naive
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import access_dicts

import pevm_numba as pn
from pevm_numba.access.sets import AccessSets
from pevm_numba.errors import BlockError
from pevm_numba.schedule.bounds import Bounds, bounds, critical_path_cost, speedup_bound
from pevm_numba.schedule.dependencies import dependencies
from pevm_numba.schedule.listing import list_timeline, priority_order
from pevm_numba.schedule.policies import schedule

R, W, C = 1, 2, 4

Sets = list[dict[int, int]]


def groups(mode: int) -> str:
    return {R: "reader", C: "crediter"}.get(mode, "writer")


def key_facts(sets: Sets, cost: list[int], key: int) -> tuple[int, int, int]:
    """(order-free load, load in block order, clique size) of one key."""
    of: dict[str, list[int]] = {"reader": [], "crediter": [], "writer": []}
    for t, entry in enumerate(sets):
        if key in entry:
            of[groups(entry[key])].append(cost[t])
    writers = of.pop("writer")
    free = sum(writers) + sum(max(part) for part in of.values() if part)
    accesses = [(groups(s[key]), t) for t, s in enumerate(sets) if key in s]
    # Writers are runs of their own: the index of the access tells them apart.
    runs = itertools.groupby(accesses, lambda a: a if a[0] == "writer" else (a[0], -1))
    ordered = sum(max(cost[t] for _, t in run) for _, run in runs)
    return free, ordered, len(writers) + sum(1 for part in of.values() if part)


def placed(sets: Sets, cost: list[int], workers: int, order: tuple[int, ...]) -> int:
    """Makespan if each in `order` goes to the worker free first, after all conflicting ones placed before it."""
    free, end = [0] * workers, dict[int, int]()
    for t in order:
        after = [end[u] for u in end if any(naive.conflict(sets[u][k], sets[t][k]) for k in sets[u].keys() & sets[t].keys())]
        end[t] = max([min(free), *after]) + cost[t]
        free[free.index(min(free))] = end[t]
    return max(end.values(), default=0)


def keeps_order(order: tuple[int, ...], pairs: set[tuple[int, int]]) -> bool:
    position = {t: i for i, t in enumerate(order)}
    return all(position[i] < position[j] for i, j in pairs)


def best_makespans(sets: Sets, cost: list[int], workers: int) -> tuple[int, int]:
    """(shortest in block order, shortest in any order), by trying all orders of starting; deliberate waits included."""
    pairs = set(naive.pair_kinds(sets))
    orders = list(itertools.permutations(range(len(sets))))
    fixed = min(placed(sets, cost, workers, order) for order in orders if keeps_order(order, pairs))
    return fixed, min(placed(sets, cost, workers, order) for order in orders)


def conflict_nx(sets: Sets) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from(range(len(sets)))
    graph.add_edges_from(naive.pair_kinds(sets))
    return graph


def fewest_waves(graph: nx.Graph) -> int:
    """Chromatic number: some order makes first-fit optimal."""
    best = len(graph)
    for order in itertools.permutations(graph):
        colour = dict[int, int]()
        for t in order:
            taken = {colour[u] for u in graph[t] if u in colour}
            colour[t] = next(c for c in itertools.count() if c not in taken)
        best = min(best, max(colour.values(), default=-1) + 1)
    return best


@st.composite
def small_cases(draw: st.DrawFn, max_tx: int, top: int = 12) -> tuple[Sets, int, list[int]]:
    sets, n_keys = draw(access_dicts(max_tx=max_tx, max_keys=4))
    return sets, n_keys, draw(st.lists(st.integers(0, top), min_size=len(sets), max_size=len(sets)))


# -------------------------------------------------------------------- each number against its definition


@given(small_cases(14), st.integers(1, 20))
@settings(deadline=None, max_examples=200)
def test_every_number_is_that_of_its_definition(case, workers):
    sets, n_keys, cost = case
    found = bounds(AccessSets.from_dicts(sets, n_keys), cost, workers)
    used = sorted(set().union(*sets)) if sets else []
    facts = {key: key_facts(sets, cost, key) for key in used}
    for part, (value, key) in enumerate([
        (found.hot_key_load, found.hot_key),
        (found.ordered_key_load, found.ordered_key),
        (found.waves, found.waves_key),
    ]):  # fmt: skip
        if used:
            assert value == max(f[part] for f in facts.values())
            assert key == min(k for k in used if facts[k][part] == value)
        else:
            assert (value, key) == (min(1, len(sets)) if part == 2 else 0, -1)
    assert (found.workers, found.total, found.longest) == (workers, sum(cost), max(cost, default=0))
    assert found.longest_tx == (cost.index(max(cost)) if cost else -1)
    before = [{u for u in partners if u < t} for t, partners in enumerate(naive.neighbours(sets))]
    assert found.critical_path == max(naive.longest(before, cost), default=0)
    assert found.levels == len(naive.levels(sets))
    assert found.hot_key_load <= found.ordered_key_load <= found.critical_path <= found.total
    assert found.waves <= found.levels
    assert found.makespan == max(sum(cost) / workers, found.critical_path)
    assert found.makespan_order_free <= found.makespan


@given(small_cases(9))
@settings(deadline=None, max_examples=80)
def test_the_clique_of_a_key_is_one_of_the_graph_and_colourings_need_as_many_waves(case):
    sets, n_keys, _ = case
    found = bounds(AccessSets.from_dicts(sets, n_keys))
    graph = conflict_nx(sets)
    assert found.waves <= max((len(c) for c in nx.find_cliques(graph)), default=0)
    for policy in ("levels", "mis", "first-fit", "largest-first"):
        assert found.waves <= schedule(AccessSets.from_dicts(sets, n_keys), policy).n_waves


@given(small_cases(6), st.integers(1, 3), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=150)
def test_no_bound_exceeds_the_best_that_exists(case, workers, random):
    sets, n_keys, cost = case
    access = AccessSets.from_dicts(sets, n_keys)
    found = bounds(access, cost, workers)
    fixed, free = best_makespans(sets, cost, workers)
    assert found.makespan_order_free <= free <= fixed
    assert found.makespan <= fixed
    assert found.waves <= fewest_waves(conflict_nx(sets))
    assert found.share(fixed) <= 1
    assert found.share(free, order_free=True) <= 1
    order = np.array(random.sample(range(len(sets)), len(sets)), np.int32)
    made = list_timeline(dependencies(access), order, workers, cost).makespan
    assert fixed <= made <= found.list_limit <= found.graham * fixed * (1 + 1e-15)


@given(small_cases(14), st.integers(1, 6), st.sampled_from(["block", "longest-path", "largest"]))
@settings(deadline=None, max_examples=120)
def test_list_schedules_lie_between_the_bound_and_grahams_limit(case, workers, priority):
    sets, n_keys, cost = case
    access = AccessSets.from_dicts(sets, n_keys)
    deps = dependencies(access)
    found = bounds(access, cost, workers)
    made = list_timeline(deps, priority_order(deps, cost, priority), workers, cost).makespan
    assert found.makespan <= made <= found.list_limit
    assert made <= found.total


@given(small_cases(10), st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_scaling_all_costs_scales_all_times(case, workers):
    sets, n_keys, cost = case
    access = AccessSets.from_dicts(sets, n_keys)
    one, eight = bounds(access, cost, workers), bounds(access, [8 * c for c in cost], workers)
    for name in ("total", "longest", "critical_path", "hot_key_load", "ordered_key_load", "makespan", "list_limit"):
        assert getattr(eight, name) == 8 * getattr(one, name)
    assert (eight.waves, eight.levels, eight.max_speedup) == (one.waves, one.levels, one.max_speedup)


# -------------------------------------------------------------------- known cases


def modes_of_one_key(modes: str) -> AccessSets:
    return AccessSets.from_dicts([{0: {"r": R, "w": W, "c": C, "m": R | C, "u": R | W}[m]} for m in modes], 1)


@pytest.mark.parametrize(
    ("modes", "cost", "free", "ordered", "waves", "levels"),
    [
        ("wwww", [1, 2, 3, 4], 10, 10, 4, 4),
        ("rrrr", [1, 2, 3, 4], 4, 4, 1, 1),
        ("cccc", [1, 2, 3, 4], 4, 4, 1, 1),
        ("rcrc", [1, 2, 3, 4], 7, 10, 2, 4),
        ("rrwrr", [5, 1, 1, 2, 3], 6, 9, 2, 3),
        ("rcwcr", [5, 1, 1, 2, 3], 8, 12, 3, 5),
        ("mmu", [1, 1, 1], 3, 3, 3, 3),
        ("wr", [0, 0], 0, 0, 2, 2),
    ],
)
def test_one_key_by_hand(modes, cost, free, ordered, waves, levels):
    found = bounds(modes_of_one_key(modes), cost)
    assert (found.hot_key_load, found.ordered_key_load, found.waves, found.levels) == (free, ordered, waves, levels)
    assert (found.hot_key, found.ordered_key, found.waves_key) == (0, 0, 0)


def test_cliques_over_several_keys_are_not_seen():
    triangle = AccessSets.from_dicts([{0: W, 1: W}, {1: W, 2: W}, {2: W, 0: W}], 3)
    assert bounds(triangle).waves == 2
    assert schedule(triangle, "mis").n_waves == 3


def graph_families() -> Iterator[tuple[str, nx.Graph]]:
    yield "star", nx.star_graph(9)
    yield "path", nx.path_graph(12)
    yield "ladder", nx.ladder_graph(6)
    yield "wheel", nx.wheel_graph(8)
    yield "complete", nx.complete_graph(7)
    yield "bipartite", nx.complete_bipartite_graph(3, 5)
    yield "random", nx.gnp_random_graph(20, 0.25, seed=3)


@pytest.mark.parametrize(("name", "graph"), list(graph_families()))
def test_known_graphs_match_networkx(name, graph):
    by_edge: Sets = [{} for _ in graph]
    for key, (u, v) in enumerate(graph.edges):
        by_edge[u][key] = by_edge[v][key] = W
    cost = np.random.default_rng(len(name)).integers(1, 50, len(graph)).tolist()
    found = bounds(AccessSets.from_dicts(by_edge, graph.number_of_edges()), cost, 4)
    oriented = nx.DiGraph((min(e), max(e)) for e in graph.edges)
    assert found.levels == len(list(nx.topological_generations(oriented)))
    oriented.add_weighted_edges_from([(u, v, cost[u]) for u, v in oriented.edges] + [(t, "end", cost[t]) for t in graph])
    assert found.critical_path == nx.dag_longest_path_length(oriented)
    assert found.waves == 2
    assert found.hot_key_load == max(cost[u] + cost[v] for u, v in graph.edges)
    # One key a maximal clique instead: the bound is then the clique number.
    by_clique: Sets = [{} for _ in graph]
    cliques = list(nx.find_cliques(graph))
    for key, clique in enumerate(cliques):
        for t in clique:
            by_clique[t][key] = W
    found = bounds(AccessSets.from_dicts(by_clique, len(cliques)), cost, 4)
    assert found.waves == max(map(len, cliques))
    assert found.hot_key_load == nx.max_weight_clique(_weighted(graph, cost))[1]


def _weighted(graph: nx.Graph, cost: list[int]) -> nx.Graph:
    weighted = graph.copy()
    nx.set_node_attributes(weighted, dict(enumerate(cost)), "weight")
    return weighted


def test_grahams_figures_and_shares():
    access = AccessSets.from_dicts([{0: W}, {0: W}, {1: W}, {2: W}], 3)
    found = bounds(access, [3, 3, 5, 1], workers=4)
    assert (found.graham, found.makespan, found.makespan_order_free) == (1.75, 6, 6)
    assert found.list_limit == 12 / 4 + 0.75 * 6
    assert found.max_speedup == 2
    assert (found.share(6), found.share(8), found.share(0)) == (1, 0.75, float("inf"))
    alone = bounds(access, [3, 3, 5, 1], workers=1)
    assert (alone.graham, alone.makespan, alone.list_limit, alone.max_speedup) == (1, 12, 12, 1)


def test_speedup_is_that_of_speedup_bound():
    access = modes_of_one_key("wwrrrrrr")
    for workers in (1, 2, 3, 4, 8):
        assert bounds(access, None, workers).max_speedup == pytest.approx(speedup_bound(access, None, workers), rel=1e-15)


@pytest.mark.parametrize("n_tx", [0, 1, 3])
def test_blocks_without_work_or_accesses_are_bounded_too(n_tx):
    found = bounds(AccessSets.from_dicts([{}] * n_tx, 0), [0] * n_tx, 4)
    assert (found.makespan, found.makespan_order_free, found.list_limit) == (0, 0, 0)
    assert (found.max_speedup, found.share(0), found.share(1)) == (1, 1, 0)
    assert (found.waves, found.levels) == (min(1, n_tx), min(1, n_tx))
    assert (found.hot_key, found.waves_key, found.longest_tx) == (-1, -1, 0 if n_tx else -1)


def test_rows_name_every_bound_once():
    found = bounds(modes_of_one_key("wrrw"), [4, 1, 2, 8], 2)
    rows = {name: (value, note) for name, value, note in found.rows()}
    assert len(rows) == len(found.rows()) == 12
    assert rows["critical path"] == (14, "block order")
    assert rows["hot key"] == (14, "any order, key 0")
    assert rows["longest transaction"] == (8, "transaction 3")
    assert rows["makespan, block order"][0] == found.makespan


def test_costs_may_be_named():
    block = pn.generate("small", seed=1)
    access = pn.access_sets(block)
    ops, accesses = bounds(access, "ops", 4), bounds(access, "accesses", 4)
    assert accesses.total == access.n_accesses + access.n_tx
    assert ops.total > block.n_tx
    assert bounds(access, "unit", 4) == bounds(access, None, 4)
    assert bounds(access).critical_path == critical_path_cost(access)


def test_bad_arguments_are_named():
    access = modes_of_one_key("ww")
    for call, text in [
        (lambda: bounds({}), "access = "),
        (lambda: bounds(access, [1]), r"shape \(1,\)"),
        (lambda: bounds(access, [1, -1]), r"cost\[1\] = -1"),
        (lambda: bounds(access, "gold"), "cost = 'gold'"),
        (lambda: bounds(access, "gas"), "cost = 'gas'"),
        (lambda: bounds(access, [1e308, 1e308]), "cost adds up to inf"),
        (lambda: bounds(access, [1.795e308, 0]), "cost adds up to 1.795e[+]308: must be below 1.79e[+]308"),
        (lambda: bounds(access, [np.longdouble("1e400"), 1]), r"cost\[0\] = 1e[+]400: must be finite"),
        (lambda: speedup_bound(access, [1e308, 1e308], 8), "cost adds up to inf"),
        (lambda: critical_path_cost(access, [1e308, 1e308]), "the critical path is longer than a float can hold"),
        (lambda: bounds(access, None, 0), "workers = 0"),
        (lambda: bounds(access, None, 1.5), "workers = 1.5"),
        (lambda: bounds(access).share(-1), "makespan = -1"),
        (lambda: bounds(access).share(float("nan")), "makespan = nan"),
    ]:
        with pytest.raises(BlockError, match=text):
            call()


def test_huge_costs_give_finite_bounds():
    access = AccessSets.from_dicts([{0: W}, {0: W}, {1: W}], 2)
    found = bounds(access, [8e307, 9e307, 0], workers=100)
    assert found.list_limit == 8e307 + 9e307
    assert all(math.isfinite(value) for _, value, _ in found.rows())
    apart = AccessSets.from_dicts([{}] * 3, 0)
    assert bounds(apart, [1e308, 0, 5e307], workers=2**31 - 1).list_limit == pytest.approx(1e308)
    assert critical_path_cost(apart, [1e308] * 3) == 1e308  # no chain of it is too long


@given(small_cases(8), st.integers(0, 100_000_000))
@settings(deadline=None, max_examples=40)
def test_key_numbers_that_nobody_uses_change_nothing(case, step):
    sets, n_keys, cost = case
    wide = [{7 + k * (step + 1): mode for k, mode in entry.items()} for entry in sets]
    near, far = bounds(AccessSets.from_dicts(sets, n_keys), cost, 2), bounds(AccessSets.from_dicts(wide, 2**31 - 1), cost, 2)
    keys = ("hot_key", "ordered_key", "waves_key")
    moved = {name: 7 + getattr(near, name) * (step + 1) if near.hot_key >= 0 else -1 for name in keys}
    assert far == replace(near, **moved)


# -------------------------------------------------------------------- laws on large and real blocks


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="600,000 accesses need compiled kernels")
def test_laws_hold_on_100_000_transactions():
    rng = np.random.default_rng(11)
    n_tx, n_keys = 100_000, 200_000
    keys = np.sort(np.where(rng.random((n_tx, 6)) < 0.01, 0, rng.integers(0, n_keys, (n_tx, 6))), axis=1)
    distinct = np.ones(keys.shape, bool)
    distinct[:, 1:] = keys[:, 1:] != keys[:, :-1]
    modes = rng.choice(np.array([R, W, R | W, C], np.uint8), keys.shape, p=[0.5, 0.2, 0.2, 0.1])[distinct]
    access = AccessSets.from_arrays(n_keys, np.append(0, np.cumsum(distinct.sum(axis=1))), keys[distinct], modes)
    cost = rng.integers(1, 10**6, n_tx)
    deps = dependencies(access)
    first = bounds(access, cost, 1)
    assert first.total == cost.sum()
    assert (first.longest, first.longest_tx) == (cost.max(), cost.argmax())
    hot = np.repeat(np.arange(n_tx), np.diff(access.indptr))[access.keys == 0]
    of_hot, at_hot = modes[access.keys == 0], cost[hot]
    writers = (of_hot != R) & (of_hot != C)
    assert first.hot_key == 0
    assert first.hot_key_load == at_hot[writers].sum() + at_hot[of_hot == R].max() + at_hot[of_hot == C].max()
    assert first.waves == writers.sum() + 2
    assert first.critical_path == deps.critical_path(cost)[0]
    for workers in (8, 1024):
        found = bounds(access, cost, workers)
        made = list_timeline(deps, priority_order(deps, cost, "longest-path"), workers, cost).makespan
        assert found.makespan <= made <= found.list_limit
        assert isinstance(found, Bounds)


@pytest.mark.corpus
def test_real_blocks_lie_between_the_bounds(shared):
    for block in itertools.islice(pn.read_blocks(shared / "corpus" / "op_trace"), 4):
        access = pn.access_sets(block)
        deps = dependencies(access)
        for workers in (8, 16):
            found = bounds(access, "chain-gas", workers)
            order = priority_order(deps, block.chain_gas_used, "longest-path")
            made = list_timeline(deps, order, workers, block.chain_gas_used)
            assert found.makespan <= made.makespan <= found.list_limit
            assert 0 < found.share(made.makespan) <= 1
