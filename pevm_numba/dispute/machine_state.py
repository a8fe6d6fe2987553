"""The machine between two ops of a transaction is 200 bytes: stack, warm keys and journal are in it by their digests only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final

from ..errors import DisputeError
from ..machine.gas import GasItem
from ..machine.ops import CREDIT_FIELD, MAX_COUNT, Field, Op, Status
from . import wire
from .hashing import EMPTY, Hash, Tag, keccak, tagged

__all__ = ["KEY_BYTES", "MAX_PAYLOAD", "MachineState", "Outcome", "Phase", "TxHeader", "done", "op_bytes", "op_of"]

#: Bytes of a state key: address, field, slot.
KEY_BYTES: Final = 53
#: Bytes of a KECCAK's payload, at most: a referee hashes it in plain Python, at about 7 us a byte.
MAX_PAYLOAD: Final = 2**17
_DIGESTS: Final = ("stack", "warm", "journal", "root")


class Phase(IntEnum):
    """What the next step does."""

    RUN = 0  #: The op at `pc`.
    SETTLE = 1  #: Bring the first entry of the journal into the state.
    DONE = 2  #: Nothing: all further states are this one.


@dataclass(frozen=True)
class Outcome:
    """Receipt of a transaction, or what there is of it so far.

    Parameters
    ----------
    status : int
        `Status`.
    gas_used, refund : int
        In gas; refund is the counter before its cap.
    output : int
        256 bits: the stack top at the end, 0 if there is none or the transaction failed.
    digest : int
        64 bits: fold of every value read.
    """

    status: int = 0
    gas_used: int = 0
    refund: int = 0
    output: int = 0
    digest: int = 0

    def encode(self) -> bytes:
        """57 bytes, numbers big-endian."""
        head = bytes([self.status]) + self.gas_used.to_bytes(8, "big") + self.refund.to_bytes(8, "big", signed=True)
        return head + self.output.to_bytes(32, "big") + self.digest.to_bytes(8, "big")

    @classmethod
    def decode(cls, data: bytes) -> Outcome:
        """The inverse of `encode`."""
        gas, refund = int.from_bytes(data[1:9], "big"), int.from_bytes(data[9:17], "big", signed=True)
        return cls(data[0], gas, refund, int.from_bytes(data[17:49], "big"), int.from_bytes(data[49:57], "big"))

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON: gas and refund, of up to 64 bits, as integers, output and digest as hexadecimal text."""
        return {
            "status": int(self.status), "gas_used": self.gas_used, "refund": self.refund,
            "output": wire.hexed(self.output.to_bytes(32, "big")), "digest": wire.hexed(self.digest.to_bytes(8, "big")),
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Any) -> Outcome:
        """The inverse of `to_json`.

        Raises
        ------
        DisputeError
            If it has another form.
        """
        names = [item.name for item in fields(cls)]
        status, gas, refund, output, digest = wire.parts("receipt", value, names)
        return cls(
            wire.integer("status", status, 0, max(Status)),
            wire.integer("gas_used", gas, 0, 2**63 - 1),
            wire.integer("refund", refund, -(2**63), 2**63 - 1),
            int.from_bytes(wire.octets("output", output, 32), "big"),
            int.from_bytes(wire.octets("digest", digest, 8), "big"),
        )


@dataclass(frozen=True)
class MachineState:
    """The machine before a step.

    Parameters
    ----------
    phase : int
        `Phase`.
    pc : int
        Number of the next op; 0 in other phases than RUN, as all up to `warm`.
    gas_left : int
    depth : int
        Entries on the stack.
    stack : bytes
        Digest of the stack.
    warm : bytes
        Root of the tree of warm keys.
    journal : bytes
        Root of the tree of keys that the transaction has written, with their values before it and now.
    root : bytes
        Root of the state, which no op changes before the transaction has succeeded.
    outcome : Outcome
    """

    phase: int
    pc: int
    gas_left: int
    depth: int
    stack: bytes
    warm: bytes
    journal: bytes
    root: bytes
    outcome: Outcome

    def encode(self) -> bytes:
        """200 bytes, numbers big-endian."""
        head = bytes([self.phase]) + self.pc.to_bytes(4, "big") + self.gas_left.to_bytes(8, "big")
        digests = self.stack + self.warm + self.journal + self.root
        return head + self.depth.to_bytes(2, "big") + digests + self.outcome.encode()

    def digest(self, hash: Hash = keccak) -> bytes:
        """What parties state of a step, 32 bytes."""
        return hash(tagged(Tag.MACHINE, self.encode()))

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        plain = {name: int(getattr(self, name)) for name in ("phase", "pc", "gas_left", "depth")}
        return plain | {name: wire.hexed(getattr(self, name)) for name in _DIGESTS} | {"outcome": self.outcome.to_json()}

    @classmethod
    def from_json(cls, value: Any) -> MachineState:
        """The inverse of `to_json`.

        Raises
        ------
        DisputeError
            If it has another form.
        """
        names = [item.name for item in fields(cls)]
        phase, pc, gas, depth, *digests, outcome = wire.parts("machine", value, names)
        stack, warm, journal, root = (wire.octets(name, given, 32) for name, given in zip(_DIGESTS, digests))
        return cls(
            wire.integer("phase", phase, 0, max(Phase)),
            wire.integer("pc", pc, 0, 2**32 - 1),
            wire.integer("gas_left", gas, 0, 2**63 - 1),
            wire.integer("depth", depth, 0, 2**16 - 1),
            stack, warm, journal, root, Outcome.from_json(outcome),
        )  # fmt: skip


