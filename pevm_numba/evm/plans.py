"""Which transaction of a block may run when: a plan decides how fast it goes, never what comes out."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm import layout
from .._kernels.evm.blocks import FLOW, LISTED, SERIAL, WAVES
from ..keys import KeyTable
from ..machine.ops import Field
from .outcomes import dtype_of

__all__ = ["CELLS", "Plan", "flow_plan", "listed_plan", "serial_plan", "waves_plan"]

#: Records of changes as NumPy sees them.
CELLS: Final = dtype_of(layout.CELL)

#: By `Mode` bits.
_READS, _ADDS, _BOTH = layout.READS, layout.ADDS, layout.READS | layout.ADDS
_ALL: Final = (1 << layout.DECLARED_BITS) - 1
_DECLARED: Final = np.array([0, _READS, _BOTH, _BOTH, _ADDS, _BOTH, _BOTH, _BOTH])


class Plan(NamedTuple):
    """Which transaction may run when.

    `order` is the order of claiming (empty: whoever is ready, the first by `ranks`); a transaction runs when `starts` of them
    are done and the `awaited` ones before it. `followers` is a CSR of who waits for it. `cells` are those of an access list.
    `declared_at` and `declared` are a CSR of what each transaction is taken to access (`knowing`), or empty; `credited` is a
    key to which most add and which nobody reads, or -1. Keys are places among those that the engine was made with.
    With a `window`, which needs block order as ranks, none runs further ahead of what stands: it shrinks when results do not
    stand, and grows again.
    """

    mode: int
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    ranks: NDArray[np.int64]
    followers_at: NDArray[np.int64]
    followers: NDArray[np.int64]
    awaited: NDArray[np.int64]
    declared_at: NDArray[np.int64]
    declared: NDArray[np.int64]
    cells: NDArray[Any]
    window: int = 0
    credited: int = -1

    def knowing(
        self, indptr: NDArray[np.int64], keys: NDArray[np.int64], modes: NDArray[np.uint8], table: KeyTable
    ) -> Plan:
        """The same plan, which is said to put in block order all who conflict, if they access no more than these keys.

        Nothing need be looked at again while they keep to that. `keys` are places in the table; `modes` are `Mode` bits.
        """
        declared = _DECLARED[modes]
        users, credits = np.bincount(keys), np.bincount(keys[declared == _ADDS], minlength=keys.max(initial=-1) + 1)
        only = np.where(credits == users, credits, 0)
        credited = int(only.argmax()) if only.max(initial=0) > 1 else -1
        quiet = ~self._may_go(table, keys[(declared == _BOTH) & (table.field[keys] == Field.CODE)])[keys] & (users[keys] == 1)
        declared |= np.where(quiet | (keys == credited), layout.QUIET, 0)
        declared |= keys << layout.DECLARED_BITS
        return self._replace(declared_at=indptr.astype(np.int64), declared=declared, credited=credited)

    @staticmethod
    def _may_go(table: KeyTable, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether a key is a slot of an account whose code is said to change: who destroys it looks at all its slots."""
        changed = np.isin(table.address.view("V20").ravel(), table.address[codes].view("V20").ravel())
        return changed & (table.field == Field.STORAGE)

    def declared_by(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
        """`declared` and `credited` with the numbers of the keys in place of their places."""
        credited = int(numbers[self.credited]) if self.credited >= 0 else -1
        return (numbers[self.declared >> layout.DECLARED_BITS] << layout.DECLARED_BITS) | (self.declared & _ALL), credited


def _plan(mode: int, n_tx: int, **fields: Any) -> Plan:
    zeros, nothing = np.zeros(n_tx, np.int64), np.empty(0, np.int64)
    filled: dict[str, Any] = {
        "order": nothing, "starts": zeros, "ranks": np.arange(n_tx), "followers_at": np.zeros(n_tx + 1, np.int64),
        "followers": nothing, "awaited": zeros, "declared_at": nothing, "declared": nothing, "cells": np.empty(0, CELLS),
    }  # fmt: skip
    return Plan(mode, **(filled | fields))


def serial_plan(n_tx: int) -> Plan:
    """One after the other, on one core."""
    return _plan(SERIAL, n_tx)


def flow_plan(indptr: NDArray[np.int64], indices: NDArray[Any], ranks: NDArray[np.int64] | None = None) -> Plan:
    """Whoever waits for nobody; `indices` are the transactions that each one waits for, nobody for himself in the end.

    Examples
    --------
    >>> plan = flow_plan(np.array([0, 0, 0, 2]), np.array([0, 1]))
    >>> plan.awaited.tolist(), plan.followers_at.tolist(), plan.followers.tolist()
    ([0, 0, 2], [0, 1, 2, 2], [2, 2])
    """
    n_tx = len(indptr) - 1
    waiting = np.repeat(np.arange(n_tx), np.diff(indptr))
    by = np.argsort(indices, kind="stable")
    at = np.concatenate([[0], np.cumsum(np.bincount(indices, minlength=n_tx))]).astype(np.int64)
    fields = {"followers_at": at, "followers": waiting[by].astype(np.int64), "awaited": np.diff(indptr).astype(np.int64)}
    return _plan(FLOW, n_tx, ranks=np.arange(n_tx) if ranks is None else ranks.astype(np.int64), **fields)


def waves_plan(wave_of: NDArray[Any]) -> Plan:
    """Wave after wave: nobody begins one before all of the last have run.

    Examples
    --------
    >>> plan = waves_plan(np.array([0, 1, 0]))
    >>> plan.order.tolist(), plan.starts.tolist()
    ([0, 2, 1], [0, 2, 0])
    """
    order = np.argsort(wave_of, kind="stable").astype(np.int64)
    first = np.searchsorted(wave_of[order], wave_of).astype(np.int64)
    return _plan(WAVES, len(wave_of), order=order, starts=first)


def listed_plan(cost: NDArray[Any], cells: NDArray[Any]) -> Plan:
    """All at once, who is said to cost most first: `cells` say what every transaction makes of which key (`CELLS`).

    Examples
    --------
    >>> listed_plan(np.array([1, 3, 3]), np.empty(0, CELLS)).order.tolist()
    [1, 2, 0]
    """
    return _plan(LISTED, len(cost), order=np.argsort(-cost, kind="stable").astype(np.int64), cells=cells)
