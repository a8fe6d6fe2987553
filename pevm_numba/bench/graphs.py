"""Synthetic access sets that schedulers are compared on, and plain NumPy checks of what they return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import conflicts as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets
from ..machine.ops import Mode

__all__ = [
    "CASES", "EXECUTOR_CASES", "Rule", "csr_of_pairs", "first_wave_is_maximal", "is_colouring", "is_maximal_independent",
    "make_access", "pairs_of",
]  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """How the keys of a case are drawn: six a transaction, 40 % of them written; repeats are merged.

    Parameters
    ----------
    text : str
        For people.
    keys : float, optional
        Draws are uniform in so many keys a transaction; without it and without an exponent each key is drawn once.
    exponent : float, optional
        Draws follow Zipf's law, folded into 20 keys a transaction.
    hot_share : float
        Share of transactions that also write the hot key.
    hot_keys, hot_writes : int
        Every transaction also writes so many of so many hot keys.
    """

    text: str
    keys: float | None = None
    exponent: float | None = None
    hot_share: float = 0.0
    hot_keys: int = 0
    hot_writes: int = 0


#: Cases that schedulers are compared on.
CASES: Final = {
    "low": Rule("keys uniform in 20 n", 20),
    "mid": Rule("keys uniform in 2 n", 2),
    "zipf": Rule("keys by Zipf's law, exponent 1.2, folded into 20 n", exponent=1.2),
    "hot30": Rule("low, and one key written by 30 % of transactions", 20, hot_share=0.3),
    "many-hot": Rule("low, and each transaction writes 8 of 20 hot keys", 20, hot_keys=20, hot_writes=8),
}

#: Cases that executors are compared on.
EXECUTOR_CASES: Final = {
    "independent": Rule("no key twice"),
    "low": CASES["low"],
    "mid": CASES["mid"],
    "zipf 1.1": Rule("keys by Zipf's law, exponent 1.1", exponent=1.1),
    "zipf 1.5": Rule("keys by Zipf's law, exponent 1.5", exponent=1.5),
    "hot 25 %": Rule("low, and one key written by 25 % of transactions", 20, hot_share=0.25),
    "hot 75 %": Rule("low, and one key written by 75 % of transactions", 20, hot_share=0.75),
    "chain": Rule("one key written by all", hot_share=1.0),
}

_DRAWS: Final = 6
_WRITE_SHARE: Final = 0.4


def make_access(case: str, n_tx: int, seed: int = 42) -> AccessSets:
    """Access sets of one of the `CASES` or `EXECUTOR_CASES`.

    Parameters
    ----------
    case : str
    n_tx : int
        At least 1.
    seed : int

    Returns
    -------
    AccessSets
        READ and WRITE only; keys numbered densely in the order of their first draw.

    Raises
    ------
    BlockError
        If the case is unknown or a number out of range.

    Examples
    --------
    >>> make_access("mid", 1000)
    <AccessSets: 1,000 txs, 5,992 accesses, 1,885 keys>
    """
    rules = EXECUTOR_CASES | CASES
    door.choice("case", case, rules)
    n_tx = door.integer("n_tx", n_tx, 1, 10_000_000)
    rng = np.random.default_rng(door.integer("seed", seed, 0, 2**64 - 1))
    rule, shape = rules[case], (n_tx, _DRAWS)
    if rule.exponent is not None:
        drawn = rng.zipf(rule.exponent, shape) % (20 * n_tx)
    elif rule.keys is not None:
        drawn = rng.integers(0, int(rule.keys * n_tx), shape)
    else:
        drawn = np.arange(_DRAWS * n_tx).reshape(shape)
    writes = rng.random(shape) < _WRITE_SHARE
    tx = np.repeat(np.arange(n_tx), _DRAWS)
    if rule.hot_share or rule.hot_keys:
        hot, key = _hot_writes(rule, n_tx, rng)
        tx = np.concatenate([tx, hot])
        drawn = np.concatenate([drawn.ravel(), 20 * n_tx + key])
        writes = np.concatenate([writes.ravel(), np.ones(len(hot), bool)])
        order = np.argsort(tx, kind="stable")
        tx, drawn, writes = tx[order], drawn[order], writes[order]
    ids, n_keys = _in_order_of_first(drawn.ravel())
    entry, place = np.unique(tx * n_keys + ids, return_inverse=True)
    modes = np.zeros(len(entry), np.uint8)
    np.bitwise_or.at(modes, place.ravel(), np.where(writes.ravel(), Mode.WRITE, Mode.READ).astype(np.uint8))
    indptr = np.searchsorted(entry, np.arange(n_tx + 1) * n_keys)
    return AccessSets.from_arrays(n_keys, indptr, entry % n_keys, modes)


def _hot_writes(rule: Rule, n_tx: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(transaction, number of the hot key) of each write that the rule adds."""
    if rule.hot_share:
        hot = np.flatnonzero(rng.random(n_tx) < rule.hot_share)
        return hot, np.zeros(len(hot), np.int64)
    chosen = np.argsort(rng.random((n_tx, rule.hot_keys)), axis=1)[:, : rule.hot_writes]
    return np.repeat(np.arange(n_tx), rule.hot_writes), chosen.ravel()


