"""Costs of transactions as float64: a cost in gas is not a cost in time, and a guess from access counts is neither."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..access.sets import AccessSets
from ..errors import BlockError
from ..evm.block import AnyBlock, EvmBlock
from ..programs import op_counts

__all__ = ["COSTS", "cost_of", "costs", "total_of"]

#: Names of costs; gas as charged here and nanoseconds are known only by running the block: see
#: `pevm_numba.execute.costs.transaction_costs`.
COSTS: Final = ("unit", "accesses", "ops", "gas", "chain-gas", "ns")
# A little below the last float64, 1.797e308: room for the rounding of any order of adding.
_TOO_MUCH: Final = 1.79e308


def costs(cost: ArrayLike | None, n_tx: int, name: str = "cost") -> NDArray[np.float64]:
    """Checked costs as float64, called `name` in errors; 1 each if None.

    Raises
    ------
    BlockError
        Unless n_tx finite numbers that are not negative.

    Examples
    --------
    >>> costs([3, 2], 2).tolist(), costs(None, 2).tolist()
    ([3.0, 2.0], [1.0, 1.0])
    """
    if cost is None:
        return np.ones(n_tx)
    try:
        given = np.asarray(cost)
    except (ValueError, TypeError, OverflowError) as error:
        raise BlockError(f"{name}: not an array of numbers: {error}") from None
    if given.shape != (n_tx,) or (given.dtype.kind not in "iuf" and n_tx):
        raise BlockError(f"{name} has shape {given.shape}, dtype {given.dtype}: must be ({n_tx},) integers or floats")
    with np.errstate(over="ignore"):  # a longdouble beyond float64 becomes inf, which is refused
        weight = given.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(bad):
        raise BlockError(f"{name}[{bad[0]}] = {given[bad[0]]!s}: must be finite and not negative")
    return weight


def total_of(weight: NDArray[np.float64], name: str = "cost") -> float:
    """Sum of checked costs, called `name` in errors.

    Raises
    ------
    BlockError
        If it is 1.79e308 or more: some sum of the same costs, in another order, could then round up to infinity.

    Examples
    --------
    >>> total_of(costs([3, 2], 2))
    5.0
    """
    with np.errstate(over="ignore"):
        total = float(weight.sum())
    if not total < _TOO_MUCH:
        raise BlockError(f"{name} adds up to {total:g}: must be below {_TOO_MUCH:g}")
    return total


def cost_of(cost: ArrayLike | str | None, access: AccessSets, block: AnyBlock | None) -> NDArray[np.float64]:
    """Checked costs as float64, from numbers or from a name.

    Parameters
    ----------
    cost : (n_tx,) integers or floats, str or None
        None and ``"unit"``: 1 each. ``"accesses"``: distinct keys + 1. ``"ops"``: micro-ops + 1, a NOOP n counted as n.
        ``"chain-gas"``: the chain's gas, where the block carries it.
    access : AccessSets
    block : Block or None

    Raises
    ------
    BlockError
        If the numbers are not as described, the name is unknown, or the block does not tell such a cost: then it is
        `transaction_costs` that makes it.

    Examples
    --------
    >>> access = AccessSets.from_dicts([{0: 2, 1: 1}, {}], n_keys=2)
    >>> cost_of("accesses", access, None).tolist()
    [3.0, 1.0]
    """
    if not isinstance(cost, str):
        return costs(cost, access.n_tx)
    door.choice("cost", cost, COSTS)
    if cost == "unit":
        return np.ones(access.n_tx)
    if cost == "accesses":
        return (np.diff(access.indptr) + 1).astype(np.float64)
    if cost in ("gas", "ns"):
        raise _unknown(cost, "known only by running the block")
    if block is None:
        raise BlockError(f"cost = {cost!r}: access sets alone do not tell it: give the block, too")
    if cost == "ops":
        if isinstance(block, EvmBlock):
            raise BlockError(f"cost = {cost!r}: an EVM block has no micro-ops")
        return (op_counts(block.op_indptr, block.op_code, block.op_arg) + 1).astype(np.float64)
    gas = block.chain_gas_used
    if gas is None or (gas < 0).any():
        where = "" if gas is None else f" of transaction {int(np.argmax(gas < 0))}"
        raise BlockError(f"cost = {cost!r}: the block does not know the chain's gas{where}: see transaction_costs(block)")
    return costs(gas, access.n_tx)


def _unknown(cost: str, why: str) -> BlockError:
    return BlockError(f"cost = {cost!r}: {why}: give numbers, as transaction_costs(block, {cost!r}) makes them")
