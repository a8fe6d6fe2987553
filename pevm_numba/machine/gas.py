"""Gas prices as data: a fork is one int64 array, passed into every kernel, never a constant compiled into one.

Prices belong to *fields*: only storage slots (field 0) cost gas; balances, nonces and code are bookkeeping of real traces.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import BlockError

__all__ = ["FORKS", "GasItem", "GasSchedule", "gas_schedule"]


class GasItem(IntEnum):
    """Position of each price in `GasSchedule.costs`."""

    INTRINSIC = 0
    LIST_ADDRESS = 1
    LIST_KEY = 2
    COLD_LOAD = 3
    WARM_ACCESS = 4
    COLD_STORE = 5
    STORE_SET = 6
    STORE_RESET = 7
    CLEAR_REFUND = 8
    REFUND_QUOTIENT = 9
    SENTRY = 10
    ARITHMETIC = 11
    KECCAK = 12
    KECCAK_WORD = 13
    NOOP_STEP = 14


@dataclass(frozen=True)
class GasSchedule:
    """The prices of one fork.

    Parameters
    ----------
    name : str
        Fork name.
    costs : tuple of int
        Prices in gas by `GasItem`; each in [-1, 2**31). REFUND_QUOTIENT (at least 1) divides the gas used to cap
        the refund; SENTRY is the gas that an SSTORE must leave behind it *strictly* more than (EIP-2200), -1 for none.

    References
    ----------
    EIP-2200 (net metering, sentry), EIP-2929 (cold and warm), EIP-2930 (access lists), EIP-3529 (refunds).

    Examples
    --------
    >>> gas_schedule("london")[GasItem.CLEAR_REFUND], gas_schedule("berlin")[GasItem.CLEAR_REFUND]
    (4800, 15000)
    """

    name: str
    costs: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", tuple(self.costs))
        if len(self.costs) != len(GasItem):
            raise BlockError(f"gas schedule {self.name!r} has {len(self.costs)} prices: must be {len(GasItem)}, by GasItem")
        for item in GasItem:
            cost = self.costs[item]
            low = {GasItem.SENTRY: -1, GasItem.REFUND_QUOTIENT: 1}.get(item, 0)
            if not isinstance(cost, int | np.integer) or not low <= cost < 2**31:
                raise BlockError(f"gas schedule {self.name!r}: {item.name} = {cost!r}: must be an integer in [{low}, 2**31)")

        for item in (GasItem.STORE_SET, GasItem.STORE_RESET):
            if self.costs[item] < self.costs[GasItem.WARM_ACCESS]:
                rule = f"must be at least WARM_ACCESS = {self.costs[GasItem.WARM_ACCESS]}, or refunds would be negative"
                raise BlockError(f"gas schedule {self.name!r}: {item.name} = {self.costs[item]}: {rule}")

    def __getitem__(self, item: GasItem) -> int:
        return self.costs[item]

    @property
    def array(self) -> NDArray[np.int64]:
        """The prices as a read-only int64 array, in the order of `GasItem`."""
        out = np.array(self.costs, dtype=np.int64)
        out.flags.writeable = False
        return out

    def replace(self, name: str, **prices: int) -> GasSchedule:
        """A copy under another name with some prices changed, e.g. ``replace("dear", COLD_LOAD=5000)``.

        Raises
        ------
        BlockError
            If a name is not one of `GasItem` or a price is out of range.
        """
        costs = list(self.costs)
        for key, value in prices.items():
            if key not in GasItem.__members__:
                raise BlockError(f"unknown gas price {key!r}: one of {', '.join(GasItem.__members__)}")
            costs[GasItem[key]] = value
        return GasSchedule(name, tuple(costs))


_LONDON = GasSchedule("london", (21000, 2400, 1900, 2100, 100, 2100, 20000, 2900, 4800, 5, 2300, 3, 30, 6, 1))

#: Known forks by name; those after London have its prices for what this machine does. `free` prices storage and the
#: transaction itself at nothing: for replays from before Berlin.
FORKS: Final[dict[str, GasSchedule]] = {
    "berlin": _LONDON.replace("berlin", CLEAR_REFUND=15000, REFUND_QUOTIENT=2),
    **{
        name: GasSchedule(name, _LONDON.costs)
        for name in ("london", "arrow-glacier", "gray-glacier", "paris", "shanghai", "cancun")
    },
    "free": _LONDON.replace(
        "free", INTRINSIC=0, LIST_ADDRESS=0, LIST_KEY=0, COLD_LOAD=0, WARM_ACCESS=0, COLD_STORE=0,
        STORE_SET=0, STORE_RESET=0, CLEAR_REFUND=0, SENTRY=-1,
    ),
}


def gas_schedule(fork: str | GasSchedule) -> GasSchedule:
    """The prices of a fork, by name; a `GasSchedule` is returned as it is.

    Raises
    ------
    BlockError
        If the name is unknown.
    """
    if isinstance(fork, GasSchedule):
        return fork
    if not isinstance(fork, str) or fork not in FORKS:
        raise BlockError(f"fork {fork!r} is unknown: one of {', '.join(FORKS)}, or a GasSchedule")
    return FORKS[fork]