def _in_order_of_first(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    _, first, place = np.unique(values, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[place.ravel()], len(first)


def pairs_of(indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n_pairs, 2) int32: the pairs i < j of a symmetric CSR, in lexicographic order: what a library of graphs is given."""
    row = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))
    upper = row < indices
    return np.stack([row[upper], indices[upper]], axis=1)


def csr_of_pairs(n_tx: int, pairs: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The symmetric CSR of pairs that are in lexicographic order: our graph, from what the libraries are given.

    Examples
    --------
    >>> indptr, indices = csr_of_pairs(3, np.array([[0, 1], [1, 2]], np.int32))
    >>> indptr.tolist(), indices.tolist()
    ([0, 1, 3, 4], [1, 0, 2, 1])
    """
    indptr = np.zeros(n_tx + 1, np.int64)
    np.cumsum(np.bincount(pairs.ravel(), minlength=n_tx), out=indptr[1:])
    indices = np.empty(2 * len(pairs), np.int32)
    _k.pairs_to_rows(*inputs(pairs), len(pairs), indptr[:-1].copy(), indices)
    return indptr, indices


def is_colouring(pairs: NDArray[np.int32], colour: NDArray[np.int64]) -> bool:
    """Whether no pair has both ends of one colour."""
    return bool((colour[pairs[:, 0]] != colour[pairs[:, 1]]).all())


def is_maximal_independent(n_tx: int, pairs: NDArray[np.int32], members: NDArray[np.int64]) -> bool:
    """Whether no pair lies within `members` and whoever is outside has a partner inside."""
    inside = np.zeros(n_tx, bool)
    inside[members] = True
    a, b = inside[pairs[:, 0]], inside[pairs[:, 1]]
    covered = inside.copy()
    covered[pairs[a, 1]] = True
    covered[pairs[b, 0]] = True
    return not (a & b).any() and bool(covered.all())


def first_wave_is_maximal(access: AccessSets, members: NDArray[np.int32]) -> bool:
    """Whether every transaction outside `members` conflicts with one inside; linear, without a graph. No CREDITs."""
    tx = np.repeat(np.arange(access.n_tx), np.diff(access.indptr))
    inside = np.zeros(access.n_tx, bool)
    inside[members] = True
    write = access.modes != Mode.READ
    touched, written = np.zeros(access.n_keys, bool), np.zeros(access.n_keys, bool)
    touched[access.keys[inside[tx]]] = True
    written[access.keys[inside[tx] & write]] = True
    meets = written[access.keys] | (write & touched[access.keys])
    return bool((inside | (np.bincount(tx[meets], minlength=access.n_tx) > 0)).all())
