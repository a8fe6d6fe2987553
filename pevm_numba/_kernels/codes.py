"""Numbers that kernels share, taken from the tables of the machine. Numba freezes them, so the cache is keyed by source."""

from __future__ import annotations

import numpy as np

from ..machine.gas import GasItem
from ..machine.ops import MAX_STACK as _MAX_STACK
from ..machine.ops import Field, Mode, Op, Status

SLOAD, SSTORE, ADD, SUB, KECCAK, NOOP, TOUCH, CREDIT, BURN = (int(op) for op in Op)

READ, WRITE, CREDITED = np.uint8(Mode.READ), np.uint8(Mode.WRITE), np.uint8(Mode.CREDIT)

SUCCESS, OUT_OF_GAS, UNDERFLOW, OVERFLOW = (np.uint8(status) for status in Status)

STORAGE, BALANCE = int(Field.STORAGE), int(Field.BALANCE)

MAX_STACK = int(_MAX_STACK)

INTRINSIC, LIST_ADDRESS, LIST_KEY, COLD_LOAD, WARM, COLD_STORE, SET, RESET, CLEAR = (int(i) for i in list(GasItem)[:9])
QUOTIENT, SENTRY, ARITHMETIC, HASH, HASH_WORD, STEP = (int(i) for i in list(GasItem)[9:])

# Encoded ops, dense from 0 so that LLVM makes a jump table of the interpreter's loop. A store is NEW if it is the
# transaction's first to its slot (original = current then), SAVE if a later store needs the original, AGAIN if it is such
# a later store, PLAIN if its field costs no gas. SHARED credits the worker's own partial sum of a balance.
E_LOAD, E_NEW, E_ADD, E_SUB, E_KECCAK, E_NOOP, E_TOUCH, E_SAVE, E_AGAIN, E_PLAIN, E_CREDIT, E_SHARED, E_BURN = range(13)

#: Columns of an encoded op: code, key id (SHARED: number of the partial sum), argument, ordinal of the written key.
ENCODED_WIDTH = 4

#: Bits of a transaction's flags: it may fail; partial sums must be settled before it starts.
CAREFUL, SETTLES = np.uint8(1), np.uint8(2)

#: Sums of gas are cut off here; a transaction that reaches it is always a careful one.
TOO_MUCH = np.int64(1) << np.int64(62)
