"""Parties that are wrong in one way, once, and go on from there: what follows is executed on their wrong state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from .. import door, joining
from ..block import Block
from ..errors import BlockError
from ..evm.hashing import keccak
from ..execute.result import Execution
from ..execute.run import execute
from ..machine.ops import Op, Status
from ..programs import limbs
from ..schedule.plan import Schedule
from .commitment import Commitment, claim_rows, commit
from .hashing import EMPTY, key_path
from .machine_state import MachineState, Outcome, Phase, done
from .party import Party
from .state_tree import StateTree
from .trace import Trace, Whole
from .tree import Tree

__all__ = ["KINDS", "faulty_party", "mutated"]

_WORD: Final = 2**256

#: What a faulty party does wrong.
KINDS: Final[dict[str, str]] = {
    "value": "writes another value",
    "gas": "takes another amount of gas for an op",
    "status": "lets an op end otherwise",
    "skipped-write": "leaves a write out",
    "extra-write": "writes a key that the op does not",
    "stale-read": "reads what the key held before the block",
    "receipt": "claims another receipt than it came to",
    "root": "claims another state than it came to",
    "link": "claims not to come after its own claims",
    "order": "executes in another order",
    "forged-proof": "writes another value, and changes its proof to fit",
    "malformed": "has another receipt, and gives an answer of no known form",
    "time-out": "has another receipt, and gives no answer in time",
}


# -------------------------------------------------------------------- one step done wrong


def _writes(op: bytes | None) -> bool:
    return op is not None and op[0] in (Op.SSTORE, Op.CREDIT)


def _reads(op: bytes | None) -> bool:
    return op is not None and op[0] in (Op.SLOAD, Op.TOUCH, Op.CREDIT)


def _succeeded(before: MachineState, after: MachineState) -> bool:
    """Whether a step ran an op that did not fail."""
    return before.phase == Phase.RUN and after.outcome.status == Status.SUCCESS


def _with_journal(after: MachineState, view: Whole) -> MachineState:
    """The machine with the journal of the view, in the phase that follows from it."""
    if after.phase == Phase.RUN:
        return replace(after, journal=view.journal)
    if view.journal == EMPTY:
        return done(after.root, after.outcome)
    return replace(after, phase=Phase.SETTLE, journal=view.journal)


@dataclass
class _Wrong:
    """What is done wrong at a step, in a transaction with that gas limit; `key` and `amount` say how."""

    kind: str
    step: int
    key: bytes
    amount: int
    limit: int
    op: bytes = b""

    def before(self, view: Whole, op: bytes | None) -> None:
        """Before the step: keep the journal, or show an old value."""
        self.op, self._journal = op or b"", view.written_keys
        if self.kind == "stale-read":
            view.instead = {key_path(self.op[1:54], keccak): self.amount}

    def after(self, before: MachineState, after: MachineState, view: Whole) -> MachineState:
        """After it."""
        if self.kind == "gas":
            if after.phase == Phase.RUN:
                return replace(after, gas_left=max(0, after.gas_left - self.amount))
            return replace(after, outcome=replace(after.outcome, gas_used=after.outcome.gas_used + self.amount))
        if self.kind == "status":
            view.written_keys = Tree(hash=keccak)
            if after.outcome.status == Status.SUCCESS:
                return done(before.root, Outcome(Status.OUT_OF_GAS, self.limit, digest=after.outcome.digest))
            return done(before.root, Outcome(gas_used=self.limit - before.gas_left, digest=after.outcome.digest))
        if self.kind in ("value", "extra-write"):
            path = key_path(self.op[1:54], keccak) if self.kind == "value" else self.key
            entry = view.written_keys.get(path) or bytes(64)
            value = (int.from_bytes(entry[32:], "big") + self.amount) % _WORD
            view.written_keys = view.written_keys.put(path, entry[:32] + value.to_bytes(32, "big"))
        if self.kind == "skipped-write":
            view.written_keys = self._journal
        return after if self.kind == "stale-read" else _with_journal(after, view)


def _fits(kind: str, trace: Trace, step: int) -> bool:
    """Whether something can be done wrong in that way at a step."""
    before, after, op = trace.machine(step), trace.machine(step + 1), trace.op(step)
    if kind == "status":
        return before.phase == Phase.RUN
    if kind == "stale-read":
        return _reads(op) and _succeeded(before, after)
    if kind in ("value", "skipped-write"):
        return _writes(op) and _succeeded(before, after)
    return _succeeded(before, after)


def _before(given: Commitment, trace: Trace, step: int, *states: StateTree) -> list[int]:
    """What the key of an op held before the block, and in each of these states."""
    path = key_path((trace.op(step) or b"")[1:54], keccak)
    return [state.get(path) for state in (given.agreed.before, *states)]


# -------------------------------------------------------------------- what follows


def _rest(given: Commitment, position: int, state: StateTree) -> Execution:
    """The transactions after a position, executed on a state; those up to it have no ops."""
    block = given.agreed.block
    columns = joining.columns_of(block)
    kept = np.zeros(block.n_tx, bool)
    kept[given.order[position + 1 :]] = True
    sizes = np.diff(block.op_indptr)
    ops = np.repeat(kept, sizes)
    columns["op_indptr"] = np.concatenate([[0], np.cumsum(np.where(kept, sizes, 0))])
    for name in ("op_code", "op_key", "op_arg"):
        columns[name] = columns[name][ops]
    columns["state_value"] = limbs(state.values())
    made = Block.from_arrays(number=block.number, fork=block.fork, **columns)
    plan = Schedule.from_waves("given order", [[t] for t in given.order.tolist()], given.order)
    return execute(made, "serial", schedule=plan, gas=given.agreed.prices, record="changes")


def _old_keys(old: Block, new: Block) -> np.ndarray:
    """Key ids of `old` for the keys of `new`, which are among them."""
    rows = [np.concatenate([getattr(old, n), getattr(new, n)]) for n in ("key_address", "key_field", "key_slot")]
    ids, _ = door.intern_rows(*(np.ascontiguousarray(part) for part in rows))
    return ids[old.n_keys :]


def _continued(given: Commitment, position: int, trace: Trace) -> Commitment:
    """The commitment of somebody for whom a transaction went as in `trace`."""
    state, last = given.state(position), trace.machine(len(trace))
    for path, value in trace.settled:
        state.set(path, value)
    after = _rest(given, position, state)
    assert after.changes is not None
    old, kept = _old_keys(given.agreed.block, after.block), given.changes[0][position]
    later = given.order[position + 1 :]
    offsets, at = door.take_ranges(after.changes.indptr, later)
    mine = np.array([state.find(path) for path, _ in trace.settled], np.int32)
    new = limbs(value for _, value in trace.settled)
    indptr = np.concatenate([given.changes[0][: position + 1], kept + len(mine) + offsets])
    keys = np.concatenate([given.changes[1][:kept], mine, old[after.changes.keys[at]].astype(np.int32)])
    values = np.concatenate([given.changes[2][:kept], new, after.changes.values[at]])
    roots = given.agreed.before.copy().put_batches(indptr, keys, values)
    rows = claim_rows(roots, after, given.order)
    rows[:position] = given.rows[:position]
    made = Commitment(given.agreed, given.order, (indptr, keys, values), rows)
    return made.altered(position + 1, receipt=last.outcome)


class _Faulty(Party):
    """Defends a commitment with a trace of its own at one position."""

    def __init__(self, commitment: Commitment, traces: dict[int, Trace] | None = None) -> None:
        super().__init__(commitment)
        self._traces = traces or {}

    def trace(self, position: int) -> Trace:
        """Nothing is checked: it may contradict its claims."""
        return self._traces.get(position) or self.commitment.trace(position)


class _Forger(_Faulty):
    """Changes one place of its proof."""

    def __init__(self, commitment: Commitment, traces: dict[int, Trace], rng: random.Random) -> None:
        super().__init__(commitment, traces)
        self._rng = rng

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """As ever, but for the proof."""
        said = super().answer(question)
        return mutated(said, self._rng) if question["ask"] == "proof" else said


class _Breaker(_Faulty):
    """Stops playing by the rules at one of its moves."""

    def __init__(self, commitment: Commitment, move: int, babble: list[Any]) -> None:
        super().__init__(commitment)
        self._left, self._babble = move, babble

    def answer(self, question: dict[str, Any]) -> Any:
        """Says what is no answer, or nothing in time."""
        self._left -= 1
        if self._left >= 0:
            return super().answer(question)
        if not self._babble:
            raise TimeoutError
        return self._babble[0]


def _leaves(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each number, text and null of a JSON value is, and each list and object that is empty."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = list(items)
    if not below:
        yield way
    for key, item in below:
        yield from _leaves(item, (*way, key))


def _other(value: Any, rng: random.Random) -> Any:
    """Another value of the same kind: one digit of hexadecimal text, a number by a power of two."""
    if isinstance(value, str) and len(value) > 2:
        at = rng.randrange(2, len(value))
        return value[:at] + rng.choice([digit for digit in "0123456789abcdef" if digit != value[at]]) + value[at + 1 :]
    if isinstance(value, str):
        return value + "00"
    if isinstance(value, int):
        return value ^ 1 << rng.randrange(max(1, value.bit_length()))
    return {} if value is None else None


def mutated(value: Any, rng: random.Random) -> Any:
    """A copy of a JSON value in which one digit, number, null or empty list is another.

    Examples
    --------
    >>> mutated({"a": [5, "0x0f"]}, random.Random(3)) != {"a": [5, "0x0f"]}
    True
    """
    way = rng.choice(list(_leaves(value)))

    def copy(now: Any, left: tuple[Any, ...]) -> Any:
        if not left:
            return _other(now, rng)
        if isinstance(now, dict):
            return {key: copy(item, left[1:]) if key == left[0] else item for key, item in now.items()}
        return [copy(item, left[1:]) if i == left[0] else item for i, item in enumerate(now)]

    return copy(value, way)


# -------------------------------------------------------------------- the parties


def _tampered(given: Commitment, kind: str, rng: random.Random, positions: list[int]) -> _Faulty:
    """Somebody who does one step wrong, so that the last claim is another one."""
    fault = "value" if kind == "forged-proof" else kind
    block = given.agreed.block
    for position in positions:
        honest, state = given.trace(position), given.state(position)
        steps = [step for step in range(len(honest)) if _fits(fault, honest, step)]
        if fault == "stale-read":
            steps = [step for step in steps if len(set(_before(given, honest, step, state))) == 2]
        rng.shuffle(steps)
        for step in steps[:4]:
            key = given.agreed.paths[rng.randrange(block.n_keys)].tobytes() if block.n_keys else b""
            amount, header = rng.choice([1, 1, 2**rng.randrange(40)]), given.agreed.header_of(int(given.order[position]))
            if fault == "stale-read":
                amount = _before(given, honest, step)[0]
            wrong = _Wrong(fault, step, key, min(amount, header.gas_limit) if fault == "gas" else amount, header.gas_limit)
            trace = Trace(given.agreed, position, state, tx=int(given.order[position]), tamper=wrong)
            if trace.machine(len(trace)) != honest.machine(len(honest)):
                made = _continued(given, position, trace)
                traces = {position: trace}
                return _Forger(made, traces, rng) if kind == "forged-proof" else _Faulty(made, traces)
    raise BlockError(f"kind {kind!r}: no transaction among {len(positions)} can be done wrong in this way")


def _disordered(given: Commitment, rng: random.Random, positions: list[int]) -> Party:
    """Somebody who swaps two neighbours, or mixes all."""
    block, prices = given.agreed.block, given.agreed.prices
    for position in positions:
        order = given.order.tolist()
        if position + 1 < len(order):
            order[position : position + 2] = order[position + 1], order[position]
        else:
            rng.shuffle(order)
        plan = Schedule.from_waves("another order", [[t] for t in order], order)
        made = commit(execute(block, "serial", schedule=plan, gas=prices, record="changes"), agreed=given.agreed)
        if made.digest != given.digest:
            return _Faulty(made)
    raise BlockError("kind 'order': no two neighbours give another result the other way round")


def _claims_else(given: Commitment, kind: str, rng: random.Random, position: int) -> Party:
    """Somebody who came to what is right, and claims something else."""
    claim = given.claim(position + 1)
    if kind == "root":
        return _Faulty(given.altered(position + 1, root=rng.randbytes(32)))
    if kind == "link":
        return _Faulty(given.altered(position + 1, link=rng.randbytes(32)))
    gas = claim.receipt.gas_used ^ 1 << rng.randrange(16)
    made = given.altered(position + 1, receipt=replace(claim.receipt, gas_used=gas))
    if kind == "receipt":
        return _Faulty(made)
    babble = [[], "nothing", 5, {}, {"claim": None}, {"state": "0x"}, {"proof": []}, mutated({"claim": [1]}, rng)]
    return _Breaker(made, rng.randrange(given.n_tx.bit_length() + 3), [rng.choice(babble)] if kind == "malformed" else [])


def faulty_party(commitment: Commitment, kind: str, *, seed: int = 0, position: int | None = None) -> Party:
    """A party that is wrong in one way: for trying out the game, and for tests of it.

    Parameters
    ----------
    commitment : Commitment
        What is right.
    kind : str
        One of `KINDS`. After an op done wrong, it goes on from there, and executes the rest of the block on what it has.
    seed : int
        Of where and how, in [0, 2**64).
    position : int, optional
        Of the transaction that it gets wrong, in [0, n_tx); default by the seed.

    Returns
    -------
    Party
        Its last claim is another one than the commitment's.

    Raises
    ------
    BlockError
        If an argument is none of these, or no transaction can be done wrong in that way.

    Examples
    --------
    >>> import pevm_numba as pn
    >>> made = pn.commit(pn.execute(pn.generate("small"), "serial", record="changes"))
    >>> faulty_party(made, "extra-write").commitment.digest != made.digest
    True
    """
    door.instance("commitment", commitment, Commitment)
    door.choice("kind", kind, KINDS)
    rng = random.Random(door.integer("seed", seed, 0, 2**64 - 1))
    if commitment.n_tx == 0:
        raise BlockError(f"kind {kind!r}: a block without transactions cannot be done wrong")
    positions = list(range(commitment.n_tx))
    rng.shuffle(positions)
    if position is not None:
        positions = [door.integer("position", position, 0, commitment.n_tx - 1)]
    if kind in ("receipt", "root", "link", "malformed", "time-out"):
        return _claims_else(commitment, kind, rng, positions[0])
    if kind == "order":
        return _disordered(commitment, rng, positions)
    return _tampered(commitment, kind, rng, positions)
