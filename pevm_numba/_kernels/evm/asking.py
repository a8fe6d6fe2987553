"""Where the machine leaves in the midst of a transaction, so that the host does something, and how it goes on.

Everything that the interpreter knows is in the frames then, and the status is SUSPENDED. The host sees by `asks` what is to
be done, does it, and calls again: before a step that it wants to see, and in the frame of a precompile that only it can run.
"""

from __future__ import annotations

import numpy as np

from ..jit import kernel
from .frames import FAILURE, SUCCESS, leave
from .layout import ASKS_STEP, CONTEXT, FRAME, FULL, HOST, HOST_CANNOT, HOST_DONE, HOST_FULL, REJECTED, SUSPENDED
from .memory import load, load_byte

__all__ = ["end_precompile", "step"]

_context, _frame = CONTEXT.at, FRAME.at

#: Whether the host sees each step (`shows`): not at all; the next one; it has seen it.
_HIDDEN, _SHOWN, _SEEN = 0, 1, 2


@kernel(bare=True)
def step(c, f, pc, sp, gas):
    """Count a step, and look its opcode up in the real table; -1 if the host has to see it first, if it wants to.

    A call of an account without code is none, though the machine stops there.
    """
    context, frame = _context(c), _frame(f)
    if frame.code_size > 0:
        if context.shows == _SHOWN:
            frame.pc, frame.sp, frame.gas = pc, sp, gas
            context.shows = _SEEN
            context.asks = ASKS_STEP
            context.status = SUSPENDED
            return -1
        if context.shows != _HIDDEN:
            context.shows = _SHOWN
        context.steps += 1
    return load(context.stepping + 8 * load_byte(pc))


@kernel(bare=True)
def end_precompile(c, f):
    """Leave the frame of a precompile; whether nothing more can be done: it is the last, or the host has to run it first."""
    context = _context(c)
    ok = context.host_ok
    if context.asks:
        context.status = SUSPENDED
        return True
    if ok == HOST_FULL:
        context.status = FULL
        return True
    if ok == HOST_CANNOT:
        context.refusal = HOST
        context.status = REJECTED
        return True
    _frame(f).gas -= context.host_used
    how, size = (SUCCESS, context.returned_size) if ok == HOST_DONE else (FAILURE, np.int64(0))
    return leave(c, f, how, context.returned, size) or context.status != 0
