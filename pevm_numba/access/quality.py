"""How good an estimate is, in two currencies: accesses, and conflicting pairs, which are what a schedule needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import access as _k
from .._kernels.jit import inputs
from ..errors import BlockError
from ..keys import KeyTable
from .sets import AccessSets, need_access
from .view import merged

__all__ = ["Accuracy", "StorageQuality", "accuracy", "storage_quality", "with_common_keys"]


@dataclass(frozen=True)
class Accuracy:
    """Precision and recall of estimated access sets, micro-averaged over the block; 1.0 if there is nothing to count.

    Parameters
    ----------
    precision, recall : float in [0, 1]
        Of (transaction, key, mode bit).
    pair_precision, pair_recall : float in [0, 1] or None
        Of conflicting pairs of transactions, each pair counted once however many keys it conflicts on.
    pairs_reason : str or None
        Why the pair figures are None.
    n_estimated, n_true, n_common : int
        Numbers of (transaction, key, mode bit).
    """

    precision: float
    recall: float
    pair_precision: float | None
    pair_recall: float | None
    pairs_reason: str | None
    n_estimated: int
    n_true: int
    n_common: int


def accuracy(estimate: AccessSets, truth: AccessSets, *, max_pairs: int = 5_000_000) -> Accuracy:
    """Compare estimated access sets with true ones.

    Parameters
    ----------
    estimate, truth : AccessSets
        Of the same transactions, and of the same keys or each with a `table` of them.
    max_pairs : int in [0, 2**31)
        Conflicting pairs, summed over keys, beyond which (in either) the pair figures are not worked out: one key in m
        transactions makes up to m**2 / 2 of them.

    Raises
    ------
    BlockError
        If the two differ in transactions or keys.

    Notes
    -----
    Linear in accesses; the pair figures O(P log P) for P pairs, 16 bytes each.

    Examples
    --------
    >>> truth = AccessSets.from_dicts([{0: 2}, {0: 1, 1: 2}, {1: 1}], n_keys=2)
    >>> guess = AccessSets.from_dicts([{0: 2}, {0: 1}, {1: 1}], n_keys=2)
    >>> result = accuracy(guess, truth)
    >>> result.precision, result.recall, result.pair_precision, result.pair_recall
    (1.0, 0.75, 1.0, 0.5)
    """
    need_access("estimate", estimate)
    need_access("truth", truth)
    estimate, truth = with_common_keys(estimate, truth)
    if estimate.table != truth.table:
        raise BlockError("estimate with other keys than the truth: both must have a table, of slots or of whole accounts")
    if (estimate.n_tx, estimate.n_keys) != (truth.n_tx, truth.n_keys):
        text = f"{estimate.n_tx} transactions and {estimate.n_keys} keys"
        raise BlockError(f"estimate of {text}: must be of the truth's {truth.n_tx} and {truth.n_keys}")
    max_pairs = door.integer("max_pairs", max_pairs, 0, 2**31 - 1)
    given = inputs(estimate.indptr, estimate.keys, estimate.modes, truth.indptr, truth.keys, truth.modes)
    counts = tuple(int(n) for n in _k.compare_sets(*given))
    pairs: list[NDArray[np.int64]] = []
    reason = None
    for name, sets in (("estimate", estimate), ("truth", truth)):
        found, problem = _pairs(name, sets, max_pairs)
        if found is None:
            reason = problem
            break
        pairs.append(found)
    pair_precision = pair_recall = None
    if reason is None:
        common = len(np.intersect1d(pairs[0], pairs[1], assume_unique=True))
        pair_precision, pair_recall = _share(common, len(pairs[0])), _share(common, len(pairs[1]))
    return Accuracy(
        _share(counts[2], counts[0]), _share(counts[2], counts[1]), pair_precision, pair_recall, reason, *counts
    )


def with_common_keys(first: AccessSets, second: AccessSets) -> tuple[AccessSets, AccessSets]:
    """Both over one table of keys, if each has one and they differ; else as they are.

    Examples
    --------
    >>> tables = [KeyTable.from_keys([(bytes(20), 0, slot) for slot in slots]) for slots in ((5,), (4, 5))]
    >>> one = AccessSets(1, np.array([0, 1]), np.array([0], np.int32), np.array([2], np.uint8), tables[0])
    >>> two = AccessSets(2, np.array([0, 1]), np.array([1], np.int32), np.array([2], np.uint8), tables[1])
    >>> [sets[0] for sets in with_common_keys(one, two)]
    [{0: <Mode.WRITE: 2>}, {0: <Mode.WRITE: 2>}]
    """
    one, two = first.table, second.table
    if one is None or two is None or one == two or one.whole != two.whole:
        return first, second
    address, field, slot = (
        np.concatenate(pair) for pair in ((one.address, two.address), (one.field, two.field), (one.slot, two.slot))
    )
    ids, kept = door.intern_rows(address, field, slot)
    table = KeyTable(address[kept], field[kept], slot[kept], one.whole)
    made = []
    for sets, numbers in ((first, ids[: len(one)]), (second, ids[len(one) :])):
        over = merged(len(table), (sets.indptr, numbers[sets.keys], sets.modes))
        made.append(AccessSets.trusted(over.n_keys, over.indptr, over.keys, over.modes, sets.exact_for, table))
    return made[0], made[1]


class StorageQuality(NamedTuple):
    """How well storage is predicted: keys said, keys touched, hits; calls of which all touched keys were said."""

    keys: int
    touched: int
    hits: int
    whole: int

    @property
    def precision(self) -> float:
        """Hits of keys; 1.0 if there are none."""
        return _share(self.hits, self.keys)

    @property
    def recall(self) -> float:
        """Hits of touched keys; 1.0 if there are none."""
        return _share(self.hits, self.touched)


def storage_quality(
    predicted: Iterable[Mapping[tuple[bytes, int], tuple[float, bool]]], touched: Iterable[Mapping[tuple[bytes, int], bool]],
    threshold: float = 0.5,
) -> StorageQuality:  # fmt: skip
    """Compare the storage that calls are predicted to touch with what they touch.

    Parameters
    ----------
    predicted : iterable of mapping of (address, slot) to (chance, whether written)
        One a call.
    touched : iterable of mapping of (address, slot) to whether written
        One a call.
    threshold : float in [0, 1]
        Chance from which on a key counts as said.

    Examples
    --------
    >>> found = storage_quality([{(b"a", 5): (0.9, True), (b"a", 6): (0.2, False)}], [{(b"a", 5): True, (b"a", 6): False}])
    >>> found, found.precision, found.recall
    (StorageQuality(keys=1, touched=2, hits=1, whole=0), 1.0, 0.5)
    """
    keys = n_touched = hits = whole = 0
    for said, true in zip(predicted, touched, strict=True):
        likely = {key for key, (chance, _) in said.items() if chance >= threshold}
        hits, keys, n_touched = hits + len(likely & true.keys()), keys + len(likely), n_touched + len(true)
        whole += true.keys() <= likely
    return StorageQuality(keys, n_touched, hits, whole)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _pairs(name: str, sets: AccessSets, max_pairs: int) -> tuple[NDArray[np.int64] | None, str | None]:
    """Distinct conflicting pairs as i * 2**32 + j, ascending, or None and the reason."""
    n = sets.n_accesses
    key_indptr, tx, mode = np.zeros(sets.n_keys + 1, np.int64), np.empty(n, np.int32), np.empty(n, np.uint8)
    _k.group_by_key(*inputs(sets.indptr, sets.keys, sets.modes), sets.n_keys, key_indptr, tx, mode)
    per_key = np.empty(sets.n_keys, np.int64)
    index = inputs(key_indptr, tx, mode)
    _k.count_pairs(index[0], index[2], per_key)
    total = int(per_key.sum())
    if total > max_pairs:
        hot = int(np.argmax(per_key))
        return None, f"{name} has {total} conflicting pairs, {per_key[hot]} of them on key {hot}: more than {max_pairs}"
    out = np.empty(total, np.int64)
    _k.fill_pairs(*index, out)
    return np.unique(out), None
