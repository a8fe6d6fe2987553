"""First-fit and largest-first waves: on the graph, on the accesses and by plain sets they must be the same waves."""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pevm_numba._kernels.jit import DISABLED
from pevm_numba.access.sets import AccessSets
from pevm_numba.errors import BlockError
from pevm_numba.schedule import colouring
from pevm_numba.schedule.colouring import ORDERS, colour_waves, estimated_degree, transaction_order
from pevm_numba.schedule.conflicts import adjacency

R, W, C = 1, 2, 4

Waves = list[list[int]]


def waves_of(arrays: tuple[np.ndarray, np.ndarray]) -> Waves:
    starts, tx = arrays
    return [part.tolist() for part in np.split(tx, starts[1:-1])] if len(tx) else []


def chained(senders: Sequence[int]) -> np.ndarray:
    """next_of for these senders, nonces in index order."""
    next_of = np.full(len(senders), -1, np.int32)
    last: dict[int, int] = {}
    for t, sender in enumerate(senders):
        if sender in last:
            next_of[last[sender]] = t
        last[sender] = t
    return next_of


def shuffled_chains(n_tx: int, n_senders: int, rng: np.random.Generator) -> np.ndarray:
    """next_of with each sender's transactions in a random order."""
    next_of, last = np.full(n_tx, -1, np.int32), dict[int, int]()
    for t in rng.permutation(n_tx).tolist():
        sender = int(rng.integers(n_senders))
        if sender in last:
            next_of[last[sender]] = t
        last[sender] = t
    return next_of


def repeated_sets(graph: list[set[int]], order: Sequence[int], next_of: Sequence[int]) -> Waves:
    """The definition: again and again the greedy maximal independent set, by place in `order`, of the eligible."""
    previous = {u: t for t, u in enumerate(next_of) if u >= 0}
    left, waves = set(range(len(graph))), []
    while left:
        wave: set[int] = set()
        for t in order:
            if t in left and previous.get(t) not in left and not graph[t] & wave:
                wave.add(t)
        left -= wave
        waves.append(sorted(wave))
    return waves


def refilled(order: Sequence[int], next_of: Sequence[int]) -> list[int]:
    """`order` with the places of each chain refilled in chain order."""
    out = list(order)
    for head in set(range(len(order))) - set(next_of):
        chain, t = [], head
        while t >= 0:
            chain.append(t)
            t = next_of[t]
        for place, t in zip(sorted(list(order).index(t) for t in chain), chain):
            out[place] = t
    return out


def everything_hot() -> mock._patch_dict:
    """Settings that send small blocks through the hash table, its growth, the hot keys and lost signatures."""
    small = {"_ACCESSES_PER_ROW": 2**30, "_HOT_FROM": 0, "_MOST_HOT": 7, "_MOST_SIGNATURES": 2, "_FIRST_TABLE": 4}
    return mock.patch.dict(vars(colouring), small)


def shared_conflicts(one: dict[int, int], other: dict[int, int]) -> int:
    """On how many keys two transactions conflict."""
    return sum(naive.conflict(one[key], other[key]) for key in one.keys() & other.keys())


