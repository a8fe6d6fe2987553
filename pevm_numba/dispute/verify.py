"""Judges one step by its proof alone, in plain Python: no state, no block, and no kernel is imported."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from ..errors import DisputeError
from ..machine.ops import MAX_STACK
from . import wire
from .agreement import Agreement
from .hashing import Hash, keccak, key_path, stack_hash
from .machine_state import MAX_PAYLOAD, MachineState, Phase, TxHeader
from .proofs import Proof, index_path
from .steps import advance

__all__ = ["StepProof", "Witness", "check_header", "verify_step"]

_PROOFS = ("transaction", "op", "warm", "journal", "stored")
_OPTIONAL = ("op", "warm", "journal", "stored")
#: Bytes of the value in each proof, at most: what is longer is refused before it is hashed.
_MOST_BYTES: Final = {"transaction": 84, "op": 1 + MAX_PAYLOAD, "warm": 1, "journal": 64, "stored": 32}


@dataclass(frozen=True)
class StepProof:
    """All that one step needs, and nothing else: a part that the step does not look at makes it invalid.

    Parameters
    ----------
    machine : MachineState
        Before the step.
    transaction : Proof
        Of the transaction's header at its position, against ``Agreement.transactions``.
    op : Proof or None
        Of the op at ``machine.pc``, against the program.
    top : (tuple of int, bytes) or None
        The first entries of the stack, its top first, and the digest of what is below them.
    warm, journal, stored : Proof or None
        Of the key among the warm ones, in the journal, in the state.
    """

    machine: MachineState
    transaction: Proof
    op: Proof | None = None
    top: tuple[tuple[int, ...], bytes] | None = None
    warm: Proof | None = None
    journal: Proof | None = None
    stored: Proof | None = None

    @property
    def n_bytes(self) -> int:
        """Size as bytes: the machine, 32 for each entry of the stack and what is below, and the proofs."""
        proofs = (getattr(self, name) for name in _PROOFS)
        top = 0 if self.top is None else 32 * (len(self.top[0]) + 1)
        return len(self.machine.encode()) + top + sum(0 if proof is None else proof.n_bytes for proof in proofs)

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        top = None
        if self.top is not None:
            top = [*(wire.hexed(value.to_bytes(32, "big")) for value in self.top[0]), wire.hexed(self.top[1])]
        proofs = ((name, getattr(self, name)) for name in _PROOFS)
        made = {name: None if proof is None else proof.to_json() for name, proof in proofs}
        return {"machine": self.machine.to_json(), "top": top} | made

    @classmethod
    def from_json(cls, value: Any) -> StepProof:
        """The inverse of `to_json`.

        Raises
        ------
        DisputeError
            If it has another form.
        """
        names = [item.name for item in fields(cls)]
        given = dict(zip(names, wire.parts("step proof", value, names)))
        top = given["top"]
        if top is not None:
            words = [wire.octets("top", word, 32) for word in wire.check_list("top", top, 3)]
            if len(words) < 2:
                raise DisputeError("top: must be null, or one or two values and the digest of what is below")
            top = tuple(int.from_bytes(word, "big") for word in words[:-1]), words[-1]
        proofs = {name: None if given[name] is None else Proof.from_json(given[name]) for name in _OPTIONAL}
        machine = MachineState.from_json(given["machine"])
        return cls(machine, Proof.from_json(given["transaction"]), top=top, **proofs)


class Witness:
    """What a proof shows of stack, warm keys, journal and state, each part checked when it is first looked at.

    Parameters
    ----------
    proof : StepProof
    hash : function
    """

    def __init__(self, proof: StepProof, hash: Hash = keccak) -> None:
        self._proof, self._hash = proof, hash
        self._left = {name for name in ("top", *_OPTIONAL) if getattr(proof, name) is not None} - {"op"}
        self._entries = list[tuple[int, bytes]]()  # of the stack, as far as they are known: value, digest of what is below
        self._unseen = 0  # entries that were shown, and not looked at
        machine = proof.machine
        self.stack, self.warm, self.journal, self.root = machine.stack, machine.warm, machine.journal, machine.root

    def _take(self, name: str) -> Any:
        part = getattr(self._proof, name)
        if part is None:
            raise DisputeError(f"step proof: {name} is null, and the step needs it")
        self._left.discard(name)
        return part

    def _look(self, name: str, root: bytes, path: bytes) -> bytes | None:
        return self._take(name).check(root, path, self._hash)

    def finish(self) -> None:
        """Refuse parts that nobody has looked at.

        Raises
        ------
        DisputeError
        """
        if self._left:
            raise DisputeError(f"step proof: the step does not need {', '.join(sorted(self._left))}: must be null")
        if self._unseen:
            raise DisputeError(f"step proof: top has {self._unseen} values that the step does not need")

    def _show_stack(self) -> None:
        """Take in the entries that the proof shows."""
        values, below = self._take("top")
        for value in reversed(values):
            self._entries.append((value, below))
            below = stack_hash(value, below, self._hash)
        if below != self.stack:
            raise DisputeError(f"step proof: top is not on the stack 0x{self.stack.hex()}")
        self._unseen = len(values)

    def top(self) -> int:
        """The stack top."""
        if not self._entries:
            self._show_stack()
        self._unseen = min(self._unseen, len(self._entries) - 1)  # nothing is pushed on entries that nobody looks at
        return self._entries[-1][0]

    def pop(self) -> None:
        """Remove the top, which has been looked at."""
        self.stack = self._entries.pop()[1]

    def push(self, value: int) -> None:
        """Put a value on the stack."""
        self._entries.append((value, self.stack))
        self.stack = stack_hash(value, self.stack, self._hash)

    def warm_up(self, key: bytes) -> bool:
        """Whether a key was warm; it is now."""
        path = key_path(key, self._hash)
        was = self._look("warm", self.warm, path) is not None
        if not was:
            self.warm = self._take("warm").changed(path, b"\x01", self._hash)
        return was

    def written(self, key: bytes) -> tuple[int, int] | None:
        """Of a key in the journal, its value before the transaction and now."""
        value = self._look("journal", self.journal, key_path(key, self._hash))
        return None if value is None else (int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big"))

    def write(self, key: bytes, original: int, value: int) -> None:
        """Put a key into the journal; `written` has been asked about it."""
        entry = original.to_bytes(32, "big") + value.to_bytes(32, "big")
        self.journal = self._take("journal").changed(key_path(key, self._hash), entry, self._hash)

    def stored(self, key: bytes) -> int:
        """Value of a key in the state."""
        return int.from_bytes(self._look("stored", self.root, key_path(key, self._hash)) or b"", "big")

    def settle(self) -> None:
        """Bring the first entry of the journal into the state."""
        entry: Proof = self._take("journal")
        if not entry.is_first or entry.path is None:
            raise DisputeError("step proof: journal shows an entry that is not the first")
        value = entry.check(self.journal, entry.path, self._hash) or b""
        self.journal = entry.changed(entry.path, None, self._hash)
        stored: Proof = self._take("stored")
        stored.check(self.root, entry.path, self._hash)
        self.root = stored.changed(entry.path, value[32:] if any(value[32:]) else None, self._hash)

    def digest_of(self, payload: bytes) -> int:
        """Keccak-256 of a payload."""
        return int.from_bytes(self._hash(payload), "big")


def _check_size(name: str, proof: Proof | None) -> None:
    """Refuse a value that is too long to be what it should."""
    if proof is not None and len(proof.value) > _MOST_BYTES[name]:
        raise DisputeError(f"proof of {name} has a value of {len(proof.value)} bytes: must be at most {_MOST_BYTES[name]}")


def _check_arguments(agreement: Agreement, position: int, before: bytes, proof: StepProof) -> None:
    """What `verify_step` takes for granted."""
    wire.instance("agreement", agreement, Agreement)
    wire.integer("position", position, 0, agreement.n_tx - 1)
    wire.instance("before", before, bytes)
    wire.instance("proof", proof, StepProof)
    wire.instance("proof.machine", proof.machine, MachineState)
    for name in _PROOFS:
        part = getattr(proof, name)
        if part is not None or name not in _OPTIONAL:
            wire.instance(f"proof.{name}", part, Proof)
            _check_size(name, part)


def check_header(agreement: Agreement, position: int, proof: Proof, hash: Hash = keccak) -> TxHeader:
    """The transaction at a position of the agreed order.

    Raises
    ------
    DisputeError
        If the proof does not show it.
    """
    _check_size("transaction", proof)
    value = proof.check(agreement.transactions, index_path(position), hash)
    if value is None:
        raise DisputeError(f"proof shows no transaction at position {position}")
    return TxHeader.decode(value)


def verify_step(agreement: Agreement, position: int, before: bytes, proof: StepProof, *, hash: Hash = keccak) -> bytes:
    """Digest of the machine after one step, from the step's proof alone.

    Parameters
    ----------
    agreement : Agreement
    position : int
        Of the transaction in the agreed order.
    before : bytes
        Digest of the machine before the step, on which both parties agree, 32 bytes.
    proof : StepProof
    hash : function
        Keccak-256; default the plain one.

    Returns
    -------
    bytes
        32 bytes.

    Raises
    ------
    DisputeError
        If the proof shows anything else than this step, or more; names the part.

    Notes
    -----
    O(log n_tx + log n_ops + log n_keys) hashes of some 0.1 ms each, and a payload's, of at most 2**17 bytes. Every part is
    bound: the machine by `before`, header, op and stack top by their digests, each tree by its root, and what is not needed
    has to be left out. So a proof that differs in one bit is refused.

    Examples
    --------
    >>> import pevm_numba as pn
    >>> block = pn.Block.from_programs([[("SSTORE", (1, 0, 0), 5)]])
    >>> made = pn.commit(pn.execute(block, "serial", record="changes"))
    >>> before, after = (made.trace(0).digest(step) for step in (0, 1))
    >>> proof = made.trace(0).prove(0)
    >>> verify_step(made.agreement, 0, before, proof) == after
    True
    """
    _check_arguments(agreement, position, before, proof)
    header = check_header(agreement, position, proof.transaction, hash)
    machine = proof.machine
    given = machine.digest(hash)
    if given != before:
        raise DisputeError(f"step proof: machine has digest 0x{given.hex()}: must be 0x{before.hex()}")
    if machine.gas_left > header.gas_limit or machine.depth > MAX_STACK:
        raise DisputeError(f"step proof: machine has gas_left {machine.gas_left}, depth {machine.depth}: out of range")
    op = None
    if machine.phase == Phase.RUN:
        op = None if proof.op is None else proof.op.check(header.program, index_path(machine.pc), hash)
        if op is None:
            raise DisputeError(f"step proof: op must be the one at {machine.pc} of {header.n_ops}")
    elif proof.op is not None:
        raise DisputeError("step proof: no op is left to run: op must be null")
    view = Witness(proof, hash)
    after = advance(machine, header, op, agreement.prices, view)
    view.finish()
    try:
        return after.digest(hash)
    except OverflowError:
        raise DisputeError("step proof: the machine after the step is out of range: so was the one before it") from None
