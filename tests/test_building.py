"""Block building against exhaustive search on tiny pools, and the laws of every limit on large ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naive import neighbours
from strategies import access_dicts

import pevm_numba as pn
from pevm_numba.access.sets import AccessSets
from pevm_numba.errors import BlockError, TooLargeError
from pevm_numba.schedule.building import LP_LIMIT, METHODS, BuiltBlock, build_block
from pevm_numba.schedule.dependencies import dependencies
from pevm_numba.schedule.senders import chains_of, with_senders

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "op_trace"


def senders_of(n_tx: int, senders: Sequence[int], nonces: Sequence[int]) -> pn.Block:
    """A block whose only purpose is its senders and nonces."""
    return pn.Block.from_programs([[]] * n_tx, {}, senders=senders[:n_tx], nonces=nonces[:n_tx])


def key_loads(sets: Sequence[dict[int, int]], gas: Sequence[int], chosen: Sequence[int]) -> dict[int, int]:
    """Per key the gas of those that write it: neither READ alone nor CREDIT alone."""
    loads: dict[int, int] = {}
    for t in chosen:
        for k, mode in sets[t].items():
            if mode not in (1, 4):
                loads[k] = loads.get(k, 0) + gas[t]
    return loads


def fits_in_time(
    chosen: Sequence[int], near: Sequence[set[int]], pairs: set[tuple[int, int]], gas: Sequence[int], p: int, most: float
) -> bool:
    """Whether some order of the chosen, of which conflicting ones never overlap, ends by `most` on p workers."""
    for order in itertools.permutations(chosen):
        if any(order.index(a) > order.index(b) for a, b in pairs if a in order and b in order):
            continue
        free, end = [0] * p, {}
        for t in order:
            w = free.index(min(free))
            begin = max([free[w], *(end[u] for u in near[t] if u in end)])
            free[w] = end[t] = begin + gas[t]
        if max(free) <= most:
            return True
    return not chosen


def check_laws(built: BuiltBlock, access: AccessSets, reward: np.ndarray, gas: np.ndarray, **limits: object) -> None:
    """Every limit holds, the sums are right, and the schedule is valid for the block that was built."""
    chosen, workers = built.chosen, limits.get("workers", 1)
    assert len(set(chosen.tolist())) == built.n_tx
    assert built.gas == int(gas[chosen].sum()) <= limits["gas_limit"]
    if limits.get("blobs") is not None:
        assert built.blobs == int(np.asarray(limits["blobs"])[chosen].sum()) <= limits["blob_limit"]
    assert built.reward == pytest.approx(float(reward[chosen].sum()))
    assert built.reward <= built.bound
    assert 0 <= built.gap <= 1
    assert built.makespan_bound <= built.makespan + 1e-6
    if limits.get("deadline") is not None:
        assert built.makespan <= limits["deadline"]
    assert built.access == access.reordered(chosen)
    if limits.get("key_cap") is not None:
        writes = (built.access.modes != 1) & (built.access.modes != 4)
        owner = np.repeat(np.arange(built.n_tx), np.diff(built.access.indptr))[writes]
        loads = np.bincount(built.access.keys[writes], gas[chosen][owner], access.n_keys)
        assert loads.max(initial=0) <= limits["key_cap"]
    first, next_of = chains_of(access.n_tx, limits.get("block"))
    place = np.full(access.n_tx, access.n_tx)
    place[chosen] = np.arange(built.n_tx)
    later = np.flatnonzero(next_of >= 0)
    out = place[later] == access.n_tx
    assert ((place[later] < place[next_of[later]]) | out).all()
    assert (place[next_of[later[out]]] == access.n_tx).all()
    check_timeline(built, with_senders(access, first, next_of).reordered(chosen), gas[chosen], workers)


def check_timeline(built: BuiltBlock, joined: AccessSets, gas: np.ndarray, workers: int) -> None:
    """Each worker runs one transaction at a time, and each transaction after its predecessors, joins included."""
    line = built.schedule.timeline
    assert built.schedule.block_order
    pn.check_schedule(built.schedule, built.access)
    pn.check_schedule(built.schedule, joined)
    assert line.n_workers == workers
    assert (line.end - line.start == gas).all()
    assert line.makespan == built.makespan
    order = np.lexsort((line.start, line.worker))
    same = line.worker[order[1:]] == line.worker[order[:-1]]
    assert (line.end[order[:-1]] <= line.start[order[1:]])[same].all()
    deps, n_tx = dependencies(joined), built.n_tx
    ready = np.zeros(deps.n_joins)
    for q in range(deps.n_joins):
        before = deps.indices[deps.indptr[n_tx + q] : deps.indptr[n_tx + q + 1]]
        ready[q] = max([0.0, *(line.end[v] if v < n_tx else ready[v - n_tx] for v in before)])
    done = np.concatenate([line.end, ready])
    counts = np.diff(deps.indptr)[:n_tx]
    assert (done[deps.indices[: counts.sum()]] <= np.repeat(line.start, counts)).all()


small = st.lists(st.integers(1, 9), min_size=8, max_size=8)


@settings(max_examples=60, deadline=None)
@given(access_dicts(8, 4), small, small, st.integers(0, 30), st.none() | st.integers(0, 20), small, small, st.data())
def test_tiny_pools_lie_between_exhaustive_search_and_the_bound(
    drawn: tuple[list[dict[int, int]], int], reward: list[int], gas: list[int], gas_limit: int, key_cap: int | None,
    sender: list[int], nonce: list[int], data: st.DataObject,
) -> None:  # fmt: skip
    sets, n_keys = drawn
    n_tx = len(sets)
    reward, gas, sender, nonce = reward[:n_tx], gas[:n_tx], [s % 3 for s in sender[:n_tx]], [n % 2 for n in nonce[:n_tx]]
    deadline = data.draw(st.integers(0, 20)) if n_tx <= 5 and data.draw(st.booleans()) else None
    workers = data.draw(st.integers(1, 3))
    access, block = AccessSets.from_dicts(sets, n_keys), senders_of(n_tx, sender, nonce)
    order = sorted(range(n_tx), key=lambda t: (nonce[t], t))
    pairs = {(a, b) for a, b in itertools.combinations(order, 2) if sender[a] == sender[b]}
    near = [part | {b if a == t else a for a, b in pairs if t in (a, b)} for t, part in enumerate(neighbours(sets))]
    best = 0
    for chosen in itertools.chain.from_iterable(itertools.combinations(range(n_tx), size) for size in range(n_tx + 1)):
        ok = sum(gas[t] for t in chosen) <= gas_limit and all(a in chosen for a, b in pairs if b in chosen)
        ok = ok and (key_cap is None or max(key_loads(sets, gas, chosen).values(), default=0) <= key_cap)
        value = sum(reward[t] for t in chosen)
        if ok and value > best and (deadline is None or fits_in_time(chosen, near, pairs, gas, workers, deadline)):
            best = value
    limits = {"gas_limit": gas_limit, "key_cap": key_cap, "deadline": deadline, "workers": workers, "block": block}
    found = {}
    for method in METHODS:
        built = build_block(access, reward, gas, method=method, **limits)
        check_laws(built, access, np.array(reward, float), np.array(gas, np.int64), **limits)
        assert built.reward <= best <= built.bound * (1 + 1e-9) + 1e-9
        found[method] = built.reward
    assert found["lp"] >= found["greedy"]


@settings(max_examples=80, deadline=None)
@given(access_dicts(9, 3), small, small, small, st.integers(0, 30), st.integers(0, 12), small)
def test_tiny_pools_with_blobs_lie_between_exhaustive_search_and_the_bound(
    drawn: tuple[list[dict[int, int]], int], reward: list[int], gas: list[int], blobs: list[int], gas_limit: int,
    blob_limit: int, sender: list[int],
) -> None:  # fmt: skip
    sets, n_keys = drawn[0][:8], drawn[1]
    n_tx = len(sets)
    reward, gas, blobs = reward[:n_tx], gas[:n_tx], [b % 5 for b in blobs[:n_tx]]
    block = senders_of(n_tx, [s % 4 for s in sender[:n_tx]], list(range(n_tx)))
    before = {t: [u for u in range(t) if sender[u] % 4 == sender[t] % 4] for t in range(n_tx)}
    best = 0
    for chosen in itertools.chain.from_iterable(itertools.combinations(range(n_tx), size) for size in range(n_tx + 1)):
        fits = sum(gas[t] for t in chosen) <= gas_limit and sum(blobs[t] for t in chosen) <= blob_limit
        if fits and all(u in chosen for t in chosen for u in before[t]):
            best = max(best, sum(reward[t] for t in chosen))
    access, limits = AccessSets.from_dicts(sets, n_keys), {"gas_limit": gas_limit, "blobs": blobs, "blob_limit": blob_limit}
    found = {}
    for method in METHODS:
        built = build_block(access, reward, gas, method=method, block=block, **limits)
        check_laws(built, access, np.array(reward, float), np.array(gas, np.int64), block=block, **limits)
        assert built.reward <= best <= built.bound * (1 + 1e-9) + 1e-9
        found[method] = built.reward
    assert found["lp"] >= found["greedy"]


def test_where_blobs_are_scarce_reward_per_gas_is_not_the_order() -> None:
    # The first two are best by gas and fill the blob limit; six that carry one blob each earn more.
    pool = AccessSets.from_dicts([{}] * 8, n_keys=0)
    reward, gas, blobs = [20, 20, *[14] * 6], [10, 10, *[10] * 6], [3, 3, *[1] * 6]
    by_gas = build_block(pool, reward, gas, gas_limit=60)
    assert by_gas.chosen.tolist()[:2] == [0, 1]
    built = build_block(pool, reward, gas, gas_limit=60, blobs=blobs, blob_limit=6)
    assert (sorted(built.chosen.tolist()), built.reward, built.blobs, built.gas) == ([2, 3, 4, 5, 6, 7], 84, 6, 60)
    assert built.gap == pytest.approx(0)
    free = build_block(pool, reward, gas, gas_limit=60, blobs=blobs)
    assert (free.chosen.tolist(), free.bound) == (by_gas.chosen.tolist(), by_gas.bound)


def test_pools_too_large_for_the_linear_program_are_bound_by_blobs_too() -> None:
    n_tx, rng = LP_LIMIT + 1, np.random.default_rng(5)
    pool = AccessSets.from_dicts([{}] * n_tx, n_keys=0)
    gas, blobs = rng.integers(21_000, 100_000, n_tx), rng.integers(1, 7, n_tx)
    reward = rng.lognormal(0, 1, n_tx)
    built = build_block(pool, reward, gas, gas_limit=int(gas.sum()), blobs=blobs, blob_limit=1_000)
    check_laws(built, pool, reward, gas, gas_limit=int(gas.sum()), blobs=blobs, blob_limit=1_000)
    density = sorted(zip(reward / blobs, blobs, strict=True), reverse=True)
    best, room = 0.0, 1_000
    for worth, size in density:
        best, room = best + worth * min(size, room), room - min(size, room)
    assert (built.bound_from, built.bound) == ("knapsack", pytest.approx(best))
    assert built.gap < 0.05


@pytest.mark.parametrize("workers", [1, 8, 200_000])
def test_every_limit_holds_on_a_large_pool(workers: int) -> None:
    n_tx, rng = 100_000, np.random.default_rng(workers)
    pool = pn.generate("medium", n_tx=n_tx, seed=3, conflict_ratio=0.4)
    gas = rng.integers(21_000, 500_000, n_tx)
    reward = gas * rng.lognormal(0, 1, n_tx)
    deadline = float(gas.sum() // (3 * min(workers, 1_000)))
    block = senders_of(n_tx, (rng.zipf(1.5, n_tx) % 5_000).tolist(), rng.integers(0, 50, n_tx).tolist())
    limits = {"gas_limit": int(gas.sum() // 2), "key_cap": 40_000_000, "workers": workers, "deadline": deadline}
    built = build_block(pn.access_sets(pool), reward, gas, block=block, **limits)
    check_laws(built, pn.access_sets(pool), reward, gas, block=block, **limits)
    assert built.bound_from == "knapsack"
    assert built.n_tx > 1_000
    again = build_block(pn.access_sets(pool), reward, gas, block=block, **limits)
    assert (again.chosen == built.chosen).all()
    assert again.schedule == built.schedule


def test_the_linear_program_sees_what_greedy_misses() -> None:
    # A sender's poor transaction hides a rich one.
    sets = AccessSets.from_dicts([{}, {}, {}], n_keys=0)
    block = senders_of(3, [1, 1, 2], [0, 1, 0])
    given = {"gas_limit": 20, "block": block}
    greedy = build_block(sets, [1, 100, 50], [10, 10, 10], **given)
    assert (greedy.chosen.tolist(), greedy.reward, greedy.bound_from) == ([2, 0], 51, "lp")
    better = build_block(sets, [1, 100, 50], [10, 10, 10], method="lp", **given)
    assert (better.chosen.tolist(), better.reward) == ([0, 1], 101)
    assert better.gap == pytest.approx(0)
    assert greedy.gap == pytest.approx(1 - 51 / 101)


def test_readers_and_crediters_do_not_count_against_the_cap_of_a_key() -> None:
    for mode, taken in ((1, 4), (4, 4), (2, 1), (5, 1)):
        pool = AccessSets.from_dicts([{0: mode}] * 4, n_keys=1)
        built = build_block(pool, [1] * 4, [10] * 4, gas_limit=100, key_cap=19, workers=4)
        assert built.n_tx == taken
        assert built.bound == pytest.approx(min(4, taken * 1.9))


def test_the_deadline_counts_chains_and_senders() -> None:
    pool = AccessSets.from_dicts([{0: 2}, {0: 1}, {0: 1}, {}], n_keys=1)
    built = build_block(pool, [4, 3, 2, 1], [10] * 4, gas_limit=100, workers=4, deadline=20)
    assert (built.n_tx, built.makespan, built.makespan_bound) == (4, 20, 20)
    own = senders_of(4, [1] * 4, [0] * 4)
    one = build_block(pool, [4, 3, 2, 1], [10] * 4, gas_limit=100, workers=4, deadline=20, block=own)
    assert (one.chosen.tolist(), one.makespan) == ([0, 1], 20)
    assert one.bound == pytest.approx(7)


def test_a_dropped_transaction_takes_its_senders_later_ones_along() -> None:
    pool = AccessSets.from_dicts([{}, {}, {}], n_keys=0)
    built = build_block(pool, [9, 9, 1], [50, 1, 1], gas_limit=10, block=senders_of(3, [1, 1, 2], [0, 1, 0]))
    assert built.chosen.tolist() == [2]
    assert built.bound == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(access_dicts(8, 3), small, small, st.sampled_from([2.0**-60, 1e-18, 1e-300, 1e18, 1e300]))
@example(([{}] * 7, 1), [1, 4, 7, 1, 5, 1, 3, 1], [1, 4, 7, 1, 5, 1, 3, 1], 1e-18)
def test_gap_and_choice_do_not_depend_on_the_unit_of_the_rewards(
    drawn: tuple[list[dict[int, int]], int], reward: list[int], gas: list[int], unit: float
) -> None:
    sets, n_keys = drawn
    access, n_tx = AccessSets.from_dicts(sets, n_keys), len(sets)
    earns, gas = np.array(reward[:n_tx], float) * 2, gas[:n_tx]
    options = {"gas_limit": 20, "key_cap": 12, "workers": 2, "deadline": 15, "method": "lp"}
    one, other = build_block(access, earns, gas, **options), build_block(access, earns * unit, gas, **options)
    assert other.gap == pytest.approx(one.gap, abs=1e-9)
    assert other.reward == pytest.approx(one.reward * unit)
    assert other.bound == pytest.approx(one.bound * unit)


def test_rewards_next_to_the_last_float_have_a_bound() -> None:
    pool = AccessSets.from_dicts([{0: 2}, {0: 2}], n_keys=1)
    built = build_block(pool, [8e307, 9e307], [1, 1], gas_limit=2, key_cap=1, method="lp")
    assert (built.reward, built.gap) == (9e307, pytest.approx(0))


def test_key_numbers_that_nobody_uses_change_nothing() -> None:
    near = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 4}, {1: 2}, {}], n_keys=2)
    far = AccessSets.from_dicts([{3: 2}, {3: 2, 2**31 - 2: 4}, {2**31 - 2: 2}, {}], n_keys=2**31 - 1)
    options = {"gas_limit": 35, "key_cap": 15, "workers": 2, "block": senders_of(4, [1, 2, 1, 3], [0, 0, 1, 0])}
    one, other = (build_block(access, [3, 4, 5, 1], [10] * 4, method="lp", **options) for access in (near, far))
    assert other.chosen.tolist() == one.chosen.tolist()
    assert (other.reward, other.bound, other.makespan_bound) == (one.reward, one.bound, one.makespan_bound)
    assert other.access == far.reordered(other.chosen)


def test_empty_pools_and_limits_of_zero_give_empty_blocks() -> None:
    pool = AccessSets.from_dicts([{0: 2}, {}], n_keys=1)
    for built in (
        build_block(AccessSets.from_dicts([], n_keys=0), [], [], gas_limit=5, method="lp"),
        build_block(pool, [1, 1], [1, 1], gas_limit=0, method="lp"),
        build_block(pool, [1, 1], [1, 1], gas_limit=9, deadline=0, method="lp"),
    ):
        assert (built.n_tx, built.reward, built.bound, built.gap, built.makespan) == (0, 0, 0, 0, 0)
        assert built.schedule.n_waves == 0
    assert build_block(pool, [0, 0], [1, 1], gas_limit=9).gap == 0


def test_bad_arguments_are_refused_at_the_door() -> None:
    pool = AccessSets.from_dicts([{0: 2}, {}], n_keys=1)
    good = {"access": pool, "reward": [1, 2], "gas": [1, 2], "gas_limit": 3}
    for wrong, rule in (
        ({"access": 3}, "AccessSets"), ({"reward": [1]}, "reward has shape"), ({"reward": [1, -1]}, r"reward\[1\]"),
        ({"reward": [1, np.nan]}, r"reward\[1\]"),
        ({"reward": [1.7e308] * 2}, "reward adds up to inf: must be below"),
        ({"gas": [0, 1]}, r"gas\[0\]"), ({"gas": [1.5, 1]}, "gas, element 0"),
        ({"gas": [2**53 - 1, 1]}, r"2\*\*53"), ({"gas": [1, 2, 3]}, "gas has shape"), ({"gas_limit": -1}, "gas_limit"),
        ({"gas_limit": 1.5}, "gas_limit"), ({"workers": 0}, "workers"), ({"deadline": -1}, "deadline"),
        ({"deadline": np.inf}, "deadline"), ({"key_cap": -1}, "key_cap"), ({"method": "best"}, "method"),
        ({"blobs": [1]}, "blobs has shape"), ({"blobs": [-1, 1]}, r"blobs\[0\]"),
        ({"blob_limit": 3}, "blob_limit = 3 without"), ({"blobs": [1, 1], "blob_limit": -1}, "blob_limit = -1"),
        ({"block": 1}, "block"), ({"block": senders_of(1, [1], [0])}, "number of transactions"),
    ):  # fmt: skip
        with pytest.raises(BlockError, match=rule):
            build_block(**{**good, **wrong})
    large = AccessSets.from_dicts([{}] * (LP_LIMIT + 1), n_keys=0)
    one = np.ones(LP_LIMIT + 1, np.int64)
    with pytest.raises(TooLargeError, match=r"20,001 transactions: the limit of method \"lp\" is 20,000"):
        build_block(large, one, one, gas_limit=5, method="lp")


@pytest.mark.corpus
def test_half_a_real_block_can_be_built_close_to_the_bound() -> None:
    if not CORPUS.exists():
        pytest.skip("needs the folder of real blocks beside the checkout")
    block = max(pn.read_blocks(CORPUS), key=lambda b: b.n_tx)
    gas = block.chain_gas_used
    reward = gas * np.random.default_rng(0).lognormal(0, 1, block.n_tx)
    access = pn.access_sets(block)
    limits = {"gas_limit": int(gas.sum() // 2), "workers": 8, "deadline": float(gas.sum() // 10)}
    for method in METHODS:
        built = build_block(access, reward, gas, method=method, **limits)
        check_laws(built, access, reward, gas, block=block, **limits)
        assert built.gap < 0.1
