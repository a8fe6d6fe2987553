"""Graph and counts from the key index, against testing every pair."""

from __future__ import annotations

import naive
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pevm_numba.access.sets import AccessSets
from pevm_numba.block import Block
from pevm_numba.errors import BlockError, PevmError, TooLargeError
from pevm_numba.schedule import conflicts as module
from pevm_numba.schedule.conflicts import all_pairs_graph, conflict_counts, conflict_graph
from pevm_numba.schedule.index import KeyIndex, key_heat

R, W, C = 1, 2, 4

entries = st.dictionaries(st.integers(0, 7), st.integers(1, 7), max_size=4)
several = st.lists(entries, max_size=14)


def sets_of(plain: list[dict[int, int]], n_keys: int = 8) -> AccessSets:
    return AccessSets.from_dicts(plain, n_keys)


def random_sets(n_tx: int, n_keys: int, seed: int, hot: dict[int, float] | None = None) -> AccessSets:
    """About four accesses each; `hot` gives keys and the share of transactions that access them, in any mode."""
    rng = np.random.default_rng(seed)
    plain = []
    for _ in range(n_tx):
        entry = {int(k): int(rng.choice([R, R, W, R | W, C])) for k in rng.integers(0, n_keys, 4)}
        for key, share in (hot or {}).items():
            if rng.random() < share:
                entry[key] = int(rng.integers(1, 8))
        plain.append(entry)
    return AccessSets.from_dicts(plain, n_keys)


def counts_of(access: AccessSets) -> tuple[int, int, int, int]:
    pairs = naive.pair_kinds([access[t] for t in range(access.n_tx)])
    return len(pairs), *(sum(kind in kinds for kinds in pairs.values()) for kind in ("ww", "rw", "wr"))


@given(several)
@settings(deadline=None, max_examples=150)
def test_graph_and_counts_equal_trying_all_pairs(plain):
    access = sets_of(plain)
    graph = conflict_graph(access)
    dense = np.zeros((len(plain), len(plain)), bool)
    for i, j in naive.pair_kinds(plain):
        dense[i, j] = dense[j, i] = True
    assert (graph.toarray() == dense).all()
    assert graph.dtype == bool
    assert graph.data.all()
    twin = all_pairs_graph(access)
    assert (twin.indptr == graph.indptr).all()
    assert (twin.indices == graph.indices).all()
    counts = conflict_counts(access)
    assert (counts.pairs, counts.ww, counts.rw, counts.wr) == counts_of(access)
    assert counts.exact
    assert counts.standard_error == 0
    possible = len(plain) * (len(plain) - 1) / 2
    assert counts.rate == (counts.pairs / possible if possible else 0)


@pytest.mark.parametrize(("a", "b"), [(a, b) for a in range(1, 8) for b in range(1, 8)])
def test_every_conflicting_pair_of_modes_has_a_kind(a, b):
    counts = conflict_counts(sets_of([{3: a}, {3: b}]))
    assert counts.pairs == naive.conflict(a, b) == (conflict_graph(sets_of([{3: a}, {3: b}])).nnz == 2)
    assert (counts.ww + counts.rw + counts.wr > 0) == bool(counts.pairs)


def test_mere_credits_commute_but_a_credit_that_reads_is_a_writer():
    assert conflict_counts(sets_of([{0: C}] * 5)).pairs == 0
    assert conflict_counts(sets_of([{0: C | R}] * 5)).pairs == 10
    assert conflict_counts(sets_of([{0: C}] * 5 + [{0: R}])).pairs == 5


def test_rows_are_sorted_without_loops_for_dense_and_sparse_rows_and_any_thread_count(monkeypatch):
    access = random_sets(3000, 4000, 1, {0: 0.4, 1: 0.05, 3999: 0.5})
    single = conflict_graph(access)
    rows = np.repeat(np.arange(3000), np.diff(single.indptr))
    assert (np.diff(single.indices)[np.diff(rows) == 0] > 0).all()
    assert (rows != single.indices).all()
    assert (single != single.T).nnz == 0
    assert (single != all_pairs_graph(access)).nnz == 0
    monkeypatch.setattr(module, "_PARALLEL_FROM", 0)
    before = numba.get_num_threads()
    try:
        for threads in {1, min(2, before), before}:
            numba.set_num_threads(threads)
            other = conflict_graph(access)
            assert (other.indptr == single.indptr).all()
            assert (other.indices == single.indices).all()
    finally:
        numba.set_num_threads(before)


