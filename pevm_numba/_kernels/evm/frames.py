"""Calls in progress: entering one, and leaving it by success, revert or failure, with all that a failure undoes.

There is no recursion: frames follow each other in an array, a child's stack begins where its parent's ends, and its memory
after its parent's.
"""

from __future__ import annotations

from ...evm.forks import Fork
from ..jit import kernel
from .hashing import keccak
from .interning import lock, unlock
from .layout import ACCOUNT, CODE, CONTEXT, FRAME, FULL
from .memory import (
    copy,
    fill,
    hash_word,
    load,
    load_acquire,
    load_byte,
    store,
    store_byte,
    store_release,
    word_copy,
    word_equal,
    word_set,
)  # fmt: skip
from .state import set_code, unwind

__all__ = ["DEPTH_LIMIT", "FAILURE", "REVERT", "SUCCESS", "add_code", "enter", "jumps_of", "leave", "prepare_code"]

_context, _frame, _account, _code = CONTEXT.at, FRAME.at, ACCOUNT.at, CODE.at
_FRAME_SIZE, _CODE_SIZE = FRAME.size, CODE.size
_HOMESTEAD, _LONDON = int(Fork.HOMESTEAD), int(Fork.LONDON)

#: How a call ends.
SUCCESS, REVERT, FAILURE = 0, 1, 2

#: Calls within each other, the outermost left aside.
DEPTH_LIMIT = 1_024


@kernel(bare=True)
def jumps_of(start, size):
    """Where the jump destinations of code are."""
    return start + size + 40


@kernel(bare=True)
def prepare_code(start, size):
    """Behind code: 40 zeros, and one byte for each of the code's, whether it is a JUMPDEST and no data of a PUSH."""
    jumps = jumps_of(start, size)
    fill(start + size, 0, 40 + size)
    i = 0
    while i < size:
        op = load_byte(start + i)
        if op == 0x5B:
            store_byte(jumps + i, 1)
        elif 0x60 <= op <= 0x7F:
            i += op - 0x5F
        i += 1


@kernel(bare=True)
def _place_code(c, source, size):
    """Copy code to where code is kept, with zeros behind it and its jump destinations after that; its address, or 0."""
    context = _context(c)
    start = context.code_top
    room = (2 * size + 40 + 63) // 64 * 64
    if start + room > context.code_end:
        context.status = FULL
        return 0
    copy(start, source, size)
    prepare_code(start, size)
    context.code_top = start + room
    return start


@kernel(bare=True)
def _probe(c, word):
    """Number of the code with that hash, or -1 - the place where it would be."""
    context = _context(c)
    place = hash_word(word, 0) & context.code_mask
    while True:
        known = load_acquire(context.code_table + 8 * place)
        if known == 0:
            return -1 - place
        if word_equal(_code(context.codes + _CODE_SIZE * known).hash, word):
            return known
        place = (place + 1) & context.code_mask


@kernel(bare=True)
def _new_code(c, place, word, source, size):
    """Number of code that is not there yet, 0 if there is no room."""
    context = _context(c)
    number = load(context.n_codes)
    if number >= context.code_room:
        context.status = FULL
        return 0
    start = _place_code(c, source, size)
    if start == 0:
        return 0
    code = _code(context.codes + _CODE_SIZE * number)
    word_copy(code.hash, word)
    code.start = start
    code.size = size
    store(context.n_codes, number + 1)
    store_release(context.code_table + 8 * place, number)
    return number


@kernel(bare=True)
def add_code(c, source, size):
    """Number of a piece of code; the same bytes have the same number, whichever worker adds them."""
    context = _context(c)
    if size == 0:
        return 0
    word = context.scratch + 256
    keccak(word, source, size, context.sponge)
    found = _probe(c, word)
    if found < 0:
        lock(context.lock)
        found = _probe(c, word)
        if found < 0:
            found = _new_code(c, -1 - found, word, source, size)
        unlock(context.lock)
    return found


@kernel(bare=True)
def enter(c, depth, account, caller, gas, stack, memory):
    """A new frame at that depth, its code, data and value still to be set."""
    context = _context(c)
    at = context.frames + _FRAME_SIZE * depth
    frame = _frame(at)
    frame.sp = stack
    frame.stack = stack
    frame.gas = gas
    frame.memory = memory
    frame.memory_size = 0
    frame.account = account
    frame.caller = caller
    frame.static = 0
    frame.data = memory
    frame.data_size = 0
    frame.return_at = 0
    frame.return_size = 0
    frame.creates = 0
    frame.refund = context.refund
    frame.logs = context.n_logs
    frame.journal = context.n_journal
    context.depth = depth
    context.returned_size = 0
    return at


@kernel(bare=True)
def _deposit(c, f, source, size):
    """The code that a creation returned becomes the account's: how the creation ends, SUCCESS or FAILURE."""
    context, frame = _context(c), _frame(f)
    gas = frame.gas - context.code_deposit_byte * size
    if size > context.code_size or (size > 0 and context.fork >= _LONDON and load_byte(source) == 0xEF):
        return FAILURE
    if gas < 0:  # before Homestead the account merely stays without code (EIP-2)
        return FAILURE if context.fork >= _HOMESTEAD else SUCCESS
    frame.gas = gas
    if size > 0:
        set_code(c, frame.account, add_code(c, source, size))
    return SUCCESS


@kernel(bare=True)
def leave(c, f, how, source, size):
    """End the innermost call, which returns `size` bytes; whether it was the outermost one."""
    context, frame = _context(c), _frame(f)
    creates = frame.creates
    if how == SUCCESS and creates:
        how = _deposit(c, f, source, size)
        size = 0
    if how != SUCCESS:
        unwind(c, frame.journal)
        context.refund = frame.refund
        context.n_logs = frame.logs
        if how == FAILURE:
            frame.gas = 0
            size = 0
    if size > context.returned_room:
        context.status = FULL
        return True
    copy(context.returned, source, size)
    context.returned_size = size
    if context.depth == 0:
        context.success = 1 if how == SUCCESS else 0
        context.gas_left = frame.gas
        return True
    context.depth -= 1
    parent = _frame(f - _FRAME_SIZE)
    parent.gas += frame.gas
    if creates:
        if how == SUCCESS:
            word_copy(parent.sp, _account(frame.account).address)
        else:
            word_set(parent.sp, 0)
    else:
        copy(parent.memory + frame.return_at, context.returned, min(size, frame.return_size))
        word_set(parent.sp, 1 if how == SUCCESS else 0)
    parent.sp += 32
    return False
