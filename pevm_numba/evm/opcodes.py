"""Opcodes as data: what each takes from the stack, leaves there and costs at least, from which fork on.

Opcodes of one family (PUSH1..PUSH32, the calls, the block's constants) share a handler and differ in a parameter, so that the
interpreter has one piece of code for each family.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from .forks import Fork

__all__ = ["ENVIRONMENT", "HANDLERS", "NEVER", "OPCODES", "STACK_LIMIT", "Opcode", "deferred", "name_of", "opcodes", "packed"]

#: Most entries on a stack.
STACK_LIMIT: Final = 1_024

#: Words of the environment that opcodes push as they are; the parameter of ENVIRONMENT is a place in this list.
ENVIRONMENT: Final = (
    "origin", "gas_price", "coinbase", "timestamp", "number", "prev_randao", "gas_limit", "chain_id", "base_fee",
    "blob_base_fee",
)  # fmt: skip


@dataclass(frozen=True)
class Opcode:
    """One opcode of one fork.

    Parameters
    ----------
    code : int in [0, 255]
    name : str
    handler : str
        Family, one of `HANDLERS`.
    gas : int
        Charged before anything else; what depends on operands or state comes on top (see `prices`).
    pops, pushes : int
        Entries taken from the stack and left there.
    since : Fork
        First fork that has it.
    parameter : int
        Tells the members of a family apart.
    """

    code: int
    name: str
    handler: str
    gas: int
    pops: int
    pushes: int
    since: Fork = Fork.FRONTIER
    parameter: int = 0


def _fixed() -> list[Opcode]:
    """Those with a handler of their own, by their handler's name."""
    binary = [
        (0x01, "ADD", 3), (0x02, "MUL", 5), (0x03, "SUB", 3), (0x04, "DIV", 5), (0x05, "SDIV", 5), (0x06, "MOD", 5),
        (0x07, "SMOD", 5), (0x0A, "EXP", 10), (0x0B, "SIGNEXTEND", 5), (0x10, "LT", 3), (0x11, "GT", 3), (0x12, "SLT", 3),
        (0x13, "SGT", 3), (0x14, "EQ", 3), (0x16, "AND", 3), (0x17, "OR", 3), (0x18, "XOR", 3), (0x1A, "BYTE", 3),
        (0x20, "KECCAK256", 30),
    ]  # fmt: skip
    none = [
        (0x30, "ADDRESS", 2), (0x33, "CALLER", 2), (0x34, "CALLVALUE", 2), (0x36, "CALLDATASIZE", 2), (0x38, "CODESIZE", 2),
        (0x58, "PC", 2), (0x59, "MSIZE", 2), (0x5A, "GAS", 2),
    ]  # fmt: skip
    unary = [
        (0x15, "ISZERO", 3), (0x19, "NOT", 3), (0x31, "BALANCE", 0), (0x35, "CALLDATALOAD", 3), (0x3B, "EXTCODESIZE", 0),
        (0x40, "BLOCKHASH", 20), (0x51, "MLOAD", 3), (0x54, "SLOAD", 0),
    ]  # fmt: skip
    made = [Opcode(code, name, name, gas, 2, 1) for code, name, gas in binary]
    made += [Opcode(code, name, name, gas, 0, 1) for code, name, gas in none]
    made += [Opcode(code, name, name, gas, 1, 1) for code, name, gas in unary]
    rest = [
        (0x00, "STOP", 0, 0, 0), (0x08, "ADDMOD", 8, 3, 1), (0x09, "MULMOD", 8, 3, 1), (0x37, "CALLDATACOPY", 3, 3, 0),
        (0x39, "CODECOPY", 3, 3, 0), (0x3C, "EXTCODECOPY", 0, 4, 0), (0x50, "POP", 2, 1, 0), (0x52, "MSTORE", 3, 2, 0),
        (0x53, "MSTORE8", 3, 2, 0), (0x55, "SSTORE", 0, 2, 0), (0x56, "JUMP", 8, 1, 0), (0x57, "JUMPI", 10, 2, 0),
        (0x5B, "JUMPDEST", 1, 0, 0), (0xF3, "RETURN", 0, 2, 0), (0xFF, "SELFDESTRUCT", 0, 1, 0),
    ]  # fmt: skip
    made += [Opcode(code, name, name, gas, pops, pushes) for code, name, gas, pops, pushes in rest]
    later: list[tuple[int, str, int, int, int, Fork]] = [
        (0x1B, "SHL", 3, 2, 1, Fork.PETERSBURG), (0x1C, "SHR", 3, 2, 1, Fork.PETERSBURG),  # EIP-145
        (0x1D, "SAR", 3, 2, 1, Fork.PETERSBURG), (0x1E, "CLZ", 5, 1, 1, Fork.OSAKA),  # EIP-7939
        (0x3D, "RETURNDATASIZE", 2, 0, 1, Fork.BYZANTIUM), (0x3E, "RETURNDATACOPY", 3, 3, 0, Fork.BYZANTIUM),  # EIP-211
        (0x3F, "EXTCODEHASH", 0, 1, 1, Fork.PETERSBURG),  # EIP-1052
        (0x47, "SELFBALANCE", 5, 0, 1, Fork.ISTANBUL),  # EIP-1884
        (0x49, "BLOBHASH", 3, 1, 1, Fork.CANCUN),  # EIP-4844
        (0x5C, "TLOAD", 100, 1, 1, Fork.CANCUN), (0x5D, "TSTORE", 100, 2, 0, Fork.CANCUN),  # EIP-1153
        (0x5E, "MCOPY", 3, 3, 0, Fork.CANCUN),  # EIP-5656
        (0x5F, "PUSH0", 2, 0, 1, Fork.SHANGHAI),  # EIP-3855
        (0xFD, "REVERT", 0, 2, 0, Fork.BYZANTIUM),  # EIP-140
    ]  # fmt: skip
    return made + [Opcode(code, name, name, gas, pops, pushes, since) for code, name, gas, pops, pushes, since in later]


