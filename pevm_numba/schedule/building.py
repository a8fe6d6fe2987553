"""Block building chooses transactions *and* their order: the result is a new block, and its schedule is about that one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import door
from .._kernels import building as _k
from .._kernels.jit import inputs
from ..access.sets import AccessSets
from ..errors import BlockError, TooLargeError
from ..machine.ops import Mode
from .bounds import bounds, compacted
from .costs import costs, total_of
from .dependencies import dependencies
from .listing import list_timeline, priority_order
from .plan import Schedule
from .policies import schedule
from .senders import block_of, chains_of, with_senders
from .timeline import Timeline

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from ..evm.block import AnyBlock

__all__ = ["LP_LIMIT", "METHODS", "BuiltBlock", "build_block"]

METHODS: Final = ("greedy", "lp")
#: Transactions above which no linear program is solved: about 4 s.
LP_LIMIT: Final = 20_000
# Sums of gas are times as well, and float64 holds whole numbers up to here.
_MOST_GAS: Final = 2**53

#: How many times a share of the blob limit counts as much as one of the gas limit, in the orders that greedy tries. On four
#: pools of 600 transactions under six blob limits 1 alone reached 87 % of the bound in the mean, these three 93 %; further
#: ones, from 1/16 to 2, added nothing that counts.
_BLOB_WEIGHTS: Final = (1.0, 0.5, 0.25)

#: Transactions in the order taken, and the assignment made on the way.
_Filled = tuple[NDArray[np.int32], Timeline]


@dataclass(frozen=True, eq=False, repr=False)
class BuiltBlock:
    """Which transactions of a pool went into a block, in which order, and how far that can be from the best.

    Parameters
    ----------
    chosen : (m,) int32
        Positions in the pool, in the order of the block that was built.
    reward : float
        Sum over the chosen, in the unit of the rewards.
    gas : int
        Sum over the chosen.
    blobs : int
        Sum over the chosen.
    makespan : float
        Of ``schedule.timeline``, in gas.
    makespan_bound : float
        No schedule of this block, in this order and on these workers, is shorter; in gas.
    bound : float
        No choice earns more, but for the rounding of floats.
    bound_from : str
        ``"lp"``: linear program with every constraint. ``"knapsack"``: total gas alone, or total blobs alone, for pools
        over `LP_LIMIT`.
    access : AccessSets
        Of the chosen, in that order.
    schedule : Schedule
        About the transactions of `access`, 0..m-1, in block order: waves, and a timeline on the workers.
    """

    chosen: NDArray[np.int32]
    reward: float
    gas: int
    blobs: int
    makespan: float
    makespan_bound: float
    bound: float
    bound_from: str
    access: AccessSets
    schedule: Schedule

    @property
    def n_tx(self) -> int:
        """Number of transactions chosen."""
        return len(self.chosen)

    @property
    def gap(self) -> float:
        """At most this share of the best possible reward is missing, in [0, 1]."""
        return max(0.0, 1.0 - self.reward / self.bound) if self.bound > 0 else 0.0

    def __repr__(self) -> str:
        reward = f"reward {self.reward:,.12g} (at most {self.gap:.2%} below the best)"
        blobs = f", {self.blobs:,} blobs" if self.blobs else ""
        return f"<BuiltBlock: {self.n_tx:,} txs, {self.gas:,} gas{blobs}, {reward}, makespan {self.makespan:,.12g}>"


def build_block(
    access: AccessSets,
    reward: ArrayLike,
    gas: ArrayLike,
    *,
    gas_limit: int,
    workers: int = 1,
    deadline: float | None = None,
    key_cap: int | None = None,
    blobs: ArrayLike | None = None,
    blob_limit: int | None = None,
    method: str = "greedy",
    block: AnyBlock | None = None,
) -> BuiltBlock:
    """Choose transactions of a pool for a block with limits on gas, blobs, each key and the time to run it.

    Parameters
    ----------
    access : AccessSets
        Of the pool.
    reward : (n_tx,) integers or floats
        What including each earns, in any unit; finite, not negative, below 1.79e308 in all.
    gas : (n_tx,) integers
        What each uses, and how long it runs; at least 1, below 2**53 in all.
    gas_limit : int
        Most gas of the block.
    workers : int
        For the makespan; at least 1.
    deadline : float, optional
        Most makespan on the workers, in gas; default none.
    key_cap : int, optional
        Most gas, on each key, of the transactions that write it; default none. Those that only READ a key do not count, as
        in Solana's limit per account [1]_. Those that only CREDIT it do not count either, since they run at once among
        themselves: that is our own rule, Solana has no such access and counts every write lock.
    blobs : (n_tx,) integers, optional
        How many each carries, in [0, 2**31); default none.
    blob_limit : int, optional
        Most blobs of the block; default none. Only with `blobs`.
    method : str
        ``"greedy"``: reward per gas, best first, among each sender's next one. Where blobs are scarce also reward per
        share of gas and blob limit taken together, at several rates; the choice that earns most is kept. ``"lp"``: in the
        order of the solution of the linear program, largest share first, then reward per gas, as long as it fits; never
        below greedy's reward.
    block : Block or EvmBlock, optional
        The pool as a block, for senders and nonces: a transaction goes in only after all of the same sender that are
        lower by (nonce, index), and never runs at the same time. Default: the block that the access sets are exact for,
        if any, else every transaction has its own sender.

    Returns
    -------
    BuiltBlock

    Raises
    ------
    BlockError
        If an argument is not as described.
    TooLargeError
        If the method is ``"lp"`` and the pool has over 20,000 transactions.

    Notes
    -----
    A transaction that does not fit now never will (gas, blobs, key loads and ready times only rise), so it is dropped with
    the sender's later ones: O(n_accesses + n_tx log n_tx), and at worst n_tx * workers for the assignment. Whether the
    deadline holds is decided by that assignment in the order taken; the timeline is the shortest of it and the list
    schedules of that order by longest path and by position.

    The bound: maximise reward over shares in [0, 1] with total gas at most the gas limit and workers * deadline; total
    blobs at most the blob limit; on each key at most key_cap and the deadline, as its writers run one after the other; and
    no share above that of the sender's transaction before. It is computed from the dual solution, which bounds whatever the
    solver's tolerance; rounding of floats remains.

    References
    ----------
    .. [1] Agave (Solana), cost model: MAX_WRITABLE_ACCOUNT_UNITS.

    Examples
    --------
    >>> pool = AccessSets.from_dicts([{0: 2}, {0: 2}, {1: 2}, {}], n_keys=2)
    >>> built = build_block(pool, [9, 8, 5, 1], [10, 10, 10, 10], gas_limit=30, workers=2, key_cap=10)
    >>> built
    <BuiltBlock: 3 txs, 30 gas, reward 15 (at most 0.00% below the best), makespan 20>
    >>> build_block(pool, [9, 8, 5, 1], [10] * 4, gas_limit=20, blobs=[6, 3, 3, 0], blob_limit=6)
    <BuiltBlock: 2 txs, 20 gas, 6 blobs, reward 13 (at most 0.00% below the best), makespan 20>
    >>> built.chosen.tolist(), build_block(pool, [9, 8, 5, 1], [10, 10, 10, 10], gas_limit=30).chosen.tolist()
    ([0, 2, 3], [0, 1, 2])
    """
    pool = _Pool(access, reward, gas, block, gas_limit, workers, deadline, key_cap, (blobs, blob_limit))
    door.choice("method", method, METHODS)
    if method == "lp" and access.n_tx > LP_LIMIT:
        rule = f'the limit of method "lp" is {LP_LIMIT:,}; "greedy" has none'
        raise TooLargeError(f"a pool of {access.n_tx:,} transactions: {rule}")
    bound, source = pool.knapsack_bound(), "knapsack"
    ratio = _rounded(pool.reward / pool.gas)
    best, shares = pool.fill(-ratio), None
    if pool.blobs_scarce:
        for weight in _BLOB_WEIGHTS:
            best = pool.better(best, pool.fill(-_rounded(pool.reward / pool.share_of_limits(weight))))
    if access.n_tx <= LP_LIMIT:
        shares, lp_bound = _linear_program(pool)
        bound, source = min(bound, lp_bound), "lp"
    if method == "lp" and shares is not None:
        rank = np.empty(access.n_tx)
        rank[np.lexsort((-ratio, -np.round(shares, 9)))] = np.arange(access.n_tx)
        best = pool.better(best, pool.fill(rank))
    return _finish(pool, *best, max(bound, float(pool.reward[best[0]].sum())), source)


class _Pool:
    """Checked arguments; `joined` are the access sets in which the senders of several transactions are keys too.

    Keys of `joined` below `n_capped` are those of the access sets, renumbered if few of them are used.
    """

    def __init__(
        self, access: AccessSets, reward: ArrayLike, gas: ArrayLike, block: AnyBlock | None, gas_limit: int, workers: int,
        deadline: float | None, key_cap: int | None, blobs: tuple[ArrayLike | None, int | None],
    ) -> None:  # fmt: skip
        block = block_of(access, block)
        self.access = access
        self.reward = costs(reward, access.n_tx, "reward")
        total_of(self.reward, "reward")
        self.gas = door.array("gas", gas, np.int64, (access.n_tx,), low=1, high=_MOST_GAS - 1)
        total = float(self.gas.astype(np.float64).sum())
        if total >= _MOST_GAS:
            raise BlockError(f"gas adds up to {total:.6g}: must be below 2**53")
        self.gas_limit = min(door.integer("gas_limit", gas_limit, 0, 2**63 - 1), _MOST_GAS)
        self.workers = door.integer("workers", workers, 1, 2**31 - 1)
        self.deadline = np.inf if deadline is None else door.real("deadline", deadline, 0.0)
        self.key_cap = _MOST_GAS if key_cap is None else min(door.integer("key_cap", key_cap, 0, 2**63 - 1), _MOST_GAS)
        self._take_blobs(*blobs)
        self.first, self.next_of = chains_of(access.n_tx, block)
        packed, _ = compacted(access)
        self.n_capped = packed.n_keys
        self.joined = with_senders(packed, self.first, self.next_of)

    def _take_blobs(self, blobs: ArrayLike | None, blob_limit: int | None) -> None:
        n_tx = self.access.n_tx
        if blobs is None and blob_limit is not None:
            raise BlockError(f"blob_limit = {door.shown(blob_limit)} without blobs: give how many each transaction carries")
        none = np.zeros(n_tx, np.int64)
        self.blobs = none if blobs is None else door.array("blobs", blobs, np.int64, (n_tx,), low=0, high=2**31 - 1)
        most = 2**63 - 1
        self.blob_limit = most if blob_limit is None else door.integer("blob_limit", blob_limit, 0, most)
        self.blobs_scarce = int(self.blobs.sum()) > self.blob_limit

    def share_of_limits(self, weight: float) -> NDArray[np.float64]:
        """What share of the gas limit and, so many times, of the blob limit each transaction takes."""
        return self.gas / max(1, self.gas_limit) + weight * self.blobs / max(1, self.blob_limit)

    def better(self, one: _Filled, other: _Filled) -> _Filled:
        """The one that earns more, the first on a tie."""
        return other if self.reward[other[0]].sum() > self.reward[one[0]].sum() else one

    def fill(self, priority: NDArray[np.float64]) -> _Filled:
        """Chosen transactions in the order taken, least priority value first, and the assignment made on the way."""
        n, joined = self.access.n_tx, self.joined
        used = max(1, min(self.workers, n))
        chosen, start, end, worker = np.empty(n, np.int32), np.empty(n), np.empty(n), np.empty(n, np.int32)
        heap = np.empty(len(self.first)), np.empty(len(self.first), np.int32)
        state = np.zeros(joined.n_keys, np.int64), np.zeros((joined.n_keys, 3))
        sets = joined.indptr, joined.keys, joined.modes
        count = _k.fill_block(
            *inputs(self.first, self.next_of, priority, *sets, self.gas, self.blobs), self.gas_limit, self.blob_limit,
            self.n_capped, self.key_cap, float(self.deadline), used,
            *state, np.zeros(used), np.arange(used, dtype=np.int32), *heap, chosen, start, end, worker,
        )  # fmt: skip
        taken = chosen[:count].copy()
        times = start[taken], end[taken]
        line = Timeline.trusted(self.workers, worker[taken], *times, float(times[1].max(initial=0.0)))
        return taken, line

    def knapsack_bound(self) -> float:
        """Most reward if any share of any transaction could be taken and only total gas, or only total blobs, counted."""
        room = min(float(self.gas_limit), self.workers * self.deadline)
        by_gas = _fractional(self.reward, self.gas, room)
        if not self.blobs_scarce:
            return by_gas
        some = self.blobs > 0
        by_blobs = _fractional(self.reward[some], self.blobs[some], float(self.blob_limit))
        return min(by_gas, by_blobs + float(self.reward[~some].sum()))


def _fractional(reward: NDArray[np.float64], size: NDArray[np.int64], room: float) -> float:
    """Most reward of shares of things whose sizes add up to `room` at most."""
    order = np.argsort(-(reward / size), kind="stable")
    before = np.cumsum(size[order]) - size[order]
    share = np.clip((room - before) / size[order], 0.0, 1.0)
    return float((share * reward[order]).sum())


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """To 40 bits: what is equal in one unit stays equal in another, so ties are broken alike."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(mantissa, 40)), exponent - 40)


