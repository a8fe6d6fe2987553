"""One step of the machine, on whatever shows it stack, warm keys, journal and state: all of a party's, or one proof.

Rules are those of `machine.spec`, whose prices and folds are used. Writes go to the journal; when the last op has succeeded,
each further step brings the first entry of the journal, by path, into the state. A failure drops it: nothing is undone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from ..machine.gas import GasItem, GasSchedule
from ..machine.ops import MAX_STACK, Field, Op, Status
from ..machine.spec import fold, store_gas
from .hashing import EMPTY
from .machine_state import MachineState, Outcome, Phase, TxHeader, done, op_of

__all__ = ["View", "advance", "begin", "n_steps"]

_WORD = 2**256


class View(Protocol):
    """What a step may look at and change; `stack`, `warm`, `journal`, `root` are the commitments at present."""

    @property
    def stack(self) -> bytes:
        """Digest of the stack."""

    @property
    def warm(self) -> bytes:
        """Root of the warm keys."""

    @property
    def journal(self) -> bytes:
        """Root of the journal."""

    @property
    def root(self) -> bytes:
        """Root of the state."""

    def top(self) -> int:
        """The stack top."""

    def pop(self) -> None:
        """Remove it."""

    def push(self, value: int) -> None:
        """Put a value on the stack."""

    def warm_up(self, key: bytes) -> bool:
        """Whether a key was warm; it is now."""

    def written(self, key: bytes) -> tuple[int, int] | None:
        """Of a key in the journal, its value before the transaction and now; None if it is not there."""

    def write(self, key: bytes, original: int, value: int) -> None:
        """Put a key into the journal."""

    def stored(self, key: bytes) -> int:
        """Value of a key in the state."""

    def settle(self) -> None:
        """Bring the first entry of the journal into the state, and remove it."""

    def digest_of(self, payload: bytes) -> int:
        """Keccak-256 of a payload, as a word."""


class _Failed(Exception):
    """Ends a transaction; carries the status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


def n_steps(header: TxHeader) -> int:
    """Steps after which every transaction with these many ops is done: each op writes one key at most.

    Examples
    --------
    >>> n_steps(TxHeader(0, 0, 0, 3, EMPTY, EMPTY))
    6
    """
    return 2 * header.n_ops


def begin(root: bytes, header: TxHeader, prices: GasSchedule) -> MachineState:
    """The machine before the first op: gas of the transaction itself is paid, listed keys are warm."""
    left = header.gas_limit - header.intrinsic_gas(prices.costs)
    if left < 0:
        return done(root, Outcome(Status.OUT_OF_GAS, header.gas_limit))
    if header.n_ops == 0:
        return done(root, Outcome(gas_used=header.gas_limit - left))
    return MachineState(Phase.RUN, 0, left, 0, EMPTY, header.warm, EMPTY, root, Outcome())


