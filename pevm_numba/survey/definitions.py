"""Dependencies of real blocks by definition: most differences between published figures are differences of definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..access.oracles import access_sets
from ..access.sets import AccessSets
from ..access.view import select
from ..block import Block
from ..execute.run import execute
from ..machine.ops import Mode
from ..schedule.check import check_schedule
from ..schedule.conflicts import adjacency
from ..schedule.dependencies import dependencies
from ..schedule.policies import schedule

__all__ = ["DEFINITIONS", "Definition", "chain_gas", "definition_row", "misordered_pairs", "net_access"]


def _static(block: Block) -> AccessSets:
    return access_sets(block)


def net_access(block: Block) -> AccessSets:
    """Access sets by net changes: every key touched is READ, and WRITTEN too if its value differs after the transaction.

    CREDITs stay, so this is not for executors: it is the definition by which others have counted chains of real blocks.
    """
    done = execute(block, "serial", record="changes")
    seen, changes = done.observed, done.changes
    assert changes is not None  # asked for
    tx = [np.repeat(np.arange(block.n_tx), np.diff(part)) for part in (seen.indptr, changes.indptr)]
    changed = np.isin(tx[0] * block.n_keys + seen.keys, tx[1] * block.n_keys + changes.keys)
    modes = seen.modes.copy()
    writes = (modes & Mode.WRITE) > 0
    modes[writes] = np.where(changed[writes], Mode.READ | Mode.WRITE, Mode.READ)
    return AccessSets.from_arrays(seen.n_keys, seen.indptr, seen.keys, modes)


@dataclass(frozen=True)
class Definition:
    """Which dependencies count: arguments of `select`, the kind of edges, and where the accesses come from.

    `slug` is its name in names of columns.
    """

    name: str
    slug: str
    fields: tuple[str, ...] | None = None
    fee_recipient: str = "commutative"
    granularity: str = "slot"
    edges: str = "all"
    source: Callable[[Block], AccessSets] = _static

    def access(self, block: Block) -> AccessSets:
        """The access sets of a block by this definition."""
        chosen: dict[str, Any] = {"granularity": self.granularity, "fee_recipient": self.fee_recipient}
        if self.fee_recipient == "ignored" and block.header.fee_recipient is None:
            chosen["fee_recipient"] = "commutative"  # then there are no fees to leave out, as in a block without transactions
        return select(self.source(block), block, fields=self.fields, **chosen)


#: The definitions of the table, from least to most dependencies, read-after-write ones first.
DEFINITIONS: Final = (
    Definition("storage, RAW of net changes", "storage_net_raw", ("storage",), edges="raw", source=net_access),
    Definition("storage, RAW", "storage_raw", ("storage",), edges="raw"),
    Definition("everything, RAW", "raw", edges="raw"),
    Definition("storage", "storage", ("storage",)),
    Definition("storage and balances, no fee recipient", "storage_balance", ("storage", "balance"), "ignored"),
    Definition("everything, credits commute", "all"),
    Definition("everything, credits plain", "plain", fee_recipient="plain"),
    Definition("accounts, credits commute", "account", granularity="account"),
)


def chain_gas(block: Block) -> NDArray[np.int64] | None:
    """Gas used by the chain, if it is known of every transaction: of a sum or a path it is not known otherwise."""
    gas = block.chain_gas_used
    return None if gas is None or (gas < 0).any() else gas


def misordered_pairs(access: AccessSets, order: NDArray[np.int32]) -> tuple[int, int]:
    """Conflicting pairs that `order` runs the other way round than the block, and all conflicting pairs; exact.

    Parameters
    ----------
    access : AccessSets
    order : (n_tx,) int32
        A serial order.

    Raises
    ------
    TooLargeError
        If the conflict graph is over its limit.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2}, {0: 2, 1: 2}, {1: 2}], n_keys=2)
    >>> misordered_pairs(access, np.array([0, 2, 1], np.int32))
    (1, 2)
    """
    indptr, indices = adjacency(access)
    position = np.empty(access.n_tx, np.int64)
    position[order] = np.arange(access.n_tx)
    row = np.repeat(np.arange(access.n_tx), np.diff(indptr))
    swapped = (row < indices) & (position[row] > position[indices])
    return int(swapped.sum()), len(indices) // 2


def definition_row(block: Block, definition: Definition) -> dict[str, Any]:
    """Critical paths, waves and what independent sets would do to the order, of one block by one definition.

    Returns
    -------
    dict
        `path_txs`, `path_gas` (critical paths; gas null where the chain's is unknown of any transaction), `work_span_txs`,
        `work_span_gas` (totals over them), and for ``edges="all"`` `levels_waves`, `mis_waves`, `pairs` (conflicting),
        `misordered` (of these, run in the wrong order if the block were validated by mis).

    Raises
    ------
    ScheduleError
        If a schedule is not valid for its own order.
    """
    access = definition.access(block)
    deps = dependencies(access, edges=definition.edges)
    gas = chain_gas(block)
    path, heaviest = deps.critical_path()[0], None if gas is None else deps.critical_path(gas)[0]
    row: dict[str, Any] = {
        "table": "definitions", "definition": definition.name, "block_number": block.number, "n_tx": block.n_tx,
        "path_txs": path, "path_gas": heaviest, "work_span_txs": block.n_tx / path if path else None,
        "work_span_gas": float(gas.sum()) / heaviest if gas is not None and heaviest else None,
        "levels_waves": None, "mis_waves": None, "pairs": None, "misordered": None,
    }  # fmt: skip
    if definition.edges == "all":
        levels, mis = schedule(access, block=block), schedule(access, "mis", block=block)
        check_schedule(levels, access, block=block)
        check_schedule(mis, access, block=block)
        row["levels_waves"], row["mis_waves"] = levels.n_waves, mis.n_waves
        row["misordered"], row["pairs"] = misordered_pairs(access, mis.serial_order)
    return row
