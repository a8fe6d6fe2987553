"""How many blobs are wanted, block by block: a pattern is a mean, from which a simulation draws what really arrives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door

__all__ = ["PATTERNS", "BlobUsers", "blob_demand"]

#: Patterns of demand; see `blob_demand`.
PATTERNS: Final = ("steady", "step", "bursts", "wave")


def blob_demand(
    pattern: str, n_blocks: int, mean: float, *, height: float = 2.0, period: int = 100, width: int = 10
) -> NDArray[np.float64]:
    """Mean number of blobs that arrive for each block.

    Parameters
    ----------
    pattern : str
        ``"steady"``: the mean, always. ``"step"``: height times as many from the middle block on. ``"bursts"``: height
        times as many in the last `width` blocks of each `period`. ``"wave"``: a sine of that period between height times as
        many and, as far below the mean, fewer, but never below none.
    n_blocks : int
        In [0, 10**6].
    mean : float
        In blobs a block, outside steps and bursts; at most 10,000.
    height : float
        A multiple of the mean, at most 1,000.
    period, width : int
        In blocks, at least 1; a burst is no longer than its period.

    Returns
    -------
    (n_blocks,) float64

    Raises
    ------
    BlockError
        If an argument is not as described.

    Examples
    --------
    >>> blob_demand("step", 4, 7.0).tolist(), blob_demand("bursts", 6, 1.0, height=9, period=3, width=1).tolist()
    ([7.0, 7.0, 14.0, 14.0], [1.0, 1.0, 9.0, 1.0, 1.0, 9.0])
    >>> blob_demand("wave", 4, 10.0, height=1.5, period=4).round(3).tolist()
    [10.0, 15.0, 10.0, 5.0]
    """
    door.choice("pattern", pattern, PATTERNS)
    n_blocks = door.integer("n_blocks", n_blocks, 0, 10**6)
    mean, height = door.real("mean", mean, 0.0, 1e4), door.real("height", height, 0.0, 1e3)
    period = door.integer("period", period, 1, 10**6)
    width = door.integer("width", width, 1, period) if pattern == "bursts" else 0
    block = np.arange(n_blocks)
    if pattern == "step":
        factor = np.where(block >= n_blocks // 2, height, 1.0)
    elif pattern == "bursts":
        factor = np.where(block % period >= period - width, height, 1.0)
    elif pattern == "wave":
        factor = np.maximum(0.0, 1.0 + (height - 1.0) * np.sin(2.0 * np.pi * block / period))
    else:
        factor = np.ones(n_blocks)
    return mean * factor


@dataclass(frozen=True, kw_only=True)
class BlobUsers:
    """Who wants blobs: what they send, what they pay, and how long they wait.

    Parameters
    ----------
    blobs_per_tx : (low, high)
        Blobs of a transaction, uniform in [low, high]; at least 1.
    fee_cap : float, optional
        Median of the fee caps for a unit of blob gas, in wei; at least 1.
    headroom : float
        Without a `fee_cap`: the median cap is so many times the price at arrival.
    spread : float
        Standard deviation of the caps' logarithm, in [0, 5]; 0: all have the median.
    elasticity : float
        In [0, 10]. Above 0 as many blobs arrive as the demand has, times ``(price / reference) ** -elasticity``.
    reference : float
        Price at which the demand is what it says, in wei, for the elasticity.
    patience : int
        Blocks after which a transaction that is still waiting is withdrawn; at least 1.
    tip_spread : float
        Standard deviation of the logarithm of what transactions pay the builder for each blob, in [0, 5].

    Raises
    ------
    BlockError
        If a value is not as described.

    Examples
    --------
    >>> BlobUsers(fee_cap=1e9).patience
    300
    """

    blobs_per_tx: tuple[int, int] = (1, 6)
    fee_cap: float | None = None
    headroom: float = 2.0
    spread: float = 0.5
    elasticity: float = 0.0
    reference: float = 1e6
    patience: int = 300
    tip_spread: float = 1.0

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {"blobs_per_tx": door.span("blobs_per_tx", self.blobs_per_tx, 1, 255)}
        if self.fee_cap is not None:
            checked["fee_cap"] = door.real("fee_cap", self.fee_cap, 1.0, 1e18)
        checked["headroom"] = door.real("headroom", self.headroom, 0.0, 1e6)
        checked["reference"] = door.real("reference", self.reference, 1.0, 1e18)
        for name, most in (("spread", 5.0), ("tip_spread", 5.0), ("elasticity", 10.0)):
            checked[name] = door.real(name, getattr(self, name), 0.0, most)
        checked["patience"] = door.integer("patience", self.patience, 1, 2**31 - 1)
        door.freeze(self, **checked)