def splitmix64(z: int) -> int:
    """The output function of splitmix64, in Python's integers."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


entries = st.dictionaries(st.integers(0, 7), st.integers(1, 7), max_size=4)


@given(st.lists(entries, max_size=14), st.data())
@settings(deadline=None)
def test_waves_on_graph_and_accesses_equal_repeated_independent_sets(plain, data):
    access, graph = AccessSets.from_dicts(plain, 8), naive.neighbours(plain)
    senders = data.draw(st.lists(st.integers(0, 20), min_size=len(plain), max_size=len(plain)))
    next_of = chained(senders)
    for priority in ORDERS:
        degree = [len(partners) for partners in graph]
        order = transaction_order(access, priority, next_of, seed=data.draw(st.integers(0, 3)), degree=degree)
        expected = repeated_sets(graph, order.tolist(), next_of.tolist())
        assert waves_of(colour_waves(access, order, next_of)) == expected
        assert waves_of(colour_waves(access, order, next_of, graph=adjacency(access))) == expected
        with everything_hot():
            assert waves_of(colour_waves(access, order, next_of)) == expected


@given(st.integers(0, 2**32), st.integers(1, 9), st.booleans())
@settings(deadline=None, max_examples=5 if DISABLED else 60)
def test_many_words_of_waves_on_hot_keys_equal_the_graph(seed, n_keys, with_senders):
    rng = np.random.default_rng(seed)
    n_tx = 300 if DISABLED else int(rng.integers(100, 1500))
    share = rng.dirichlet(np.ones(3)) * 0.9
    use = rng.random((n_tx, n_keys)) < rng.random(n_keys) ** 2
    mode = rng.choice(np.array([R, W, C, R | C], np.uint8), (n_tx, n_keys), p=[*share, 0.1])
    tx, keys = np.nonzero(use)
    indptr = np.concatenate([[0], np.cumsum(use.sum(axis=1))])
    access = AccessSets.from_arrays(n_keys, indptr, keys.astype(np.int32), mode[tx, keys])
    next_of = shuffled_chains(n_tx, n_tx // 3, rng) if with_senders else np.full(n_tx, -1, np.int32)
    order = transaction_order(access, "random", next_of, seed=seed)
    expected = waves_of(colour_waves(access, order, next_of, graph=adjacency(access)))
    assert waves_of(colour_waves(access, order, next_of)) == expected
    with everything_hot():
        assert waves_of(colour_waves(access, order, next_of)) == expected
    with mock.patch.dict(vars(colouring), {"_ACCESSES_PER_ROW": 64, "_HOT_FROM": 200}):
        assert waves_of(colour_waves(access, order, next_of)) == expected


@given(st.lists(entries, max_size=12), st.data())
@settings(deadline=None)
def test_orders_are_the_sorted_ones_with_each_senders_places_refilled(plain, data):
    n_tx, access, graph = len(plain), AccessSets.from_dicts(plain, 8), naive.neighbours(plain)
    next_of = shuffled_chains(n_tx, data.draw(st.integers(1, 6)), np.random.default_rng(data.draw(st.integers(0, 99))))
    summed = [sum(shared_conflicts(own, other) for other in plain if other is not own) for own in plain]
    assert estimated_degree(access).tolist() == summed
    degree = [len(partners) for partners in graph]
    for priority, measure in (("estimated-degree", summed), ("degree", degree), ("block", [0] * n_tx)):
        by_priority = sorted(range(n_tx), key=lambda t: (-measure[t], t))
        found = transaction_order(access, priority, next_of, degree=degree).tolist()
        assert found == refilled(by_priority, next_of.tolist())
    bare = transaction_order(access, "random", np.full(n_tx, -1), seed=5).tolist()
    assert sorted(bare) == list(range(n_tx))
    assert transaction_order(access, "random", next_of, seed=5).tolist() == refilled(bare, next_of.tolist())


def test_random_orders_are_those_of_splitmix64_and_differ_by_seed():
    access, alone = AccessSets.from_dicts([{}] * 50, 0), np.full(50, -1)
    orders = []
    for seed in (0, 1, 2**63 - 1):
        orders.append(transaction_order(access, "random", alone, seed=seed).tolist())
        start = splitmix64(seed)
        hashes = [splitmix64((start + (t + 1) * 0x9E3779B97F4A7C15) % 2**64) for t in range(50)]
        assert orders[-1] == sorted(range(50), key=hashes.__getitem__)
    assert len({tuple(order) for order in orders}) == 3


def test_keys_that_constrain_nobody_cost_no_wave():
    only = AccessSets.from_dicts([{0: R, 1: C, 2: W}, {0: R, 1: C, 3: W}, {0: R, 1: C}], 4)
    assert waves_of(colour_waves(only, [0, 1, 2], [-1, -1, -1])) == [[0, 1, 2]]
    mixed = AccessSets.from_dicts([{0: R}, {0: C}, {0: R}, {0: C}], 1)
    assert waves_of(colour_waves(mixed, [0, 1, 2, 3], [-1] * 4)) == [[0, 2], [1, 3]]


def test_a_sender_goes_on_after_its_own_wave_even_where_earlier_waves_are_free():
    access = AccessSets.from_dicts([{0: W}, {0: W}, {}, {}], 1)
    assert waves_of(colour_waves(access, [0, 1, 2, 3], [-1, 2, -1, -1])) == [[0, 3], [1], [2]]
    nothing = AccessSets.from_dicts([], 0)
    assert waves_of(colour_waves(nothing, [], [])) == []
    assert colour_waves(nothing, [], [])[0].tolist() == [0]
    long = AccessSets.from_dicts([{}] * 200, 0)  # one sender: waves over several words without any conflict
    assert waves_of(colour_waves(long, np.arange(200), chained([1] * 200))) == [[t] for t in range(200)]


def test_misuse_is_named():
    access = AccessSets.from_dicts([{0: W}, {0: W}], 1)
    alone = [-1, -1]
    with pytest.raises(BlockError, match="priority = 'gas': must be one of block, random, estimated-degree, degree"):
        transaction_order(access, "gas", alone)
    with pytest.raises(BlockError, match="seed"):
        transaction_order(access, "random", alone, seed=-1)
    with pytest.raises(BlockError, match="degree = None"):
        transaction_order(access, "degree", alone)
    with pytest.raises(BlockError, match="degree"):
        transaction_order(access, "degree", alone, degree=[1, 2, 3])
    with pytest.raises(BlockError, match="next_of"):
        colour_waves(access, [0, 1], [2, -1])
    with pytest.raises(BlockError, match="order holds transaction 0 2 times"):
        colour_waves(access, [0, 0], alone)
    for circle in ([0, -1], [1, 0], [1, 1]):
        with pytest.raises(BlockError, match=r"next_of leads from transaction [01] back to itself"):
            transaction_order(access, "block", circle)
    with pytest.raises(BlockError, match="order: transaction 0 comes before transaction 1"):
        colour_waves(access, [0, 1], [-1, 0])
