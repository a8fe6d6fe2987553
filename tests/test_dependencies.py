"""The DAG against the conflicts that it stands for: same precedence, same longest paths, few edges."""

from __future__ import annotations

import functools
import itertools
import operator

import naive
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pevm_numba.access.sets import AccessSets
from pevm_numba.errors import BlockError
from pevm_numba.schedule.bounds import critical_path_cost, speedup_bound
from pevm_numba.schedule.dependencies import Dependencies, EdgeKind, dependencies
from pevm_numba.schedule.policies import schedule

R, W, C = 1, 2, 4
RAW, WAW, WAR = EdgeKind.RAW, EdgeKind.WAW, EdgeKind.WAR

entries = st.dictionaries(st.integers(0, 3), st.integers(1, 7), max_size=3)
# Mostly mere readers and crediters: what makes joins.
commuting = st.dictionaries(st.integers(0, 1), st.sampled_from([R, R, R, C, C, C, W, R | C]), min_size=1, max_size=2)
several = st.one_of(st.lists(entries, max_size=14), st.lists(commuting, max_size=24))


def sets_of(plain: list[dict[int, int]], n_keys: int = 4) -> AccessSets:
    return AccessSets.from_dicts(plain, n_keys)


def digraph(deps: Dependencies) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(deps.n_tx + deps.n_joins))
    for node in range(deps.n_tx + deps.n_joins):
        graph.add_edges_from((p, node) for p in deps.predecessors(node))
    return graph


def reachable(graph: nx.DiGraph, n_tx: int) -> set[tuple[int, int]]:
    return {(u, v) for u in range(n_tx) for v in nx.descendants(graph, u) if v < n_tx}


def conflicts_before(plain: list[dict[int, int]]) -> list[set[int]]:
    return [{u for u in partners if u < t} for t, partners in enumerate(naive.neighbours(plain))]


def plain_graph(before: list[set[int]]) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(before)))
    graph.add_edges_from((u, t) for t, sources in enumerate(before) for u in sources)
    return graph


@given(several, st.sampled_from(["all", "raw"]))
@settings(deadline=None, max_examples=200)
def test_precedence_is_that_of_the_conflicts_and_edges_are_linear(plain, edges):
    deps = dependencies(sets_of(plain), edges=edges)
    before = conflicts_before(plain) if edges == "all" else naive.raw_sources(plain)
    assert reachable(digraph(deps), len(plain)) == reachable(plain_graph(before), len(plain))
    assert deps.n_edges <= 4 * sum(map(len, plain))
    for t in range(len(plain)):
        direct = {p for p in deps.predecessors(t) if p < len(plain)}
        assert direct <= before[t]
        row = deps.indices[deps.indptr[t] : deps.indptr[t + 1]]
        assert len(set(row.tolist())) == len(row)


@given(several, st.data())
@settings(deadline=None, max_examples=150)
def test_longest_paths_equal_the_slow_twin_and_the_pass_without_a_dag(plain, data):
    access = sets_of(plain)
    cost = data.draw(st.lists(st.integers(0, 50), min_size=len(plain), max_size=len(plain)))
    for edges, before in (("all", conflicts_before(plain)), ("raw", naive.raw_sources(plain))):
        deps = dependencies(access, edges=edges)
        finish = naive.longest(before, cost)
        assert (deps.earliest_start(cost) + cost == finish).all()
        length, path = deps.critical_path(cost)
        assert length == max(finish, default=0) == sum(cost[t] for t in path)
        chain = reachable(digraph(deps), len(plain))
        assert all(pair in chain for pair in itertools.pairwise(path))
        if edges == "all":
            assert critical_path_cost(access, cost) == length
    levels = schedule(access)
    assert (dependencies(access).earliest_start() == levels.wave_of).all()
    assert levels.n_waves == critical_path_cost(access) == len(dependencies(access).critical_path()[1])


@given(several)
@settings(deadline=None, max_examples=80)
def test_edges_say_why(plain):
    deps = dependencies(sets_of(plain))
    name = {"wr": RAW, "ww": WAW, "rw": WAR}
    pairs = naive.pair_kinds(plain)
    for t in range(len(plain)):
        for p, kinds in deps.predecessors(t).items():
            if p < len(plain):
                assert kinds
                assert kinds in functools.reduce(operator.or_, (name[k] for k in pairs[p, t]))
            else:
                assert kinds in (RAW, WAR)