def _families() -> list[Opcode]:
    """Those that share a handler."""
    environment = [
        (0x32, "ORIGIN", Fork.FRONTIER), (0x3A, "GASPRICE", Fork.FRONTIER), (0x41, "COINBASE", Fork.FRONTIER),
        (0x42, "TIMESTAMP", Fork.FRONTIER), (0x43, "NUMBER", Fork.FRONTIER), (0x44, "PREVRANDAO", Fork.FRONTIER),  # EIP-4399
        (0x45, "GASLIMIT", Fork.FRONTIER), (0x46, "CHAINID", Fork.ISTANBUL),  # EIP-1344
        (0x48, "BASEFEE", Fork.LONDON), (0x4A, "BLOBBASEFEE", Fork.CANCUN),  # EIP-3198, EIP-7516
    ]  # fmt: skip
    made = [Opcode(code, name, "ENVIRONMENT", 2, 0, 1, since, i) for i, (code, name, since) in enumerate(environment)]
    made += [Opcode(0x5F + n, f"PUSH{n}", "PUSH" if n <= 8 else "PUSH_LONG", 3, 0, 1, parameter=n) for n in range(1, 33)]
    made += [Opcode(0x7F + n, f"DUP{n}", "DUP", 3, n, n + 1, parameter=n) for n in range(1, 17)]
    made += [Opcode(0x8F + n, f"SWAP{n}", "SWAP", 3, n + 1, n + 1, parameter=n) for n in range(1, 17)]
    made += [Opcode(0xA0 + n, f"LOG{n}", "LOG", 375 * (n + 1), 2 + n, 0, parameter=n) for n in range(5)]
    made += [
        Opcode(0xF0, "CREATE", "CREATE", 32_000, 3, 1),
        Opcode(0xF5, "CREATE2", "CREATE", 32_000, 4, 1, Fork.PETERSBURG, 1),  # EIP-1014
        Opcode(0xF1, "CALL", "CALL", 0, 7, 1),
        Opcode(0xF2, "CALLCODE", "CALL", 0, 7, 1, parameter=1),
        Opcode(0xF4, "DELEGATECALL", "CALL", 0, 6, 1, Fork.HOMESTEAD, 2),  # EIP-7
        Opcode(0xFA, "STATICCALL", "CALL", 0, 6, 1, Fork.BYZANTIUM, 3),  # EIP-214
    ]
    return made