def test_a_sparse_row_with_distant_partners_is_sorted_too():
    n_tx = 2000
    plain = [{t: W} for t in range(n_tx)]
    plain[500] = dict.fromkeys(range(500, 2000, 37), W) | dict.fromkeys(range(0, 500, 41), W)
    access = AccessSets.from_dicts(plain, n_tx)
    assert (conflict_graph(access) != all_pairs_graph(access)).nnz == 0
    far = [{0: R} if t % 1000 == 0 else {1: R} for t in range(40_000)] + [{0: W, 2: W}, {2: R}]
    far[3] = {2: R, 0: R}
    graph = conflict_graph(AccessSets.from_dicts(far, 3))
    assert graph.indices[graph.indptr[40_000] : graph.indptr[40_001]].tolist() == sorted([3, *range(0, 40_000, 1000), 40_001])


@pytest.mark.parametrize("hot", [{}, {0: 0.5}, {0: 0.6, 1: 0.3, 2: 0.3, 9: 0.1}, dict.fromkeys(range(70), 0.2)])
def test_counts_by_signature_of_hot_keys_equal_all_pairs(monkeypatch, hot):
    access = random_sets(300, 120, 5, hot)
    expected = counts_of(access)
    assert expected[0] == conflict_graph(access).nnz // 2
    used = []
    best = module._Signatures.best.__func__

    def spy(access: AccessSets, index: KeyIndex) -> module._Signatures:
        used.append(best(module._Signatures, access, index))
        return used[-1]

    monkeypatch.setattr(module._Signatures, "best", spy)
    for hot_from in (0, 10**9):
        for parallel_from in (0, 10**9):
            monkeypatch.setattr(module, "_HOT_FROM", hot_from)
            monkeypatch.setattr(module, "_PARALLEL_FROM", parallel_from)
            counts = conflict_counts(access)
            assert (counts.pairs, counts.ww, counts.rw, counts.wr) == expected
    if len(hot) == 1:
        assert used[0].hot.any()
        assert not used[-1].hot.any()


def test_counts_with_any_number_of_signature_keys_are_the_same(monkeypatch):
    access = random_sets(200, 90, 6, dict.fromkeys(range(66), 0.1))
    index = KeyIndex.of(access)
    order = np.argsort(-index.key_pairs, kind="stable")
    for n_hot in (1, 5, 63, 64):
        slot = np.full(access.n_keys, -1, np.int8)
        slot[order[:n_hot]] = np.arange(n_hot)
        masks = np.zeros((access.n_tx, 3), np.uint64)
        module._k.signatures(*module.inputs(access.indptr, access.keys, access.modes, slot), masks)
        with np.errstate(over="ignore"):
            signature, distinct = module._group(masks, np.uint64(2**n_hot - 1), 1000)
        plan = module._Signatures(0, slot >= 0, signature, distinct)
        assert tuple(module._count(access, index, plan)) == counts_of(access)


def test_a_key_that_forbids_the_graph_is_still_counted_exactly():
    n_tx = 60_000
    modes = np.where(np.arange(n_tx) % 3 == 0, W, R).astype(np.uint8)
    access = AccessSets.from_arrays(1, np.arange(n_tx + 1), np.zeros(n_tx, np.int32), modes)
    with pytest.raises(TooLargeError):
        conflict_graph(access)
    counts = conflict_counts(access)
    writers, readers = n_tx // 3, 2 * n_tx // 3
    assert counts.exact
    assert counts.ww == writers * (writers - 1) // 2
    assert counts.rw + counts.wr == writers * readers
    assert counts.rw == sum(2 * g for g in range(writers))  # before writer 3g stand 2g readers
    assert counts.pairs == counts.ww + counts.rw + counts.wr


def test_too_much_work_gives_an_estimate_with_its_error(monkeypatch):
    monkeypatch.setattr(module, "_N_SAMPLES", 100_000)
    access = random_sets(400, 60, 2, {0: 0.3})
    exact = conflict_counts(access)
    guess = conflict_counts(access, work_limit=0)
    assert exact.exact
    assert not guess.exact
    assert 0 < guess.standard_error < 0.002
    for name in ("pairs", "ww", "rw", "wr"):
        share = abs(getattr(guess, name) - getattr(exact, name)) / (400 * 399 / 2)
        assert share < 6 * 0.0016
    assert guess == conflict_counts(access, work_limit=0)
    assert guess != conflict_counts(access, work_limit=0, seed=1)


