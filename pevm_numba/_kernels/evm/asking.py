"""Where the machine leaves in the midst of a transaction, so that the host does something, and how it goes on.

Everything that the interpreter knows is in the frames then, and the status is SUSPENDED. The host sees by `asks` what is to
be done, does it, and calls again: before a step that it wants to see, and in the frame of a precompile that only it can run.
"""

from __future__ import annotations

import numpy as np

from ...evm.forks import Fork
from ...evm.opcodes import HANDLERS
from ..jit import kernel
from .frames import FAILURE, SUCCESS, leave
from .interning import find_key
from .layout import (
    ACCOUNT,
    ASKS_KEY,
    ASKS_STEP,
    ASKS_STORAGE,
    CONTEXT,
    FRAME,
    HOST,
    HOST_CANNOT,
    HOST_DONE,
    KEY,
    OK,
    REJECTED,
    SUSPENDED,
    UNFETCHED,
    WHOLE,
)  # fmt: skip
from .memory import load, load_acquire, load_byte, word_to_address

__all__ = ["end_precompile", "is_unfetched", "step", "storage_is_unfetched"]

_context, _frame, _account = CONTEXT.at, FRAME.at, ACCOUNT.at
_FRAME_SIZE, _KEY_SIZE, _FETCHED = FRAME.size, KEY.size, KEY.numbers["fetched"]
_CANCUN = int(Fork.CANCUN)
_SLOAD, _SSTORE, _BALANCE, _EXTCODESIZE, _EXTCODEHASH, _EXTCODECOPY, _SELFDESTRUCT, _CALL = (
    np.int64(HANDLERS.index(name)) for name in (
        "SLOAD", "SSTORE", "BALANCE", "EXTCODESIZE", "EXTCODEHASH", "EXTCODECOPY", "SELFDESTRUCT", "CALL",
    )
)  # fmt: skip

#: Whether the host sees each step (`shows`): not at all; the next one; it has seen it.
_HIDDEN, _SHOWN, _SEEN = 0, 1, 2


@kernel(bare=True)
def _fetched(c, key):
    return load_acquire(_context(c).keys + _KEY_SIZE * key + _FETCHED)


@kernel(bare=True)
def _ask(c, what, key):
    context = _context(c)
    context.asks = what
    context.wanted = key
    context.status = SUSPENDED
    return True


@kernel(bare=True)
def is_unfetched(c, word):
    """Whether nothing is known of the account whose address is in the low 160 bits of a word; if so, it is asked for."""
    context = _context(c)
    clean = context.scratch + 288
    word_to_address(clean, word)
    key = find_key(c, -1, clean, 3)
    return context.status == OK and _fetched(c, key) == UNFETCHED and _ask(c, ASKS_KEY, key)


@kernel(bare=True)
def storage_is_unfetched(c, a):
    """Whether not all storage of an account is known; if so, it is asked for."""
    owner = _account(a).key
    return _fetched(c, owner) != WHOLE and _ask(c, ASKS_STORAGE, owner)


@kernel(bare=True)
def _slot_is_unfetched(c, a, word):
    owner = _account(a).key
    if _fetched(c, owner) == WHOLE:
        return False
    key = find_key(c, owner, word, 1)
    return _context(c).status == OK and _fetched(c, key) == UNFETCHED and _ask(c, ASKS_KEY, key)


@kernel(bare=True)
def _meets_unknown(c, f, entry, sp):
    """Whether the opcode needs something that has to be fetched first; if so, it is asked for."""
    context, frame, h = _context(c), _frame(f), (entry >> 48) & 0xFF
    if sp - frame.stack < (entry >> 16) & 0xFFFF:
        return False
    if h == _SLOAD or h == _SSTORE:
        return _slot_is_unfetched(c, frame.account, sp - 32)
    if h == _CALL:
        return is_unfetched(c, sp - 64)
    if h == _BALANCE or h == _EXTCODESIZE or h == _EXTCODEHASH or h == _EXTCODECOPY:
        return is_unfetched(c, sp - 32)
    if h == _SELFDESTRUCT:
        if is_unfetched(c, sp - 32):
            return True
        mine = _account(frame.account).key  # before Cancun all of its storage goes
        return context.fork < _CANCUN and _fetched(c, mine) != WHOLE and _ask(c, ASKS_STORAGE, mine)
    return False


@kernel(bare=True)
def step(c):
    """Look the opcode that comes next up in the real table, and count the step, unless the host has to do something first.

    Called by address: inlined into the interpreter's loop, it cost other code there its registers, up to 14 % (measured). A
    call of an account without code is no step, though the machine stops there.
    """
    context = _context(c)
    f = context.frames + _FRAME_SIZE * context.depth
    frame = _frame(f)
    context.entry = load(context.stepping + 8 * load_byte(frame.pc))
    if frame.code_size > 0:
        if context.lazy and _meets_unknown(c, f, context.entry, frame.sp):
            return
        if context.shows == _SHOWN:
            context.shows = _SEEN
            _ask(c, ASKS_STEP, 0)
            return
        if context.shows != _HIDDEN:
            context.shows = _SHOWN
        context.steps += 1


@kernel(bare=True)
def end_precompile(c, f):
    """Leave the frame of a precompile; whether nothing more can be done: it is the last, or the host has to run it first."""
    context = _context(c)
    if context.asks:
        context.status = SUSPENDED
        return True
    if context.host_ok == HOST_CANNOT:
        context.refusal = HOST
        context.status = REJECTED
        return True
    ok = context.host_ok == HOST_DONE
    _frame(f).gas -= context.host_used
    how, size = (SUCCESS, context.returned_size) if ok else (FAILURE, np.int64(0))
    return leave(c, f, how, context.returned, size) or context.status != 0
