"""The price of an SSTORE, the only one that depends on values, and what a transaction gets back."""

from __future__ import annotations

import numpy as np

from .codes import (
    CLEAR,
    RESET,
    SET,
    WARM,
)  # fmt: skip
from .jit import U64, kernel

__all__ = ["capped", "store_gas"]


@kernel(inline=True)
def store_gas(o0, o1, o2, o3, c0, c1, c2, c3, n0, n1, n2, n3, prices):
    """Price and refund of a store with original o, current c and new n, without the cold surcharge (EIP-2200, 3529)."""
    if n0 == c0 and n1 == c1 and n2 == c2 and n3 == c3:
        return prices[WARM], np.int64(0)
    fresh = (o0 | o1 | o2 | o3) == U64(0)
    clears = (n0 | n1 | n2 | n3) == U64(0)
    if o0 == c0 and o1 == c1 and o2 == c2 and o3 == c3:
        if fresh:
            return prices[SET], np.int64(0)
        if clears:
            return prices[RESET], prices[CLEAR]
        return prices[RESET], np.int64(0)
    refund = np.int64(0)
    if not fresh:
        if (c0 | c1 | c2 | c3) == U64(0):
            refund -= prices[CLEAR]
        elif clears:
            refund += prices[CLEAR]
    if n0 == o0 and n1 == o1 and n2 == o2 and n3 == o3:
        if fresh:
            refund += prices[SET] - prices[WARM]
        else:
            refund += prices[RESET] - prices[WARM]
    return prices[WARM], refund


@kernel(inline=True)
def capped(used, refund, quotient):
    """Gas used after the refund, of which at most a `quotient`-th part of the gas is given back (EIP-3529)."""
    if refund > 0:
        return used - min(refund, used // quotient)
    return used
