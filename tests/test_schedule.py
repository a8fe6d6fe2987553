"""Schedules against slow twins, and the laws that every schedule keeps on any size."""

from __future__ import annotations

import naive
import networkx as nx
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pevm_numba.access.sets import AccessSets
from pevm_numba.block import Block
from pevm_numba.errors import BlockError, ScheduleError, TooLargeError
from pevm_numba.schedule.check import check_schedule
from pevm_numba.schedule.conflicts import adjacency, conflict_graph
from pevm_numba.schedule.independent import independent_waves, sender_chains
from pevm_numba.schedule.plan import Schedule
from pevm_numba.schedule.policies import POLICIES, schedule

R, W, C = 1, 2, 4

entries = st.dictionaries(st.integers(0, 7), st.integers(1, 7), max_size=4)
several = st.lists(entries, max_size=14)
THREE = [{0: W}, {0: W, 1: W}, {1: W}]


def sets_of(plain: list[dict[int, int]], n_keys: int = 8) -> AccessSets:
    return AccessSets.from_dicts(plain, n_keys)


def of_edges(graph: nx.Graph) -> AccessSets:
    """Access sets whose conflict graph is `graph`: one key per edge."""
    plain: list[dict[int, int]] = [{} for _ in graph]
    for key, (a, b) in enumerate(graph.edges):
        plain[a][key] = plain[b][key] = W
    return AccessSets.from_dicts(plain, graph.number_of_edges())


def random_arrays(n_tx: int, n_keys: int, seed: int, per_tx: int = 6) -> AccessSets:
    """Exactly `per_tx` distinct dense keys each; 40 % writes, a few credits."""
    rng = np.random.default_rng(seed)
    keys = np.sort(rng.integers(0, n_keys - per_tx, (n_tx, per_tx)), axis=1) + np.arange(per_tx)
    modes = rng.choice(np.array([R, W, R | W, C], np.uint8), (n_tx, per_tx), p=[0.5, 0.2, 0.2, 0.1])
    return AccessSets.from_arrays(n_keys, np.arange(n_tx + 1) * per_tx, keys.ravel().astype(np.int32), modes.ravel())


def block_of(plain: list[dict[int, int]], senders: list[int], nonces: list[int]) -> Block:
    """A block with these access sets (modes out of READ, WRITE and READ | WRITE)."""
    programs = []
    for entry in plain:
        ops: list[tuple] = []
        for key, mode in entry.items():
            ops += [("SLOAD", (1, 0, key))] * (mode & 1) + [("SSTORE", (1, 0, key), 1)] * (mode >> 1 & 1)
        programs.append(ops)
    return Block.from_programs(programs, senders=senders, nonces=nonces)


# -------------------------------------------------------------------- levels


@given(several)
@settings(deadline=None, max_examples=150)
def test_levels_equal_the_slow_twin_and_the_longest_path(plain):
    plan = schedule(sets_of(plain))
    assert plan.waves() == naive.levels(plain)
    assert plan.block_order
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(plain)))
    graph.add_edges_from(naive.pair_kinds(plain))
    assert plan.n_waves == (nx.dag_longest_path_length(graph) + 1 if plain else 0)
    check_schedule(plan, sets_of(plain))


def test_three_transactions_that_waves_of_independent_sets_put_out_of_order():
    access = AccessSets.from_dicts(THREE, 2)
    assert schedule(access).waves() == [[0], [1], [2]]
    assert schedule(access, "list", workers=2).waves() == [[0], [1], [2]]
    assert schedule(access, "largest-first").waves() == [[1], [0, 2]]
    for policy in ("mis", "mis-parallel", "first-fit"):
        plan = schedule(access, policy)
        assert plan.waves() == [[0, 2], [1]]
        assert plan.serial_order.tolist() == [0, 2, 1]
        check_schedule(plan, access)
        as_block = Schedule.from_arrays("mis, wrongly", plan.wave_indptr, plan.wave_tx)
        with pytest.raises(ScheduleError, match=r"transaction 2 comes after 1 .* on key 1, but runs in wave 0, not"):
            check_schedule(as_block, access)


def test_errors_name_the_key_of_the_block():
    block = block_of(THREE, [1, 2, 3], [0, 0, 0])
    assert schedule(block, "mis").waves() == [[0, 2], [1]]
    with pytest.raises(ScheduleError, match=f"key 1 {block.key_name(1)}".replace(" ", r".*")):
        check_schedule(Schedule.from_waves("x", [[0, 2], [1]]), AccessSets.from_dicts(THREE, 2), block=block)


