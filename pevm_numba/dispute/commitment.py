"""An execution as claims: one for each transaction, each linked to the one before, so that the last one stands for all."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import merkle as _k
from ..errors import BlockError
from ..evm.hashing import keccak
from ..execute.result import Execution
from ..machine.gas import GasSchedule
from .agreed import AgreedBlock
from .agreement import Agreement, Claim
from .hashing import Tag
from .machine_state import Outcome
from .state_tree import StateTree
from .trace import Trace

if TYPE_CHECKING:
    from .party import Party

__all__ = ["Commitment", "claim_rows", "commit"]

_HEAD = 8  # bytes before a claim in the message that is hashed
_ROW = _HEAD + 32 + 32 + 57


def claim_rows(roots: NDArray[np.uint8], result: Execution, order: NDArray[np.integer]) -> NDArray[np.uint8]:
    """(n_tx, 129) uint8: messages of the claims, without their links."""
    rows = np.zeros((len(order), _ROW), np.uint8)

    def put(start: int, size: int, values: NDArray[np.generic], kind: str) -> None:
        raw = np.ascontiguousarray(values.astype(kind)).view(np.uint8)
        rows[:, start : start + size] = raw.reshape(len(order), size)

    rows[:, 0], rows[:, 40:72], rows[:, 72] = Tag.CLAIM, roots, result.status[order]
    put(73, 8, result.gas_used[order], ">i8")
    put(81, 8, result.refund[order], ">i8")
    put(89, 32, result.output[order][:, ::-1], ">u8")
    put(121, 8, result.digest[order], ">u8")
    return rows


def _chain(rows: NDArray[np.uint8], start: bytes) -> NDArray[np.uint8]:
    """Write each row's link into it; returns the digests, (n, 32) uint8."""
    links = np.empty((len(rows), 4), np.uint64)
    _k.chain_claims(rows, _ROW, np.frombuffer(start, np.uint64), links)
    return links.view(np.uint8)


class Commitment:
    """What somebody claims of a block, with all that it takes to defend it; made by `commit`.

    Parameters
    ----------
    agreed : AgreedBlock
    order : (n_tx,) integers
        Block positions in the order in which they were executed: the agreed one, if all is well.
    changes : (indptr, keys, values)
        Net changes by position in that order, as `Changes` has them.
    rows : (n_tx, 129) uint8
        Messages of the claims; links are written into them.

    Examples
    --------
    >>> import pevm_numba as pn
    >>> block = pn.Block.from_programs([[("SSTORE", (1, 0, 0), 5)], [("SLOAD", (1, 0, 0))]])
    >>> made = commit(pn.execute(block, "serial", record="changes"))
    >>> made.claim(2).receipt.output, made.claim(2).link == made.claim(1).digest()
    (5, True)
    """

    def __init__(
        self, agreed: AgreedBlock, order: NDArray[np.integer],
        changes: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint64]], rows: NDArray[np.uint8],
    ) -> None:  # fmt: skip
        self.agreed, self.order, self.changes, self.rows = agreed, order, changes, rows
        self.digests = _chain(rows, agreed.agreement.first_claim(keccak).digest(keccak))
        self.trace = lru_cache(maxsize=8)(self._trace)

    @property
    def agreement(self) -> Agreement:
        """What a referee knows."""
        return self.agreed.agreement

    @property
    def n_tx(self) -> int:
        """Number of transactions."""
        return len(self.order)

    @property
    def digest(self) -> bytes:
        """Of the last claim, 32 bytes: stands for the agreement, every receipt and every state root."""
        return self.digests[-1].tobytes() if self.n_tx else self.agreement.first_claim().digest(keccak)

    def claim(self, position: int) -> Claim:
        """What holds after so many transactions.

        Parameters
        ----------
        position : int
            In [0, n_tx].
        """
        position = door.integer("position", position, 0, self.n_tx)
        if position == 0:
            return self.agreement.first_claim()
        raw = self.rows[position - 1].tobytes()
        return Claim(raw[8:40], raw[40:72], Outcome.decode(raw[72:]))

    def state(self, position: int) -> StateTree:
        """The state after so many transactions.

        Parameters
        ----------
        position : int
            In [0, n_tx].
        """
        indptr, keys, values = self.changes
        end = indptr[door.integer("position", position, 0, self.n_tx)]
        now = self.agreed.block.pre_values.copy()
        now[keys[:end]] = values[:end]  # of a key that is there often, the last one stays
        return StateTree(self.agreed.paths, now)

    def _trace(self, position: int) -> Trace:
        """Every state of the machine in the transaction at a position, in [0, n_tx)."""
        position = door.integer("position", position, 0, self.n_tx - 1)
        return Trace(self.agreed, position, self.state(position), tx=int(self.order[position]))

    def party(self) -> Party:
        """Somebody who defends it."""
        from .party import Party

        return Party(self)

    def altered(
        self, position: int, *, link: bytes | None = None, root: bytes | None = None, receipt: Outcome | None = None
    ) -> Commitment:
        """A commitment that says something else after so many transactions, and stands by all that follows.

        Parameters
        ----------
        position : int
            In [1, n_tx].
        link, root : bytes, optional
            What is claimed instead, 32 bytes each; default what is claimed here.
        receipt : Outcome, optional
            Likewise.

        Raises
        ------
        BlockError
            If an argument is none of these.
        """
        position = door.integer("position", position, 1, self.n_tx)
        for name, digest32 in (("link", link), ("root", root)):
            if digest32 is not None and (not isinstance(digest32, bytes) or len(digest32) != 32):
                raise BlockError(f"{name} = {door.shown(digest32)}: must be 32 bytes")
        if receipt is not None:
            door.instance("receipt", receipt, Outcome)
        at, rows = position - 1, self.rows.copy()
        for part, low, high in ((root, 40, 72), (None if receipt is None else receipt.encode(), 72, _ROW)):
            if part is not None:
                rows[at, low:high] = np.frombuffer(part, np.uint8)
        made = Commitment(self.agreed, self.order, self.changes, rows)
        if link is not None:
            made.rows[at, 8:40] = np.frombuffer(link, np.uint8)
            digest = keccak(made.rows[at].tobytes())
            made.digests[at] = np.frombuffer(digest, np.uint8)
            made.digests[position:] = _chain(made.rows[position:], digest)
        return made


