"""How sure it is that a call touches a key which a pattern gives: a logistic model, learned block after block.

Its coefficients are a mean and a precision (Gaussian); each block moves them to where its outcomes and what was known before
are likeliest together (Laplace's approximation). So it needs no past, and a fixed order of blocks gives the same model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ADDRESS_KINDS", "FEATURES", "SLOT_KINDS", "Trust", "chances", "log_odds"]

#: What a slot derives from, and a contract's address.
SLOT_KINDS: Final = ("constant", "hash", "role", "mapping")
ADDRESS_KINDS: Final = ("const", "callee", "word", "pool", "each")

#: What the chance depends on, and what is assumed of it before anything was learned.
FEATURES: Final[dict[str, float]] = {
    "always": 0.0,
    # the pattern's own record, and that of others where it has none
    "hits against misses, log": 1.0, "no call yet": 0.0, "its kind's hits against misses, by call": 0.0,
    "of late": 0.0, **{f"of late, address {kind}": 0.0 for kind in ("const", "word", "callee")},
    **dict.fromkeys(SLOT_KINDS, 0.0), "two steps": 0.0, "an exchange's": 0.0, "anywhere in the data": 0.0,
    **{f"address {kind}": 0.0 for kind in ADDRESS_KINDS},
    **{f"{slot} of {address}": 0.0 for slot in SLOT_KINDS for address in ("const", "word", "callee")},
    "layout unknown": -1.0,
    # the key
    **{f"familiar {level}": 0.0 for level in range(4)},
    "never touched": 0.0, "never touched, though its contract was": 0.0,
    "blocks since it was touched, log": 0.0, "blocks since its contract was, log": 0.0,
    # its company
    "patterns of its kind, log": 0.0, "patterns that give it, log": 0.0,
    "keys of the call, log": 0.0, "the group's hits against misses, log": 0.0, "the group's calls, log": 0.0,
    "the selector's hits against misses, log": 0.0,
}  # fmt: skip

#: How sure the assumptions are: few blocks should not move them far.
_PRECISION: Final = 3.0
#: What is known for certain stays below this; the steps taken for a block.
_MOST, _STEPS = 30.0, 4


def log_odds(hits: NDArray[np.float64], misses: NDArray[np.float64], few: float) -> NDArray[np.float64]:
    """Logarithm of hits against misses, as if there had been a few more of each.

    Examples
    --------
    >>> log_odds(np.array([0.0, 9.0]), np.array([0.0, 0.0]), 1.0).round(3).tolist()
    [0.0, 2.303]
    """
    return np.log((hits + few) / (misses + few))


def chances(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chances by the logistic function of scores, kept from 0 and 1.

    Examples
    --------
    >>> chances(np.array([-1e9, 0.0])).round(3).tolist()
    [0.0, 0.5]
    """
    return 1 / (1 + np.exp(-np.clip(scores, -_MOST, _MOST)))


def _initial() -> NDArray[np.float64]:
    return np.array(list(FEATURES.values()))


@dataclass
class Trust:
    """Coefficients of `FEATURES`: their mean (n,), and precision (n, n).

    Examples
    --------
    >>> trust = Trust()
    >>> rows = np.zeros((40, len(FEATURES)))
    >>> rows[:, 0], rows[:30, 1] = 1, 1
    >>> trust.learn(rows, np.arange(40) < 30, np.ones(40))
    >>> (trust.chances(rows[[0, 39]]) > 0.5).tolist()
    [True, False]
    """

    mean: NDArray[np.float64] = field(default_factory=_initial)
    precision: NDArray[np.float64] = field(default_factory=lambda: _PRECISION * np.eye(len(FEATURES)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Trust)
            and np.array_equal(self.mean, other.mean) and np.array_equal(self.precision, other.precision)
        )  # fmt: skip

    def chances(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Chance of each row of features, (n,)."""
        return chances(rows @ self.mean)

    def learn(self, rows: NDArray[np.float64], hits: NDArray[np.bool_], weights: NDArray[np.float64]) -> None:
        """Learn from rows of features, whether each was a hit, and how much each counts: less where one cause had many."""
        if not len(rows):
            return
        before, was, want = self.precision, self.mean, hits.astype(np.float64)

        def cost(mean: NDArray[np.float64]) -> float:
            scores, moved = rows @ mean, mean - was
            return float(weights @ (np.logaddexp(0, scores) - want * scores) + moved @ before @ moved / 2)

        mean, least = was, cost(was)
        for _ in range(_STEPS):
            found = chances(rows @ mean)
            slope = rows.T @ (weights * (found - want)) + before @ (mean - was)
            step = np.linalg.solve(self._bend(rows, found, weights), slope)
            for share in (1.0, 0.5, 0.25, 0.125):  # a whole step may be too far
                if (reached := cost(mean - share * step)) < least:
                    mean, least = mean - share * step, reached
                    break
            else:
                break
        self.mean = mean
        self.precision = self._bend(rows, self.chances(rows), weights)

    def _bend(
        self, rows: NDArray[np.float64], found: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        bent: NDArray[np.float64] = (rows * (weights * found * (1 - found))[:, None]).T @ rows + self.precision
        return (bent + bent.T) / 2  # products of matrices are symmetric but for rounding