def _linear_program(pool: _Pool) -> tuple[NDArray[np.float64] | None, float]:
    """Shares of the transactions, None if the solver gave up, and the bound on the reward by weak duality."""
    from scipy.optimize import linprog

    if not pool.access.n_tx:
        return None, 0.0
    rows, limits = _constraints(pool)
    possible = _possible(pool).astype(np.float64)
    scale = float(pool.reward.max()) or 1.0  # the solver's tolerances are absolute
    worth = pool.reward / scale
    ranges = np.stack([np.zeros(len(possible)), possible], axis=1)
    found: Any = linprog(-_rounded(worth), A_ub=rows, b_ub=limits, bounds=ranges, method="highs")
    if found.status != 0:  # no dual solution: all multipliers zero still bound
        return None, float((pool.reward * possible).sum())
    price = np.maximum(-found.ineqlin.marginals, 0.0)
    rest = np.maximum(worth - rows.T @ price, 0.0)
    return found.x, float(limits @ price + (rest * possible).sum()) * scale


def _possible(pool: _Pool) -> NDArray[np.bool_]:
    """Transactions that fit into an empty block."""
    fits = (pool.gas <= min(float(pool.gas_limit), pool.deadline)) & (pool.blobs <= pool.blob_limit)
    wrote = np.repeat(np.arange(pool.access.n_tx), np.diff(pool.access.indptr))[_writes(pool.access)]
    fits[wrote[pool.gas[wrote] > pool.key_cap]] = False
    return fits


