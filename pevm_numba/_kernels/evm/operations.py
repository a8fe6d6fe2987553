"""Opcodes that are too long for the loop: logs, accounts, copies between codes and memory, hashes of blocks and blobs."""

from __future__ import annotations

import numpy as np

from ...evm.opcodes import HANDLERS
from ..jit import kernel
from .calls import access_gas, address_at
from .existence import is_empty
from .expansion import copy_padded, end_of_range, grow
from .layout import ACCOUNT, BLOCK_HASH, CODE, CONTEXT, FRAME, FULL, LOG, OK, REJECTED, TX
from .memory import copy, load, word_copy, word_fits, word_set, word_zero
from .state import access, code_of, load_balance

__all__ = ["blob_hash", "block_hash", "code_copy", "log_at", "memory_copy", "of_account"]

_context, _frame, _account, _code, _log, _tx = CONTEXT.at, FRAME.at, ACCOUNT.at, CODE.at, LOG.at, TX.at
_LOG_SIZE = LOG.size
_BALANCE, _EXTCODESIZE = (np.int64(HANDLERS.index(name)) for name in ("BALANCE", "EXTCODESIZE"))


@kernel(bare=True)
def log_at(c, f, sp, gas, n_topics):
    """LOG0 to LOG4: the gas left, below 0 on failure."""
    context, frame = _context(c), _frame(f)
    if frame.static:
        return -1
    end = end_of_range(sp - 32, sp - 64)
    if end < 0:
        return -1
    size = load(sp - 64)
    gas = grow(c, f, gas - context.log_byte * size, end)
    if gas < 0:
        return gas
    number = context.n_logs
    top = context.log_data
    if number > 0:  # what a revert took away is written over
        last = _log(context.logs + _LOG_SIZE * (number - 1))
        top = last.data + last.size
    if number >= context.log_room or top + size > context.log_end:
        context.status = FULL
        return -1
    at = context.logs + _LOG_SIZE * number
    log = _log(at)
    word_copy(log.address, _account(frame.account).address)
    for i in range(n_topics):
        word_copy(log.topic0 + 32 * i, sp - 96 - 32 * i)
    log.n_topics = n_topics
    log.data = top
    log.size = size
    copy(top, frame.memory + load(sp - 32) if size else frame.memory, size)
    context.n_logs = number + 1
    return gas


@kernel(bare=True)
def memory_copy(c, f, sp, gas):
    """MCOPY (EIP-5656)."""
    ends, begins = end_of_range(sp - 32, sp - 96), end_of_range(sp - 64, sp - 96)
    if ends < 0 or begins < 0:
        return -1
    size = load(sp - 96)
    gas = grow(c, f, gas - _context(c).copy_word * ((size + 31) >> 5), max(ends, begins))
    if gas >= 0 and size > 0:
        at = _frame(f).memory
        copy(at + load(sp - 32), at + load(sp - 64), size)
    return gas


@kernel(bare=True)
def of_account(c, what, word, gas):
    """BALANCE, EXTCODESIZE and EXTCODEHASH: the address at `word` becomes the result; the gas left."""
    context = _context(c)
    a = address_at(c, word)
    if what == _BALANCE:
        gas -= access_gas(c, a, context.balance)
    elif what == _EXTCODESIZE:
        gas -= access_gas(c, a, context.extcode)
    else:
        gas -= access_gas(c, a, context.extcode_hash)
    if gas < 0:
        return gas
    access(a)
    if what == _BALANCE:
        load_balance(c, a)
        word_copy(word, _account(a).balance)
    elif what == _EXTCODESIZE:
        word_set(word, _code(code_of(c, a)).size)
    elif is_empty(c, a):
        word_set(word, 0)
    else:
        word_copy(word, _code(code_of(c, a)).hash)
    return gas


@kernel(bare=True)
def code_copy(c, f, sp, gas):
    """EXTCODECOPY: the account is looked at when the memory has been paid for, too."""
    a, to, offset, size = address_at(c, sp - 32), sp - 64, sp - 96, sp - 128
    gas -= access_gas(c, a, _context(c).extcode)
    end = end_of_range(to, size)
    if gas < 0 or end < 0:
        return -1
    if end:
        gas = grow(c, f, gas - _context(c).copy_word * ((load(size) + 31) >> 5), end)
        if gas < 0:
            return gas
    access(a)
    code = _code(code_of(c, a))
    if end:
        copy_padded(_frame(f).memory + load(to), code.start, code.size, offset, load(size))
    return gas


@kernel(bare=True)
def block_hash(c, word):
    """BLOCKHASH: of one of the 256 blocks before, else 0. One that nobody has given ends the run: to guess would be wrong."""
    context = _context(c)
    number = load(context.environment + 32 * 4)
    if not word_fits(word) or load(word) >= number or load(word) < number - 256:
        word_set(word, 0)
        return
    word_copy(word, context.block_hashes + 32 * (number - 1 - load(word)))
    if word_zero(word) and context.status == OK:
        context.refusal = BLOCK_HASH
        context.status = REJECTED


@kernel(bare=True)
def blob_hash(c, word):
    """BLOBHASH (EIP-4844): of the transaction's blob with that number, else 0."""
    tx = _tx(_context(c).transaction)
    if word_fits(word) and load(word) < tx.n_blobs:
        word_copy(word, tx.blob_hashes + 32 * load(word))
    else:
        word_set(word, 0)
