"""The DAG against the conflicts that it stands for: same precedence, same longest paths, few edges."""

from __future__ import annotations

import functools
import itertools
import operator
import os

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
from pevm_numba.schedule.listing import list_timeline
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


def writers_before(plain: list[dict[int, int]]) -> list[set[int]]:
    """Earlier transactions that change a key which this one changes too, unless both merely credit it."""
    before: list[set[int]] = []
    for t, entry in enumerate(plain):
        before.append(set())
        for u, key in itertools.product(range(t), entry):
            both = [plain[u].get(key, 0), entry[key]]
            if all(mode & (W | C) for mode in both) and both != [C, C]:
                before[t].add(u)
    return before


def sources(plain: list[dict[int, int]], edges: str) -> list[set[int]]:
    return {"all": conflicts_before, "raw": naive.raw_sources, "waw": writers_before}[edges](plain)


@given(several, st.sampled_from(["all", "raw", "waw"]))
@settings(deadline=None, max_examples=250)
def test_precedence_is_that_of_the_conflicts_and_edges_are_linear(plain, edges):
    deps = dependencies(sets_of(plain), edges=edges)
    before = sources(plain, edges)
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
    for edges in ("all", "raw", "waw"):
        before = sources(plain, edges)
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


@given(several, st.sampled_from(["all", "raw", "waw"]))
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
    with pytest.raises(BlockError, match="edges = 'war'"):
        dependencies(sets_of([{}]), edges="war")
    with pytest.raises(BlockError, match="workers = 0"):
        speedup_bound(sets_of([{}]), None, 0)
    with pytest.raises(BlockError, match="node = 1"):
        dependencies(sets_of([{}])).predecessors(1)
    for kinds in (0, 8, "RAW", True, None, 1.0):
        with pytest.raises(BlockError, match="kinds = "):
            dependencies(sets_of([{}])).only(kinds)


# -------------------------------------------------------------------- writers only, and selected kinds


def test_consecutive_writers_are_the_only_edges_of_waw():
    deps = dependencies(sets_of([{0: W}, {0: R}, {0: R | W}, {0: R}, {0: W}]), edges="waw")
    assert [deps.predecessors(t) for t in range(5)] == [{}, {}, {0: WAW}, {}, {2: WAW}]
    assert (deps.edges, deps.n_edges, deps.n_joins) == ("waw", 2, 0)
    assert repr(deps) == "<Dependencies waw: 5 txs, 2 edges, 0 joins>"


def test_credits_commute_among_writers_unless_the_transaction_reads_too():
    deps = dependencies(sets_of([{0: C}, {0: C}, {0: R | C}, {0: C}, {0: W}]), edges="waw")
    assert [set(deps.predecessors(t)) for t in range(5)] == [set(), set(), {0, 1}, {2}, {3}]


@given(several)
@settings(deadline=None, max_examples=60)
def test_edges_of_one_kind_carry_that_kind(plain):
    for edges, kind in (("raw", RAW), ("waw", WAW)):
        deps = dependencies(sets_of(plain), edges=edges)
        assert (deps.kinds == kind).all()
        assert dependencies(sets_of(plain), edges=edges).only(kind).n_edges == deps.n_edges
    assert dependencies(sets_of(plain), edges="waw").n_joins == 0


@given(several, st.integers(1, 7), st.sampled_from(["all", "raw", "waw"]))
@settings(deadline=None, max_examples=150)
def test_only_keeps_exactly_the_edges_with_the_kinds_and_never_adds(plain, kinds, edges):
    deps = dependencies(sets_of(plain), edges=edges)
    mask = EdgeKind(kinds)
    part = deps.only(mask)
    for node in range(deps.n_tx + deps.n_joins):
        assert part.predecessors(node) == {p: k & mask for p, k in deps.predecessors(node).items() if k & mask}
    assert (part.n_tx, part.n_joins) == (deps.n_tx, deps.n_joins)
    chains = reachable(digraph(part), len(plain))
    assert chains <= reachable(digraph(deps), len(plain))
    if edges == "all" and mask in (RAW, WAW):  # less than the exact definitions: what follows from other edges has none
        exact = naive.raw_sources(plain) if mask is RAW else writers_before(plain)
        assert chains <= reachable(plain_graph(exact), len(plain))
    before = [{u for u, later in chains if later == t} for t in range(len(plain))]
    finish = naive.longest(before, [1] * len(plain))
    assert part.critical_path()[0] == max(finish, default=0)