#: Every opcode that some fork has, by code.
OPCODES: Final = tuple(sorted((*_fixed(), *_families()), key=lambda op: op.code))

#: Families, in the order of their numbers; number 0 is for bytes that are no opcode.
HANDLERS: Final = ("INVALID", *sorted({op.handler for op in OPCODES}))


def opcodes(fork: Fork) -> dict[int, Opcode]:
    """The opcodes of a fork, by code.

    Examples
    --------
    >>> 0x5F in opcodes(Fork.PARIS), opcodes(Fork.SHANGHAI)[0x5F].name
    (False, 'PUSH0')
    """
    return {op.code: op for op in OPCODES if op.since <= fork}


def name_of(code: int, fork: Fork = Fork.OSAKA) -> str:
    """Name of an opcode, ``INVALID`` for 0xfe and for what the fork does not have, DIFFICULTY before Paris.

    Examples
    --------
    >>> name_of(0x44), name_of(0x44, Fork.LONDON), name_of(0x0C)
    ('PREVRANDAO', 'DIFFICULTY', 'INVALID')
    """
    op = opcodes(fork).get(code)
    if op is None:
        return "INVALID"
    return "DIFFICULTY" if op.name == "PREVRANDAO" and fork < Fork.PARIS else op.name


#: A packed opcode that costs nothing, and pops more than a stack can hold.
NEVER: Final = 0xFFFF << 16 | 0xFFFF << 32


#: Families whose operands on the stack say what of the state they need.
_MEETS: Final = frozenset((
    "SLOAD", "SSTORE", "BALANCE", "EXTCODESIZE", "EXTCODEHASH", "EXTCODECOPY", "SELFDESTRUCT", "CALL",
))  # fmt: skip


@cache
def deferred(fork: Fork) -> tuple[int, ...]:
    """As `packed`, but what may need something of the state that has to be fetched first passes no test.

    Examples
    --------
    >>> deferred(Fork.CANCUN)[0x54] == NEVER, deferred(Fork.CANCUN)[0x01] == packed(Fork.CANCUN)[0x01]
    (True, True)
    """
    return tuple(NEVER if HANDLERS[entry >> 48 & 0xFF] in _MEETS else entry for entry in packed(fork))


@cache
def packed(fork: Fork) -> tuple[int, ...]:
    """256 numbers below 2**63, one for each byte: one load tells the interpreter all that it needs to know first.

    gas | bytes popped << 16 | greatest height before, in bytes << 32 | handler << 48 | parameter << 56. What is no
    opcode pops more than a stack can hold, so that the test for underflow finds it.

    Examples
    --------
    >>> add = packed(Fork.CANCUN)[0x01]
    >>> add & 0xFFFF, add >> 16 & 0xFFFF, add >> 32 & 0xFFFF, HANDLERS[add >> 48 & 0xFF]
    (3, 64, 32768, 'ADD')
    """
    table = [NEVER] * 256
    for code, op in opcodes(fork).items():
        room = 32 * (STACK_LIMIT - max(0, op.pushes - op.pops))
        table[code] = op.gas | 32 * op.pops << 16 | room << 32 | HANDLERS.index(op.handler) << 48 | op.parameter << 56
    return tuple(table)