def test_levels_on_many_transactions_keep_every_law():
    access = random_arrays(100_000, 60_000, 1)
    plan = schedule(access)
    check_schedule(plan, access)
    wave = plan.wave_of
    assert (np.bincount(plan.wave_tx, minlength=100_000) == 1).all()
    ascending = np.diff(plan.wave_tx) > 0
    ascending[plan.wave_indptr[1:-1] - 1] = True
    assert ascending.all()
    graph = conflict_graph(access)
    row = np.repeat(np.arange(100_000), np.diff(graph.indptr))
    assert (wave[row] != wave[graph.indices]).all()
    assert ((row < graph.indices) == (wave[row] < wave[graph.indices])).all()
    earlier = np.where(graph.indices < row, wave[graph.indices], -1)
    tight = np.full(100_000, -1)
    np.maximum.at(tight, row, earlier)
    assert (wave == tight + 1).all()  # as early as it can be


def test_a_hot_key_is_no_trouble_without_a_graph_and_refused_by_name_with_one():
    access = AccessSets.from_dicts([{0: W}] * 8000, 1)
    assert schedule(access).n_waves == schedule(access, "list").n_waves == schedule(access, "first-fit").n_waves == 8000
    assert schedule(access, "largest-first", priority="estimated-degree").n_waves == 8000
    for policy in ("mis", "mis-parallel", "largest-first"):
        with pytest.raises(TooLargeError, match="hottest key is 0 in 8,000 transactions"):
            schedule(access, policy)
        with pytest.raises(TooLargeError, match="the limit is 10"):
            schedule(AccessSets.from_dicts([{0: W}] * 5, 1), policy, limit=10)


# -------------------------------------------------------------------- independent sets


@given(several, st.data())
@settings(deadline=None, max_examples=150)
def test_independent_waves_equal_the_definition_with_and_without_nonces(plain, data):
    n_tx = len(plain)
    access = sets_of(plain)
    expected = naive.mis(plain)
    for policy in ("mis", "mis-parallel"):
        plan = schedule(access, policy)
        assert plan.waves() == expected
        assert plan.serial_order.tolist() == plan.wave_tx.tolist()
        check_schedule(plan, access)
    senders = data.draw(st.lists(st.integers(1, 4), min_size=n_tx, max_size=n_tx))
    nonces = data.draw(st.lists(st.integers(0, 3), min_size=n_tx, max_size=n_tx))
    simple = [{k: m & 3 for k, m in entry.items() if m & 3} for entry in plain]
    block = block_of(simple, senders, nonces)
    expected = naive.mis(simple, senders, nonces)
    for policy in ("mis", "mis-parallel"):
        plan = schedule(block, policy)
        assert plan.waves() == expected
        assert schedule(sets_of(simple), policy, block=block).waves() == expected
        check_schedule(plan, sets_of(simple), block=block)
    rounds = independent_waves(*adjacency(sets_of(simple)), *chains(block), parallel=True, parallel_from=1)
    assert rounds[1].tolist() == [t for wave in expected for t in wave]


def chains(block: Block) -> tuple[np.ndarray, np.ndarray]:
    return sender_chains(block.sender, block.nonce)