def test_only_all_kinds_changes_nothing():
    deps = dependencies(sets_of([{0: C}] * 3 + [{0: R}] * 3 + [{0: W}]))
    every = deps.only(RAW | WAW | WAR)
    assert (every.indptr.tolist(), every.indices.tolist()) == (deps.indptr.tolist(), deps.indices.tolist())
    assert every.edges == "all, only RAW|WAW|WAR"
    assert not every.indices.flags.writeable


def test_a_join_whose_edges_go_costs_nothing_and_orders_nothing():
    deps = dependencies(sets_of([{0: C}] * 3 + [{0: R}] * 3))
    assert deps.n_joins == 1
    free = deps.only(WAR)
    assert (free.n_joins, free.n_edges) == (1, 0)
    assert free.critical_path([2] * 6)[0] == 2
    assert free.components().tolist() == list(range(6))
    assert list_timeline(free, np.arange(6, dtype=np.int32), 6).makespan == 1


# -------------------------------------------------------------------- slack, isolated, components


@given(several, st.data(), st.sampled_from(["all", "raw", "waw"]))
@settings(deadline=None, max_examples=120)
def test_slack_is_latest_minus_earliest_start(plain, data, edges):
    n = len(plain)
    cost = data.draw(st.lists(st.integers(0, 20), min_size=n, max_size=n))
    deps = dependencies(sets_of(plain), edges=edges)
    chains = reachable(digraph(deps), n)
    before = [{u for u in range(n) if (u, t) in chains} for t in range(n)]
    after = [{n - 1 - u for u in range(n) if (t, u) in chains} for t in range(n)]
    finish, backwards = naive.longest(before, cost), naive.longest(after[::-1], cost[::-1])[::-1]
    whole = max(finish, default=0)
    latest_start = [whole - height for height in backwards]
    slack = deps.slack(cost)
    assert slack.dtype == np.float64
    assert slack.tolist() == [late - (end - own) for late, end, own in zip(latest_start, finish, cost)]
    on_path = deps.on_critical_path(cost)
    assert on_path.tolist() == [s == 0 for s in slack]
    assert on_path[deps.critical_path(cost)[1]].all()


@given(several, st.data(), st.sampled_from([0.1, 1 / 3, 1e-9, 7e200]))
@settings(deadline=None, max_examples=60)
def test_rounding_of_float_costs_takes_nobody_off_the_critical_path(plain, data, unit):
    n = len(plain)
    cost = np.array(data.draw(st.lists(st.integers(0, 20), min_size=n, max_size=n)), np.int64)
    deps = dependencies(sets_of(plain))
    assert (deps.on_critical_path(cost * unit) == deps.on_critical_path(cost)).all()
    assert (deps.slack(cost * unit) >= 0).all()


def test_slack_of_whole_numbers_is_exact_even_where_it_is_a_tiny_share():
    big = 2**52
    deps = dependencies(sets_of([{0: W}, {1: W}, {0: R}]))
    for cost in ([big, big, 1], np.array([big, big, 1.0])):
        assert deps.slack(cost).tolist() == [0, 1, 0]
        assert deps.on_critical_path(cost).tolist() == [True, False, True]
    assert deps.on_critical_path([2.0**60, 2.0**60, 1.0]).all()  # beyond 2**53 a unit is rounding


def test_a_long_chain_of_tenths_is_all_critical():
    n = 100_000
    deps = dependencies(AccessSets.from_arrays(1, np.arange(n + 1), np.zeros(n, np.int32), np.full(n, W, np.uint8)))
    assert deps.on_critical_path(np.full(n, 0.1)).all()