def done(root: bytes, outcome: Outcome) -> MachineState:
    """The machine after the last step: state and receipt, all else blank."""
    return MachineState(Phase.DONE, 0, 0, 0, EMPTY, EMPTY, EMPTY, root, outcome)


@dataclass(frozen=True)
class TxHeader:
    """A transaction as the agreement has it, 84 bytes.

    Parameters
    ----------
    gas_limit : int
    n_addresses, n_listed : int
        Entries of its access list: addresses, and keys below them, duplicates counted.
    n_ops : int
    warm : bytes
        Root of the tree of the keys listed, each with the value 0x01.
    program : bytes
        Root of the tree of its ops: path is the position, value is `op_bytes`.
    """

    gas_limit: int
    n_addresses: int
    n_listed: int
    n_ops: int
    warm: bytes
    program: bytes

    def encode(self) -> bytes:
        """84 bytes, numbers big-endian."""
        counts = b"".join(n.to_bytes(4, "big") for n in (self.n_addresses, self.n_listed, self.n_ops))
        return self.gas_limit.to_bytes(8, "big") + counts + self.warm + self.program

    @classmethod
    def decode(cls, data: bytes) -> TxHeader:
        """The inverse of `encode`.

        Raises
        ------
        DisputeError
            If it is not 84 bytes.
        """
        if len(data) != 84:
            raise DisputeError(f"transaction of {len(data)} bytes: must be 84")
        n_addresses, n_listed, n_ops = (int.from_bytes(data[i : i + 4], "big") for i in (8, 12, 16))
        return cls(int.from_bytes(data[:8], "big"), n_addresses, n_listed, n_ops, data[20:52], data[52:])

    def intrinsic_gas(self, prices: Sequence[int]) -> int:
        """Gas before the first op."""
        listed = self.n_addresses * prices[GasItem.LIST_ADDRESS] + self.n_listed * prices[GasItem.LIST_KEY]
        return prices[GasItem.INTRINSIC] + listed


def op_bytes(op: Sequence[Any]) -> bytes:
    """An op as `Block.to_programs` gives it, as bytes.

    One byte for the op; its key; then a word of 32 bytes, nothing for the stack top, a count of 4 bytes, or the payload.

    Examples
    --------
    >>> op_bytes((Op.NOOP, 5)).hex()
    '0500000005'
    """
    code, head = op[0], bytes([op[0]])
    if code.takes_key:
        address, field, slot = op[1]
        head += address + bytes([field]) + slot
    if code is Op.KECCAK:
        return head + op[1]
    if code.takes_count:
        return head + op[1].to_bytes(4, "big")
    return head if not code.takes_word or op[-1] == "TOP" else head + op[-1].to_bytes(32, "big")


def op_of(data: bytes) -> tuple[Op, bytes, Any]:
    """Op, key (empty if it takes none) and argument: an integer, a payload, or None for the stack top.

    Raises
    ------
    DisputeError
        If these are not the bytes of an op.

    Examples
    --------
    >>> op_of(bytes.fromhex("0500000005"))
    (<Op.NOOP: 5>, b'', 5)
    """
    if not data or data[0] > max(Op):
        raise DisputeError(f"op 0x{data.hex()[:80]}: unknown")
    code = Op(data[0])
    size = KEY_BYTES if code.takes_key else 0
    key, rest = data[1 : 1 + size], data[1 + size :]
    if len(key) < size or (size and key[20] > max(Field)) or (code is Op.CREDIT and key[20] != CREDIT_FIELD):
        raise DisputeError(f"op 0x{data.hex()[:80]}: {code.name} has no such key")
    if code is Op.KECCAK:
        return code, key, rest
    expected = 4 if code.takes_count else 32 if code.takes_word else 0
    if code is Op.SSTORE and not rest:
        return code, key, None
    argument = int.from_bytes(rest, "big")
    if len(rest) != expected or (code.takes_count and argument > MAX_COUNT):
        raise DisputeError(f"op 0x{data.hex()[:80]}: {code.name} has no such argument")
    return code, key, argument
