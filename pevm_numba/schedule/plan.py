"""`Schedule`: waves of transactions *and* the serial order whose result they promise, without which waves mean nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door, html
from ..errors import BlockError
from ..tabular import Tabular
from .timeline import Timeline

if TYPE_CHECKING:
    from ..evm.block import AnyBlock

__all__ = ["Schedule"]


@dataclass(frozen=True, eq=False, repr=False)
class Schedule(Tabular):
    """Transactions grouped in waves that run one after the other; within a wave all may run at once.

    Schedules are equal if policy, waves, order and timeline are.

    Parameters
    ----------
    policy : str
        What made it.
    wave_indptr : (n_waves + 1,) int64
        CSR offsets of waves into `wave_tx`; no wave is empty.
    wave_tx : (n_tx,) int32
        Each transaction (block position) once, wave by wave; within a wave in the order of `serial_order`.
    serial_order : (n_tx,) int32
        The serial order that the result equals. Block order ``0, 1, …`` for order-fixed policies; for order-free ones
        the block that was built.
    timeline : Timeline, optional
        When and on which worker each transaction runs, at the costs that the schedule was made for. ``list`` has one
        always (its waves are then the levels, for executors with barriers), the others if made for a number of workers.

    Examples
    --------
    >>> Schedule.from_waves("by hand", [[0, 2], [1]])
    <Schedule by hand: 3 txs in 2 waves, block order>
    >>> Schedule.from_waves("by hand", [[0, 2], [1]], timeline=Timeline(1, [0, 0, 0], [0, 2, 1], [1, 3, 2], 3))
    <Schedule by hand: 3 txs in 2 waves, block order, 1 worker>
    """

    policy: str
    wave_indptr: NDArray[np.int64]
    wave_tx: NDArray[np.int32]
    serial_order: NDArray[np.int32]
    timeline: Timeline | None = None
    #: The block whose exact access sets it was made from by a policy of this package, if so: it needs no check there.
    proved_for: AnyBlock | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        door.instance("policy", self.policy, str)
        tx = door.array("wave_tx", self.wave_tx, np.int32, (None,), low=0)
        n_tx = len(tx)
        indptr = door.csr("wave_indptr", self.wave_indptr, None, n_tx)
        empty = np.flatnonzero(indptr[1:] == indptr[:-1])
        if len(empty):
            raise BlockError(f"wave {empty[0]} is empty: every wave must have a transaction")
        tx = door.permutation("wave_tx", tx, n_tx)
        order = door.permutation("serial_order", self.serial_order, n_tx)
        if self.timeline is not None:
            door.instance("timeline", self.timeline, Timeline)
            if self.timeline.n_tx != n_tx:
                raise BlockError(f"timeline of {self.timeline.n_tx} transactions: must be {n_tx}, as in the waves")
        position = np.empty(n_tx, np.int64)
        position[order] = np.arange(n_tx)
        wave = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        in_order = tx[np.lexsort((position[tx], wave))]
        door.freeze(self, wave_indptr=indptr.copy(), wave_tx=in_order, serial_order=order.copy())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.policy, self.wave_indptr, self.wave_tx, self.serial_order, self.timeline)

    @classmethod
    def from_arrays(
        cls,
        policy: str,
        wave_indptr: ArrayLike,
        wave_tx: ArrayLike,
        serial_order: ArrayLike | None = None,
        timeline: Timeline | None = None,
    ) -> Schedule:
        """Check and freeze arrays as in `Schedule`; serial_order defaults to block order.

        Raises
        ------
        BlockError
            If a wave is empty, an entry is not a transaction, one is missing or repeated, or the timeline has another
            number of them. Whether the schedule fits a block's conflicts is what `check_schedule` tells.
        """
        if serial_order is None:
            serial_order = np.arange(len(door.array("wave_tx", wave_tx, np.int32, (None,))), dtype=np.int32)
        return cls(policy, wave_indptr, wave_tx, serial_order, timeline)  # type: ignore[arg-type]  # made arrays there

    @classmethod
    def from_waves(
        cls,
        policy: str,
        waves: list[list[int]],
        serial_order: ArrayLike | None = None,
        timeline: Timeline | None = None,
    ) -> Schedule:
        """From lists of transactions.

        Raises
        ------
        BlockError
            As `from_arrays`.
        """
        given = door.items("waves", waves, "waves, each a list of transactions")
        lists = [door.items(f"waves[{w}]", wave, "transactions") for w, wave in enumerate(given)]
        txs = [door.integer(f"waves[{w}]", t, 0, 2**31 - 1) for w, wave in enumerate(lists) for t in wave]
        return cls.from_arrays(policy, np.cumsum([0] + [len(wave) for wave in lists]), txs, serial_order, timeline)

    @classmethod
    def trusted(
        cls,
        policy: str,
        wave_indptr: NDArray[np.int64],
        wave_tx: NDArray[np.int32],
        serial_order: NDArray[np.int32],
        proved_for: AnyBlock | None = None,
        timeline: Timeline | None = None,
    ) -> Schedule:
        """Freeze arrays that a kernel has just made and that nobody else holds; nothing is checked."""
        made = object.__new__(cls)
        arrays = {"wave_indptr": wave_indptr, "wave_tx": wave_tx, "serial_order": serial_order}
        door.freeze(made, policy=policy, **arrays, timeline=timeline, proved_for=proved_for)
        return made

    @property
    def n_tx(self) -> int:
        """Number of transactions."""
        return len(self.wave_tx)

    @property
    def n_waves(self) -> int:
        """Number of waves."""
        return len(self.wave_indptr) - 1

    @property
    def wave_of(self) -> NDArray[np.int32]:
        """(n_tx,) int32: the wave of each transaction, by block position."""
        out = np.empty(self.n_tx, np.int32)
        out[self.wave_tx] = np.repeat(np.arange(self.n_waves, dtype=np.int32), np.diff(self.wave_indptr))
        return out

    @property
    def block_order(self) -> bool:
        """Whether the promised order is that of the block."""
        return bool((self.serial_order == np.arange(self.n_tx)).all())

    @property
    def serial_position(self) -> NDArray[np.int32]:
        """(n_tx,) int32: the place of each transaction in `serial_order`, by block position."""
        out = np.empty(self.n_tx, np.int32)
        out[self.serial_order] = np.arange(self.n_tx, dtype=np.int32)
        return out

    def columns(self) -> dict[str, NDArray[Any]]:
        """One row for each transaction, under the names of a schedule file.

        Returns
        -------
        dict
            ``tx_index`` uint32, ``wave`` and ``serial_position`` int32; with a timeline ``worker`` int32, ``start`` and
            ``end`` float64.

        Examples
        --------
        >>> Schedule.from_waves("by hand", [[0, 2], [1]]).to_arrow()["wave"].to_pylist()
        [0, 1, 0]
        """
        made: dict[str, NDArray[Any]] = {"tx_index": np.arange(self.n_tx, dtype=np.uint32), "wave": self.wave_of}
        made["serial_position"] = self.serial_position
        return made if self.timeline is None else made | self.timeline.columns()

    def waves(self) -> list[list[int]]:
        """The waves as lists."""
        return [part.tolist() for part in np.split(self.wave_tx, self.wave_indptr[1:-1])] if self.n_tx else []

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schedule):
            return NotImplemented
        return (
            (self.policy, self.timeline) == (other.policy, other.timeline)
            and np.array_equal(self.wave_indptr, other.wave_indptr)
            and np.array_equal(self.wave_tx, other.wave_tx)
            and np.array_equal(self.serial_order, other.serial_order)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays compare by content

    def _repr_html_(self) -> str:
        sizes = np.diff(self.wave_indptr)
        facts: list[tuple[str, Any]] = [
            ("policy", self.policy), ("transactions", self.n_tx), ("waves", self.n_waves),
            ("largest wave", int(sizes.max(initial=0))), ("order", "block order" if self.block_order else "own order"),
        ]  # fmt: skip
        if self.timeline is not None:
            line = self.timeline
            facts += [("workers", line.n_workers), ("makespan", f"{line.makespan:,.12g}, {line.idle_share:.1%} idle")]
        rows = ((w, int(sizes[w]), self._first_of(w)) for w in range(self.n_waves))
        heads = ("wave", "size", "transactions")
        return html.table("Schedule", facts, heads, rows, self.n_waves, "waves")

    def _first_of(self, wave: int) -> str:
        """The first transactions of a wave, in words."""
        start, end = int(self.wave_indptr[wave]), int(self.wave_indptr[wave + 1])
        named = ", ".join(map(str, self.wave_tx[start : min(end, start + 12)].tolist()))
        return named + (", …" if end > start + 12 else "")

    def __repr__(self) -> str:
        order = "block order" if self.block_order else "own order"
        made = ""
        if self.timeline is not None:
            made = f", {self.timeline.n_workers:,} worker{'s' if self.timeline.n_workers > 1 else ''}"
        return f"<Schedule {self.policy}: {self.n_tx:,} txs in {self.n_waves:,} waves, {order}{made}>"
