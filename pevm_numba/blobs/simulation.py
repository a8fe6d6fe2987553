"""Many blocks of a made-up demand: prices are exact and follow from the blobs included, whoever wanted what is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from ..evm.forks import BlobParameters, Fork
from ..schedule.costs import costs
from .demand import BlobUsers
from .market import BLOB_GAS, blob_base_fee, next_excess_blob_gas, parameters_of, reserve_holds

__all__ = ["BlobSimulation", "simulate_blobs"]

#: Transactions that arrive for one block, at most: more would wait in vain.
_MOST_ARRIVING: Final = 10_000
#: No cap is above it, in wei, and users take no price for more: floats do not hold prices of any size.
_MOST_CAP: Final = 2**62
_LONG: Final = 10**30


@dataclass(frozen=True, eq=False, repr=False)
class BlobSimulation:
    """What became of a demand for blobs.

    Parameters
    ----------
    parameters : BlobParameters
    base_fee : tuple of int
        Of a unit of gas, in wei, a block.
    excess : tuple of int
        Blob gas in excess, a block, and after the last.
    price : tuple of int
        Of a unit of blob gas, in wei, a block.
    blobs : (n_blocks,) int64
        Included.
    arrived : (n_blocks,) int64
        Blobs that arrived for the block.
    waiting : (n_blocks,) int64
        Blobs left after it.
    reserved : (n_blocks,) bool
        Whether the reserve price (EIP-7918) held, so that the target did not count; not where excess and blobs are below the
        target, since the excess is then 0 with or without it.
    tx_arrival, tx_blobs, tx_cap : (n_tx,) int64
        Of each transaction, in order of arrival: the block that it arrived for, its blobs, its fee cap in wei.
    tx_tip : (n_tx,) float64
        What it pays the builder for each blob, in any unit.
    tx_included : (n_tx,) int64
        The block that has it; -1 if none has.
    tx_withdrawn : (n_tx,) bool
        Whether it waited longer than its sender did. Neither included nor withdrawn: it still waits.
    """

    parameters: BlobParameters
    base_fee: tuple[int, ...]
    excess: tuple[int, ...]
    price: tuple[int, ...]
    blobs: NDArray[np.int64]
    arrived: NDArray[np.int64]
    waiting: NDArray[np.int64]
    reserved: NDArray[np.bool_]
    tx_arrival: NDArray[np.int64]
    tx_blobs: NDArray[np.int64]
    tx_cap: NDArray[np.int64]
    tx_tip: NDArray[np.float64]
    tx_included: NDArray[np.int64]
    tx_withdrawn: NDArray[np.bool_]

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.price)

    @property
    def delay(self) -> NDArray[np.int64]:
        """Blocks that each transaction which was included waited, in order of arrival; 0: it went into the first it could."""
        done = self.tx_included >= 0
        return self.tx_included[done] - self.tx_arrival[done]

    def summary(self) -> dict[str, Any]:
        """Figures of all blocks together: prices in wei, delays in blocks; None where there is nothing to tell them of."""
        done, delay, n_tx = self.tx_included >= 0, self.delay, len(self.tx_arrival)
        delays = np.percentile(delay, [50, 95]) if len(delay) else (None, None)
        return {
            "parameters": self.parameters.name,
            "n_blocks": self.n_blocks,
            "n_tx": n_tx,
            "included": int(done.sum()),
            "withdrawn": int(self.tx_withdrawn.sum()),
            "waiting": n_tx - int(done.sum()) - int(self.tx_withdrawn.sum()),
            "blobs_mean": float(self.blobs.mean()) if self.n_blocks else None,
            "blocks_full": int((self.blobs == self.parameters.most).sum()),
            "blocks_reserved": int(self.reserved.sum()),
            "price_first": self.price[0] if self.price else None,
            "price_last": self.price[-1] if self.price else None,
            "price_least": min(self.price, default=None),
            "price_most": max(self.price, default=None),
            "delay_mean": float(delay.mean()) if len(delay) else None,
            "delay_median": None if delays[0] is None else float(delays[0]),
            "delay_p95": None if delays[1] is None else float(delays[1]),
            "delay_most": int(delay.max()) if len(delay) else None,
        }

    def rows(self) -> list[dict[str, int | bool]]:
        """A mapping a block."""
        columns = (self.excess, self.price, self.blobs.tolist(), self.arrived.tolist(), self.waiting.tolist(), self.reserved)
        names = ("block", "excess_blob_gas", "price", "blobs", "arrived", "waiting", "reserved")
        return [dict(zip(names, (i, *row[:-1], bool(row[-1])))) for i, row in enumerate(zip(*columns))]

    def __repr__(self) -> str:
        told = f"{len(self.tx_arrival):,} txs, {int(self.blobs.sum()):,} blobs"
        last = self.price[-1] if self.price else None
        if last is not None:  # Python writes no integer of more than 4,300 digits
            told += f", last price {last:,} wei" if last < _LONG else ", last price of over 30 digits"
        return f"<BlobSimulation: {self.n_blocks:,} blocks of {self.parameters.name}, {told}>"


def simulate_blobs(
    demand: ArrayLike,
    *,
    users: BlobUsers | None = None,
    parameters: BlobParameters | Fork | str = "bpo2",
    base_fee: int | ArrayLike = 10**9,
    excess: int = 0,
    seed: int = 0,
) -> BlobSimulation:
    """Simulate the base fee of blobs and how long blob transactions wait, block after block.

    Parameters
    ----------
    demand : (n_blocks,) integers or floats
        Mean number of blobs that arrive for each block, see `blob_demand`; at most 10**7.
    users : BlobUsers, optional
        Who sends them; default `BlobUsers()`.
    parameters : BlobParameters, Fork or str
        Of all blocks.
    base_fee : int or (n_blocks,) integers
        Of a unit of gas, in wei; only the reserve price (EIP-7918) looks at it.
    excess : int
        Blob gas in excess in the first block; see `excess_at_fee` for the one of a price.
    seed : int
        In [0, 2**64); equal arguments give equal results with one version of NumPy.

    Returns
    -------
    BlobSimulation

    Raises
    ------
    BlockError
        If an argument is not as described.

    Notes
    -----
    The number of transactions that arrive for a block is drawn from Poisson's distribution, and is at most 10,000. A builder
    takes those whose cap is at least the price, best tip for a blob first and then the longest waiting, and leaves out what
    does not fit. Gas is not scarce: for that see `build_blob_block`. About 0.2 ms a block, most of it drawing, so there is
    no kernel; prices are Python integers, exact whatever their size.

    References
    ----------
    EIP-4844, EIP-7691, EIP-7892, EIP-7918.

    Examples
    --------
    >>> from pevm_numba.blobs.demand import blob_demand
    >>> made = simulate_blobs(blob_demand("steady", 50, 30.0), users=BlobUsers(fee_cap=1e9), parameters="cancun")
    >>> made.blobs.max(), made.price[:3], made.price[-1] > made.price[0]
    (np.int64(6), (1, 1, 1), True)
    """
    means = _means(demand)
    parameters = parameters_of(parameters)
    fees = _base_fees(base_fee, len(means))
    users = BlobUsers() if users is None else users
    door.instance("users", users, BlobUsers)
    excesses, prices = [door.integer("excess", excess, 0)], []
    crowd = _Crowd(users, parameters, door.integer("seed", seed, 0, 2**64 - 1))
    counts = np.zeros((3, len(means)), np.int64)
    for block, (mean, fee) in enumerate(zip(means.tolist(), fees)):
        prices.append(blob_base_fee(excesses[-1], parameters))
        counts[:, block] = crowd.pass_block(block, mean, prices[-1])
        excesses.append(next_excess_blob_gas(excesses[-1], int(counts[0, block]), fee, parameters))
    reserved = [
        before + BLOB_GAS * n >= BLOB_GAS * parameters.target and reserve_holds(before, fee, parameters)
        for before, n, fee in zip(excesses, counts[0].tolist(), fees)
    ]
    columns = dict(zip(("blobs", "arrived", "waiting"), counts)) | crowd.columns()
    reserve = np.array(reserved, bool)
    return BlobSimulation(parameters, fees, tuple(excesses), tuple(prices), reserved=reserve, **columns)


def _means(demand: ArrayLike) -> NDArray[np.float64]:
    given = door.items("demand", demand, "numbers")
    means = costs(given, len(given), "demand")
    for i in np.flatnonzero(means > 1e7)[:1]:
        door.real(f"demand[{i}]", float(means[i]), 0.0, 1e7)
    return means


def _base_fees(given: int | ArrayLike, n_blocks: int) -> tuple[int, ...]:
    if isinstance(given, int | np.integer):
        return (door.integer("base_fee", given, 0),) * n_blocks
    listed = door.items("base_fee", given, "integers")
    door.integer("number of base fees", len(listed), n_blocks, n_blocks)
    return tuple(door.integer(f"base_fee[{i}]", fee, 0) for i, fee in enumerate(listed))


class _Crowd:
    """Those who want blobs: all that ever arrived, a row each, and the numbers of those that wait, best tip first."""

    def __init__(self, users: BlobUsers, parameters: BlobParameters, seed: int) -> None:
        self.users, self.parameters = users, parameters
        self.draw = np.random.default_rng(seed)
        low, high = users.blobs_per_tx
        self.span = min(low, parameters.most_each), min(high, parameters.most_each)
        self.parts: list[tuple[NDArray[Any], ...]] = []
        self.n_tx = 0
        self.included: list[tuple[int, int]] = []
        self.withdrawn: list[int] = []
        self.waiting = _rows(0, np.zeros(0), np.zeros(0), np.zeros(0), 0)

    def pass_block(self, block: int, mean: float, price: int) -> tuple[int, int, int]:
        """Blobs included in the block, arrived for it, and left after it."""
        arrived = self._arrive(block, mean, price)
        number, since, blobs, caps, _ = self.waiting
        room, taken = self.parameters.most, np.zeros(len(number), bool)
        for i in np.flatnonzero(caps >= min(price, _MOST_CAP + 1)):
            if blobs[i] <= room:
                taken[i] = True
                room -= int(blobs[i])
                if room == 0:
                    break
        self.included += [(tx, block) for tx in number[taken].tolist()]
        late = ~taken & (since <= block - self.users.patience)
        self.withdrawn += number[late].tolist()
        self.waiting = tuple(column[~(taken | late)] for column in self.waiting)
        return self.parameters.most - room, arrived, int(self.waiting[2].sum())

    def _arrive(self, block: int, mean: float, price: int) -> int:
        """Draw who arrives, put them among the waiting, and count their blobs."""
        users, (low, high), seen = self.users, self.span, float(min(price, _MOST_CAP))
        if users.elasticity > 0:
            mean *= (seen / users.reference) ** -users.elasticity
        n_tx = int(min(self.draw.poisson(min(2 * mean / (low + high), 1e6)), _MOST_ARRIVING))
        median = users.fee_cap if users.fee_cap is not None else users.headroom * seen
        blobs = self.draw.integers(low, high, n_tx, endpoint=True)
        caps = np.clip(median * self.draw.lognormal(0.0, users.spread, n_tx), 1.0, _MOST_CAP).astype(np.int64)
        tips = self.draw.lognormal(0.0, users.tip_spread, n_tx)
        new = _rows(self.n_tx, blobs, caps, tips, block)
        self.parts.append(new)
        self.n_tx += n_tx
        joined = [np.concatenate(pair) for pair in zip(self.waiting, new)]
        order = np.argsort(-joined[4], kind="stable")
        self.waiting = tuple(column[order] for column in joined)
        return int(blobs.sum())

    def columns(self) -> dict[str, NDArray[Any]]:
        """Of all that arrived."""
        none = [_rows(0, np.zeros(0), np.zeros(0), np.zeros(0), 0)]
        _, since, blobs, caps, tips = (np.concatenate(column) for column in zip(*(self.parts or none)))
        included, withdrawn = np.full(self.n_tx, -1, np.int64), np.zeros(self.n_tx, bool)
        for tx, block in self.included:
            included[tx] = block
        withdrawn[self.withdrawn] = True
        return {
            "tx_arrival": since, "tx_blobs": blobs, "tx_cap": caps, "tx_tip": tips, "tx_included": included,
            "tx_withdrawn": withdrawn,
        }  # fmt: skip


def _rows(first: int, blobs: NDArray[Any], caps: NDArray[Any], tips: NDArray[Any], block: int) -> tuple[NDArray[Any], ...]:
    """Number, arrival, blobs, fee cap and tip of transactions."""
    n = len(blobs)
    numbers = np.arange(first, first + n), np.full(n, block)
    whole = [column.astype(np.int64) for column in (*numbers, blobs, caps)]
    return (*whole, tips.astype(np.float64))
