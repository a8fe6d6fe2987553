"""`Timeline`: who runs what from when to when, in the unit of the costs; a plan at those costs, not a measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..errors import BlockError, TooLargeError
from ..tabular import Tabular

__all__ = ["Timeline"]

#: Most workers of which `busy` lists each one.
_MOST_LISTED: Final = 2**24


@dataclass(frozen=True, eq=False, repr=False)
class Timeline(Tabular):
    """Start, end and worker of each transaction, by block position.

    Timelines are equal if all that they hold is. Whether one fits a block's conflicts, and whether every worker runs one
    transaction at a time, is what `check_schedule` tells.

    Parameters
    ----------
    n_workers : int
        In [1, 2**31 - 1]; some may stay idle, and cost nothing.
    worker : (n_tx,) int32
        In [0, n_workers).
    start, end : (n_tx,) float64
        Not negative, ``start <= end``, in the unit of the costs that it was made with.
    makespan : float
        When everything is done, a last barrier included; at least every end.

    Raises
    ------
    BlockError
        If an argument is not as described.

    Examples
    --------
    >>> line = Timeline(2, [0, 1, 0], [0, 0, 3], [3, 2, 4], 4)
    >>> line
    <Timeline: 3 txs on 2 workers, makespan 4>
    >>> line.idle_share
    0.25
    """

    n_workers: int
    worker: NDArray[np.int32]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    makespan: float

    def __post_init__(self) -> None:
        n_workers = door.integer("n_workers", self.n_workers, 1, 2**31 - 1)
        worker = door.array("worker", self.worker, np.int32, (None,), low=0, high=n_workers - 1)
        times = [_times("start", self.start, len(worker)), _times("end", self.end, len(worker))]
        late = np.flatnonzero(times[1] < times[0])
        if len(late):
            raise BlockError(f"end[{late[0]}] = {times[1][late[0]]:g}: must not be before start, {times[0][late[0]]:g}")
        makespan = door.real("makespan", self.makespan, 0.0)
        if len(worker) and makespan < times[1].max():
            raise BlockError(f"makespan = {makespan:g}: must be at least the last end, {times[1].max():g}")
        door.freeze(self, n_workers=n_workers, worker=worker.copy(), start=times[0], end=times[1], makespan=makespan)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.n_workers, self.worker, self.start, self.end, self.makespan)

    @classmethod
    def trusted(
        cls,
        n_workers: int,
        worker: NDArray[np.int32],
        start: NDArray[np.float64],
        end: NDArray[np.float64],
        makespan: float,
    ) -> Timeline:
        """Freeze arrays that a kernel has just made and that nobody else holds; nothing is checked."""
        made = object.__new__(cls)
        door.freeze(made, n_workers=n_workers, worker=worker, start=start, end=end, makespan=makespan)
        return made

    @property
    def n_tx(self) -> int:
        """Number of transactions."""
        return len(self.worker)

    @property
    def busy(self) -> NDArray[np.float64]:
        """(n_workers,) float64: time that each worker spends on transactions.

        Raises
        ------
        TooLargeError
            With more than 2**24 workers.
        BlockError
            If a worker's time is more than a float can hold, which takes transactions that overlap on it.
        """
        if self.n_workers > _MOST_LISTED:
            raise TooLargeError(
                f"busy times of {self.n_workers:,} workers: the limit is {_MOST_LISTED:,}; "
                "sum end - start over the workers of interest"
            )
        busy = np.bincount(self.worker, self.end - self.start, self.n_workers).astype(np.float64, copy=False)
        if not np.isfinite(busy).all():
            raise BlockError(f"worker {int(np.argmax(busy))}: its transactions last longer than a float can hold")
        return busy

    @property
    def idle_share(self) -> float:
        """Share of workers times makespan in which nobody runs a transaction; 0 if there is no time at all."""
        if self.makespan == 0:
            return 0.0
        share, exponent = math.frexp(self.makespan)  # powers of two change no digit, and keep the sum far from overflow
        busy = float(np.ldexp(self.end - self.start, -exponent).sum())
        return max(0.0, 1.0 - busy / (self.n_workers * share))

    def profile(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Parallelism over time: instants at which it changes, and transactions running from each instant on.

        Returns
        -------
        times : (m,) float64
            Ascending, distinct.
        running : (m,) int64
            The last is 0. Both are empty if no transaction takes any time.

        Examples
        --------
        >>> times, running = Timeline(2, [0, 1, 0], [0, 0, 3], [3, 2, 4], 4).profile()
        >>> times.tolist(), running.tolist()
        ([0.0, 2.0, 3.0, 4.0], [2, 1, 1, 0])
        """
        lasting = self.end > self.start
        times = np.concatenate([self.start[lasting], self.end[lasting]])
        step = np.repeat([1, -1], lasting.sum())
        at, place = np.unique(times, return_inverse=True)
        return at, np.cumsum(np.bincount(place, step, len(at)).astype(np.int64))

    def columns(self) -> dict[str, NDArray[Any]]:
        """One row for each transaction: ``tx_index`` uint32, ``worker`` int32, ``start`` and ``end`` float64."""
        return {"tx_index": np.arange(self.n_tx, dtype=np.uint32)} | {
            name: getattr(self, name) for name in ("worker", "start", "end")
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Timeline):
            return NotImplemented
        return (
            (self.n_workers, self.makespan) == (other.n_workers, other.makespan)
            and np.array_equal(self.worker, other.worker)
            and np.array_equal(self.start, other.start)
            and np.array_equal(self.end, other.end)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays compare by content

    def __repr__(self) -> str:
        return f"<Timeline: {self.n_tx:,} txs on {self.n_workers:,} workers, makespan {self.makespan:,.12g}>"


def _times(name: str, value: Any, n: int) -> NDArray[np.float64]:
    try:
        given = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise BlockError(f"{name}: not an array of numbers: {error}") from None
    if given.shape != (n,) or (given.dtype.kind not in "iuf" and n):
        raise BlockError(f"{name} has shape {given.shape}, dtype {given.dtype}: must be ({n},) integers or floats")
    with np.errstate(over="ignore"):  # a longdouble beyond float64 becomes inf, which is refused
        times = np.array(given, np.float64)
    bad = np.flatnonzero(~(np.isfinite(times) & (times >= 0)))
    if len(bad):
        raise BlockError(f"{name}[{bad[0]}] = {given[bad[0]]!s}: must be finite and not negative")
    return times
