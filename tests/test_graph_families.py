"""Order-free policies on graphs of known shape, beside networkx, and their laws on a hundred thousand transactions."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import naive
import networkx as nx
import numba
import numpy as np
import pytest

from pevm_numba import door
from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.sets import AccessSets
from pevm_numba.block import Block
from pevm_numba.generate import generate
from pevm_numba.schedule.check import check_schedule
from pevm_numba.schedule.colouring import transaction_order
from pevm_numba.schedule.conflicts import adjacency
from pevm_numba.schedule.independent import independent_waves, sender_chains
from pevm_numba.schedule.plan import Schedule
from pevm_numba.schedule.policies import POLICIES, POLICY_PRIORITIES, schedule

R, W, C = 1, 2, 4
MANY = 2000 if DISABLED else 100_000

FAMILIES = {
    "star": nx.star_graph(12), "path": nx.path_graph(30), "ladder": nx.ladder_graph(14), "wheel": nx.wheel_graph(17),
    "complete": nx.complete_graph(20), "more waves than a word has bits": nx.complete_graph(70),
    "bipartite": nx.complete_bipartite_graph(6, 9), "cycle": nx.cycle_graph(15), "no edges": nx.empty_graph(5),
    "one": nx.empty_graph(1), "nothing": nx.empty_graph(0), "sparse": nx.gnp_random_graph(80, 0.05, seed=1),
    "half": nx.gnp_random_graph(60, 0.5, seed=2), "dense": nx.gnp_random_graph(50, 0.9, seed=3),
}  # fmt: skip

#: Every order-free policy with each priority that it knows.
ORDER_FREE = [
    (policy, priority)
    for policy, in_block_order in POLICIES.items()
    if not in_block_order
    for priority in POLICY_PRIORITIES.get(policy, (None,))
]


def of_edges(graph: nx.Graph) -> AccessSets:
    """Access sets whose conflict graph is `graph`: one key per edge, so that degrees are exact without the graph too."""
    plain: list[dict[int, int]] = [{} for _ in graph]
    for key, (a, b) in enumerate(graph.edges):
        plain[a][key] = plain[b][key] = W
    return AccessSets.from_dicts(plain, graph.number_of_edges())


def colours(graph: nx.Graph, order: Sequence[int]) -> list[int]:
    """What networkx gives each node, greedily along `order`."""
    found = nx.greedy_color(graph, strategy=lambda _graph, _colours: order)
    return [found[t] for t in graph]


@pytest.mark.parametrize("family", FAMILIES)
def test_order_fixed_policies_on_families_agree_with_networkx_and_the_slow_twin(family):
    graph = FAMILIES[family]
    access, n_tx = of_edges(graph), len(graph)
    dag = nx.DiGraph((min(edge), max(edge)) for edge in graph.edges)
    dag.add_nodes_from(graph)
    waves = schedule(access, "levels").waves()
    assert waves == [sorted(part) for part in nx.topological_generations(dag)] == naive.levels(list(access))
    cost = [1 + (7 * t) % 5 for t in range(n_tx)]
    weighted = nx.DiGraph((a, n_tx if b is None else b, {"weight": cost[a]}) for a in dag for b in [*dag[a], None])
    longest = nx.dag_longest_path_length(weighted) if n_tx else 0
    for priority in POLICY_PRIORITIES["list"]:
        for workers in (1, 2, 3, max(1, n_tx)):
            plan = schedule(access, "list", workers=workers, cost=cost, priority=priority)
            check_schedule(plan, access)
            assert plan.timeline is not None
            low, high = max(longest, sum(cost) / workers), sum(cost) / workers + (1 - 1 / workers) * longest
            assert low - 1e-9 <= plan.timeline.makespan <= high + 1e-9
            if workers >= n_tx:
                assert plan.timeline.makespan == longest


@pytest.mark.parametrize("family", FAMILIES)
def test_first_fit_has_the_colours_of_networkx_for_the_same_order(family):
    graph = FAMILIES[family]
    access = of_edges(graph)
    assert schedule(access, "first-fit").wave_of.tolist() == colours(graph, list(graph))
    found = schedule(access, "first-fit", priority="random", seed=7)
    order = transaction_order(access, "random", np.full(len(graph), -1), seed=7).tolist()
    assert found.wave_of.tolist() == colours(graph, order)


@pytest.mark.parametrize("family", FAMILIES)
def test_largest_first_has_the_colours_of_networkx(family):
    graph = FAMILIES[family]
    expected = nx.greedy_color(graph, strategy="largest_first")
    for priority in POLICY_PRIORITIES["largest-first"]:
        plan = schedule(of_edges(graph), "largest-first", priority=priority)
        assert plan.wave_of.tolist() == [expected[t] for t in graph]


@pytest.mark.parametrize("family", FAMILIES)
def test_mis_waves_on_families_equal_the_slow_twin(family):
    graph = FAMILIES[family]
    access = of_edges(graph)
    expected = naive.mis([access[t] for t in range(access.n_tx)])
    for policy in ("mis", "mis-parallel"):
        assert schedule(access, policy).waves() == expected
    alone = np.arange(len(graph), dtype=np.int32), np.full(len(graph), -1, np.int32)
    rounds = independent_waves(*adjacency(access), *alone, parallel=True, parallel_from=0)
    assert rounds[1].tolist() == [t for wave in expected for t in wave]


@pytest.mark.parametrize("policy", ["mis", "mis-parallel"])
@pytest.mark.parametrize("family", FAMILIES)
def test_mis_waves_are_independent_dominating_sets_of_what_is_left_as_networkx_sees_it(family, policy):
    graph = FAMILIES[family].copy()
    for wave in schedule(of_edges(graph), policy).waves():
        assert nx.is_empty(graph.subgraph(wave))
        assert nx.is_dominating_set(graph, wave)  # independent and dominating: maximal
        # networkx adds nobody when it must start from the wave, which holds for maximal sets only.
        assert sorted(nx.maximal_independent_set(graph, wave, seed=1)) == wave
        # Wei 1981: picking the fewest undecided neighbours first gives n / (d + 1) or more, d the mean degree. Here degrees
        # count the blocked too, so only what holds for every maximal set is sure: n / (highest degree + 1).
        assert len(wave) * (1 + max(d for _, d in graph.degree)) >= len(graph)
        graph.remove_nodes_from(wave)
    assert len(graph) == 0


@pytest.mark.parametrize("policy", ["mis", "mis-parallel"])
def test_mis_finds_sets_that_networkx_finds_too_where_all_maximal_sets_have_one_size(policy):
    for graph, size in ((nx.complete_graph(20), 1), (nx.complete_bipartite_graph(7, 7), 7), (nx.empty_graph(5), 5)):
        found = schedule(of_edges(graph), policy).waves()[0]
        assert len(found) == len(nx.maximal_independent_set(graph, seed=1)) == size


@pytest.mark.parametrize(("policy", "priority"), ORDER_FREE)
def test_each_wave_is_a_maximal_independent_set_of_what_is_left(policy, priority):
    for graph in FAMILIES.values():
        plan = schedule(of_edges(graph), policy, priority=priority)
        check_schedule(plan, of_edges(graph))
        left = set(graph)
        for wave in map(set, plan.waves()):
            assert wave <= left
            assert graph.subgraph(wave).number_of_edges() == 0
            left -= wave
            assert all(wave & set(graph[t]) for t in left)
        assert not left


def test_shapes_have_the_number_of_waves_they_must_have():
    for policy, priority in ORDER_FREE:
        waves = {name: schedule(of_edges(FAMILIES[name]), policy, priority=priority).n_waves for name in FAMILIES}
        assert waves["complete"] == 20
        assert waves["star"] == waves["bipartite"] == 2
        assert (waves["one"], waves["no edges"], waves["nothing"]) == (1, 1, 0)
        for name, graph in FAMILIES.items():
            assert waves[name] <= 1 + max((d for _, d in graph.degree), default=-1)


# -------------------------------------------------------------------- laws on many transactions


def assert_maximal(access: AccessSets, plan: Schedule, entered: np.ndarray, rows: np.ndarray) -> None:
    """Each of `rows` conflicts with somebody in each wave from `entered`, when it became eligible, to its own."""
    wave = plan.wave_of
    stamps = np.full((3, access.n_keys), -1)  # per key the last wave with a reader, writer, crediter
    group_of = np.array([0, 0, 1, 1, 2, 1, 1, 1])  # of a mode: READ with CREDIT conflicts with everybody
    for v in range(plan.n_waves):
        _, places = door.take_ranges(access.indptr, plan.wave_tx[plan.wave_indptr[v] : plan.wave_indptr[v + 1]])
        stamps[group_of[access.modes[places]], access.keys[places]] = v
        passed_over = rows[(entered[rows] <= v) & (wave[rows] > v)]
        indptr, places = door.take_ranges(access.indptr, passed_over)
        group, here = group_of[access.modes[places]], stamps[:, access.keys[places]] == v
        blocked = here[1] | (here[0] & (group != 0)) | (here[2] & (group != 2))
        row = np.repeat(np.arange(len(passed_over)), np.diff(indptr))
        assert (np.bincount(row[blocked], minlength=len(passed_over)) > 0).all()


def assert_laws(block: Block | None, access: AccessSets, plan: Schedule, rows: np.ndarray) -> None:
    n_tx = access.n_tx
    assert (np.bincount(plan.wave_tx, minlength=n_tx) == 1).all()
    check_schedule(plan, access, block=block)  # independence, and nonces where there is a block
    entered = np.zeros(n_tx, np.int64)
    if block is not None:
        next_of = sender_chains(block.sender, block.nonce)[1]
        earlier = np.flatnonzero(next_of >= 0)
        assert len(earlier) > n_tx // 10
        assert (plan.wave_of[earlier] < plan.wave_of[next_of[earlier]]).all()
        entered[next_of[earlier]] = plan.wave_of[earlier] + 1
    assert_maximal(access, plan, entered, rows)


@pytest.fixture(scope="module")
def many() -> Block:
    """Conflicts on one transaction in two, and few senders for so many transactions."""
    return generate(n_tx=MANY, key_space=2 * MANY, conflict_ratio=0.5, n_senders=MANY // 3, seed=9)


@pytest.mark.parametrize(("policy", "priority"), ORDER_FREE)
def test_order_free_policies_keep_every_law_on_many_transactions(many, policy, priority):
    plan = schedule(many, policy, priority=priority)
    assert not plan.block_order
    assert_laws(many, AccessSets.footprint(many), plan, np.arange(MANY))


@pytest.mark.parametrize(("policy", "priority"), [pair for pair in ORDER_FREE if pair[1] not in (None, "degree")])
def test_edge_free_policies_keep_every_law_on_hot_keys(policy, priority):
    rng = np.random.default_rng(4)
    n_tx = MANY
    keys = np.minimum(rng.zipf(1.2, (n_tx, 4)) - 1, n_tx) % n_tx
    modes = rng.choice(np.array([R, W, C], np.uint8), (n_tx, 4), p=[0.5, 0.4, 0.1])
    first = np.ones((n_tx, 4), bool)
    order = np.argsort(keys, axis=1, kind="stable")
    keys, modes = np.take_along_axis(keys, order, 1), np.take_along_axis(modes, order, 1)
    first[:, 1:] = keys[:, 1:] != keys[:, :-1]
    indptr = np.concatenate([[0], np.cumsum(first.sum(axis=1))])
    access = AccessSets.from_arrays(n_tx, indptr, keys[first].astype(np.int32), modes[first])
    plan = schedule(access, policy, priority=priority)
    assert plan.n_waves > n_tx // 50
    assert_laws(None, access, plan, rng.choice(n_tx, 100, replace=False))


# -------------------------------------------------------------------- threads

DIGESTS = """
import sys
import numba
from test_graph_families import digests
numba.set_num_threads(int(sys.argv[1]))
print(digests())
"""


def digests() -> str:
    """Of the waves of every order-free policy on one block, and of rounds that do use the threads."""
    block = generate(n_tx=3000, key_space=1500, conflict_ratio=0.9, n_senders=1500, seed=11)
    access = AccessSets.footprint(block)
    found = hashlib.sha256()
    for policy, priority in ORDER_FREE:
        plan = schedule(block, policy, priority=priority)
        found.update(plan.wave_indptr.tobytes() + plan.wave_tx.tobytes())
    chains = sender_chains(block.sender, block.nonce)
    for array in independent_waves(*adjacency(access), *chains, parallel=True, parallel_from=0):
        found.update(array.tobytes())
    return found.hexdigest()


@pytest.mark.skipif(DISABLED, reason="plain Python has no threads to count")
def test_waves_are_the_same_on_one_two_and_four_threads():
    here = digests()
    most = max(4, numba.config.NUMBA_NUM_THREADS)
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests.parent), str(tests)])
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(most), "PYTHONPATH": path}
    for threads in (1, 2, 4):
        command = [sys.executable, "-c", DIGESTS, str(threads)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == here
