"""Every state of the machine in one transaction, as a party knows it, with a proof of each step."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from .. import door
from ..evm.hashing import keccak
from ..programs import limbs
from .agreed import AgreedBlock
from .hashing import EMPTY, key_path, stack_hash
from .machine_state import MachineState, Phase
from .proofs import index_path
from .state_tree import StateTree
from .steps import advance, begin
from .tree import Tree
from .verify import StepProof

__all__ = ["Tamper", "Trace", "Whole"]


class _Entry(NamedTuple):
    """The top of a stack, which is never changed: what is pushed refers to what is below."""

    value: int
    digest: bytes
    below: _Entry | None


class _Point(NamedTuple):
    """The machine before a step, with all that its digests stand for; `settled` keys have been brought into the state."""

    machine: MachineState
    stack: _Entry | None
    warm: Tree
    journal: Tree
    settled: int


class Whole:
    """Stack, warm keys, journal and state of a party, and what a step looked at of them.

    Parameters
    ----------
    point : _Point
    state : StateTree
        Is changed by `settle`.
    """

    def __init__(self, point: _Point, state: StateTree) -> None:
        self.entries, self.warm_keys, self.written_keys, self.state = point.stack, point.warm, point.journal, state
        self.settled = list[tuple[bytes, int]]()
        self.asked = dict[str, bytes]()
        self.seen = self._gone = self._fresh = 0  # entries of the stack: looked at from the top on, popped, pushed here
        self.instead = dict[bytes, int]()  # values that a faulty party takes for those of the state

    @property
    def stack(self) -> bytes:
        """Digest of the stack."""
        return EMPTY if self.entries is None else self.entries.digest

    @property
    def warm(self) -> bytes:
        """Root of the warm keys."""
        return self.warm_keys.root

    @property
    def journal(self) -> bytes:
        """Root of the journal."""
        return self.written_keys.root

    @property
    def root(self) -> bytes:
        """Root of the state."""
        return self.state.root

    def top(self) -> int:
        """The stack top."""
        assert self.entries is not None  # the machine counts entries
        if not self._fresh:
            self.seen = max(self.seen, self._gone + 1)
        return self.entries.value

    def pop(self) -> None:
        """Remove it."""
        assert self.entries is not None
        self.entries = self.entries.below
        self._gone, self._fresh = self._gone + (not self._fresh), max(0, self._fresh - 1)

    def push(self, value: int) -> None:
        """Put a value on the stack."""
        self.entries = _Entry(value, stack_hash(value, self.stack, keccak), self.entries)
        self._fresh += 1

    def warm_up(self, key: bytes) -> bool:
        """Whether a key was warm; it is now."""
        path = self.asked["warm"] = key_path(key, keccak)
        was = self.warm_keys.get(path) is not None
        if not was:
            self.warm_keys = self.warm_keys.put(path, b"\x01")
        return was

    def written(self, key: bytes) -> tuple[int, int] | None:
        """Of a key in the journal, its value before the transaction and now."""
        path = self.asked["journal"] = key_path(key, keccak)
        entry = self.written_keys.get(path)
        return None if entry is None else (int.from_bytes(entry[:32], "big"), int.from_bytes(entry[32:], "big"))

    def write(self, key: bytes, original: int, value: int) -> None:
        """Put a key into the journal."""
        entry = original.to_bytes(32, "big") + value.to_bytes(32, "big")
        self.written_keys = self.written_keys.put(key_path(key, keccak), entry)

    def stored(self, key: bytes) -> int:
        """Value of a key in the state."""
        path = self.asked["stored"] = key_path(key, keccak)
        return self.instead.get(path, self.state.get(path))

    def settle(self) -> None:
        """Bring the first entry of the journal into the state."""
        path = self.written_keys.first()
        assert path is not None  # or the machine would be done
        self.asked["journal"] = self.asked["stored"] = path
        value = int.from_bytes((self.written_keys.get(path) or b"")[32:], "big")
        self.written_keys = self.written_keys.drop(path)
        self.state.set(path, value)
        self.settled.append((path, value))

    def digest_of(self, payload: bytes) -> int:
        """Keccak-256 of a payload."""
        return int.from_bytes(keccak(payload), "big")


class Tamper(Protocol):
    """What a faulty party does at one step."""

    step: int

    def before(self, view: Whole, op: bytes | None) -> None:
        """Before the step: may change what the view shows."""

    def after(self, before: MachineState, after: MachineState, view: Whole) -> MachineState:
        """After it: may change what it left, and returns the machine."""


class Trace:
    """One transaction, step by step.

    Parameters
    ----------
    agreed : AgreedBlock
    position : int
        In the agreed order.
    state : StateTree
        Before the transaction; is kept, and not changed.
    tx : int, optional
        Block position of the transaction that is run; default the agreed one.
    tamper : Tamper, optional
        What is done wrong.

    Notes
    -----
    O(log n) hashes a step. No step changes a tree in place but the last ones, which bring the journal into the state.
    """

    def __init__(
        self, agreed: AgreedBlock, position: int, state: StateTree, *, tx: int | None = None, tamper: Tamper | None = None
    ) -> None:
        self._agreed, self._position, self._state = agreed, position, state
        self._tx = int(agreed.order[position]) if tx is None else tx
        self._header, self._ops = agreed.header_of(self._tx), agreed.ops_of(self._tx)
        start = begin(state.root, self._header, agreed.prices)
        self._points = [_Point(start, None, agreed.warm_of(self._tx), Tree(hash=keccak), 0)]
        self._view = Whole(self._points[0], state.copy())
        self._digests = dict[int, bytes]()
        while self._points[-1].machine.phase != Phase.DONE:
            self._step(tamper if tamper is not None and tamper.step == len(self._points) - 1 else None)

    def _op(self, machine: MachineState) -> bytes | None:
        return self._ops[machine.pc] if machine.phase == Phase.RUN else None

    def _step(self, tamper: Tamper | None) -> None:
        """Run the next step; what a point holds is never changed, so points share most of their trees."""
        before, view = self._points[-1].machine, self._view
        if tamper is not None:
            tamper.before(view, self._op(before))
        after = advance(before, self._header, self._op(before), self._agreed.prices, view)
        if tamper is not None:
            after = tamper.after(before, after, view)
            view.instead.clear()
        self._points.append(_Point(after, view.entries, view.warm_keys, view.written_keys, len(view.settled)))

    def __len__(self) -> int:
        """Steps until the machine is done."""
        return len(self._points) - 1

    def machine(self, step: int) -> MachineState:
        """The machine after so many steps, at least 0; it stays as it is when it is done."""
        return self._points[self._at(step)].machine

    def _at(self, step: int) -> int:
        """Where a step is among the points; a BlockError if it is no step."""
        return min(door.integer("step", step, 0), len(self))

    def digest(self, step: int) -> bytes:
        """Its digest."""
        step = self._at(step)
        if step not in self._digests:
            self._digests[step] = self._points[step].machine.digest(keccak)
        return self._digests[step]

    def op(self, step: int) -> bytes | None:
        """The op of a step; None if it has none."""
        return self._op(self.machine(step))

    @property
    def settled(self) -> list[tuple[bytes, int]]:
        """Path and new value of each key that the transaction has written."""
        return self._view.settled

    def prove(self, step: int) -> StepProof:
        """What shows a step to somebody who knows nothing but the agreement."""
        point = self._points[self._at(step)]
        machine, state = point.machine, self._state.copy()
        settled = self.settled[: point.settled]
        state.put(np.array([state.find(path) for path, _ in settled], np.int64), limbs(value for _, value in settled))
        op, view = self._op(machine), Whole(point, state.copy())
        advance(machine, self._header, op, self._agreed.prices, view)
        asked, values, entry = view.asked, list[int](), point.stack
        for _ in range(view.seen):
            assert entry is not None
            values.append(entry.value)
            entry = entry.below
        program = None if op is None else Tree({index_path(i): data for i, data in enumerate(self._ops)}, keccak)
        return StepProof(
            machine, self._agreed.prove(self._position),
            None if program is None else program.prove(index_path(machine.pc)),
            (tuple(values), EMPTY if entry is None else entry.digest) if values else None,
            point.warm.prove(asked["warm"]) if "warm" in asked else None,
            point.journal.prove(asked["journal"]) if "journal" in asked else None,
            state.prove(asked["stored"]) if "stored" in asked else None,
        )  # fmt: skip
