"""Random bytecode with all opcodes of a fork, random cases of contracts that call each other, and hostile programs by name.

Programs are made of snippets. A writer follows the height of the stack, so that most programs run to their end and return
what is on their stack and in memory; hazards (underflow, bad jumps, opcodes of later forks, huge memory, ...) come on purpose
and at a low rate, as one exceptional halt hides all that follows. Everything is a function of the seed. Tables here are
written out anew and share nothing with the package.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from evm_peers import Account, Case, executed_opcodes, from_fork, intrinsic_gas, keccak

__all__ = [
    "HEAVY",
    "NAMES",
    "OPCODES",
    "assemble",
    "hostile_cases",
    "opcode_coverage",
    "opcodes_of",
    "random_case",
    "static_opcodes",
]


def _table() -> dict[str, tuple[int, int, int, str]]:
    rows = """
        00 STOP 0 0|01 ADD 2 1|02 MUL 2 1|03 SUB 2 1|04 DIV 2 1|05 SDIV 2 1|06 MOD 2 1|07 SMOD 2 1|08 ADDMOD 3 1|
        09 MULMOD 3 1|0a EXP 2 1|0b SIGNEXTEND 2 1|10 LT 2 1|11 GT 2 1|12 SLT 2 1|13 SGT 2 1|14 EQ 2 1|15 ISZERO 1 1|
        16 AND 2 1|17 OR 2 1|
        18 XOR 2 1|19 NOT 1 1|1a BYTE 2 1|1b SHL 2 1 PETERSBURG|1c SHR 2 1 PETERSBURG|1d SAR 2 1 PETERSBURG|20 KECCAK256 2 1|
        30 ADDRESS 0 1|31 BALANCE 1 1|32 ORIGIN 0 1|33 CALLER 0 1|34 CALLVALUE 0 1|35 CALLDATALOAD 1 1|36 CALLDATASIZE 0 1|
        37 CALLDATACOPY 3 0|38 CODESIZE 0 1|39 CODECOPY 3 0|3a GASPRICE 0 1|3b EXTCODESIZE 1 1|3c EXTCODECOPY 4 0|
        3d RETURNDATASIZE 0 1 BYZANTIUM|3e RETURNDATACOPY 3 0 BYZANTIUM|3f EXTCODEHASH 1 1 PETERSBURG|40 BLOCKHASH 1 1|
        41 COINBASE 0 1|42 TIMESTAMP 0 1|43 NUMBER 0 1|44 PREVRANDAO 0 1|45 GASLIMIT 0 1|46 CHAINID 0 1 ISTANBUL|
        47 SELFBALANCE 0 1 ISTANBUL|48 BASEFEE 0 1 LONDON|49 BLOBHASH 1 1 CANCUN|4a BLOBBASEFEE 0 1 CANCUN|50 POP 1 0|
        51 MLOAD 1 1|52 MSTORE 2 0|53 MSTORE8 2 0|54 SLOAD 1 1|55 SSTORE 2 0|56 JUMP 1 0|57 JUMPI 2 0|58 PC 0 1|59 MSIZE 0 1|
        5a GAS 0 1|5b JUMPDEST 0 0|5c TLOAD 1 1 CANCUN|5d TSTORE 2 0 CANCUN|5e MCOPY 3 0 CANCUN|5f PUSH0 0 1 SHANGHAI|
        a0 LOG0 2 0|a1 LOG1 3 0|a2 LOG2 4 0|a3 LOG3 5 0|a4 LOG4 6 0|f0 CREATE 3 1|f1 CALL 7 1|f2 CALLCODE 7 1|f3 RETURN 2 0|
        f4 DELEGATECALL 6 1 HOMESTEAD|f5 CREATE2 4 1 PETERSBURG|fa STATICCALL 6 1 BYZANTIUM|fd REVERT 2 0 BYZANTIUM|
        ff SELFDESTRUCT 1 0"""
    found = {}
    for row in rows.split("|"):
        number, name, pops, pushes, *first = row.split()
        found[name] = (int(number, 16), int(pops), int(pushes), first[0] if first else "FRONTIER")
    for n in range(1, 33):
        found[f"PUSH{n}"] = (0x5F + n, 0, 1, "FRONTIER")
    for n in range(1, 17):
        found[f"DUP{n}"] = (0x7F + n, n, n + 1, "FRONTIER")
        found[f"SWAP{n}"] = (0x8F + n, n + 1, n + 1, "FRONTIER")
    return found


#: Number, words popped, words pushed and first fork of each opcode; INVALID (0xFE) is none.
OPCODES: Final = _table()

#: Name of each opcode's number.
NAMES: Final = {row[0]: name for name, row in OPCODES.items()}

WORD: Final = 2**256 - 1
SENDER: Final = bytes.fromhex("5e00000000000000000000000000000000005e5e")
COLLECTOR: Final = bytes.fromhex("3100000000000000000000000000000000003131")
CONTRACTS: Final = tuple(bytes.fromhex("c0ffee") + bytes(15) + bytes([0xC0, n]) for n in range(6))
EMPTY: Final = bytes.fromhex("e0") + bytes(18) + b"\x0e"
ABSENT: Final = tuple(bytes.fromhex("ab") + bytes(17) + bytes([0xAB, n]) for n in range(3))
FRIEND: Final = bytes.fromhex("f0") + bytes(18) + b"\x0f"

#: Offsets and sizes that no memory reaches, or only just.
HUGE: Final = (2**255, WORD, WORD - 31, 2**64 - 1, 2**64, 2**63, 2**64 - 32, 2**32, 2**32 - 1, 2**31, 2**128, 2**24, 200_000)

_BN_P: Final = 21888242871839275222246405745257275088696311157297823662689037894645226208583
_BN_G2: Final = bytes.fromhex(
    "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c21800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed"
    "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa"
)
_SIGNED: Final = bytes.fromhex(
    "18c547e4f7b0f325ad1e56f57e26c745b09a3e503d86e00e5255ff7f715d3d1c000000000000000000000000000000000000000000000000000000000000001c"
    "73b1693892219d736caba55bdb67216e485557ea6b6af75f37096c9aa6a5a75feeb940b1d03b21e36b0e47e79769f095fe2ab855bd91e3a38756b7d75a9c4549"
)
_BLAKE_STATE: Final = bytes.fromhex(
    "48c9bdf267e6096a3ba7ca8485ae67bb2bf894fe72f36e3cf1361d5f3af54fa5d182e6ad7f520e511f6c3e2b8c68059b6bbd41fbabd9831f79217e1319cde05b"
)


def opcodes_of(fork: str) -> list[str]:
    """Names of the opcodes of a fork."""
    return [name for name, row in OPCODES.items() if from_fork(fork, row[3])]


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _small(number: int) -> bytes:
    """Address of a precompile, or next to one."""
    return number.to_bytes(20, "big")


def _number(address: bytes) -> int:
    return int.from_bytes(address, "big")


def _any_word(rng: random.Random) -> int:
    """A number of 256 bits, from the edges more often than not."""
    kind = rng.randrange(10)
    if kind < 3:
        return rng.randrange(40)
    if kind == 3:
        return (1 << rng.randrange(1, 257)) - 1
    if kind == 4:
        return 1 << rng.randrange(256)
    if kind == 5:
        return 2**256 - rng.randrange(1, 300)
    if kind == 6:
        return rng.choice((2**255, 2**255 - 1, 2**255 + 1, 2**128, 2**128 - 1, 2**64, 2**64 - 1, 2**63, WORD, WORD - 1))
    if kind == 7:
        return (2**256 - (1 << rng.randrange(256))) & WORD
    return rng.getrandbits(rng.choice((8, 16, 31, 32, 33, 64, 65, 96, 128, 129, 160, 192, 255, 256)))


class _Writer:
    """Bytecode in the making; `height` is that of the stack where the next opcode will run."""

    def __init__(self, fork: str) -> None:
        self.fork = fork
        self.code = bytearray()
        self.height = 0
        self.fixups: list[tuple[int, str | int]] = []
        self.labels: dict[str, int] = {}
        self.blobs: list[bytes] = []

    def has(self, name: str) -> bool:
        return from_fork(self.fork, OPCODES[name][3])

    def op(self, *names: str) -> None:
        for name in names:
            number, pops, pushes, _ = OPCODES[name]
            self.code.append(number)
            self.height += pushes - pops

    def push(self, value: int, width: int | None = None) -> None:
        if width is None:
            width = (value.bit_length() + 7) // 8
            if width == 0 and not self.has("PUSH0"):
                width = 1
        self.code.append(0x5F + width)
        self.code += value.to_bytes(width, "big")
        self.height += 1

    def fresh(self) -> str:
        return f"label {len(self.labels)} {len(self.fixups)} {len(self.code)}"

    def push_label(self, label: str | int) -> None:
        """PUSH2 of the place of a label (a string), or of a blob (a number)."""
        self.code.append(0x61)
        self.fixups.append((len(self.code), label))
        self.code += b"\0\0"
        self.height += 1

    def mark(self, label: str) -> None:
        self.labels[label] = len(self.code)
        self.op("JUMPDEST")

    def blob(self, data: bytes) -> int:
        """Data behind the code; its number, for `push_label`."""
        self.blobs.append(data)
        return len(self.blobs) - 1

    def load_blob(self, data: bytes, at: int = 0) -> None:
        """Copy data behind the code into memory."""
        self.push(len(data))
        self.push_label(self.blob(data))
        self.push(at)
        self.op("CODECOPY")

    def assemble(self) -> bytes:
        places, end = [], len(self.code) + 1
        for data in self.blobs:
            places.append(end)
            end += len(data)
        for position, label in self.fixups:
            place = self.labels[label] if isinstance(label, str) else places[label]
            self.code[position : position + 2] = place.to_bytes(2, "big")
        return bytes(self.code) + (b"\0" + b"".join(self.blobs) if self.blobs else b"")


def assemble(fork: str, *parts: int | str | bytes) -> bytes:
    """Bytecode of numbers (pushed), opcode names, ``:label`` (a JUMPDEST), ``@label`` (its place pushed) and raw bytes.

    Examples
    --------
    >>> assemble("CANCUN", 0, ":again", "@again", "JUMP").hex()
    '5f5b61000156'
    """
    writer = _Writer(fork)
    for part in parts:
        if isinstance(part, bytes):
            writer.code += part
        elif isinstance(part, int):
            writer.push(part)
        elif part[0] == ":":
            writer.mark(part[1:])
        elif part[0] == "@":
            writer.push_label(part[1:])
        else:
            writer.op(part)
    return writer.assemble()


def create_address(creator: bytes, nonce: int) -> bytes:
    """Address of what CREATE of a creator at this nonce makes."""
    raw = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    item = raw if nonce and nonce < 0x80 else bytes([0x80 + len(raw)]) + raw
    body = b"\x94" + creator + item
    return keccak(bytes([0xC0 + len(body)]) + body)[12:]


@dataclass(frozen=True)
class _World:
    """What the programs of one case know of each other."""

    fork: str
    contracts: tuple[bytes, ...]
    shy: frozenset[str]
    number: int

    def addresses(self) -> tuple[bytes, ...]:
        return (*self.contracts * 3, SENDER, COLLECTOR, EMPTY, FRIEND, *ABSENT, *(_small(n) for n in range(12)))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _weights(text: str) -> dict[str, int]:
    words = _names(text)
    return dict(zip(words[::2], map(int, words[1::2])))


_BINARY: Final = _names("ADD MUL SUB DIV SDIV MOD SMOD EXP SIGNEXTEND LT GT SLT SGT EQ AND OR XOR BYTE SHL SHR SAR")
_PLAIN: Final = _names(
    "ADDRESS ORIGIN CALLER CALLVALUE CALLDATASIZE CODESIZE GASPRICE RETURNDATASIZE COINBASE TIMESTAMP NUMBER PREVRANDAO "
    "GASLIMIT CHAINID SELFBALANCE BASEFEE BLOBBASEFEE PC MSIZE GAS PUSH0"
)

#: Weights of the kinds of snippets, by the flavour of a program.
_FLAVOURS: Final = {
    "numbers": _weights("push 20 binary 45 unary 8 ternary 8 stack 12 plain 3 keccak 2 memory 3 branch 3"),
    "memory": _weights("push 10 binary 5 memory 30 copy 25 keccak 8 stack 4 plain 4 call 5 log 9 loop 2"),
    "storage": _weights("push 8 binary 4 storage 40 transient 12 branch 6 call 8 loop 2 plain 3 log 6"),
    "calls": _weights("push 6 binary 4 call 32 precompile 10 returned 8 account 8 storage 8 memory 5 log 6"),
    "makers": _weights("push 6 binary 4 create 26 account 8 call 10 storage 8 returned 5 memory 3 branch 3"),
    "world": _weights("push 6 plain 30 account 20 history 8 calldata 10 copy 8 binary 5 stack 3 returned 3"),
    "flow": _weights("push 10 binary 8 branch 25 loop 10 dead 8 plain 8 stack 8 storage 4 maybe 6 call 4"),
    "mixed": _weights(
        "push 14 binary 12 unary 3 ternary 4 stack 8 plain 8 memory 8 copy 6 keccak 4 storage 8 transient 4 "
        "log 9 calldata 4 account 5 history 2 call 8 precompile 3 returned 3 create 4 branch 5 loop 2 dead 1 "
        "maybe 2"
    ),
}


class _Program(_Writer):
    """A random program."""

    def __init__(self, rng: random.Random, world: _World, depth: int = 0, index: int | None = None) -> None:
        super().__init__(world.fork)
        self.first = index == 0
        self.later = world.contracts if index is None else world.contracts[index + 1 :]
        self.rng = rng
        self.world = world
        self.depth = depth
        self.floor = 0
        self.nested = 0
        self.iterations = 1
        self.made = 0
        self.snippets: dict[str, Callable[[], None]] = {
            name.removeprefix("do_"): getattr(self, name) for name in dir(self) if name.startswith("do_")
        }

    @property
    def free(self) -> int:
        """Words on the stack that may be used up."""
        return self.height - self.floor

    # operands

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def any_push(self) -> None:
        value = _any_word(self.rng)
        shortest = max(1, (value.bit_length() + 7) // 8)
        self.push(value, self.rng.randrange(shortest, 33) if self.chance(0.25) else None)

    def offset(self, limit: int = 160) -> None:
        """An offset of memory or of other bytes: small, but for one in a hundred."""
        if self.chance(0.004):
            self.push(self.rng.choice(HUGE))
        elif self.chance(0.02):
            self.push(self.rng.randrange(4000))
        else:
            self.push(self.rng.choice((0, 0, 1, 31, 32, 33, self.rng.randrange(limit))))

    def size(self, limit: int = 96) -> None:
        if self.chance(0.002):
            self.push(self.rng.choice(HUGE))
        else:
            self.push(self.rng.choice((0, 1, 31, 32, 33, 64, self.rng.randrange(limit))))

    def span(self) -> None:
        """A size and an offset below it: small, or none of a huge offset."""
        if self.chance(0.03):
            self.push(0)
            self.push(self.rng.choice(HUGE))
        else:
            self.size()
            self.offset()

    def address(self) -> None:
        kind = self.rng.randrange(20)
        if kind == 0:
            self.op("ADDRESS")
        elif kind == 1:
            self.op(self.rng.choice(("CALLER", "ORIGIN", "COINBASE")))
        elif kind == 2:
            self.push(_number(self.rng.choice(self.world.addresses())) | self.rng.getrandbits(96) << 160, 32)
        elif kind == 3:
            self.any_push()
        elif kind < 12:
            self.push(_number(self.rng.choice(self.world.contracts)))
        else:
            self.push(_number(self.rng.choice(self.world.addresses())))

    def slot(self) -> int:
        return self.rng.choice((0, 1, 2, 3, 4, 5)) if self.chance(0.95) else self.rng.choice((WORD, 2**255, 6, 7, 2**64))

    # snippets: each leaves the height of the stack known

    def snippet(self, weights: dict[str, int]) -> None:
        if self.free > 24:
            self.shrink()
        if self.chance(0.0015):
            self.hazard()
        elif self.free < 3 and self.chance(0.7):
            self.any_push()
        else:
            self.snippets[self.rng.choices(list(weights), list(weights.values()))[0]]()

    def shrink(self) -> None:
        while self.free > 8:
            self.op(self.rng.choice(("XOR", "ADD", "SUB", "XOR")))

    def level(self, height: int) -> None:
        """Bring the stack to a height."""
        while self.height > height:
            if self.chance(0.75):  # kept where a RETURN of all memory shows it
                self.push(0x100 + 32 * self.rng.randrange(8))
                self.op("MSTORE")
            else:
                self.op("POP")
        while self.height < height:
            self.push(self.rng.randrange(256), 1)

    def body(self, count: int, kept: bool = False) -> None:
        """A few snippets that leave the stack as high as before, and as it was if `kept`."""
        height, floor = self.height, self.floor
        if kept:
            self.floor = height
        self.nested += 1
        weights = _FLAVOURS["mixed"]
        for _ in range(count):
            self.snippet(weights)
        self.level(height)
        self.floor = floor
        self.nested -= 1

    def do_push(self) -> None:
        self.any_push()

    def do_binary(self) -> None:
        name = self.rng.choice(_BINARY)
        if not self.has(name):
            name = "XOR"
        tuned = self.rng.random()
        if tuned < 0.5 or self.free < 2:
            self.any_push()
            if name in ("BYTE", "SIGNEXTEND", "SHL", "SHR", "SAR") and self.chance(0.8):
                self.push(self.rng.choice((0, 1, 15, 30, 31, 32, 33, 127, 128, 254, 255, 256, 257, self.rng.randrange(300))))
            elif name in ("DIV", "SDIV", "MOD", "SMOD") and self.chance(0.3):
                self.push(self.rng.choice((2**255, WORD, 1, 0)))
            elif name in ("EQ", "SUB") and self.chance(0.3):
                self.op("DUP1")
            else:
                self.any_push()
        elif tuned < 0.75:
            self.any_push()
        self.op(name)

    def do_unary(self) -> None:
        if self.free < 1:
            self.any_push()
        self.op(self.rng.choice(("ISZERO", "NOT")))

    def do_ternary(self) -> None:
        for _ in range(self.rng.randrange(1, 4)):
            self.any_push()
        while self.free < 3:
            self.any_push()
        self.op(self.rng.choice(("ADDMOD", "MULMOD")))

    def do_stack(self) -> None:
        if self.chance(0.4):
            while self.free < 17:
                self.push(self.rng.randrange(2**16))
            for _ in range(self.rng.randrange(6)):
                self.op(self.rng.choice(("DUP", "SWAP")) + str(self.rng.randint(1, 16)))
        if self.free < 2:
            self.any_push()
            self.any_push()
        if self.chance(0.2):
            self.op("POP")
        elif self.chance(0.55):
            self.op(f"DUP{self.rng.randint(1, min(self.free, 16))}")
        else:
            self.op(f"SWAP{self.rng.randint(1, min(self.free - 1, 16))}")

    def do_plain(self) -> None:
        name = self.rng.choice(_PLAIN)
        if self.has(name) and not (name in self.world.shy and self.chance(0.9)):
            self.op(name)

    def do_keccak(self) -> None:
        self.span()
        self.op("KECCAK256")

    def do_memory(self) -> None:
        kind = self.rng.randrange(10)
        if kind < 4:
            if self.free < 1 or self.chance(0.4):
                self.any_push()
            self.offset()
            self.op("MSTORE")
        elif kind < 6:
            if self.free < 1 or self.chance(0.4):
                self.any_push()
            self.offset()
            self.op("MSTORE8")
        elif kind < 9:
            self.offset()
            self.op("MLOAD")
        else:
            self.op("MSIZE")

    def do_copy(self) -> None:
        choices = ("CALLDATACOPY", "CODECOPY", "EXTCODECOPY", "RETURNDATACOPY", "MCOPY", "MCOPY")
        name = self.rng.choice([n for n in choices if self.has(n)])
        if name == "RETURNDATACOPY":
            self.copy_returned()
            return
        if name == "MCOPY":
            if self.chance(0.03):
                self.push(0)
                self.push(self.rng.choice(HUGE))
                self.push(self.rng.choice(HUGE))
            else:
                self.size()
                self.offset()
                self.offset()
            self.op("MCOPY")
            return
        if self.chance(0.03):
            self.push(0)
            self.push(self.rng.choice(HUGE))
            self.push(self.rng.choice(HUGE))
        else:
            self.size()
            if self.chance(0.15):  # zeros from behind the end
                self.push(self.rng.choice(HUGE))
            else:
                self.offset()
            self.offset()
        if name == "EXTCODECOPY":
            self.address()
        self.op(name)

    def copy_returned(self) -> None:
        if self.chance(0.6):
            self.op("RETURNDATASIZE")
            self.push(0)
            self.offset()
        elif self.chance(0.5):
            self.push(0)
            self.op("RETURNDATASIZE")
            self.offset()
        else:
            self.push(self.rng.randrange(34) if self.chance(0.3) else 0)
            self.push(self.rng.randrange(34) if self.chance(0.1) else 0)
            self.offset()
        self.op("RETURNDATACOPY")

    def do_returned(self) -> None:
        if not self.has("RETURNDATASIZE"):
            self.do_memory()
        elif self.chance(0.6):
            self.op("RETURNDATASIZE")
        else:
            self.copy_returned()

    def do_storage(self) -> None:
        slot = self.slot()
        for _ in range(self.rng.choice((1, 1, 1, 2, 3, 4))):
            if self.chance(0.4):
                self.push(slot)
                self.op("SLOAD")
                continue
            if self.chance(0.75):
                self.push(self.rng.choice((0, 0, 1, 1, 2, slot + 1 & WORD)))
            elif self.free < 1 or self.chance(0.3):
                self.any_push()
            self.push(slot)
            self.op("SSTORE")

    def do_transient(self) -> None:
        if not self.has("TLOAD"):
            self.do_storage()
            return
        self.push(self.slot())
        if self.chance(0.5):
            self.op("TLOAD")
        else:
            if self.chance(0.5):
                self.push(self.rng.choice((0, 1, 2)))
            else:
                self.any_push()
            self.op("SWAP1", "TSTORE")

    def do_log(self) -> None:
        topics = self.rng.randrange(5)
        for _ in range(topics):
            self.any_push()
        self.span()
        self.op(f"LOG{topics}")

    def do_calldata(self) -> None:
        if self.chance(0.15):
            self.push(self.rng.choice(HUGE))
        else:
            self.offset(100)
        self.op("CALLDATALOAD")

    def do_account(self) -> None:
        choices = [n for n in ("BALANCE", "EXTCODESIZE", "EXTCODEHASH") if self.has(n)]
        name = self.rng.choice(choices)
        if self.chance(0.1) and self.has("SELFBALANCE"):
            self.op("SELFBALANCE")
            return
        self.address()
        self.op(name)

    def do_history(self) -> None:
        if self.has("BLOBHASH") and self.chance(0.4):
            self.push(self.rng.choice((0, 1, 2, 3, WORD, 2**64)))
            self.op("BLOBHASH")
        elif self.chance(0.8):
            self.push(self.rng.choice((0, 1, 2, 100, 255, 256, 257)))
            self.op("NUMBER", "SUB", "BLOCKHASH")
        else:
            self.push(self.rng.choice((0, self.world.number, self.world.number - 1, WORD, 2**64)))
            self.op("BLOCKHASH")

    def do_branch(self) -> None:
        if self.nested > 2:
            return
        label = self.fresh()
        if self.chance(0.7):
            if self.free < 1 or self.chance(0.4):
                self.push(self.rng.choice((0, 1, WORD)))
            self.push_label(label)
            self.op("JUMPI")
        else:
            self.push_label(label)
            self.op("JUMP")
        self.body(self.rng.randrange(1, 4))
        self.mark(label)

    def do_dead(self) -> None:
        """A jump over bytes that are whole instructions, with JUMPDESTs among their data."""
        label = self.fresh()
        self.push_label(label)
        if self.chance(0.3):  # the place is computed
            extra = self.rng.randrange(256)
            self.push(extra, 1)
            self.op("ADD")
            self.push(extra, 1)
            self.op("SWAP1", "SUB")
        self.op("JUMP")
        for _ in range(self.rng.randrange(1, 5)):
            number = self.rng.choice((*NAMES, 0xFE, 0xEF, 0x0C))
            self.code.append(number)
            if 0x60 <= number <= 0x7F:
                self.code += bytes(self.rng.choice((0x5B, self.rng.randrange(256))) for _ in range(number - 0x5F))
        self.mark(label)

    def do_loop(self) -> None:
        if self.nested > 1 or self.iterations > 12:
            return
        label = self.fresh()
        if self.chance(0.7):
            count = self.rng.randrange(1, 7)
            outer, self.iterations = self.iterations, self.iterations * count
            self.push(count)
            self.mark(label)
            self.body(self.rng.randrange(1, 4), True)
            self.push(1)
            self.op("SWAP1", "SUB", "DUP1")
            self.push_label(label)
            self.op("JUMPI")
            self.iterations = outer
        else:  # until little gas is left
            outer, self.iterations = self.iterations, 1000
            self.mark(label)
            if self.chance(0.5):
                self.push(self.slot())
                self.op("DUP1", "SLOAD", "ADD", "NUMBER", "SSTORE")
                self.push(self.rng.randrange(2000, 9000))
                self.push(0)
                self.op("KECCAK256")
            else:
                self.body(2)
                self.push(0x800)
                self.push(self.rng.choice((0, 64)))
                self.op("KECCAK256")
            self.op("POP")
            self.push(self.rng.randrange(3_000, 400_000))
            self.op("GAS", "GT")
            self.push_label(label)
            self.op("JUMPI")
            self.iterations = outer

    def do_maybe(self) -> None:
        """An end of the program on a condition."""
        label = self.fresh()
        self.op(self.rng.choice(("CALLVALUE", "CALLDATASIZE", "GASLIMIT", "MSIZE")))
        self.push(self.rng.choice((0, 1, 2, 2**64)))
        self.op(self.rng.choice(("LT", "GT", "EQ")))
        self.push_label(label)
        self.op("JUMPI")
        height = self.height
        self.end(0.3)
        self.height = height
        self.mark(label)

    def target(self) -> None:
        """An address to call: mostly of a contract further down, so that few calls recur."""
        if self.later and self.chance(0.6):
            self.push(_number(self.rng.choice(self.later)))
        elif self.chance(0.5):
            self.push(_number(self.rng.choice((EMPTY, FRIEND, SENDER, COLLECTOR, *ABSENT, *(_small(n) for n in range(12))))))
        else:
            self.address()

    def call_gas(self) -> None:
        kind = self.rng.randrange(20)
        # before Tangerine Whistle, a call that asks for more than there is runs out of gas
        old = not from_fork(self.fork, "TANGERINE")
        if kind < 2:
            self.op("GAS")
            if old:
                self.push(self.rng.randrange(300, 30_000))
                self.op("SWAP1", "SUB")
        elif kind < 13:
            self.push(self.rng.choice((2, 3, 4, 6, 10, 20)))
            self.op("GAS", "DIV")
        elif kind < 16:
            self.push(self.rng.choice((0, 1, 2, 700, 2300, 2301, 2600, self.rng.randrange(5_000))))
        elif kind < 19 or old:
            self.push(self.rng.randrange(2_000, 40_000))
        else:
            self.push(self.rng.choice((10**9, 2**64 - 1, 2**64, WORD, 2**63)))

    def call_value(self) -> None:
        kind = self.rng.randrange(10)
        if kind < 5:
            self.push(0)
        elif kind < 8:
            self.push(self.rng.randrange(1, 4))
        elif kind == 8 and self.has("SELFBALANCE"):
            self.push(1)
            self.op("SELFBALANCE", "ADD" if self.chance(0.5) else "DIV")
        else:
            self.push(self.rng.choice((10**18, 10**30, WORD, 7, 1)))

    def call(self, target: Callable[[], None], arguments: tuple[int, int] | None = None) -> None:
        name = self.rng.choice([n for n in ("CALL", "CALL", "CALLCODE", "DELEGATECALL", "STATICCALL") if self.has(n)])
        if self.chance(0.4):
            self.push(0x140)
            self.push(self.rng.choice((0, 0x60)))
        else:
            self.span()  # output
        if arguments is None:
            self.span()
        else:
            self.push(arguments[1])
            self.push(arguments[0])
        if name in ("CALL", "CALLCODE"):
            self.call_value()
        target()
        self.call_gas()
        self.op(name)
        if self.has("RETURNDATASIZE") and self.chance(0.3):
            self.op("RETURNDATASIZE")
        if self.has("RETURNDATASIZE") and self.chance(0.6):
            self.op("RETURNDATASIZE")
            self.push(0)
            self.push(self.rng.choice((0, 32, 64, 0x400, 0x800)))
            self.op("RETURNDATACOPY")

    def do_call(self) -> None:
        if self.iterations > 12:
            return
        if self.chance(0.4):  # an address and a number as arguments
            self.address()
            self.push(0)
            self.op("MSTORE")
            self.call(self.target, (0, self.rng.choice((32, 64, 4))))
        else:
            self.call(self.target)

    def do_precompile(self) -> None:
        number = self.rng.randrange(1, 10) if self.chance(0.97) else 10
        data = self.precompile_input(number)
        self.load_blob(data)
        self.push(self.rng.choice((32, 64, 64, 0, 128)))
        self.push(self.rng.choice((0, 64, 256)))
        self.push(len(data))
        self.push(0)
        name = self.rng.choice([n for n in ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL") if self.has(n)])
        if name in ("CALL", "CALLCODE"):
            self.push(0 if self.chance(0.8) else 1)
        self.push(number)
        if self.chance(0.8):
            self.push(self.rng.choice((3, 10, 10)))
            self.op("GAS", "DIV")
        else:
            self.push(self.rng.choice((0, 1, 15, 18, 60, 72, 150, 500, 600, 720, 3000, 6000, 40_000)))
        self.op(name)
        self.offset(256)
        self.op("MLOAD")

    def precompile_input(self, number: int) -> bytes:
        rng = self.rng
        if number == 1:
            data = _SIGNED
            if self.chance(0.4):
                spot = rng.randrange(128)
                data = data[:spot] + bytes([rng.randrange(256)]) + data[spot + 1 :]
            elif self.chance(0.2):
                data = data[:64] + _word(rng.choice((0, WORD, 2**255))) + data[96:]
        elif number in (2, 3, 4):
            data = rng.randbytes(rng.randrange(130))
        elif number == 5:
            lengths = [rng.choice((0, 1, 2, 31, 32, 33, rng.randrange(40))) for _ in range(3)]
            parts = [rng.randbytes(length) for length in lengths]
            if self.chance(0.2):
                parts[2] = bytes(lengths[2])
            if self.chance(0.2) and lengths[1] > 2:
                parts[1] = bytes(lengths[1] - 2) + rng.randbytes(2)
            if self.chance(0.1):
                lengths[rng.randrange(3)] = rng.choice((WORD, 2**64, 2**32, 1000, 2**255))
            data = b"".join(map(_word, lengths)) + b"".join(parts)
        elif number in (6, 7):
            point = self.curve_point()
            data = point + (self.curve_point() if number == 6 else _word(_any_word(rng)))
        elif number == 8:
            one, minus = _word(1) + _word(2), _word(1) + _word(_BN_P - 2)
            data = rng.choice((b"", bytes(192), one + _BN_G2, bytes(64) + _BN_G2, one + bytes(128)))
            if self.chance(0.1):
                data = one + _BN_G2 + minus + _BN_G2
        elif number == 9:
            rounds = rng.choice((0, 1, 2, 12, 12, 100))
            data = rounds.to_bytes(4, "big") + _BLAKE_STATE + b"abc".ljust(128, b"\0") + (3).to_bytes(8, "little") + bytes(8)
            data += bytes([rng.choice((0, 1, 1, 1, 2))])
        else:
            data = rng.randbytes(rng.choice((0, 191, 192, 193)))
        if self.chance(0.1):
            data = data[: rng.randrange(len(data) + 1)]
        elif self.chance(0.1):
            data += rng.randbytes(rng.randrange(1, 33))
        return data

    def curve_point(self) -> bytes:
        kind = self.rng.randrange(8)
        if kind == 0:
            return bytes(64)
        if kind == 1:
            return _word(1) + _word(_BN_P - 2)
        if kind == 2:
            return _word(self.rng.choice((1, _BN_P, _BN_P + 1))) + _word(self.rng.choice((1, 2, WORD)))
        return _word(1) + _word(2)

    def do_create(self) -> None:
        if self.depth > 1 or self.iterations > 6 or self.made > 4:
            return
        self.made += 1
        init = self.init_code()
        self.load_blob(init)
        salted = self.has("CREATE2") and self.chance(0.5)
        if salted:
            self.push(self.rng.choice((0, 0, 1, WORD)))
        if self.chance(0.03):
            self.push(self.rng.choice((49_152, 49_153, 49_184, 24_577)))
        else:
            self.push(len(init) + self.rng.choice((0, 0, 0, 0, 1, 32)))
        self.push(0)
        if self.chance(0.7):
            self.push(0)
        else:
            self.call_value()
        self.op("CREATE2" if salted else "CREATE")
        if self.has("RETURNDATASIZE") and self.chance(0.3):
            self.op("RETURNDATASIZE")
        for name in ("EXTCODESIZE", "EXTCODEHASH", "BALANCE"):
            if self.has(name) and self.chance(0.25):
                self.op("DUP1", name, "SWAP1")
        if self.chance(0.4):
            height = self.height

            def target() -> None:
                self.op(f"DUP{self.height - height + 1}")

            self.call(target, (0, 32))
        if self.chance(0.15):  # the same again collides, with a salt
            self.push(0)
            self.push(len(init))
            self.push(0)
            self.push(0)
            self.op("CREATE2" if salted else "CREATE")
            if not salted:
                self.op("SWAP1", "POP")

    def init_code(self) -> bytes:
        rng, kind = self.rng, self.rng.randrange(50)
        if kind == 0:
            return b""
        if kind == 1:
            return assemble(self.fork, 1, 0, "MSTORE", 32, 0, "REVERT")
        if kind == 2:
            return b"\xfe"
        if kind == 3:
            return assemble(self.fork, 0xEF, 0, "MSTORE8", rng.choice((1, 32)), 0, "RETURN")
        if kind == 4:
            return assemble(self.fork, rng.choice((24_576, 24_577, 1000, 100_000)), 0, "RETURN")
        if kind == 5:
            return assemble(self.fork, rng.choice(("CALLER", "ADDRESS", "ORIGIN")), "SELFDESTRUCT")
        if kind < 14:
            return assemble(self.fork, 7, 1, "SSTORE", 0, 1, "SSTORE", 1, 2, "SSTORE", 1, 0, "RETURN")
        if kind == 14:
            return rng.randbytes(rng.randrange(1, 40))
        if kind in (15, 16):
            return assemble(self.fork, 0, 0, 0, 0, 0, "CALLER", 20_000, "CALL", 0, "SSTORE")
        if kind == 17:
            return assemble(self.fork, ":a", 0x1000, 0, "KECCAK256", "POP", "@a", "JUMP")
        program = _Program(rng, self.world, self.depth + 1)
        for _ in range(rng.randrange(4)):
            program.snippet(_FLAVOURS["mixed"])
        runtime = self.runtime()
        program.load_blob(runtime)
        program.push(len(runtime))
        program.push(0)
        program.op("RETURN")
        return program.assemble()

    def runtime(self) -> bytes:
        if self.chance(0.5):
            return helper(self.rng, self.world)
        program = _Program(self.rng, self.world, self.depth + 2)
        return program.write(self.rng.choice(tuple(_FLAVOURS)), self.rng.randrange(1, 6))

    # ends

    def end(self, share: float = 1.0) -> None:
        kind = self.rng.random()
        if kind < (0.8 if self.first else 0.62) * share:
            count = min(self.height, 16)
            for n in range(count):
                self.push(32 * n if self.chance(0.7) else 32 * n + 0x200)
                self.op("MSTORE")
            if self.chance(0.75):
                self.op("MSIZE")
            else:
                self.push(32 * count + self.rng.choice((0, 0, 32, 96)))
            self.push(0)
            self.op("RETURN")
        elif kind < 0.68:
            self.op("STOP")
        elif kind < 0.76 and self.has("REVERT"):
            self.span()
            self.op("REVERT")
        elif kind < 0.84:
            self.address()
            self.op("SELFDESTRUCT")
        elif kind < 0.92:
            self.span()
            self.op("RETURN")
        elif kind < 0.97:
            self.hazard()
        else:
            self.op("STOP")

    def hazard(self) -> None:
        """An exceptional halt, in most cases."""
        rng, kind, height = self.rng, self.rng.randrange(9), self.height
        if kind == 0:
            later = [row[0] for row in OPCODES.values() if not from_fork(self.fork, row[3])]
            self.code.append(rng.choice([*later, *later, 0x0C, 0x1E, 0x21, 0x4B, 0xA5, 0xB0, 0xEF, 0xF6, 0xFC, 0xFE]))
        elif kind == 1:
            self.level(0)
            self.op(rng.choice([n for n in opcodes_of(self.fork) if OPCODES[n][1]]))
        elif kind == 2:
            label = self.fresh()
            self.mark(label)
            self.op(rng.choice(("PC", "GAS", "CALLER")))
            self.push_label(label)
            self.op("JUMP")
        elif kind == 3:
            self.push(rng.choice((0, 1, 3, WORD, 2**64, 2**32, 2**16 - 1, len(self.code))))
            self.op("JUMP")
        elif kind == 4:  # into the data of a push
            label = self.fresh()
            self.push(1)
            self.push_label(label)
            self.op("JUMPI")
            self.code.append(0x60)
            self.mark(label)
        elif kind == 5:
            for _ in range(rng.randrange(3)):
                self.push(rng.choice((1, 32)))
            self.push(rng.choice(HUGE))
            self.push(rng.choice(HUGE))
            names = ("MSTORE", "MLOAD", "MSTORE8", "KECCAK256", "RETURN", "REVERT", "LOG0", "MCOPY")
            self.op(rng.choice([n for n in names if self.has(n)]))
        elif kind == 6:
            if self.has("RETURNDATACOPY"):
                self.push(rng.choice((1, 32, WORD)))
                self.push(rng.choice((0, 1, WORD, 2**64)))
                self.push(0)
                self.op("RETURNDATACOPY")
        elif kind == 7:
            self.code.append(0x60 + rng.randrange(32))  # a push that swallows what follows
            self.height += 1
        else:
            label = self.fresh()
            self.mark(label)
            self.push(0x2000)
            self.push(0)
            self.op("KECCAK256", "POP")
            self.push_label(label)
            self.op("JUMP")
        self.height = max(0, height)

    def write(self, flavour: str, count: int) -> bytes:
        weights = _FLAVOURS[flavour]
        for _ in range(count):
            self.snippet(weights)
        self.end()
        return self.assemble()


def helper(rng: random.Random, world: _World) -> bytes:
    """A small contract with a purpose."""
    fork, kind = world.fork, rng.randrange(10)
    if kind == 0:  # counts
        return assemble(fork, 1, 0, "SLOAD", "ADD", "DUP1", 0, "SSTORE", 0, "MSTORE", 32, 0, "RETURN")
    if kind == 1:  # echoes
        return assemble(fork, "CALLDATASIZE", 0, 0, "CALLDATACOPY", "CALLDATASIZE", 0, "RETURN")
    if kind == 2 and from_fork(fork, "BYZANTIUM"):  # echoes and reverts
        return assemble(fork, 1, 1, "SSTORE", "CALLDATASIZE", 0, 0, "CALLDATACOPY", "CALLDATASIZE", 0, "REVERT")
    if kind == 3:
        return assemble(fork, 0, "CALLDATALOAD", "SELFDESTRUCT")
    if kind == 4 and from_fork(fork, "BYZANTIUM"):  # a proxy to its first argument
        return assemble(
            fork, 0, 0, "CALLDATASIZE", 0, 0, "CALLDATALOAD", 2, "GAS", "DIV", "DELEGATECALL", 0, "SSTORE",
            "RETURNDATASIZE", 0, 0, "RETURNDATACOPY", "RETURNDATASIZE", 0, "RETURN",
        )  # fmt: skip
    if kind == 5:
        return assemble(fork, 32, 0, "CALLDATALOAD", "CALLER", "CALLVALUE", 32, 0, "LOG3", 0, 1, "SSTORE")
    if kind == 6 and from_fork(fork, "CANCUN"):  # refuses to be entered twice
        return assemble(
            fork, 0, "TLOAD", "@in", "JUMPI", 1, 0, "TSTORE", 0, 0, 32, 0, 0, 0, "CALLDATALOAD", 2, "GAS", "DIV", "CALL",
            0, 0, "TSTORE", 0, "MSTORE", 32, 0, "RETURN", ":in", 0, 0, "REVERT",
        )  # fmt: skip
    if kind == 7:  # calls itself until the gas does not suffice
        return assemble(
            fork, 1, 2, "SLOAD", "ADD", 2, "SSTORE", 9_000, "GAS", "LT", "@stop", "JUMPI",
            0, 0, 0, 0, 0, "ADDRESS", 3, "GAS", "DIV", "CALL", "POP", ":stop", "STOP",
        )  # fmt: skip
    if kind == 8:
        return rng.randbytes(rng.randrange(60))
    return assemble(fork, "CALLER", "ORIGIN", "EQ", "CALLVALUE", "ADDRESS", "BALANCE", 3, "SSTORE", 4, "SSTORE", 5, "SSTORE")


def _storage(rng: random.Random) -> dict[int, int]:
    return {slot: rng.choice((1, 2, slot + 1, _any_word(rng) or 1)) for slot in range(6) if rng.random() < 0.45}


def _env(rng: random.Random, fork: str, number: int, base_fee: int) -> dict[str, object]:
    paris = from_fork(fork, "PARIS")
    return {
        "number": number,
        "timestamp": rng.choice((1, 1_700_000_000, 2**63, rng.getrandbits(40))),
        "fee_recipient": rng.choice((COLLECTOR,) * 6 + (CONTRACTS[0], SENDER, FRIEND)),
        "gas_limit": 30_000_000,
        "base_fee": base_fee if from_fork(fork, "LONDON") else None,
        "difficulty": 0 if paris else rng.getrandbits(50),
        "prev_randao": rng.getrandbits(256) if paris else 0,
        "chain_id": rng.choice((1, 1, 5, 2**40)),
        "excess_blob_gas": rng.choice((0, 10**6, 131_072 * 60, 131_072 * 300)) if from_fork(fork, "CANCUN") else None,
    }


def random_case(seed: int, fork: str) -> Case:
    """A case of a seed: two to six contracts that call each other, themselves, precompiles and others.

    From London on, half of the blocks have a base fee; their programs ask for BASEFEE seldom, as one peer does not know it.
    """
    rng = random.Random(f"{seed} {fork}")
    contracts = CONTRACTS[: rng.randrange(2, 7)]
    base_fee = rng.choice((0, 0, 0, 7, 10**9)) if from_fork(fork, "LONDON") else 0
    creates = rng.random() < 0.09
    gas_price = base_fee + rng.choice((0, 0, 1, 13, 10**9))
    shy = ({"BASEFEE"} if base_fee else set()) | ({"GASPRICE"} if creates and gas_price else set())
    number = rng.choice((1, 5, 256, 257, 300, 17_000_000))
    world = _World(fork, contracts, frozenset(shy), number)
    pre = {SENDER: Account(10**24, nonce := rng.choice((0, 1, 127, 128, 300, 70_000)))}
    for n, address in enumerate(contracts):
        if n and rng.random() < 0.35:
            code = helper(rng, world)
        elif rng.random() < 0.02:
            code = rng.randbytes(rng.randrange(1, 100))
        else:
            code = _Program(rng, world, 0, n).write(rng.choice(tuple(_FLAVOURS)), rng.randrange(4, 34))
        balance = rng.choice((0, 1, 5, 10**6, 10**18))
        pre[address] = Account(balance, rng.choice((1, 1, 1, 1, 0, 2)), code, _storage(rng))
    if rng.random() < 0.7:
        pre[FRIEND] = Account(rng.choice((1, 10**9)), 0)
    if rng.random() < 0.5:
        pre[COLLECTOR] = Account(12_345, 0)
    if rng.random() < 0.3 and not from_fork(fork, "BERLIN"):
        pre[EMPTY] = Account()
    if rng.random() < (0.2 if from_fork(fork, "SPURIOUS") else 0.6):
        pre |= {_small(n): Account(1) for n in range(1, 11)}
        if not from_fork(fork, "SPURIOUS"):  # all that is called exists: one peer needs it so
            pre |= {address: Account() for address in (*world.addresses(), _small(0)) if address not in pre}
    for address in contracts:
        if rng.random() < 0.06:  # something is where it will create
            spot = create_address(address, pre[address].nonce + rng.randrange(2))
            pre[spot] = rng.choice((Account(3), Account(0, 1), Account(0, 0, b"\0"), Account(1, 1, b"\x00")))
    blobs = ()
    if from_fork(fork, "CANCUN") and not creates and rng.random() < 0.15:
        blobs = tuple(b"\x01" + rng.randbytes(31) for _ in range(rng.randrange(1, 4)))
    data: bytes
    to: bytes | None
    if creates:
        to = None
        data = _Program(rng, world, 1).init_code() if rng.random() < 0.8 else rng.randbytes(rng.randrange(100))
    else:
        others = (SENDER, COLLECTOR, EMPTY, ABSENT[0], *(_small(n) for n in range(1, 10)))
        to = contracts[0] if rng.random() < 0.93 else rng.choice((*contracts, *others))
        words = b"".join(_word(rng.choice((_number(rng.choice(world.addresses())), _any_word(rng)))) for _ in range(3))
        data = words[: rng.choice((0, 4, 32, 96, rng.randrange(97)))]
    access: tuple[tuple[bytes, tuple[int, ...]], ...] = ()
    if from_fork(fork, "BERLIN") and rng.random() < 0.4:
        access = tuple(
            (rng.choice(world.addresses()), tuple(rng.choice((0, 1, 2, 3, 4, 5, WORD)) for _ in range(rng.randrange(4))))
            for _ in range(rng.randrange(1, 5))
        )
    tx: dict[str, object] = {
        "sender": SENDER,
        "to": to,
        "nonce": nonce,
        "gas_limit": 0,
        "gas_price": gas_price,
        "value": rng.choice((0, 0, 1, 3, 10**6, 10**18)),
        "data": data,
        "access_list": access,
    }
    if blobs:
        tx["blob_hashes"] = blobs
    env = _env(rng, fork, number, base_fee)
    least = intrinsic_gas(Case(fork, env, pre, tx))
    little = (rng.randrange(most) for most in (3_000, 60_000))
    tx["gas_limit"] = least + rng.choice((0, *little, *(rng.randrange(100_000, 1_800_000),) * 25))
    return Case(fork, env, pre, tx)


# hostile cases

#: Hostile cases that take py-evm more than a second.
HEAVY: Final = frozenset(
    (
        "blake2f_rounds",
        "call_all_memory",
        "infinite_loop",
        "jumpdest_loop",
        "pairing_many",
    )
)

Parts = tuple[int | str | bytes, ...]


class _Hostile:
    """Collects the hostile cases of a fork."""

    def __init__(self, fork: str) -> None:
        self.fork = fork
        self.cases: dict[str, Case] = {}

    def has(self, *names: str) -> bool:
        return all(from_fork(self.fork, OPCODES[name][3]) for name in names)

    def env(self, gas_limit: int = 30_000_000) -> dict[str, object]:
        paris = from_fork(self.fork, "PARIS")
        return {
            "number": 1000,
            "timestamp": 1_700_000_000,
            "fee_recipient": COLLECTOR,
            "gas_limit": gas_limit,
            "base_fee": 0 if from_fork(self.fork, "LONDON") else None,
            "difficulty": 0 if paris else 7,
            "prev_randao": 7 if paris else 0,
            "chain_id": 1,
            "excess_blob_gas": 0 if from_fork(self.fork, "CANCUN") else None,
        }

    def code(self, *parts: int | str | bytes) -> bytes:
        return assemble(self.fork, *parts)

    def add(
        self,
        name: str,
        code: bytes | Parts,
        others: dict[bytes, Account] | None = None,
        *,
        gas: int = 30_000_000,
        value: int = 0,
        data: bytes = b"",
        account: Account | None = None,
        access: tuple[tuple[bytes, tuple[int, ...]], ...] = (),
    ) -> None:
        """A call of `code`; a case whose code has opcodes of later forks is left out, if it comes in parts."""
        if isinstance(code, tuple):
            if not self.has(*(part for part in code if isinstance(part, str) and part in OPCODES)):
                return
            code = self.code(*code)
        shape = account or Account(10**18, 1)
        pre = {
            SENDER: Account(10**24),
            CONTRACTS[0]: Account(shape.balance, shape.nonce, code, shape.storage),
            **(others or {}),
        }
        self.put(name, pre, CONTRACTS[0], gas, value, data, access)

    def put(
        self,
        name: str,
        pre: dict[bytes, Account],
        to: bytes | None,
        gas: int,
        value: int = 0,
        data: bytes = b"",
        access: tuple[tuple[bytes, tuple[int, ...]], ...] = (),
    ) -> None:
        nonce = pre[SENDER].nonce
        tx = {
            "sender": SENDER,
            "to": to,
            "nonce": nonce,
            "gas_limit": gas,
            "gas_price": 0 if to is None else 1,
            "value": value,
            "data": data,
            "access_list": access,
        }
        self.cases[name] = Case(self.fork, self.env(max(gas, 30_000_000)), pre, tx)

    def call_each(self, name: str, codes: Sequence[bytes], gas: int = 100_000, value: int = 0) -> None:
        """A contract for each code, all called in turn; the flags and the sizes of what they return are stored."""
        others: dict[bytes, Account] = {}
        parts: list[int | str | bytes] = []
        for n, code in enumerate(codes):
            address = bytes.fromhex("ca11") + bytes(16) + n.to_bytes(2, "big")
            others[address] = Account(3, 1, code)
            parts += [32, 0, 0, 0, value, _number(address), gas, "CALL"]
            if self.has("RETURNDATASIZE"):
                parts += ["RETURNDATASIZE", 2, "MUL", "ADD"]
            parts += [1, "ADD", n, "SSTORE"]
        self.add(name, self.code(*parts), others)

    def op_at(self, name: str, *operands: int) -> bytes:
        """An opcode on operands, the first on top, and a mark of success."""
        return self.code(*reversed(operands), name, 1, 0, "MSTORE", 32, 0, "RETURN")


def _loop(count: int, *body: int | str | bytes, label: str = "again") -> Parts:
    """A body, `count` times; the counter is on top of the stack."""
    return (count, f":{label}", *body, 1, "SWAP1", "SUB", "DUP1", f"@{label}", "JUMPI", "POP")


def _depths(h: _Hostile) -> None:
    """Frames in frames: each returns one more than what it called."""
    spare = (10_000, "GAS", "SUB")  # before Tangerine Whistle, to ask for all gas is to ask for too much
    back = (0, "MLOAD", 1, "ADD", 0, "MSTORE", 32, 0, "RETURN")
    for name, operands in (
        ("CALL", (32, 0, 0, 0, 0, "ADDRESS")),
        ("CALLCODE", (32, 0, 0, 0, 0, "ADDRESS")),
        ("DELEGATECALL", (32, 0, 0, 0, "ADDRESS")),
        ("STATICCALL", (32, 0, 0, 0, "ADDRESS")),
    ):
        h.add(f"{name.lower()}_1024_deep", (*operands, *spare, name, *back), gas=10**14)
        h.add(f"{name.lower()}_63_64", (*operands, *spare, name, *back))
    h.add("call_1024_deep_with_value", (32, 0, 0, 0, 1, "ADDRESS", *spare, "CALL", "POP", *back), gas=10**14)
    counted = (1, 0, "SLOAD", "ADD", 0, "SSTORE", 0, 0, 0, 0, 0, "ADDRESS", *spare, "CALL", 1, "SLOAD", "ADD", 1, "SSTORE")
    h.add("storage_63_64", counted)
    itself = ("CODESIZE", 0, 0, "CODECOPY", "CODESIZE", 0, 0, "CREATE", 0, "SSTORE")
    h.add("create_1024_deep", itself, gas=10**14)
    h.add("create_63_64", itself)
    # each frame stores, calls itself with a number one lower, and reverts if its number is odd
    nest = (
        0, "CALLDATALOAD", "DUP1", "ISZERO", "@end", "JUMPI", "DUP1", "DUP1", "SSTORE", 1, "DUP2", "SUB", 0, "MSTORE",
        0, 0, 32, 0, 0, "ADDRESS", 10_000, "GAS", "SUB", "CALL", 1000, "SSTORE", 1, "AND", "@odd", "JUMPI", ":end", "STOP",
        ":odd", 0, 0, "REVERT",
    )  # fmt: skip
    h.add("revert_nest", nest, data=_word(150))
    h.add("revert_nest_odd", nest, data=_word(151))
    fail = (*nest[:-4], ":odd", b"\xfe")
    h.add("failure_nest", fail, data=_word(60))


def _memory(h: _Hostile) -> None:
    """Offsets and sizes that no gas pays for."""
    one_word = ("MLOAD", "MSTORE", "MSTORE8")
    for name in one_word:
        h.call_each(f"{name.lower()}_huge", [h.op_at(name, offset, 1) for offset in HUGE])
        for offset in (2**255, 2**64 - 1, 2**64 - 31, 2**32, 2**32 - 1, WORD):
            h.add(f"{name.lower()}_at_{offset:x}", (1, offset, name, 1, 1, "SSTORE"))
    pairs = [(offset, size) for offset in (0, 1, *HUGE) for size in (1, 32, *HUGE) if max(offset, size) >= 200_000]
    for name in ("KECCAK256", "RETURN", "REVERT", "LOG0"):
        if h.has(name):
            h.call_each(f"{name.lower()}_huge", [h.op_at(name, offset, size) for offset, size in pairs], 60_000)
    for name in ("CALLDATACOPY", "CODECOPY", "RETURNDATACOPY", "MCOPY"):
        if h.has(name):
            triples = [
                (d, s, z) for d in (0, 2**255, WORD, 2**64 - 1) for s in (0, WORD, 2**64) for z in (0, 1, 33, WORD, 2**32)
            ]
            h.call_each(f"{name.lower()}_huge", [h.op_at(name, *triple) for triple in triples], 60_000)
    quads = [(_number(CONTRACTS[0]), d, s, z) for d in (0, 2**255, 2**64 - 1) for s in (0, WORD) for z in (0, 1, 33, WORD)]
    h.call_each("extcodecopy_huge", [h.op_at("EXTCODECOPY", *quad) for quad in quads], 60_000)
    for name, lead in (
        ("CALL", (1000, 4, 0)),
        ("CALLCODE", (1000, 4, 0)),
        ("DELEGATECALL", (1000, 4)),
        ("STATICCALL", (1000, 4)),
    ):
        if h.has(name):
            spans = [(0, 1, 2**255, 1), (WORD, 1, 0, 1), (0, WORD, 0, 0), (2**64 - 1, 2, 2**64 - 1, 2), (WORD, 0, WORD, 0)]
            spans += [(2**32, 2**32, 0, 0), (0, 0, 2**32 - 1, 1), (0, 64, 64, 2**31), (2**63, 2**63, 0, 1)]
            h.call_each(f"{name.lower()}_huge", [h.op_at(name, *lead, *span) for span in spans], 60_000)
    for name, rest in (("CREATE", ()), ("CREATE2", (5,))):
        if h.has(name):
            spans2 = [(0, WORD), (WORD, 1), (2**64 - 1, 2), (2**255, 0), (0, 2**32), (0, 49_153), (0, 49_152), (2**32, 1)]
            h.call_each(f"{name.lower()}_huge", [h.op_at(name, 0, *span, *rest) for span in spans2], 200_000)
    h.add("quadratic_memory", (*_loop(200, "DUP1", 200, "SUB", 19_000, "MUL", "MLOAD", "POP"), 1, 1, "SSTORE"))
    h.add("all_memory", (3_700_000, "MLOAD", "MSIZE", "GAS", 1, "SSTORE", 2, "SSTORE"))
    h.add("call_all_memory", _loop(30, 3_000_000, 0, 3_000_000, 0, 0, 4, "GAS", "CALL", "POP"))
    if h.has("RETURNDATACOPY"):
        sizes = ((0, 33), (1, 32), (33, 0), (32, 0), (WORD, 2), (2, WORD), (2**64, 2**64), (0, 32), (2**255, 2**255))
        head = (32, 0, 32, 0, 4, 5000, "STATICCALL", "POP")
        codes = [h.code(*head, size, start, 0, "RETURNDATACOPY", 1, 0, "MSTORE", 32, 0, "RETURN") for start, size in sizes]
        h.call_each("returndatacopy_past_end", codes)
    nothing = [
        (WORD, "KECCAK256", "POP"),
        (2**255, "LOG0"),
        (WORD, WORD, "CALLDATACOPY"),
        (2**64, 2**255, "CODECOPY"),
    ]
    flat: list[int | str | bytes] = []
    for parts in nothing:
        flat += [0, *parts]
    flat += [0, WORD, WORD - 1, 4, "EXTCODECOPY"]
    if h.has("MCOPY"):
        flat += [0, WORD, WORD, "MCOPY"]
    h.add("nothing_at_huge_offsets", (*flat, "MSIZE", 0, "SSTORE", 0, WORD, "RETURN"))


def _jumps(h: _Hostile) -> None:
    mark = (1, 1, "SSTORE")
    for place in (0, 1, 2, 3, 5, 100, 2**16, 2**32, 2**64, 2**255, WORD):
        h.add(f"jump_{place:x}", h.code(place, "JUMP", ":there", *mark))
        h.add(f"jumpi_{place:x}", h.code(1, place, "JUMPI", ":there", *mark))
        h.add(f"jumpi_not_{place:x}", h.code(0, place, "JUMPI", ":there", *mark))
    for base in (2**16, 2**31, 2**32, 2**63, 2**64, 2**128, 2**255):
        # the place of a JUMPDEST if one looks at the low bits only
        width = (base.bit_length() + 7) // 8
        h.add(f"jump_{base:x}_and_a_place", h.code(base + width + 2, "JUMP", ":there", *mark))
    h.add("jump_into_push_data", bytes.fromhex("6004565b605b6000"))
    h.add("jump_into_last_push", bytes.fromhex("6003567f5b"))
    h.add("jump_to_end", bytes.fromhex("600356"))
    h.add("jump_behind_push32", bytes.fromhex("602456") + b"\x7f" + b"\x5b" * 32 + bytes.fromhex("5b6001600155"))
    pushes = b"".join(bytes([0x60 + n]) + b"\x5b" * (n + 1) for n in range(32))
    target = 4 + len(pushes)
    h.add("jump_over_all_pushes", b"\x61" + target.to_bytes(2, "big") + b"\x56" + pushes + bytes.fromhex("5b6001600155"))
    h.call_each("jump_into_all_pushes", [b"\x61" + (4 + n).to_bytes(2, "big") + b"\x56" + pushes for n in range(0, 560, 7)])
    h.add("jumpdest_sled", b"\x5b" * 24_576)
    h.add("jumpdest_loop", b"\x5b" * 24_572 + bytes.fromhex("600056"), gas=5_000_000)
    h.add("push_sled", bytes.fromhex("605b") * 12_288, gas=100_000)
    h.add("push_pop_sled", bytes.fromhex("605b50") * 8_192)
    h.add("infinite_loop", bytes.fromhex("5b600056"), gas=5_000_000)
    h.add("empty_code", b"")
    h.add("empty_code_and_gas", b"", gas=21_000)
    h.add("stop_and_gas", b"\0", gas=21_000)
    h.add("jumpdest_and_gas", b"\x5b", gas=21_001)
    h.add("jumpdest_and_no_gas", b"\x5b", gas=21_000)
    for n in range(32):
        h.add(f"truncated_push{n + 1}", bytes([0x60 + n]) + b"\x01" * (n // 2))
    h.call_each("every_byte", [bytes([n]) for n in range(256)])
    h.call_each(
        "every_byte_on_zeros",
        [bytes.fromhex("6000") * 20 + bytes([n]) + bytes.fromhex("600160005260206000f3") for n in range(256)],
    )
    h.call_each(
        "every_byte_on_ones",
        [bytes.fromhex("6001") * 20 + bytes([n]) + bytes.fromhex("600160005260206000f3") for n in range(256)],
    )
    ones = bytes.fromhex("7f" + "ff" * 32) * 8
    h.call_each("every_byte_on_huge", [ones + bytes([n]) + bytes.fromhex("600160005260206000f3") for n in range(256)])


def _stack(h: _Hostile) -> None:
    for name, tail in (
        ("1024", b""),
        ("1025", b"\x58"),
        ("dup", b"\x80"),
        ("swap", b"\x9f"),
        ("dup16", b"\x8f"),
        ("pop", b"\x50"),
    ):
        h.add(f"stack_1024_{name}", b"\x58" * 1024 + tail)
    h.add("stack_call_full", b"\x58" * 1024 + bytes.fromhex("505050505050506000600060006000600030") + b"\x5a\xf1\x00")
    for n in range(16):
        h.add(f"dup{n + 1}_too_deep", b"\x58" * n + bytes([0x80 + n]))
        h.add(f"swap{n + 1}_too_deep", b"\x58" * (n + 1) + bytes([0x90 + n]))


def _gas(h: _Hostile) -> None:
    h.add("exp_loop", (":again", WORD, WORD, "EXP", "POP", "@again", "JUMP"))
    sizes = [h.op_at("EXP", 3, 256**n) for n in range(32)] + [h.op_at("EXP", WORD, 256**n - 1) for n in range(33)]
    h.call_each("exp_sizes", sizes, 10_000)
    values = (0, 1, 2)
    parts: list[int | str | bytes] = []
    slot = 0
    storage = {}
    for original in values:
        for first in values:
            for second in values:
                for third in (None, *values):
                    if original:
                        storage[slot] = original
                    for value in (first, second, third):
                        if value is not None:
                            parts += ["GAS", value, slot, "SSTORE", "GAS", "SWAP1", "SUB", "ADD"]
                    slot += 1
    sums = h.code(0, *parts, WORD, "SSTORE")
    h.add("sstore_transitions", sums, account=Account(5, 1, b"", storage))
    h.add(
        "sstore_transitions_reverted",
        (*_loop(3, 1, 0, "SSTORE", 0, 0, "SSTORE"), 0, 0, "REVERT"),
        account=Account(1, 1, b"", {0: 5}),
    )
    store = h.code(1, 0, "SSTORE", 1, 0, "MSTORE", 32, 0, "RETURN")
    others = {CONTRACTS[1]: Account(0, 1, store, {0: 1})}
    sentry: list[int | str | bytes] = []
    for n, gas in enumerate((0, 5, 799, 800, 806, 2299, 2300, 2301, 2305, 2306, 2307, 2320, 2330, 2400, 5000, 5006, 5020)):
        sentry += [0, 0, 0, 0, 0, _number(CONTRACTS[1]), gas, "CALL", 1, "ADD", n, "SSTORE"]
    h.add("sstore_sentry", h.code(*sentry), others)
    stipends = [
        h.code("CALLVALUE", 0, "MSTORE", 0, 0, "LOG0", 32, 0, "RETURN"),
        store,
        h.code(":a", "@a", "JUMP"),
        h.code("GAS", 0, "MSTORE", 32, 0, "RETURN"),
        h.code(0, 0, 0, 0, 0, 4, 0, "CALL", 32, 0, "RETURN"),
    ]
    h.call_each("stipend", stipends, 0, 1)
    h.call_each("gas_2300_and_value", stipends, 2300, 1)
    if from_fork(h.fork, "TANGERINE"):
        h.call_each("gas_of_2_256", stipends[:2] + stipends[3:], WORD, 1)
    h.add(
        "calldata_100k",
        h.code("CALLDATASIZE", 0, 0, "CALLDATACOPY", "CALLDATASIZE", 0, "KECCAK256", 0, "SSTORE"),
        data=bytes(50_000) + b"\1" * 50_000,
    )
    if from_fork(h.fork, "BERLIN"):
        access = tuple((bytes.fromhex("acc0") + bytes(16) + n.to_bytes(2, "big"), tuple(range(8))) for n in range(300))
        touch = (_number(access[7][0]), "BALANCE", "POP", _number(ABSENT[0]), "BALANCE", 3, "SLOAD", "GAS", 1, "SSTORE")
        h.add("access_list_300", touch, access=(*access, *access[:10], (CONTRACTS[0], (3, 3, 3))))


def _calls(h: _Hostile) -> None:
    """Writes in static frames, transfers, and what is returned."""
    writes = [
        h.code(1, 0, "SSTORE"), h.code(0, 0, "LOG0"), h.code(1, 0, 0, "LOG1"), h.code(0, 0, 0, "CREATE"),
        h.code("CALLER", "SELFDESTRUCT"), h.code(0, 0, 0, 0, 1, 4, 1000, "CALL"), h.code(0, 0, 0, 0, 0, 4, 1000, "CALL"),
        h.code(0, 0, 0, 0, 1, 4, 1000, "CALLCODE"), h.code(1, 2, 3, 4, 0, 0, "LOG4"),
    ]  # fmt: skip
    if h.has("CREATE2"):
        writes.append(h.code(0, 0, 0, 0, "CREATE2"))
    if h.has("TSTORE"):
        writes += [h.code(1, 0, "TSTORE"), h.code(0, "TLOAD")]
    if h.has("STATICCALL"):
        others = {}
        parts: list[int | str | bytes] = []
        for n, code in enumerate(writes):
            address = bytes.fromhex("57a7") + bytes(16) + n.to_bytes(2, "big")
            middle = bytes.fromhex("57a8") + bytes(16) + n.to_bytes(2, "big")
            others[address] = Account(5, 1, code)
            others[middle] = Account(
                5, 1, h.code(0, 0, 0, 0, 0, _number(address), 70_000, "CALL", 0, "MSTORE", 32, 0, "RETURN")
            )
            parts += [0, 0, 0, 0, _number(address), 70_000, "STATICCALL", 1, "ADD", n, "SSTORE"]
            parts += [
                32,
                0,
                0,
                0,
                _number(middle),
                90_000,
                "STATICCALL",
                0,
                "MLOAD",
                2,
                "MUL",
                "ADD",
                1,
                "ADD",
                50 + n,
                "SSTORE",
            ]
        h.add("writes_in_static_frames", h.code(*parts), others)
    targets = (SENDER, COLLECTOR, EMPTY, ABSENT[0], FRIEND, CONTRACTS[0], *(_small(n) for n in range(12)))
    for value in (0, 1, 10**19):
        parts = []
        for n, target in enumerate(targets):
            parts += [0, 0, 0, 0, value, _number(target), 30_000, "CALL", "GAS", 2, "MUL", "ADD", n, "SSTORE"]
        h.add(
            f"transfers_of_{value}",
            h.code("CALLER", "ORIGIN", "EQ", "ISZERO", "@in", "JUMPI", *parts, ":in"),
            {FRIEND: Account(1)},
        )
    dirty = [
        0, 0, 0, 0, 1, _number(FRIEND) | 0xABCD << 160, 30_000, "CALL", 0, "SSTORE",
        _number(FRIEND) | 1 << 255, "BALANCE", 1, "SSTORE", _number(CONTRACTS[0]) | 1 << 160, "EXTCODESIZE", 2, "SSTORE",
    ]  # fmt: skip
    h.add("dirty_addresses", h.code(*dirty), {FRIEND: Account(1)})
    if h.has("RETURNDATASIZE"):
        revert = h.code(0xAB, 0, "MSTORE", 100, 0, "REVERT")
        parts = [0, 0, 0, 0, 0, _number(CONTRACTS[1]), 50_000, "CALL", "RETURNDATASIZE", 0, "SSTORE", "POP"]
        parts += [0, 0, 0, 0, 0, _number(ABSENT[0]), 50_000, "CALL", "RETURNDATASIZE", 1, "SSTORE", "POP"]
        parts += [0, 0, 0, 0, 10**30, _number(CONTRACTS[1]), 50_000, "CALL", "RETURNDATASIZE", 2, "SSTORE", "POP"]
        init = h.code(0xCD, 0, "MSTORE", 77, 0, "REVERT")
        parts += [
            int.from_bytes(init, "big"),
            0,
            "MSTORE",
            len(init),
            32 - len(init),
            0,
            "CREATE",
            "RETURNDATASIZE",
            3,
            "SSTORE",
            "POP",
        ]
        parts += [0, 0, 0, "CREATE", "RETURNDATASIZE", 4, "SSTORE", "POP"]
        parts += [32, 0, 32, 0, 4, 1000, "STATICCALL", "RETURNDATASIZE", 5, "SSTORE", "POP"]
        parts += [32, 0, 32, 0, 4, 1, "STATICCALL", "RETURNDATASIZE", 6, "SSTORE", "POP"]
        h.add("returned_sizes", h.code(*parts), {CONTRACTS[1]: Account(0, 1, revert)})
    if h.has("TSTORE"):
        h.add("transient_bomb", _loop(5_000, "DUP1", "DUP1", "TSTORE") + _loop(5_000, "DUP1", "TLOAD", "POP", label="read"))
        inner = h.code(7, 0, "TSTORE", 0, 0, "REVERT")
        outer = (
            5,
            0,
            "TSTORE",
            0,
            0,
            0,
            0,
            _number(CONTRACTS[1]),
            50_000,
            "DELEGATECALL",
            0,
            "TLOAD",
            0,
            "SSTORE",
            1,
            "SSTORE",
        )
        h.add("transient_reverted", outer, {CONTRACTS[1]: Account(0, 1, inner)})


def _creations(h: _Hostile) -> None:
    h.add("many_creates", _loop(400, 0, 0, 0, "CREATE", "POP"))
    h.add("many_create_failures", _loop(200, 0xFE, 0, "MSTORE8", 1, 0, 0, "CREATE", "POP"), gas=10_000_000)
    if h.has("CREATE2"):
        h.add("create2_twice", _loop(3, 1, 0, 0, 0, "CREATE2", "DUP2", "SSTORE"))
        h.add("many_create2", _loop(400, "DUP1", 0, 0, 0, "CREATE2", "POP"))
    for size in (24_576, 24_577, 0xC000):
        init = h.code(size, 0, "RETURN")
        word = int.from_bytes(init, "big")
        h.add(
            f"deploy_{size}",
            (word, 0, "MSTORE", len(init), 32 - len(init), 0, "CREATE", "DUP1", 0, "SSTORE", "EXTCODESIZE", 1, "SSTORE"),
        )
        h.put(f"create_transaction_of_{size}", {SENDER: Account(10**24, 3)}, None, 20_000_000, 0, init)
    for size in (1, 32):
        init = h.code(0xEF, 0, "MSTORE8", size, 0, "RETURN")
        h.put(f"create_transaction_ef_{size}", {SENDER: Account(10**24, 3)}, None, 1_000_000, 5, init)
    init = h.code(1_000, 0, "RETURN")
    for gas in (0, 100, 10_000, 200_000, 200_102, 200_103, 200_104, 204_000):  # the code of 1,000 bytes costs 200,000
        name = f"create_transaction_gas_{gas}"
        h.put(name, {SENDER: Account(10**24, 3)}, None, gas, 5, init)
        case = h.cases[name]
        h.cases[name] = replace(case, tx={**case.tx, "gas_limit": gas + intrinsic_gas(case)})
    for size in (49_152, 49_153) if not from_fork(h.fork, "SHANGHAI") else (49_152,):
        h.put(f"init_code_{size}", {SENDER: Account(10**24, 3)}, None, 10_000_000, 0, b"\x5b" * size)
        h.put(f"init_code_of_zeros_{size}", {SENDER: Account(10**24, 3)}, None, 10_000_000, 0, bytes(size))
    for name, there in (
        ("balance", Account(7)),
        ("nonce", Account(0, 1)),
        ("code", Account(0, 0, b"\0")),
    ):
        spot = create_address(SENDER, 3)
        h.put(
            f"create_transaction_on_{name}",
            {SENDER: Account(10**24, 3), spot: there},
            None,
            200_000,
            1,
            h.code(1, 0, "SSTORE"),
        )
        spot = create_address(CONTRACTS[0], 1)
        h.add(f"create_on_{name}", (0, 0, 1, "CREATE", 0, "SSTORE", 0, 0, 1, "CREATE", 1, "SSTORE"), {spot: there})
    for nonce in (2**64 - 1, 2**64 - 2):
        h.add(
            f"create_at_nonce_{nonce:x}",
            (0, 0, 0, "CREATE", 0, "SSTORE", 0, 0, 0, "CREATE", 1, "SSTORE"),
            account=Account(1, nonce),
        )
    destroy = h.code("ADDRESS", "SELFDESTRUCT")
    word = int.from_bytes(destroy, "big")
    h.add(
        "create_and_destroy",
        (word, 0, "MSTORE", len(destroy), 32 - len(destroy), 9, "CREATE", "DUP1", "BALANCE", 0, "SSTORE", 1, "SSTORE"),
    )
    # children that leave their money to an account each
    init = h.code(0, "MLOAD", "POP", "CALLVALUE", "CODESIZE", "ADDRESS", "ADD", "SELFDESTRUCT")
    word = int.from_bytes(init, "big")
    h.add("many_selfdestructs", (word, 0, "MSTORE", *_loop(250, len(init), 32 - len(init), 1, "CREATE", "POP")))
    for name, beneficiary in (
        ("self", "ADDRESS"),
        ("caller", "CALLER"),
        ("absent", _number(ABSENT[1])),
        ("precompile", 2),
        ("coinbase", "COINBASE"),
    ):
        for balance in (0, 50):
            code = h.code(1, 0, "SSTORE", beneficiary, "SELFDESTRUCT")
            others = {CONTRACTS[1]: Account(balance, 1, code, {0: 5, 1: 6})}
            call = (0, 0, 0, 0, 0, _number(CONTRACTS[1]), 90_000, "CALL", "POP")
            paid = (0, 0, 0, 0, 3, _number(CONTRACTS[1]), 90_000, "CALL", "POP")
            seen = (_number(CONTRACTS[1]), "BALANCE", 0, "SSTORE", _number(CONTRACTS[1]), "EXTCODESIZE", 1, "SSTORE")
            h.add(f"selfdestruct_to_{name}_{balance}", (*call, *seen), others)
            h.add(f"selfdestruct_twice_to_{name}_{balance}", (*call, *seen, *call, *paid, *seen), others)
    h.add(
        "selfdestruct_of_the_coinbase",
        (0, 0, 0, 0, 0, "COINBASE", 90_000, "CALL"),
        {COLLECTOR: Account(5, 1, h.code("CALLER", "SELFDESTRUCT"))},
    )
    h.add("selfdestruct_at_once", ("CALLER", "SELFDESTRUCT"), value=4)


def _volumes(h: _Hostile) -> None:
    h.add("many_logs", _loop(300, 4, 3, 2, 1, 10_000, 0, "LOG4"))
    h.add("log_of_a_megabyte", (1, 0, 1_000_000, 5, "LOG1"))
    h.add("sstore_loop", _loop(1_000, "DUP1", "DUP1", "SSTORE") + _loop(1_000, 0, "DUP2", "SSTORE", label="clear"))
    h.add("sload_loop", _loop(4_000, "DUP1", "SLOAD", "POP"))
    h.add("sstore_clear_all", _loop(500, 0, "DUP2", "SSTORE"), account=Account(1, 1, b"", {n: n for n in range(1, 501)}))
    h.add("balance_loop", _loop(3_000, "DUP1", "BALANCE", "POP"))
    h.add("keccak_of_a_megabyte", (1_000_000, 0, "KECCAK256", 0, "SSTORE"))
    h.add(
        "blockhash_edges",
        tuple(part for n in (0, 1, 743, 744, 745, 999, 1000, 1001, WORD) for part in (n, "BLOCKHASH", n, "SSTORE")),
    )


def _precompiles(h: _Hostile) -> None:
    def feed(name: str, number: int, inputs: Sequence[bytes], gas: int = 200_000) -> None:
        """Each input from the code of an account of its own, to a precompile; the output is stored."""
        others, parts = {}, []
        for n, data in enumerate(inputs):
            address = bytes.fromhex("da7a") + bytes(16) + n.to_bytes(2, "big")
            others[address] = Account(0, 1, data)
            parts += [len(data), 0, 0, _number(address), "EXTCODECOPY", 0, 1500, "MSTORE"]
            parts += [64, 1500, len(data), 0, 0, number, gas, "CALL", 3, "MUL", 1500, "MLOAD", "ADD", n, "SSTORE"]
            if h.has("RETURNDATASIZE"):
                parts += ["RETURNDATASIZE", 100 + n, "SSTORE"]
        h.add(name, h.code(*parts), others)

    lengths = (
        (WORD, WORD, WORD), (2**64, 1, 1), (1, 2**64, 1), (1, 1, 2**64), (2**32, 2**32, 2**32), (0, WORD, 0), (WORD, 0, 0),
        (0, 0, WORD), (0, 0, 0), (1, 0, 1), (0, 1, 1), (1, 2**255, 0), (2**31, 0, 1), (0, 0, 1000), (96, 96, 96),
        (1, 1000, 1), (32, 33, 32), (200, 5, 200), (64, 64, 0), (1024, 1, 1),
    )  # fmt: skip
    feed("modexp_lengths", 5, [b"".join(map(_word, triple)) + b"\xfe\xff" * 150 for triple in lengths])
    feed(
        "modexp_empty",
        5,
        [b"", b"\0", _word(1), _word(1) * 2, _word(1) * 3, _word(0) * 3, _word(1) * 3 + b"\3", _word(1) * 3 + b"\3\2\5"],
    )
    feed(
        "modexp_even_modulus",
        5,
        [_word(32) * 3 + _word(WORD) + _word(e) + _word(m) for e in (0, 1, 3, WORD) for m in (0, 1, 2, 2**255, WORD)],
    )
    recover = [_SIGNED, _SIGNED[:127], _SIGNED + b"\1", b"", _SIGNED[:64] + bytes(64)]
    recover += [_SIGNED[:32] + _word(v) + _SIGNED[64:] for v in (0, 1, 26, 27, 29, 2**8 + 28, WORD)]
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    recover += [_SIGNED[:64] + _word(r) + _SIGNED[96:] for r in (0, 1, 5, order - 1, order, WORD)]
    recover += [_SIGNED[:96] + _word(s) for s in (0, 1, order - 1, order, order // 2 + 1)]
    feed("ecrecover_odd", 1, recover)
    lines = [b"", b"\0", bytes(55), bytes(56), bytes(63), bytes(64), b"a" * 65, b"b" * 119, b"c" * 120, b"d" * 1000]
    for number, name in ((2, "sha256"), (3, "ripemd160"), (4, "identity")):
        feed(f"{name}_lengths", number, lines)
    if from_fork(h.fork, "BYZANTIUM"):
        one, two = _word(1) + _word(2), _word(1) + _word(_BN_P - 2)
        points = [b"", one, one + one, one + two, one + bytes(64), bytes(128), one + one + b"\1", one + _word(1) + _word(3)]
        points += [
            _word(_BN_P) + _word(2) + one,
            _word(_BN_P + 1) + _word(2) + one,
            _word(WORD) * 4,
            one + _word(0) + _word(_BN_P),
        ]
        feed("bn_add_odd", 6, points)
        scalars = (0, 1, 2, 9, _BN_P, WORD, 21888242871839275222246405745257275088548364400416034343698204186575808495617)
        feed(
            "bn_mul_odd",
            7,
            [one + _word(n) for n in scalars] + [bytes(96), b"", one, _word(1) + _word(3) + _word(1), two + _word(5)],
        )
        pairs = [b"", bytes(192), bytes(191), bytes(193), one + bytes(128), bytes(64) + _BN_G2, one + _BN_G2[:127]]
        pairs += [one + _BN_G2[64:] + _BN_G2[:64], one + _BN_G2 + two + _BN_G2]
        feed("pairing_odd", 8, pairs)
        feed(
            "pairing_many", 8, [(one + _BN_G2 + two + _BN_G2) * 3, (one + _BN_G2 + two + _BN_G2) * 3 + one + _BN_G2], 600_000
        )
    if from_fork(h.fork, "ISTANBUL"):

        def blake(rounds: int, last: int) -> bytes:
            tail = b"abc".ljust(128, b"\0") + (3).to_bytes(8, "little") + bytes(8) + bytes([last])
            return rounds.to_bytes(4, "big") + _BLAKE_STATE + tail

        inputs = [blake(rounds, last) for rounds in (0, 1, 12, 2**32 - 1, 199_999) for last in (0, 1, 2, 255)]
        feed(
            "blake2f_odd",
            9,
            [*(i for i in inputs if i[:4] != (199_999).to_bytes(4, "big")), inputs[0][:-1], inputs[0] + b"\0", b""],
        )
        feed("blake2f_rounds", 9, inputs[-4:-2])
    if from_fork(h.fork, "CANCUN"):
        feed("point_evaluation_odd", 10, [b"", bytes(191), bytes(192), bytes(193), b"\xff" * 192])


def hostile_cases(fork: str) -> dict[str, Case]:
    """Programs made to break a machine, by name: depth, memory, jumps, gas, volumes, creations and precompiles.

    Not every case is in every fork. Those in `HEAVY` are slow in py-evm.
    """
    h = _Hostile(fork)
    for group in (_depths, _memory, _jumps, _stack, _gas, _calls, _creations, _volumes, _precompiles):
        group(h)
    return h.cases


def static_opcodes(case: Case) -> Counter[str]:
    """Opcodes that stand in the code of a case, read from its start on."""
    found: Counter[str] = Counter()
    codes = [account.code for account in case.pre.values()] + ([case.tx["data"]] if case.tx["to"] is None else [])
    for code in codes:
        place = 0
        while place < len(code):
            found[NAMES.get(code[place], f"0x{code[place]:02x}")] += 1
            place += max(1, code[place] - 0x5E) if 0x60 <= code[place] <= 0x7F else 1
    return found


def opcode_coverage(cases: Iterable[Case], executed: bool = True) -> tuple[dict[str, int], dict[str, int]]:
    """How often each opcode of the cases' forks came to its end, and how often it halted its frame, in the order of numbers.

    py-evm counts; if not `executed`, opcodes are counted where they stand and none is known to halt.
    """
    passed: Counter[str] = Counter()
    halted: Counter[str] = Counter()
    wanted: set[str] = set()
    for case in cases:
        wanted |= set(opcodes_of(case.fork))
        if executed:
            good, bad = executed_opcodes(case)
            passed.update({NAMES[number]: count for number, count in good.items()})
            halted.update({NAMES[number]: count for number, count in bad.items()})
        else:
            passed.update(static_opcodes(case))
    order = [name for name in sorted(OPCODES, key=lambda name: OPCODES[name][0]) if name in wanted]
    return {name: passed[name] for name in order}, {name: halted[name] for name in order}