@given(several, st.sampled_from(["all", "raw"]))
@settings(deadline=None, max_examples=60)
def test_successors_are_the_same_edges(plain, edges):
    deps = dependencies(sets_of(plain), edges=edges)
    indptr, indices, kinds = deps.successors()
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    there = sorted(zip(rows.tolist(), indices.tolist(), kinds.tolist()))
    back = np.repeat(np.arange(len(deps.indptr) - 1), np.diff(deps.indptr))
    assert there == sorted(zip(deps.indices.tolist(), back.tolist(), deps.kinds.tolist()))


def test_kinds_of_a_pair_are_joined_over_its_keys():
    deps = dependencies(sets_of([{0: W, 1: R, 2: W}, {0: R, 1: W, 2: W}]))
    assert deps.predecessors(1) == {0: RAW | WAW | WAR}
    assert deps.n_edges == 1


def test_alternating_readers_and_crediters_stay_linear():
    runs = 30
    plain = [{0: mode} for r in range(runs) for mode in [R if r % 2 else C] * 200]
    deps = dependencies(AccessSets.from_dicts(plain, 1))
    assert deps.n_edges < 3 * len(plain)
    assert deps.n_joins == runs - 1
    assert deps.critical_path()[0] == runs
    single = dependencies(AccessSets.from_dicts([{0: R if t % 2 else C} for t in range(5000)], 1), edges="raw")
    assert single.n_edges <= 3 * 5000
    assert single.critical_path()[0] == 2
    assert np.diff(single.indptr)[: single.n_tx].max() <= 2


def test_readers_of_one_writer_and_a_hot_counter_need_no_joins():
    star = [{0: W}] + [{0: R} for _ in range(50)] + [{0: W}]
    deps = dependencies(sets_of(star))
    assert (deps.n_edges, deps.n_joins) == (100, 0)
    assert dependencies(sets_of(star), edges="raw").n_edges == 50
    counter = dependencies(sets_of([{0: R | W}] * 100))
    assert (counter.n_edges, counter.critical_path()[0]) == (99, 100)


def test_blind_writes_are_free_of_true_data_flow():
    access = sets_of([{0: W}] * 10)
    assert dependencies(access, edges="raw").n_edges == 0
    assert dependencies(access).critical_path()[0] == 10


@pytest.mark.parametrize("n_tx", [0, 1])
def test_empty_and_single_blocks(n_tx):
    access = AccessSets.from_dicts([{0: W}] * n_tx, 1)
    deps = dependencies(access)
    assert deps.critical_path() == (n_tx, [0] * n_tx)
    assert len(deps.earliest_start()) == n_tx
    assert critical_path_cost(access) == n_tx
    assert speedup_bound(access, None, 4) == 1.0


def test_bounds_are_those_of_workers_and_chain():
    access = sets_of([{0: W}, {0: W}, {1: W}, {2: W}])
    assert speedup_bound(access, None, 8) == 2.0
    assert speedup_bound(access, [1.0, 1.0, 10.0, 0.0], 8) == 1.2
    assert speedup_bound(access, None, 1) == 1.0
    assert speedup_bound(access, [0] * 4, 8) == 1.0
    assert isinstance(critical_path_cost(access, [2, 2, 2, 2]), int)
    assert critical_path_cost(access, [0.5] * 4) == 1.0


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        ([1, 2], r"shape \(2,\)"),
        ([1, -1, 1], r"cost\[1\] = -1"),
        ([1.0, 1.0, float("nan")], r"cost\[2\] = nan"),
        ([float("inf"), 1.0, 1.0], r"cost\[0\] = inf"),
        (["a", "b", "c"], "integers or floats"),
        ([[1], [2, 3], []], "cost"),
    ],
)
def test_bad_costs_are_named(cost, text):
    access = sets_of([{0: W}] * 3)
    calls = (critical_path_cost, lambda a, c: dependencies(a).critical_path(c), lambda a, c: schedule(a, cost=c))
    for call in calls:
        with pytest.raises(BlockError, match=text):
            call(access, cost)


def test_bad_options_are_named():
    with pytest.raises(BlockError, match="edges = 'waw'"):
        dependencies(sets_of([{}]), edges="waw")
    with pytest.raises(BlockError, match="workers = 0"):
        speedup_bound(sets_of([{}]), None, 0)
    with pytest.raises(BlockError, match="node = 1"):
        dependencies(sets_of([{}])).predecessors(1)