def advance(state: MachineState, header: TxHeader, op: bytes | None, prices: GasSchedule, view: View) -> MachineState:
    """The machine after one step.

    Parameters
    ----------
    state : MachineState
        Before it.
    header : TxHeader
    op : bytes or None
        The op at ``state.pc`` in phase RUN; else it is not looked at.
    prices : GasSchedule
    view : View
        Is changed.

    Raises
    ------
    DisputeError
        If the view cannot show what the step needs, or `op` is none.
    """
    if state.phase == Phase.DONE:
        return state
    if state.phase == Phase.SETTLE:
        view.settle()
        return _settling(state, view)
    run = _Run(prices, view, state.gas_left, state.depth, state.outcome.refund, state.outcome.digest)
    try:
        run.step(b"" if op is None else op)
    except _Failed as failure:
        return done(state.root, Outcome(failure.status, header.gas_limit, digest=run.digest))
    if state.pc + 1 < header.n_ops:
        outcome = Outcome(refund=run.refund, digest=run.digest)
        kept = (view.stack, view.warm, view.journal, state.root)
        return MachineState(Phase.RUN, state.pc + 1, run.gas_left, run.depth, *kept, outcome)
    spent = header.gas_limit - run.gas_left
    used = spent - min(run.refund, spent // prices[GasItem.REFUND_QUOTIENT])
    outcome = Outcome(Status.SUCCESS, used, run.refund, view.top() if run.depth else 0, run.digest)
    return _settling(replace(done(state.root, outcome), phase=Phase.SETTLE), view)


def _settling(state: MachineState, view: View) -> MachineState:
    """The machine as it brings the journal into the state, or has done so."""
    if view.journal == EMPTY:
        return done(view.root, state.outcome)
    return replace(state, journal=view.journal, root=view.root)


@dataclass
class _Run:
    """A step under way."""

    prices: GasSchedule
    view: View
    gas_left: int
    depth: int
    refund: int
    digest: int

    def charge(self, gas: int) -> None:
        if gas > self.gas_left:
            raise _Failed(Status.OUT_OF_GAS)
        self.gas_left -= gas

    def check_stack(self, pops: int, pushes: int) -> None:
        if self.depth < pops:
            raise _Failed(Status.STACK_UNDERFLOW)
        if self.depth - pops + pushes > MAX_STACK:
            raise _Failed(Status.STACK_OVERFLOW)

    def push(self, value: int) -> None:
        self.view.push(value)
        self.depth += 1

    def pop(self) -> int:
        value = self.view.top()
        self.view.pop()
        self.depth -= 1
        return value

    def current(self, key: bytes) -> tuple[int, int]:
        """Value of a key before the transaction, and now."""
        written = self.view.written(key)
        if written is not None:
            return written
        value = self.view.stored(key)
        return value, value

    def read(self, key: bytes) -> int:
        if key[20] == Field.STORAGE:
            # what is warm is known before it is paid for: a failure drops all of the view
            self.charge(self.prices[GasItem.WARM_ACCESS if self.view.warm_up(key) else GasItem.COLD_LOAD])
        value = self.current(key)[1]
        self.digest = fold(self.digest, value)
        return value

    def store(self, key: bytes, literal: int | None) -> None:
        self.check_stack(1 if literal is None else 0, 0)
        if key[20] != Field.STORAGE:
            original, _ = self.current(key)
            self.view.write(key, original, self.pop() if literal is None else literal)
            return
        if self.gas_left <= self.prices[GasItem.SENTRY]:
            raise _Failed(Status.OUT_OF_GAS)
        self.charge(0 if self.view.warm_up(key) else self.prices[GasItem.COLD_STORE])
        original, current = self.current(key)
        new = self.view.top() if literal is None else literal
        gas, refund = store_gas(self.prices, original, current, new)
        self.charge(gas)
        self.refund += refund
        if literal is None:
            self.pop()
        self.view.write(key, original, new)

    def step(self, data: bytes) -> None:
        code, key, argument = op_of(data)
        match code:
            case Op.SLOAD:
                self.check_stack(0, 1)
                self.push(self.read(key))
            case Op.TOUCH:
                self.read(key)
            case Op.SSTORE:
                self.store(key, argument)
            case Op.ADD | Op.SUB:
                self.check_stack(1, 1)
                self.charge(self.prices[GasItem.ARITHMETIC])
                self.push((self.pop() + (argument if code is Op.ADD else -argument)) % _WORD)
            case Op.KECCAK:
                self.check_stack(0, 1)
                self.charge(self.prices[GasItem.KECCAK] + self.prices[GasItem.KECCAK_WORD] * ((len(argument) + 31) // 32))
                self.push(self.view.digest_of(argument))
            case Op.NOOP:
                self.charge(self.prices[GasItem.NOOP_STEP] * argument)
            case Op.CREDIT:
                original, current = self.current(key)
                self.view.write(key, original, (current + argument) % _WORD)
            case Op.BURN:
                self.charge(argument)