def _writes(access: AccessSets) -> NDArray[np.bool_]:
    """(n_accesses,) bool: entries that are more than READ alone or CREDIT alone."""
    return (access.modes != Mode.READ) & (access.modes != Mode.CREDIT)


def _constraints(pool: _Pool) -> tuple[csr_array, NDArray[np.float64]]:
    """Rows that can bind, each divided by its limit (0 where nothing possible is in it), and their right sides."""
    from scipy.sparse import csr_array

    joined, n = pool.joined, pool.access.n_tx
    cap = np.full(joined.n_keys, pool.deadline)
    cap[: pool.n_capped] = min(pool.deadline, float(pool.key_cap))
    writes = _writes(joined)
    tx, key = np.repeat(np.arange(n), np.diff(joined.indptr))[writes], joined.keys[writes]
    binds = np.bincount(key, pool.gas[tx], joined.n_keys) > cap
    number = np.cumsum(binds) - 1
    kept = binds[key]
    tx, key = tx[kept], key[kept]
    n_keys, before = int(binds.sum()), np.flatnonzero(pool.next_of >= 0)
    room = max(1.0, min(float(pool.gas_limit), pool.workers * pool.deadline))
    carries = np.flatnonzero(pool.blobs) if pool.blobs_scarce else np.zeros(0, np.int64)
    blob_row = 1 + n_keys
    chain = blob_row + pool.blobs_scarce + np.arange(len(before))
    row = np.concatenate([np.zeros(n, np.int64), 1 + number[key], np.full(len(carries), blob_row), chain, chain])
    column = np.concatenate([np.arange(n), tx, carries, pool.next_of[before], before])
    one, per_blob = np.ones(len(before)), pool.blobs[carries] / max(1, pool.blob_limit)
    value = np.concatenate([pool.gas / room, pool.gas[tx] / np.maximum(cap[key], 1.0), per_blob, one, -one])
    limits = np.concatenate([np.ones(blob_row + pool.blobs_scarce), np.zeros(len(before))])
    return csr_array((value, (row, column)), shape=(len(limits), n)), limits


def _finish(pool: _Pool, chosen: NDArray[np.int32], placed: Timeline, bound: float, source: str) -> BuiltBlock:
    part, gas = pool.joined.reordered(chosen), pool.gas[chosen]
    deps = dependencies(part)
    line = placed
    for priority in ("longest-path", "block"):
        other = list_timeline(deps, priority_order(deps, gas, priority), pool.workers, gas)
        line = other if other.makespan < line.makespan else line
    levels = schedule(part, "levels")
    order = np.arange(len(chosen), dtype=np.int32)
    least = bounds(part, gas, pool.workers).makespan
    chosen.flags.writeable = False
    return BuiltBlock(
        chosen=chosen,
        reward=float(pool.reward[chosen].sum()),
        gas=int(gas.sum()),
        blobs=int(pool.blobs[chosen].sum()),
        makespan=line.makespan,
        makespan_bound=least,
        bound=bound,
        bound_from=source,
        access=pool.access.reordered(chosen),
        schedule=Schedule("built", levels.wave_indptr, levels.wave_tx, order, line),
    )