@pytest.mark.parametrize("measure", ["slack", "on_critical_path", "critical_path", "remaining", "earliest_start"])
def test_paths_longer_than_a_float_are_refused_and_sums_beside_them_are_not(measure):
    with pytest.raises(BlockError, match="the critical path is longer than a float can hold"):
        getattr(dependencies(sets_of([{0: W}, {0: W}])), measure)([1e308, 1e308])
    getattr(dependencies(sets_of([{0: W}, {1: W}])), measure)([1e308, 1e308])


def test_true_data_flow_may_have_a_join_that_nobody_waits_for():
    deps = dependencies(sets_of([{0: W}, {0: C}, {0: R}, {0: C}]), edges="raw")
    assert (deps.n_joins, deps.predecessors(4)) == (1, {0: RAW, 1: RAW})
    assert deps.successors()[0].tolist() == [0, 2, 4, 4, 4, 4]
    assert deps.isolated.tolist() == [False, False, False, True]


@pytest.mark.parametrize("edges", ["all", "raw", "waw"])
def test_key_numbers_that_nobody_uses_change_nothing(edges):
    plain = [{0: W, 1: C}, {1: C, 3: R}, {1: R}, {0: R, 1: R}, {3: W}]
    far = [{k * 700_000_000: m for k, m in entry.items()} for entry in plain]
    one, other = (dependencies(AccessSets.from_dicts(sets, n), edges=edges) for sets, n in ((plain, 4), (far, 2**31 - 1)))
    for name in ("indptr", "indices", "kinds", "join_before"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()


@given(several, st.sampled_from(["all", "raw", "waw"]), st.integers(1, 7))
@settings(deadline=None, max_examples=120)
def test_isolated_and_components_are_those_of_the_precedence(plain, edges, kinds):
    for deps in (dependencies(sets_of(plain), edges=edges), dependencies(sets_of(plain), edges=edges).only(EdgeKind(kinds))):
        graph = nx.Graph()
        graph.add_nodes_from(range(len(plain)))
        graph.add_edges_from(reachable(digraph(deps), len(plain)))
        assert deps.isolated.tolist() == [graph.degree(t) == 0 for t in range(len(plain))]
        labels = deps.components()
        assert labels.dtype == np.int32
        groups = sorted(nx.connected_components(graph), key=min)
        assert labels.tolist() == [next(i for i, group in enumerate(groups) if t in group) for t in range(len(plain))]


# -------------------------------------------------------------------- known graphs, one key an edge

GRAPHS = {
    "star": nx.star_graph(12),
    "path": nx.path_graph(15),
    "ladder": nx.ladder_graph(8),
    "wheel": nx.wheel_graph(11),
    "complete": nx.complete_graph(9),
    "bipartite": nx.complete_bipartite_graph(4, 7),
    "random": nx.gnp_random_graph(24, 0.2, seed=7),
    "empty": nx.empty_graph(5),
}


def sets_of_graph(graph: nx.Graph, seed: int) -> tuple[list[dict[int, int]], dict[EdgeKind, list[tuple[int, int]]], int]:
    """(one key an edge with random conflicting modes, edges of each kind, number of keys); nodes renumbered at random."""
    rng = np.random.default_rng(seed)
    place = rng.permutation(len(graph))
    plain: list[dict[int, int]] = [{} for _ in graph]
    of_kind: dict[EdgeKind, list[tuple[int, int]]] = {RAW: [], WAW: [], WAR: []}
    for key, (u, v) in enumerate(graph.edges):
        earlier, later = sorted((int(place[u]), int(place[v])))
        kind = [RAW, WAW, WAR][rng.integers(3)]
        plain[earlier][key], plain[later][key] = {RAW: (W, R), WAW: (W, W), WAR: (R, W)}[kind]
        of_kind[kind].append((earlier, later))
    return plain, of_kind, max(1, graph.number_of_edges())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", GRAPHS)
def test_known_graphs_match_networkx(name, seed):
    plain, of_kind, n_keys = sets_of_graph(GRAPHS[name], seed)
    access = AccessSets.from_dicts(plain, n_keys)
    deps = dependencies(access)
    cost = np.random.default_rng(seed).integers(0, 100, len(plain)).tolist()
    oriented = nx.DiGraph()
    oriented.add_nodes_from(range(len(plain)))
    for chosen in (RAW, WAW, WAR, RAW | WAR, RAW | WAW | WAR):
        graph = oriented.copy()
        graph.add_edges_from(pair for kind, pairs in of_kind.items() if kind & chosen for pair in pairs)
        part = deps.only(chosen)
        assert set(digraph(part).edges) == set(graph.edges)
        generations = [sorted(g) for g in nx.topological_generations(graph)]
        start = part.earliest_start()
        assert [np.flatnonzero(start == g).tolist() for g in range(len(generations))] == generations
        assert sorted(map(sorted, nx.weakly_connected_components(graph))) == sorted(
            np.flatnonzero(part.components() == c).tolist() for c in range(part.components().max() + 1)
        )
        assert part.isolated.tolist() == [graph.degree(t) == 0 for t in graph]
        last = [(t, "end", cost[t]) for t in range(len(plain))]
        graph.add_weighted_edges_from([(u, v, cost[u]) for u, v in graph.edges] + last)
        assert part.critical_path(cost)[0] == nx.dag_longest_path_length(graph)
    assert set(digraph(dependencies(access, edges="raw")).edges) == set(of_kind[RAW])
    assert set(digraph(dependencies(access, edges="waw")).edges) == set(of_kind[WAW])


# -------------------------------------------------------------------- laws on large blocks


def random_access(n_tx: int, n_keys: int, seed: int) -> AccessSets:
    """About six accesses a transaction, half of them reads; one key in a hundred draws is a hot one."""
    rng = np.random.default_rng(seed)
    keys = np.sort(np.where(rng.random((n_tx, 6)) < 0.01, 0, rng.integers(0, n_keys, (n_tx, 6))), axis=1)
    distinct = np.ones(keys.shape, bool)
    distinct[:, 1:] = keys[:, 1:] != keys[:, :-1]
    modes = rng.choice(np.array([R, W, R | W, C], np.uint8), keys.shape, p=[0.5, 0.2, 0.2, 0.1])
    return AccessSets.from_arrays(n_keys, np.append(0, np.cumsum(distinct.sum(axis=1))), keys[distinct], modes[distinct])


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="600,000 accesses need compiled kernels")
def test_laws_hold_on_100_000_transactions():
    access = random_access(100_000, 200_000, seed=5)
    cost = np.random.default_rng(6).integers(1, 10**6, access.n_tx)
    every = dependencies(access)
    for deps in (every, dependencies(access, edges="raw"), dependencies(access, edges="waw"), every.only(RAW)):
        start, left = deps.earliest_start(cost), deps.remaining(cost)
        length, path = deps.critical_path(cost)
        assert ((start + left) <= length).all()
        slack = deps.slack(cost)
        assert (slack == length - left - start).all()
        assert not slack[path].any()
        assert cost[path].sum() == length
        rows = np.repeat(np.arange(len(deps.indptr) - 1), np.diff(deps.indptr))
        direct = (rows < deps.n_tx) & (deps.indices < deps.n_tx)
        p, t = deps.indices[direct], rows[direct]
        assert (p < t).all()
        assert (start[p] + cost[p] <= start[t]).all()
        labels = deps.components()
        assert (labels[p] == labels[t]).all()
        alone = deps.isolated
        assert (np.bincount(labels)[labels[alone]] == 1).all()
        assert (start[alone] == 0).all()
        assert (left[alone] == cost[alone]).all()
    assert critical_path_cost(access, cost) == every.critical_path(cost)[0]