def alone(n_tx: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(n_tx, dtype=np.int32), np.full(n_tx, -1, np.int32)


@pytest.mark.parametrize(("n_tx", "n_keys"), [(20_000, 60_000), (6000, 2500), (1500, 60)])
def test_rounds_on_threads_give_the_sequential_set_for_any_number_of_threads(n_tx, n_keys):
    graph = adjacency(random_arrays(n_tx, n_keys, 3))
    one = independent_waves(*graph, *alone(n_tx))
    before = numba.get_num_threads()
    try:
        for threads in sorted({1, min(2, before), before}):
            numba.set_num_threads(threads)
            for parallel_from in (1, 5000, 500_000):
                other = independent_waves(*graph, *alone(n_tx), parallel=True, parallel_from=parallel_from)
                assert (one[0] == other[0]).all()
                assert (one[1] == other[1]).all()
            assert numba.get_num_threads() == threads
    finally:
        numba.set_num_threads(before)


def test_independent_waves_keep_every_law_on_many_transactions():
    n_tx = 30_000
    access = random_arrays(n_tx, 40_000, 4)
    rng = np.random.default_rng(4)
    sender = np.zeros((n_tx, 20), np.uint8)
    sender[:, 18:] = rng.integers(0, 256, (n_tx, 2))
    sender[:, 18] &= 15
    nonce = rng.integers(0, 5, n_tx).astype(np.uint64)
    first, next_of = sender_chains(sender, nonce)
    indptr, indices = adjacency(access)
    starts, tx = independent_waves(indptr, indices, first, next_of)
    assert (np.bincount(tx, minlength=n_tx) == 1).all()
    plan = Schedule.from_arrays("mis", starts, tx, tx)
    check_schedule(plan, access)
    wave = plan.wave_of
    chained = np.flatnonzero(next_of >= 0)
    assert (wave[chained] < wave[next_of[chained]]).all()
    # maximal: who was eligible but not picked in a wave has a partner in it
    entered = np.zeros(n_tx, np.int64)
    entered[next_of[chained]] = wave[chained] + 1
    row = np.repeat(np.arange(n_tx), np.diff(indptr))
    seen = {(int(t), int(w)) for t, w in zip(row, wave[indices])}
    assert all((t, w) in seen for t in range(n_tx) for w in range(entered[t], wave[t]))


@pytest.mark.parametrize(
    "graph",
    [
        nx.star_graph(6), nx.path_graph(9), nx.complete_graph(6), nx.ladder_graph(5), nx.wheel_graph(8),
        nx.complete_bipartite_graph(3, 4), nx.empty_graph(5), nx.empty_graph(1), nx.empty_graph(0),
        nx.gnp_random_graph(40, 0.15, seed=1), nx.gnp_random_graph(150, 0.5, seed=2),
    ],
    ids=str,
)  # fmt: skip
def test_named_graphs_are_scheduled_into_independent_sets(graph):
    access = of_edges(graph)
    plain = [access[t] for t in range(access.n_tx)]
    most_first = sorted(graph, key=lambda t: (-graph.degree[t], t))
    expected = {
        "levels": naive.levels(plain), "list": naive.levels(plain), "mis": naive.mis(plain),
        "mis-parallel": naive.mis(plain), "first-fit": first_fit(graph, list(graph)),
        "largest-first": first_fit(graph, most_first),
    }  # fmt: skip
    for policy, keeps_order in POLICIES.items():
        plan = schedule(access, policy, workers=3)
        check_schedule(plan, access)
        waves = plan.waves()
        assert waves == expected[policy]
        assert plan.block_order or not keeps_order
        assert sorted(t for wave in waves for t in wave) == list(graph)
        for i, wave in enumerate(waves):
            assert graph.subgraph(wave).number_of_edges() == 0
            if not keeps_order:
                later = [t for part in waves[i + 1 :] for t in part]
                assert all(set(graph[t]) & set(wave) for t in later)


def first_fit(graph: nx.Graph, order: list[int]) -> list[list[int]]:
    """Each transaction, in this order, in the first wave without a partner, as networkx colours."""
    colour = nx.greedy_color(graph, strategy=lambda *_: order)
    return [sorted(t for t in graph if colour[t] == w) for w in range(max(colour.values(), default=-1) + 1)]


def test_shapes_have_the_waves_they_must_have():
    waves = {
        name: [len(wave) for wave in schedule(of_edges(graph), "mis").waves()]
        for name, graph in (("star", nx.star_graph(9)), ("clique", nx.complete_graph(5)), ("path", nx.path_graph(9)))
    }
    assert waves == {"star": [9, 1], "clique": [1] * 5, "path": [5, 4]}


def test_degrees_that_spread_far_are_sorted_the_same():
    hub = nx.star_graph(3000)
    hub.add_edges_from([(1, 2), (2, 3), (0, 3001), (3001, 3002)])
    access = of_edges(hub)
    graph = adjacency(access)
    first = np.array([0, 1, 2, 3, 3002], np.int32)  # few eligible, one with 3001 partners
    next_of = np.full(3003, -1, np.int32)
    next_of[3002] = 4
    next_of[4:3001] = np.arange(5, 3002)
    starts, tx = independent_waves(*graph, first, next_of)
    sender = [*range(1, 5), *[9] * 2999]
    nonce = [0, 0, 0, 0, *range(1, 2999), 0]
    plain = [access[t] for t in range(access.n_tx)]
    assert len(sender) == len(nonce) == len(plain)
    both = independent_waves(*graph, first, next_of, parallel=True, parallel_from=2)
    assert (starts == both[0]).all()
    assert (tx == both[1]).all()
    wave = Schedule.from_arrays("mis", starts, tx, tx).wave_of
    assert wave[3002] == 0
    assert wave[[1, 2, 3]].tolist() == [0, 1, 0]
    assert wave[0] > wave[4:3002].max() - 2


# -------------------------------------------------------------------- the check


@given(several.filter(lambda plain: len(plain) > 0), st.data())
@settings(deadline=None, max_examples=250)
def test_check_accepts_exactly_the_valid_and_names_the_first_violation(plain, data):
    n_tx = len(plain)
    order = data.draw(st.permutations(range(n_tx)))
    wave_of = data.draw(st.lists(st.integers(0, 3), min_size=n_tx, max_size=n_tx))
    if data.draw(st.booleans()):  # valid or nearly so
        wave_of = [0] * n_tx
        for position, t in enumerate(order):
            partners = [u for u in order[:position] if u in naive.neighbours(plain)[t]]
            wave_of[t] = 1 + max((wave_of[u] for u in partners), default=-1)
        if data.draw(st.booleans()):
            wave_of[data.draw(st.integers(0, n_tx - 1))] = data.draw(st.integers(0, 3))
    waves = [[t for t in range(n_tx) if wave_of[t] == w] for w in sorted(set(wave_of))]
    plan = Schedule.from_waves("drawn", waves, serial_order=order)
    expected = naive.first_violation(waves, list(order), plain)
    if expected is None:
        check_schedule(plan, sets_of(plain))
    else:
        later, key, earlier = expected
        text = rf"^transaction {later} comes after {earlier} in serial order and conflicts with it on key {key}, but"
        with pytest.raises(ScheduleError, match=text):
            check_schedule(plan, sets_of(plain))


def test_check_refuses_arrays_that_are_no_schedule():
    access = AccessSets.from_dicts([{}] * 3, 0)
    order = np.arange(3, dtype=np.int32)
    cases = [
        (np.array([0, 3]), np.array([0, 1, 1], np.int32), order, "wave_tx holds transaction 1 2 times"),
        (np.array([0, 3, 3]), order, order, "wave 1 is empty"),
        (np.array([0, 2]), order, order, "wave_indptr"),
        (np.array([0, 3]), np.array([0, 1, 7], np.int32), order, "wave_tx"),
        (np.array([0, 3]), order, np.array([0, 0, 2], np.int32), "serial_order holds"),
    ]
    for indptr, tx, serial, text in cases:
        with pytest.raises(BlockError, match=text):
            Schedule("bare", indptr.astype(np.int64), tx, serial)
    with pytest.raises(ScheduleError, match="has 1 transactions, the access sets have 3"):
        check_schedule(Schedule.from_waves("x", [[0]]), access)
    with pytest.raises(ScheduleError, match="the block has 1 transactions"):
        check_schedule(Schedule.from_waves("x", [[0, 1, 2]]), access, block=block_of([{}], [1], [0]))


def test_check_holds_nonce_order_of_order_free_schedules_only():
    block = block_of([{}, {}, {}], [7, 7, 8], [1, 0, 0])
    access = AccessSets.from_dicts([{}] * 3, 0)
    check_schedule(Schedule.from_waves("x", [[1, 2], [0]], [1, 2, 0]), access, block=block)
    check_schedule(schedule(block), access, block=block)
    with pytest.raises(ScheduleError, match=r"transaction 0 \(nonce 1\) comes before 1 \(nonce 0\).*the same sender 0x00"):
        check_schedule(Schedule.from_waves("x", [[0], [2], [1]], [0, 2, 1]), access, block=block)
    with pytest.raises(ScheduleError, match=r"transaction 0 comes after 1 .* same sender .* runs in the same wave"):
        check_schedule(Schedule.from_waves("x", [[0, 1, 2]], [1, 2, 0]), access, block=block)


# -------------------------------------------------------------------- the door


def test_misuse_is_named():
    access = sets_of(THREE)
    with pytest.raises(ScheduleError, match="policy = 'fast': must be one of levels, list, mis, mis-parallel, first-fit"):
        schedule(access, "fast")
    with pytest.raises(ScheduleError, match="priority = 'block' with policy levels: this policy has no priorities"):
        schedule(access, priority="block")
    with pytest.raises(ScheduleError, match="priority = 'degree' with policy list: must be one of longest-path, block"):
        schedule(access, "list", priority="degree")
    with pytest.raises(ScheduleError, match="list cannot be scheduled"):
        schedule(THREE)
    with pytest.raises(BlockError, match="workers = 0"):
        schedule(access, workers=0)
    with pytest.raises(BlockError, match="number of transactions of the access sets = 3"):
        schedule(access, "mis", block=block_of([{}], [1], [0]))


@pytest.mark.parametrize("policy", POLICIES)
def test_empty_and_single_blocks_are_scheduled(policy):
    assert schedule(sets_of([]), policy).waves() == []
    assert schedule(sets_of([{0: R}]), policy).waves() == [[0]]
    assert schedule(block_of([], [], []), policy).n_waves == 0
    check_schedule(schedule(sets_of([]), policy), sets_of([]))


def test_a_block_is_scheduled_by_its_static_sets():
    block = block_of([{1: R}, {1: W}, {1: R, 2: W}, {2: R}], [1, 2, 3, 4], [0] * 4)
    assert schedule(block).waves() == [[0], [1], [2], [3]]
