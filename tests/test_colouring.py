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
from pevm_numba.schedule.independent import independent_waves, sender_chains
from pevm_numba.schedule.senders import sender_numbers, with_senders

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
    small |= {"_MOST_SCANNED": 3, "_STRETCH": 5}
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


def several_hot(n_tx: int, n_keys: int, each: int, seed: int, modes: Sequence[int] = (W,)) -> AccessSets:
    """Each transaction touches `each` of `n_keys` keys."""
    rng = np.random.default_rng(seed)
    keys = np.sort(np.argsort(rng.random((n_tx, n_keys)), axis=1)[:, :each], axis=1).astype(np.int32).ravel()
    drawn = rng.choice(np.array(modes, np.uint8), n_tx * each)
    return AccessSets.from_arrays(n_keys, np.arange(n_tx + 1) * each, keys, drawn)


@pytest.mark.parametrize(("n_keys", "each"), [(12, 5), (12, 6), (20, 8), (30, 10), (60, 20)])
@pytest.mark.parametrize("modes", [(W,), (R, W), (R, W, C, R | C)])
def test_several_hot_keys_a_transaction_equal_graph_and_plain_sets(n_keys, each, modes):
    n_tx = 150 if DISABLED else 1500
    access = several_hot(n_tx, n_keys, each, seed=each, modes=modes)
    free = np.full(n_tx, -1)
    order = transaction_order(access, "random", free, seed=1)
    found = waves_of(colour_waves(access, order, free))
    assert found == waves_of(colour_waves(access, order, free, graph=adjacency(access)))
    for small in ({"_MOST_SCANNED": 4, "_MOST_SIGNATURES": 16}, {"_HOT_FROM": 2, "_ACCESSES_PER_ROW": 100}):
        with mock.patch.dict(vars(colouring), small):
            assert waves_of(colour_waves(access, order, free)) == found
    with everything_hot():
        assert waves_of(colour_waves(access, order, free)) == found
    few = several_hot(120, n_keys, each, seed=each, modes=modes)
    expected = repeated_sets(naive.neighbours([few[t] for t in range(120)]), range(120), [-1] * 120)
    with mock.patch.dict(vars(colouring), {"_HOT_FROM": 8}):
        assert waves_of(colour_waves(few, np.arange(120), [-1] * 120)) == expected


def test_every_wave_before_its_own_holds_a_conflicting_one_where_several_keys_are_hot():
    n_tx, n_keys, each = (300, 20, 8) if DISABLED else (20_000, 20, 8)
    access = several_hot(n_tx, n_keys, each, seed=3)
    starts, tx = colour_waves(access, np.arange(n_tx), np.full(n_tx, -1))
    n_waves = len(starts) - 1
    assert n_waves > n_tx // 4
    keys = access.keys.reshape(n_tx, each)
    use = np.zeros((n_tx, n_keys), np.int64)
    np.put_along_axis(use, keys.astype(np.int64), 1, axis=1)
    wave = np.empty(n_tx, np.int64)
    wave[tx] = np.repeat(np.arange(n_waves), np.diff(starts))
    writer = np.full((n_waves, n_keys), n_tx)  # the only one of the wave, if any, and before whom it matters
    for key in range(n_keys):
        mine = np.flatnonzero(use[:, key])
        assert len(np.unique(wave[mine])) == len(mine)  # independent: one writer of a key in each wave
        writer[wave[mine], key] = mine
    for t in np.random.default_rng(1).choice(n_tx, 100, replace=False):
        assert (writer[: wave[t]][:, keys[t]] < t).any(axis=1).all()


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
    for circle in ([0, -1], [1, 0]):
        with pytest.raises(BlockError, match=r"next_of leads from transaction [01] back to itself"):
            transaction_order(access, "block", circle)
    with pytest.raises(BlockError, match="order: transaction 0 comes before transaction 1"):
        colour_waves(access, [0, 1], [-1, 0])
    with pytest.raises(BlockError, match="order: transaction 0 comes before transaction 0"):
        colour_waves(access, [0, 1], [0, -1])
    for function in (transaction_order, colour_waves):
        with pytest.raises(BlockError, match=r"next_of\[0\] and next_of\[1\] are both 1: a transaction is the next of one"):
            function(access, "block" if function is transaction_order else [0, 1], [1, 1])
    for call in (lambda: estimated_degree(None), lambda: colour_waves(None, [], []), lambda: with_senders(None, [], [])):
        with pytest.raises(BlockError, match="access = None: must be an AccessSets"):
            call()


