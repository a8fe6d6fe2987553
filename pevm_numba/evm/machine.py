"""One block's state and the machine that changes it, transaction after transaction, on one core.

A transaction that the rules refuse is no failed one: it cannot be in a block, raises an error and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from .._kernels.evm import layout
from .._kernels.evm.blocks import SERIAL
from ..errors import BlockError, ExecutionError
from .arena import Arena, Room
from .charges import charges, refusal
from .encoding import encode_transactions
from .header import BlockEnv
from .outcomes import NOTES, Results, array_of, read_logs
from .plans import CELLS
from .receipts import Log
from .transaction import Transaction
from .tx_accesses import RawAccesses, TxAccesses, tx_accesses
from .worker import Worker
from .world import AccountState, World, add_state, key_table, read_state

__all__ = ["ENLARGED", "Evm", "Outcome", "refused"]

#: Refusals that depend on the state.
_REFUSALS: Final = {
    layout.NONCE: "nonce = {nonce}: the sender's is {owner.nonce}",
    layout.FUNDS: "the sender cannot pay {most} wei: has {owner.balance}",
    layout.SENDER_CODE: "the sender has code (EIP-3607)",
    layout.BLOCK_HASH: "it asks for the hash of a block before that env.block_hashes does not have",
}
#: Most times that an arena is enlarged: to 2,048 times its room, of some things less: see `Room.doubled`.
ENLARGED: Final = 12


class Outcome(NamedTuple):
    """What a transaction did: `output` is what it returned or reverted with, nothing for one that creates a contract."""

    success: bool
    gas_used: int
    output: bytes
    logs: tuple[Log, ...]


def refused(tx: Transaction, env: BlockEnv, why: int, state: Mapping[bytes, AccountState]) -> str:
    """Why the kernels refused a transaction, for people; `state` is that before it.

    Examples
    --------
    >>> from .forks import Fork
    >>> env = BlockEnv(number=1, timestamp=1, fork=Fork.BERLIN)
    >>> refused(Transaction(gas_price=2, gas_limit=21_000, to=bytes(20)), env, layout.FUNDS, {})
    'the sender cannot pay 42000 wei: has 0'
    """
    owner = state.get(tx.sender or b"", AccountState(0, 0, b"", {}))
    return _REFUSALS[why].format(nonce=tx.nonce, most=charges(tx, env).most, owner=owner)


class Evm:
    """The state of accounts in a block, and what its transactions do to it.

    Parameters
    ----------
    env : BlockEnv
    state : mapping of address to (balance, nonce, code, storage)
        All accounts that exist, by their 20 bytes; everything else is absent, and zero.
    room : Room, optional
        How much the tables hold at first; they are enlarged when need be.

    Examples
    --------
    >>> from .forks import Fork
    >>> adds = bytes.fromhex("60036004015f5260205ff3")  # 3 + 4, returned
    >>> state = {b"\\x01" * 20: (10**18, 0, b"", {}), b"\\x02" * 20: (0, 1, adds, {})}
    >>> machine = Evm(BlockEnv(number=1, timestamp=1, fork=Fork.SHANGHAI, base_fee=0), state)
    >>> tx = Transaction(gas_price=0, gas_limit=50_000, to=b"\\x02" * 20, sender=b"\\x01" * 20)
    >>> outcome = machine.run(tx)
    >>> outcome.success, outcome.gas_used, outcome.output[-1]
    (True, 21022, 7)
    """

    def __init__(self, env: BlockEnv, state: World, room: Room | None = None) -> None:
        self.env = env
        self._load(dict(state), Room() if room is None else room)

    def _load(self, state: World, room: Room) -> None:
        """A new arena, with room enough, that holds the state."""
        for _ in range(ENLARGED):
            self._worker = Worker(self.env, room)
            self.arena = self._worker.arena
            self._block = self.arena.allocate("block", layout.BLOCK.size).view(np.int64)
            self._results = Results(self.arena, 1)
            add_state(self.arena, state)
            if self.arena["status"] == layout.OK:
                return
            room = room.doubled()
        raise ExecutionError(f"state of {len(state)} accounts: no room for it in {room}")

    def state(self) -> dict[bytes, AccountState]:
        """All accounts that exist now."""
        return read_state(self.arena)

    def accesses(self) -> TxAccesses:
        """What the last transaction accessed."""
        record = self._results.records[0]
        notes = array_of(int(record["notes"]), int(record["n_notes"]), NOTES)
        cells = array_of(int(record["cells"]), int(record["n_cells"]), CELLS)
        return tx_accesses(RawAccesses(*key_table(self.arena), [notes], [cells]))

    def try_out(self, tx: Transaction) -> tuple[Outcome, TxAccesses]:
        """Run a transaction, see what it does, and leave the state as it was.

        Raises
        ------
        BlockError, ExecutionError
            As `run` does.
        """
        arena, before = self.arena, self.arena.words("values").copy()
        try:
            found = self.run(tx), self.accesses()
        finally:
            arena.words("values")[:] = before
            if self.arena is not arena:  # there was no room in it
                self._load(read_state(arena), self.arena.room)
        return found

    def run(self, tx: Transaction, look: Callable[[Arena], object] | None = None) -> Outcome:
        """Run a transaction on the state, which it changes.

        Parameters
        ----------
        tx : Transaction
        look : callable, optional
            Called before each step with the arena; with another one from the first step on where more room is needed.

        Raises
        ------
        BlockError
            If the rules refuse it, or its sender is not given.
        ExecutionError
            If it needs more room than an enlarged arena has, or a library that is not installed.
        """
        reason = "sender = None: must be given, or recovered" if tx.sender is None else refusal(tx, self.env)
        if reason is not None:
            raise BlockError(f"transaction refused: {reason}")
        for _ in range(ENLARGED):
            stopped = self._run(tx, look)
            if stopped != layout.FULL:
                break
            self._load(self.state(), self.arena.room.doubled())
        else:
            raise ExecutionError(f"transaction: no room for what it does in {self.arena.room}")
        if stopped == layout.REJECTED:
            why = self.arena["refusal"]
            if why == layout.HOST:
                raise self._worker.problems.pop(0)
            raise BlockError(f"transaction refused: {refused(tx, self.env, why, self.state())}")
        arena, record = self.arena, self._results.records[0]
        output = b"" if tx.to is None else arena.buffer("returned")[: arena["returned_size"]].tobytes()
        return Outcome(bool(record["success"]), int(record["gas_used"]), output, read_logs(record))

    def _run(self, tx: Transaction, look: Callable[[Arena], object] | None) -> int:
        """Run a block of one transaction; why it stopped, OK if it did not."""
        self._worker.forget()
        self._results.clear()
        txs = encode_transactions(self.arena, [tx], self.env)
        fields = {"mode": SERIAL, "n_tx": 1, "txs": txs, "results": self._results.address, "records": 1}
        self._block[:] = 0
        for name, value in fields.items():
            self._block[layout.BLOCK.numbers[name] // 8] = value
        if look is not None:
            self.arena.step(shown=True)
            self._worker.look = partial(look, self.arena)
        try:
            self._worker.work(int(self._block.ctypes.data))
        finally:
            self.arena.step(False)
            self._worker.look = None
        return int(self._block[layout.BLOCK.numbers["stop"] // 8])