def commit(
    execution: Execution, *, gas: str | GasSchedule | None = None, agreed: AgreedBlock | None = None
) -> Commitment:
    """Commit to the receipts and the state after every transaction of an execution, serial or parallel.

    Parameters
    ----------
    execution : Execution
        Of a block of micro-ops, with ``record="changes"``. The order that counts is its schedule's, without one block order.
    gas : str or GasSchedule, optional
        Prices with which it was executed, if others than those of the block's fork. An execution does not know its prices,
        so nothing is compared here: with others its claims are wrong, and its party refuses to show such a transaction.
    agreed : AgreedBlock, optional
        Block, order and prices agreed upon, if they are known already; they stay as they are, even if the execution
        followed another order.

    Returns
    -------
    Commitment

    Raises
    ------
    BlockError
        If the execution recorded no changes, or some that no block has, is no `Execution`, or is not of the agreed block.

    Notes
    -----
    O(accesses + ops + keys written * log n_keys) hashes, by kernels.

    Examples
    --------
    >>> import pevm_numba as pn
    >>> block = pn.generate("small")
    >>> serial = commit(pn.execute(block, "serial", record="changes"))
    >>> serial.digest == commit(pn.execute(block, "dataflow", record="changes")).digest
    True
    """
    door.instance("execution", execution, Execution)
    if execution.changes is None:
        raise BlockError('execution without changes: must be recorded, by execute(..., record="changes")')
    block, schedule = execution.block, execution.schedule
    order = np.arange(block.n_tx, dtype=np.int32) if schedule is None else schedule.serial_order
    if agreed is None:
        agreed = AgreedBlock(block, order, gas)
    elif gas is not None:
        raise BlockError(f"gas = {door.shown(gas)} beside agreed, which has prices: must be None")
    elif agreed.block is not block and agreed.block != block:
        raise BlockError(f"agreed is about {agreed.block}: must be about the block that was executed, {block}")
    found = door.array("execution.changes.keys", execution.changes.keys, np.int32, (None,), low=0, high=block.n_keys - 1)
    changed = door.array("execution.changes.values", execution.changes.values, np.uint64, (len(found), 4))
    every = door.csr("execution.changes.indptr", execution.changes.indptr, block.n_tx, len(found))
    indptr, at = door.take_ranges(every, order)
    keys, values = found[at], changed[at]
    roots = agreed.before.copy().put_batches(indptr, keys, values)
    return Commitment(agreed, order, (indptr, keys, values), claim_rows(roots, execution, order))
