"""Two transactions conflict on a key unless both only READ it or both only CREDIT it; READ|CREDIT is a write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import conflicts as _k
from .._kernels.jit import U64, inputs
from ..access.sets import AccessSets, need_access
from ..errors import TooLargeError
from ..evm.block import AnyBlock, need_block
from .index import KeyHeat, KeyIndex, key_heat

if TYPE_CHECKING:
    from scipy.sparse import csr_array


__all__ = [
    "GRAPH_LIMIT",
    "ConflictCounts",
    "KeyHeat",
    "KeyIndex",
    "adjacency",
    "all_pairs_graph",
    "conflict_counts",
    "conflict_graph",
    "key_heat",
]

#: Stored entries (two per conflicting pair) above which a graph is refused: 250 MB.
GRAPH_LIMIT: Final = 50_000_000
#: Steps (about a nanosecond each) above which `conflict_counts` estimates.
WORK_LIMIT: Final = 1_000_000_000
#: Transactions above which the naive construction is refused: about 4 s.
ALL_PAIRS_LIMIT: Final = 20_000

# Below this many steps (10 to 20 ms) threads are not worth starting: the first prange of a process takes 50 ms, and
# each one stalls for milliseconds where other processes hold the cores.
_PARALLEL_FROM = 10_000_000
# Grouping by signature costs some ten passes over the transactions.
_HOT_FROM = 1_000_000
_N_SAMPLES = 1_000_000


@dataclass(frozen=True)
class ConflictCounts:
    """How many pairs of transactions conflict, and how.

    Parameters
    ----------
    n_tx : int
    pairs : int
        Distinct conflicting pairs (the seed system's "any of WW, RW, WR").
    ww, rw, wr : int
        Pairs i < j that on at least one key both write, that i reads and j writes, that i writes and j reads. A pair
        counts once in each kind that it has on any key, so the three may add up to more than `pairs`. CREDIT counts as
        a write here; two transactions that only CREDIT a key do not conflict on it.
    exact : bool
        False if estimated from a sample of pairs.
    standard_error : float
        Of `rate`; 0 if exact.
    """

    n_tx: int
    pairs: int
    ww: int
    rw: int
    wr: int
    exact: bool = True
    standard_error: float = 0.0

    @property
    def rate(self) -> float:
        """Share of all pairs that conflict, in [0, 1]; 0 below two transactions."""
        return self.pairs / (self.n_tx * (self.n_tx - 1) // 2) if self.n_tx > 1 else 0.0


# -------------------------------------------------------------------- the graph


def conflict_graph(access: AccessSets, *, limit: int = GRAPH_LIMIT, block: AnyBlock | None = None) -> csr_array:
    """Conflict graph as a symmetric sparse matrix, built from the key index by counting, then filling.

    Parameters
    ----------
    access : AccessSets
    limit : int
        Most stored entries; a conflicting pair is two entries of 5 bytes.
    block : Block or EvmBlock, optional
        Only to name the hot key in an error.

    Returns
    -------
    (n_tx, n_tx) scipy.sparse.csr_array of bool
        True where two transactions conflict; no diagonal, indices sorted, no stored zeros.

    Raises
    ------
    TooLargeError
        If the graph could have more than `limit` entries: one key in m transactions makes up to m * m of them. Raised
        before anything is built.

    Notes
    -----
    O(sum over keys of conflicting pairs) time, spread over Numba's threads from about five million pairs on; the result
    does not depend on the number of threads.

    Examples
    --------
    >>> graph = conflict_graph(AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 2}], n_keys=2))
    >>> graph.astype(int).toarray()
    array([[0, 1, 0],
           [1, 0, 1],
           [0, 1, 0]])
    """
    return _as_scipy(*adjacency(access, limit=limit, block=block))


def adjacency(
    access: AccessSets, *, limit: int = GRAPH_LIMIT, block: AnyBlock | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """`conflict_graph` as bare CSR arrays: (n_tx + 1,) int64 offsets and int32 partners, ascending in each row."""
    need_access("access", access)
    if block is not None:
        need_block("block", block)
    limit = door.integer("limit", limit, 0, 2**62)
    index = KeyIndex.of(access)
    steps = _check_size(access, index, limit, block)
    n_tx = access.n_tx
    arrays = inputs(access.indptr, access.keys, access.modes, index.starts, index.tx)
    degree = np.zeros(n_tx, np.int64)
    cuts = _even_cuts(arrays, steps)
    if len(cuts) == 2:
        _k.count_rows(0, n_tx, *arrays, degree)
    else:
        _k.count_rows_parallel(cuts, *arrays, degree)
    indptr = np.zeros(n_tx + 1, np.int64)
    np.cumsum(degree, out=indptr[1:])
    indices = np.empty(indptr[-1], np.int32)
    if len(cuts) == 2:
        _k.fill_rows(0, n_tx, *arrays, *inputs(indptr), indices)
    else:
        _k.fill_rows_parallel(cuts, *arrays, *inputs(indptr), indices)
    return indptr, indices


def all_pairs_graph(access: AccessSets, *, limit: int = ALL_PAIRS_LIMIT) -> csr_array:
    """The graph of `conflict_graph`, by testing every pair: the naive construction, to compare with.

    Parameters
    ----------
    access : AccessSets
    limit : int
        Most transactions.

    Raises
    ------
    TooLargeError
        If there are more transactions than `limit`.

    Notes
    -----
    O(n_tx² * keys per transaction), one thread.
    """
    need_access("access", access)
    limit = door.integer("limit", limit, 0, 2**62)
    if access.n_tx > limit:
        pairs = access.n_tx * (access.n_tx - 1) // 2
        raise TooLargeError(
            f"all pairs of {access.n_tx:,} transactions are {pairs:,} tests: the limit is {limit:,} transactions; "
            "conflict_graph works from the key index"
        )
    degree = np.zeros(access.n_tx, np.int64)
    pairs, found = _k.all_pairs(*inputs(access.indptr, access.keys, access.modes), degree)
    indptr = np.zeros(access.n_tx + 1, np.int64)
    np.cumsum(degree, out=indptr[1:])
    indices = np.empty(indptr[-1], np.int32)
    _k.pairs_to_rows(*inputs(pairs), found, indptr[:-1].copy(), indices)
    return _as_scipy(indptr, indices)


def _as_scipy(indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> csr_array:
    from scipy.sparse import csr_array

    n_tx = len(indptr) - 1
    if indptr[-1] < 2**31:  # SciPy wants both index arrays of one type and copies otherwise
        indptr = indptr.astype(np.int32)
    graph = csr_array((np.ones(len(indices), np.bool_), indices, indptr), shape=(n_tx, n_tx))
    graph.has_canonical_format = True
    return graph


def _check_size(access: AccessSets, index: KeyIndex, limit: int, block: AnyBlock | None) -> int:
    """Steps that building takes, or a TooLargeError."""
    pairs = index.key_pairs
    steps = 2 * int(pairs.sum())
    bound = min(steps, access.n_tx * (access.n_tx - 1))
    if bound > limit:
        hot = int(np.argmax(pairs))
        raise TooLargeError(
            f"conflict graph of {access.n_tx:,} transactions: up to {bound:,} stored entries, the limit is {limit:,}; "
            f"the hottest key is {access.key_label(hot, block)} in {int(index.sizes[hot].sum()):,} transactions, "
            f"{2 * int(pairs[hot]):,} entries. The policy 'levels' and dependencies() are linear in accesses, "
            "conflict_counts() needs no graph"
        )
    return steps


def _even_cuts(arrays: tuple[NDArray[Any], ...], steps: int) -> NDArray[np.int64]:
    """Cut the transactions into one range per worker, of about equal work."""
    indptr, keys, modes, starts, _ = arrays
    n_tx = len(indptr) - 1
    n_workers = 1 if steps < _PARALLEL_FROM else numba.get_num_threads()
    if n_workers == 1:
        return np.array([0, n_tx])
    work = np.zeros(n_tx + 1, np.int64)
    _k.row_work(indptr, keys, modes, starts, work)
    np.cumsum(work, out=work)
    inner = np.searchsorted(work, work[-1] * np.arange(1, n_workers) // n_workers)
    return np.concatenate([[0], inner, [n_tx]]).astype(np.int64)


# -------------------------------------------------------------------- counting without a graph


def conflict_counts(access: AccessSets, *, work_limit: int = WORK_LIMIT, seed: int = 0) -> ConflictCounts:
    """Count conflicting pairs and their kinds from the key index; needs no graph, so a hot key does not stop it.

    Parameters
    ----------
    access : AccessSets
    work_limit : int
        Steps (about a nanosecond each) up to which the exact count is taken.
    seed : int in [0, 2**63)
        Of the sample that is drawn beyond that.

    Returns
    -------
    ConflictCounts
        With ``exact=False`` and a standard error if a million evenly drawn pairs had to stand for all; each count is
        then an unbiased estimate, rounded.

    Notes
    -----
    Pairs on the hottest keys (0 to 64 of them, whatever costs least) are counted by signature: transactions that access
    those keys alike form one class, and two classes are compared by a few bit operations. The other keys' pairs are
    looked at one by one; a stamp per transaction and the signatures keep a pair from counting twice.

    Examples
    --------
    >>> counts = conflict_counts(AccessSets.from_dicts([{0: 2}, {0: 3, 1: 2}, {1: 1}], n_keys=2))
    >>> counts.pairs, counts.ww, counts.rw, counts.wr, counts.rate
    (2, 1, 0, 2, 0.6666666666666666)
    """
    need_access("access", access)
    work_limit = door.integer("work_limit", work_limit, 0, 2**62)
    seed = door.integer("seed", seed, 0, 2**63 - 1)
    if access.n_tx < 2:
        return ConflictCounts(access.n_tx, 0, 0, 0, 0)
    index = KeyIndex.of(access)
    with np.errstate(over="ignore"):  # hashes wrap; that matters only where kernels run as plain Python
        plan = _Signatures.best(access, index)
        if plan.steps > work_limit:
            return _sampled(access, seed)
        counts = _count(access, index, plan)
    pairs, ww, rw, wr = counts.tolist()
    return ConflictCounts(access.n_tx, pairs, ww, rw, wr)


@dataclass(frozen=True, eq=False)
class _Signatures:
    """Which keys are counted by signature. hot (n_keys,) bool; signature (n_tx,) int32; distinct (n, 3) uint64."""

    steps: int
    hot: NDArray[np.bool_]
    signature: NDArray[np.int32]
    distinct: NDArray[np.uint64]

    @classmethod
    def best(cls, access: AccessSets, index: KeyIndex) -> _Signatures:
        """The number of hot keys with the fewest steps."""
        pairs = index.key_pairs
        total = int(pairs.sum())
        nobody = np.zeros(access.n_tx, np.int32), np.zeros((1, 3), np.uint64)
        best = cls(total, np.zeros(access.n_keys, np.bool_), *nobody)
        if total < _HOT_FROM:
            return best
        order = np.argsort(-pairs, kind="stable")[:64]
        slot = np.full(access.n_keys, -1, np.int8)
        slot[order] = np.arange(len(order))
        masks = np.zeros((access.n_tx, 3), np.uint64)
        _k.signatures(*inputs(access.indptr, access.keys, access.modes, slot), masks)
        for n_hot in (1, 2, 4, 8, 16, 32, 64):
            if n_hot > len(order):
                break
            cold = total - int(pairs[order[:n_hot]].sum())
            keep = U64(2**n_hot - 1)
            busy = int(np.count_nonzero((masks[:, 0] | masks[:, 1]) & keep))
            room = (best.steps - cold) // max(1, busy)
            signature, distinct = _group(masks, keep, max(0, min(room, busy)))
            if distinct is not None:
                hot = np.zeros(access.n_keys, np.bool_)
                hot[order[:n_hot]] = True
                best = cls(busy * len(distinct) + cold, hot, signature, distinct)
        return best


def _group(masks: NDArray[np.uint64], keep: np.uint64, room: int) -> tuple[NDArray[np.int32], NDArray[np.uint64] | None]:
    """Signature of each transaction and the distinct ones, None if there are more than `room`."""
    signature = np.zeros(len(masks), np.int32)
    distinct = np.zeros((room + 1, 3), np.uint64)
    table = np.full(1 << (2 * room + 2).bit_length(), -1, np.int32)
    known = _k.group_masks(*inputs(masks), keep, table, signature, distinct) if room > 0 else -1
    return signature, None if known < 0 else distinct[:known]


def _count(access: AccessSets, index: KeyIndex, plan: _Signatures) -> NDArray[np.int64]:
    n_workers = 1 if plan.steps < _PARALLEL_FROM else numba.get_num_threads()
    counts = np.zeros((n_workers, 4), np.int64)
    classes = inputs(plan.signature, plan.distinct)
    entries = inputs(access.indptr, access.keys, access.modes, index.starts, index.tx, index.modes, plan.hot)
    if n_workers == 1:
        _k.count_hot(0, 1, *classes, counts[0])
        _k.count_pairs(0, 1, *entries, *classes, counts[0])
    else:
        _k.count_hot_parallel(*classes, counts)
        _k.count_pairs_parallel(*entries, *classes, counts)
    return counts.sum(axis=0)


def _sampled(access: AccessSets, seed: int) -> ConflictCounts:
    counts = np.zeros(4, np.int64)
    _k.sample_pairs(U64(seed), _N_SAMPLES, *inputs(access.indptr, access.keys, access.modes), counts)
    possible = access.n_tx * (access.n_tx - 1) // 2
    share = counts[0] / _N_SAMPLES
    error = float(np.sqrt(share * (1 - share) / _N_SAMPLES))
    pairs, ww, rw, wr = (round(int(c) * possible / _N_SAMPLES) for c in counts)
    return ConflictCounts(access.n_tx, pairs, ww, rw, wr, exact=False, standard_error=error)