def test_a_graph_over_the_limit_is_refused_before_it_is_built_naming_the_hot_key():
    hot = (b"\xab" * 20, 0, 5)
    block = Block.from_programs([[("SLOAD", (1, 0, t)), ("SSTORE", hot, 1)] for t in range(20)])
    access = AccessSets.from_dicts([{0: R, 1: W}] + [{t + 1: R, 1: W} for t in range(1, 20)], block.n_keys)
    with pytest.raises(TooLargeError, match=r"up to 380 stored entries, the limit is 379") as caught:
        conflict_graph(access, limit=379, block=block)
    message = str(caught.value)
    assert f"hottest key is 1 (0x{'ab' * 20} slot 0x5) in 20 transactions" in message
    assert "levels" in message
    assert conflict_graph(access, limit=380).nnz == 380
    with pytest.raises(TooLargeError, match="hottest key is 1 in 20"):
        conflict_graph(access, limit=0)


def test_readers_and_crediters_alone_cost_nothing():
    n_tx = 100_000
    access = AccessSets.from_arrays(
        2, np.arange(0, 2 * n_tx + 1, 2), np.tile(np.array([0, 1], np.int32), n_tx), np.tile([R, C], n_tx)
    )
    assert conflict_graph(access, limit=0).nnz == 0
    assert conflict_counts(access, work_limit=0).exact


def test_the_naive_graph_is_refused_for_many_transactions():
    access = AccessSets.from_dicts([{}] * 11, 0)
    assert all_pairs_graph(access, limit=11).nnz == 0
    with pytest.raises(TooLargeError, match="all pairs of 11 transactions are 55 tests"):
        all_pairs_graph(access, limit=10)


@pytest.mark.parametrize("n_tx", [0, 1])
def test_empty_and_single_blocks_have_no_conflicts(n_tx):
    access = AccessSets.from_dicts([{0: W}] * n_tx, 1)
    assert conflict_graph(access).shape == (n_tx, n_tx)
    assert all_pairs_graph(access).nnz == 0
    assert conflict_counts(access).rate == 0.0
    assert key_heat(access).accessors.tolist() == [n_tx]


@given(several)
@settings(deadline=None, max_examples=60)
def test_heat_counts_who_accesses_a_key_and_how(plain):
    access = sets_of(plain)
    heat = key_heat(access)
    for key in range(8):
        modes = [entry[key] for entry in plain if key in entry]
        assert heat.accessors[key] == len(modes)
        assert (heat.readers[key], heat.crediters[key]) == (modes.count(R), modes.count(C))
        assert heat.writers[key] == len(modes) - modes.count(R) - modes.count(C)
        assert heat.pairs[key] == sum(naive.conflict(a, b) for i, a in enumerate(modes) for b in modes[:i])
    assert (np.diff(heat.pairs[heat.top(8)]) <= 0).all()
    assert set(heat.top(8)) == {k for entry in plain for k in entry}


@given(several)
@settings(deadline=None, max_examples=60)
def test_the_index_holds_each_access_once_grouped_and_ascending(plain):
    index = KeyIndex.of(sets_of(plain))
    found = {}
    for key in range(8):
        for group in range(3):
            part = slice(index.starts[3 * key + group], index.starts[3 * key + group + 1])
            assert (np.diff(index.tx[part]) > 0).all()
            for t, mode in zip(index.tx[part], index.modes[part]):
                assert group == {R: 0, C: 2}.get(mode, 1)
                found[t, key] = mode
    assert found == {(t, k): m for t, entry in enumerate(plain) for k, m in entry.items()}


def test_wrong_limits_are_named():
    access = sets_of([{0: W}])
    for call in (
        lambda: conflict_graph(access, limit=-1),
        lambda: conflict_counts(access, work_limit=1.5),
        lambda: conflict_counts(access, seed=-1),
        lambda: key_heat(access).top(-1),
    ):
        with pytest.raises(BlockError) as caught:
            call()
        assert isinstance(caught.value, PevmError)
