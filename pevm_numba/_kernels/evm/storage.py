"""SLOAD, SSTORE, TLOAD and TSTORE: gas first, then the effect. Each returns the gas left, below 0 if it does not suffice.

What SSTORE costs depends on the value before the transaction, the value now, and the new one (EIP-2200; before Istanbul
on the last two only).
"""

from __future__ import annotations

from ...evm.forks import Fork
from ..jit import kernel
from .layout import CONTEXT, SLOT
from .memory import word_copy, word_equal, word_zero
from .state import load_slot_value, slot_of, slot_record, transient_of, warm_slot, write_slot

__all__ = ["load_slot", "load_transient", "store_slot", "store_transient"]

_context, _slot = CONTEXT.at, SLOT.at
_ISTANBUL = int(Fork.ISTANBUL)


@kernel(bare=True)
def load_slot(c, a, place, gas):
    """The word at `place`, the number of a slot of account a, becomes its value; unpaid for, it is not looked at."""
    context = _context(c)
    s = slot_record(c, a, place)
    if context.cold_slot == 0:
        gas -= context.sload
    elif warm_slot(c, s):
        gas -= context.cold_slot
        _slot(s).saved += context.cold_slot - context.warm
    else:
        gas -= context.warm
    if gas >= 0:
        load_slot_value(c, a, s)
        word_copy(place, _slot(s).value)
    return gas


@kernel(bare=True)
def _store_simply(c, s, new, gas):
    """SSTORE before Istanbul: by the value now and the new one."""
    context = _context(c)
    clear, clears = word_zero(_slot(s).value), word_zero(new)
    gas -= context.storage_set if clear and not clears else context.storage_reset
    if gas < 0:
        return gas
    if clears and not clear:
        context.refund += context.storage_clear_refund
    write_slot(c, s, new)
    return gas


@kernel(bare=True)
def store_slot(c, a, place, new, gas):
    """The slot of account a whose number is the word at `place` gets the word `new` (EIP-2200, 2929, 3529)."""
    context = _context(c)
    if gas <= context.storage_sentry and context.fork >= _ISTANBUL:
        return -1
    s = slot_of(c, a, place)
    slot = _slot(s)
    if context.fork < _ISTANBUL:
        return _store_simply(c, s, new, gas)
    if context.cold_slot != 0 and warm_slot(c, s):
        gas -= context.cold_slot
        slot.saved += context.cold_slot
    same, reset, clear_refund = context.storage_same, context.storage_reset, context.storage_clear_refund
    if word_equal(slot.value, new):
        return gas - same
    fresh, set_first = word_equal(slot.before, slot.value), word_zero(slot.before)
    refund = 0
    if fresh:
        gas -= context.storage_set if set_first else reset
        if word_zero(new) and not set_first:
            refund += clear_refund
    else:
        gas -= same
        if not set_first:
            if word_zero(slot.value):
                refund -= clear_refund
            elif word_zero(new):
                refund += clear_refund
        if word_equal(slot.before, new):
            refund += (context.storage_set if set_first else reset) - same
    if gas < 0:
        return gas
    context.refund += refund
    write_slot(c, s, new)
    return gas


@kernel(bare=True)
def load_transient(c, a, place):
    """The word at `place`, the number of a transient slot of account a, becomes its value (EIP-1153)."""
    word_copy(place, _slot(transient_of(c, a, place)).value)


@kernel(bare=True)
def store_transient(c, a, place, new):
    """The transient slot of account a whose number is the word at `place` gets the word `new` (EIP-1153)."""
    write_slot(c, transient_of(c, a, place), new)