BAD_GRAPHS = [
    (None, None, r"indices has shape \(\): must be \(any\)"),
    ([0, 10**9, 10**9, 10**9], [0], r"indptr\[3\] = 1000000000: must be 1, the number of entries"),
    ([0, 1, 2], [1, 0], r"indptr has shape \(3,\): must be \(4\)"),
    ([0, 2, 1, 2], [1, 0], r"indptr\[2\] = 1: must not be below indptr\[1\] = 2"),
    ([1, 1, 1, 1], [0], r"indptr\[0\] = 1: must be 0"),
    ([0, 1, 2, 2], [1, 3], r"indices\[1\] = 3 in row 1: must be in \[0, 2\]"),
    ([0, 1, 2, 2], [1, -1], r"indices\[1\] = -1 in row 1: must be in \[0, 2\]"),
    ([0, 1, 2, 2], [1, 1], r"indices\[1\] = 1 in row 1: must not be the row itself"),
    ([0, 2, 3, 4], [2, 1, 0, 0], r"indices\[1\] = 1 in row 0: must be above 2, the one before it"),
    ([0, 2, 3, 3], [1, 1, 0], r"indices\[1\] = 1 in row 0: must be above 1, the one before it"),
    ([0, 1, 2, 2], [1.0, 0.5], "indices, element 0 = 1.0: must be an integer"),
    ([0, 1, 2, 2], [[1, 0]], r"indices has shape \(1, 2\)"),
]


@pytest.mark.parametrize(("indptr", "indices", "said"), BAD_GRAPHS)
def test_a_graph_that_would_lead_a_kernel_astray_is_refused(indptr, indices, said):
    access = AccessSets.from_dicts([{0: W}, {0: W}, {1: W}], 2)
    with pytest.raises(BlockError, match=said):
        colour_waves(access, [0, 1, 2], [-1] * 3, graph=(indptr, indices))
    for parallel in (False, True):
        with pytest.raises(BlockError, match=said):
            independent_waves(indptr, indices, [0, 1, 2], [-1] * 3, parallel=parallel)


BAD_SENDERS = [
    ([0, 1, 2], [3, -1, -1], r"next_of\[0\] = 3: must be in \[-1, 2\]"),
    ([0, 1, 2], [-2, -1, -1], r"next_of\[0\] = -2: must be in \[-1, 2\]"),
    ([0, 1], [2, 2, -1], r"next_of\[0\] and next_of\[1\] are both 2"),
    ([2], [1, 0, -1], "next_of leads from transaction [01] back to itself"),
    ([0, 1, 3], [-1, -1, -1], r"first\[2\] = 3: must be in \[0, 2\]"),
    ([0, 1, 2], [-1, 2, -1], r"first\[2\] = 2: must not be there, it is the next of another"),
    ([0, 2, 1], [-1, -1, -1], r"first\[2\] = 1: must be above the one before it"),
    ([0, 0, 1], [-1, -1, -1], r"first\[1\] = 0: must be above the one before it"),
    ([0, 1], [-1, -1, -1], "first has 2 entries: must hold transaction 2 too"),
    ([], [1, 2, 0], "next_of leads from transaction 0 back to itself"),
    ([0.5], [1, 2, -1], "first, element 0 = 0.5: must be an integer"),
    ([0, 1, 2], None, "next_of"),
]


@pytest.mark.parametrize(("first", "next_of", "said"), BAD_SENDERS)
def test_chains_that_are_none_are_refused_and_nothing_runs_for_ever(first, next_of, said):
    for parallel in (False, True):
        with pytest.raises(BlockError, match=said):
            independent_waves([0, 1, 2, 2], [1, 0], first, next_of, parallel=parallel)
    with pytest.raises(BlockError, match=said):
        sender_numbers(first, next_of)
    with pytest.raises(BlockError, match=said):
        with_senders(AccessSets.from_dicts([{}] * 3, 0), first, next_of)


def test_other_wrong_arguments_are_named_too():
    access = AccessSets.from_dicts([{0: W}, {0: W}], 1)
    for graph in (5, "ab", ([0, 0, 0],), np.zeros((2, 3), np.int64)):
        with pytest.raises(BlockError, match=r"(?s)graph = .*: must be a pair"):
            colour_waves(access, [0, 1], [-1, -1], graph=graph)
    rows = [0, 1, 2], [1, 0], [0, 1], [-1, -1]
    with pytest.raises(BlockError, match="parallel = 1: must be a bool"):
        independent_waves(*rows, parallel=1)
    with pytest.raises(BlockError, match="parallel_from = -1"):
        independent_waves(*rows, parallel_from=-1)
    with pytest.raises(BlockError, match=r"indptr has shape \(3,\): must be \(4\)"):
        independent_waves(rows[0], rows[1], [0, 1, 2], [-1] * 3)
    with pytest.raises(BlockError, match=r"next_of has shape \(2,\): must be \(3\)"):
        with_senders(AccessSets.from_dicts([{}] * 3, 0), [0, 1], [-1, -1])
    with pytest.raises(BlockError, match=r"sender has shape \(2, 19\)"):
        sender_chains(np.zeros((2, 19), np.uint8), np.zeros(2, np.uint64))
    with pytest.raises(BlockError, match=r"sender has shape \(1, 20\)"):
        sender_chains(np.zeros((1, 20), np.uint8), [0, 1])
    with pytest.raises(BlockError, match="nonce, element 0 ="):
        sender_chains(np.zeros((2, 20), np.uint8), [0.5, 1])
    assert waves_of(independent_waves(*rows)) == [[0], [1]]  # plain lists are fine
    assert independent_waves([0], [], [], [])[0].tolist() == [0]
