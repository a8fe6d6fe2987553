"""The nine micro-ops: their numbers are the file format, so they never change.

The first six are those of PEVM-OPT-2; TOUCH, CREDIT and BURN let a real trace be replayed with its exact accesses and gas.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

__all__ = ["CREDIT_FIELD", "MAX_COUNT", "MAX_STACK", "TOP", "Field", "Mode", "Op", "Status"]


class Op(IntEnum):
    """A micro-op. The value is what block files and `Block.op_code` hold."""

    SLOAD = 0
    SSTORE = 1
    ADD = 2
    SUB = 3
    KECCAK = 4
    NOOP = 5
    TOUCH = 6
    CREDIT = 7
    BURN = 8

    @property
    def takes_key(self) -> bool:
        """Whether the op names a state key."""
        return self in (Op.SLOAD, Op.SSTORE, Op.TOUCH, Op.CREDIT)

    @property
    def takes_word(self) -> bool:
        """Whether the op has a 256-bit literal (for SSTORE: or the stack top)."""
        return self in (Op.SSTORE, Op.ADD, Op.SUB, Op.CREDIT)

    @property
    def takes_count(self) -> bool:
        """Whether the op has a repeat count."""
        return self in (Op.NOOP, Op.BURN)


class Status(IntEnum):
    """How a transaction ended. Failure is an outcome, not an exception."""

    SUCCESS = 0
    OUT_OF_GAS = 1
    STACK_UNDERFLOW = 2
    STACK_OVERFLOW = 3


class Field(IntEnum):
    """Which part of an account a key names."""

    STORAGE = 0
    BALANCE = 1
    NONCE = 2
    CODE = 3


class Mode(IntFlag):
    """How a transaction accesses a key."""

    READ = 1
    WRITE = 2
    CREDIT = 4


#: Entries that the stack holds at most.
MAX_STACK: Final = 1024
#: `op_arg` of an SSTORE that pops the stack top instead of storing a literal.
TOP: Final = -1
#: Largest count of NOOP and BURN.
MAX_COUNT: Final = 2**31 - 1
#: The only field that CREDIT may name.
CREDIT_FIELD: Final = Field.BALANCE
