"""The loop that runs bytecode. What costs time is in its locals; whatever may change them from outside renews them.

One load from the table of opcodes tells gas, heights of the stack and family. Families come in the order of their
frequency on mainnet, and LLVM makes a table of jumps of them.
"""

from __future__ import annotations

import numpy as np

from ...evm.opcodes import HANDLERS
from ..jit import kernel
from .arithmetic import bytes_used, divide, divide_signed, power, sign_extend
from .calls import CONTINUE, FAILED, access_gas, address_at, call, create, self_destruct
from .expansion import copy_padded, copy_to_memory, end_of_range, grow
from .frames import FAILURE, REVERT, SUCCESS, leave
from .hashing import keccak
from .layout import ACCOUNT, CODE, CONTEXT, FRAME, FULL, LOG, TX
from .memory import (
    copy,
    load,
    load_byte,
    load_u64_be,
    shift_right,
    store_byte,
    wide_add,
    wide_multiply,
    word_add,
    word_and,
    word_copy,
    word_equals,
    word_fits,
    word_from_bytes,
    word_from_short,
    word_greater,
    word_greater_signed,
    word_is_zero,
    word_less,
    word_less_signed,
    word_multiply,
    word_not,
    word_or,
    word_sar,
    word_set,
    word_shl,
    word_shr,
    word_subtract,
    word_to_bytes,
    word_xor,
    word_zero,
)  # fmt: skip
from .state import code_of, is_empty, load_balance
from .storage import load_slot, load_transient, store_slot, store_transient

__all__ = ["interpret"]

_context, _frame, _account, _code, _log, _tx = CONTEXT.at, FRAME.at, ACCOUNT.at, CODE.at, LOG.at, TX.at
_FRAME_SIZE, _LOG_SIZE = FRAME.size, LOG.size
(
    _STOP, _ADD, _MUL, _SUB, _DIV, _SDIV, _MOD, _SMOD, _ADDMOD, _MULMOD, _EXP, _SIGNEXTEND, _LT, _GT, _SLT, _SGT,
    _EQ, _ISZERO, _AND, _OR, _XOR, _NOT, _BYTE, _SHL, _SHR, _SAR, _CLZ, _KECCAK, _ADDRESS, _BALANCE, _ENVIRONMENT,
    _CALLER, _CALLVALUE, _CALLDATALOAD, _CALLDATASIZE, _CALLDATACOPY, _CODESIZE, _CODECOPY, _EXTCODESIZE,
    _EXTCODECOPY, _RETURNDATASIZE, _RETURNDATACOPY, _EXTCODEHASH, _BLOCKHASH, _SELFBALANCE, _BLOBHASH, _POP, _MLOAD,
    _MSTORE, _MSTORE8, _SLOAD, _SSTORE, _JUMP, _JUMPI, _PC, _MSIZE, _GAS, _JUMPDEST, _TLOAD, _TSTORE, _MCOPY, _PUSH0,
    _PUSH, _PUSH_LONG, _DUP, _SWAP, _LOG, _CREATE, _CALL, _RETURN, _REVERT, _SELFDESTRUCT,
) = (np.int64(HANDLERS.index(name)) for name in (
    "STOP", "ADD", "MUL", "SUB", "DIV", "SDIV", "MOD", "SMOD", "ADDMOD", "MULMOD", "EXP", "SIGNEXTEND", "LT", "GT",
    "SLT", "SGT", "EQ", "ISZERO", "AND", "OR", "XOR", "NOT", "BYTE", "SHL", "SHR", "SAR", "CLZ", "KECCAK256", "ADDRESS",
    "BALANCE", "ENVIRONMENT", "CALLER", "CALLVALUE", "CALLDATALOAD", "CALLDATASIZE", "CALLDATACOPY", "CODESIZE",
    "CODECOPY", "EXTCODESIZE", "EXTCODECOPY", "RETURNDATASIZE", "RETURNDATACOPY", "EXTCODEHASH", "BLOCKHASH",
    "SELFBALANCE", "BLOBHASH", "POP", "MLOAD", "MSTORE", "MSTORE8", "SLOAD", "SSTORE", "JUMP", "JUMPI", "PC", "MSIZE",
    "GAS", "JUMPDEST", "TLOAD", "TSTORE", "MCOPY", "PUSH0", "PUSH", "PUSH_LONG", "DUP", "SWAP", "LOG", "CREATE", "CALL",
    "RETURN", "REVERT", "SELFDESTRUCT",
))  # fmt: skip


@kernel(bare=True)
def _log_at(c, f, sp, gas, n_topics):
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
    top = context.log_data if number == 0 else context.log_top
    if number > 0:
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
def _memory_copy(c, f, sp, gas):
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
def _of_account(c, h, word, gas):
    """BALANCE, EXTCODESIZE and EXTCODEHASH: the address at `word` becomes the result; the gas left."""
    context = _context(c)
    a = address_at(c, word)
    if h == _BALANCE:
        gas -= access_gas(c, a, context.balance)
    elif h == _EXTCODESIZE:
        gas -= access_gas(c, a, context.extcode)
    else:
        gas -= access_gas(c, a, context.extcode_hash)
    if gas < 0:
        return gas
    if h == _BALANCE:
        load_balance(c, a)
        word_copy(word, _account(a).balance)
    elif h == _EXTCODESIZE:
        word_set(word, _code(code_of(c, a)).size)
    elif is_empty(c, a):
        word_set(word, 0)
    else:
        word_copy(word, _code(code_of(c, a)).hash)
    return gas


@kernel(bare=True)
def _code_copy(c, f, sp, gas):
    """EXTCODECOPY."""
    a = address_at(c, sp - 32)
    gas -= access_gas(c, a, _context(c).extcode)
    if gas < 0:
        return gas
    code = _code(code_of(c, a))
    return copy_to_memory(c, f, gas, sp - 32, code.start, code.size, False)


@kernel(bare=True)
def _block_hash(c, word):
    """BLOCKHASH: of one of the 256 blocks before, else 0."""
    context = _context(c)
    number = load(context.environment + 32 * 4)
    if not word_fits(word) or load(word) >= number or load(word) < number - 256:
        word_set(word, 0)
    else:
        word_copy(word, context.block_hashes + 32 * (number - 1 - load(word)))


@kernel(bare=True)
def _blob_hash(c, word):
    """BLOBHASH (EIP-4844): of the transaction's blob with that number, else 0."""
    tx = _tx(_context(c).transaction)
    if word_fits(word) and load(word) < tx.n_blobs:
        word_copy(word, tx.blob_hashes + 32 * load(word))
    else:
        word_set(word, 0)


@kernel(bare=True)
def interpret(c):
    """Run until the outermost call has ended, or the context has another status."""
    context = _context(c)
    table, scratch = context.opcodes, context.scratch
    while True:
        f = context.frames + _FRAME_SIZE * context.depth
        frame = _frame(f)
        if frame.code_size < 0:  # a precompile, which has run
            how = SUCCESS if frame.code_size == -1 else FAILURE
            if leave(c, f, how, context.returned, context.returned_size if how == SUCCESS else 0) or context.status:
                return
            continue
        pc, sp, gas = frame.pc, frame.sp, frame.gas
        stack, memory, size = frame.stack, frame.memory, frame.memory_size
        how, out, out_size = FAILURE, memory, np.int64(0)
        while True:
            entry = load(table + 8 * load_byte(pc))
            pc += 1
            gas -= entry & 0xFFFF
            height = sp - stack
            if gas < 0 or height < (entry >> 16) & 0xFFFF or height > (entry >> 32) & 0xFFFF:
                break
            h = (entry >> 48) & 0xFF
            if h == _PUSH:
                n = entry >> 56
                word_set(sp, shift_right(load_u64_be(pc), 64 - 8 * n))
                pc += n
                sp += 32
            elif h == _PUSH_LONG:
                word_from_short(sp, pc, entry >> 56)
                pc += entry >> 56
                sp += 32
            elif h == _DUP:
                word_copy(sp, sp - 32 * (entry >> 56))
                sp += 32
            elif h == _SWAP:
                other = sp - 32 - 32 * (entry >> 56)
                word_copy(scratch, other)
                word_copy(other, sp - 32)
                word_copy(sp - 32, scratch)
            elif h == _POP:
                sp -= 32
            elif h == _JUMPDEST:
                pass
            elif h == _JUMP:
                sp -= 32
                if not word_fits(sp) or load(sp) >= frame.code_size or load_byte(frame.jumps + load(sp)) == 0:
                    break
                pc = frame.code + load(sp)
            elif h == _JUMPI:
                sp -= 64
                if not word_zero(sp):
                    to = sp + 32
                    if not word_fits(to) or load(to) >= frame.code_size or load_byte(frame.jumps + load(to)) == 0:
                        break
                    pc = frame.code + load(to)
            elif h == _ADD:
                sp -= 32
                word_add(sp - 32, sp, sp - 32)
            elif h == _SUB:
                sp -= 32
                word_subtract(sp - 32, sp, sp - 32)
            elif h == _MUL:
                sp -= 32
                word_multiply(sp - 32, sp, sp - 32)
            elif h == _LT:
                sp -= 32
                word_less(sp - 32, sp, sp - 32)
            elif h == _GT:
                sp -= 32
                word_greater(sp - 32, sp, sp - 32)
            elif h == _SLT:
                sp -= 32
                word_less_signed(sp - 32, sp, sp - 32)
            elif h == _SGT:
                sp -= 32
                word_greater_signed(sp - 32, sp, sp - 32)
            elif h == _EQ:
                sp -= 32
                word_equals(sp - 32, sp, sp - 32)
            elif h == _ISZERO:
                word_is_zero(sp - 32, sp - 32)
            elif h == _AND:
                sp -= 32
                word_and(sp - 32, sp, sp - 32)
            elif h == _OR:
                sp -= 32
                word_or(sp - 32, sp, sp - 32)
            elif h == _XOR:
                sp -= 32
                word_xor(sp - 32, sp, sp - 32)
            elif h == _NOT:
                word_not(sp - 32, sp - 32)
            elif h == _SHL:
                sp -= 32
                word_shl(sp - 32, sp, sp - 32)
            elif h == _SHR:
                sp -= 32
                word_shr(sp - 32, sp, sp - 32)
            elif h == _SAR:
                sp -= 32
                word_sar(sp - 32, sp, sp - 32)
            elif h == _BYTE:
                sp -= 32
                if word_fits(sp) and load(sp) < 32:
                    word_set(sp - 32, load_byte(sp - 1 - load(sp)))
                else:
                    word_set(sp - 32, 0)
            elif h == _MLOAD or h == _MSTORE or h == _MSTORE8:
                at = sp - 32
                if not word_fits(at):
                    break
                end = load(at) + (1 if h == _MSTORE8 else 32)
                if end > size:
                    gas = grow(c, f, gas, end)
                    if gas < 0:
                        break
                    size = frame.memory_size
                if h == _MLOAD:
                    word_from_bytes(at, memory + load(at))
                elif h == _MSTORE:
                    word_to_bytes(memory + load(at), sp - 64)
                    sp -= 64
                else:
                    store_byte(memory + load(at), load(sp - 64))
                    sp -= 64
            elif h == _CALLDATALOAD:
                at = sp - 32
                if word_fits(at) and load(at) + 32 <= frame.data_size:
                    word_from_bytes(at, frame.data + load(at))
                else:
                    copy_padded(scratch, frame.data, frame.data_size, at, 32)
                    word_from_bytes(at, scratch)
            elif h == _CALLDATASIZE:
                word_set(sp, frame.data_size)
                sp += 32
            elif h == _CALLVALUE:
                word_copy(sp, frame.value)
                sp += 32
            elif h == _CALLER:
                word_copy(sp, _account(frame.caller).address)
                sp += 32
            elif h == _ADDRESS:
                word_copy(sp, _account(frame.account).address)
                sp += 32
            elif h == _ENVIRONMENT:
                word_copy(sp, context.environment + 32 * (entry >> 56))
                sp += 32
            elif h == _PUSH0:
                word_set(sp, 0)
                sp += 32
            elif h == _GAS:
                word_set(sp, gas)
                sp += 32
            elif h == _PC:
                word_set(sp, pc - 1 - frame.code)
                sp += 32
            elif h == _MSIZE:
                word_set(sp, size)
                sp += 32
            elif h == _CODESIZE:
                word_set(sp, frame.code_size)
                sp += 32
            elif h == _RETURNDATASIZE:
                word_set(sp, context.returned_size)
                sp += 32
            elif h == _SELFBALANCE:
                load_balance(c, frame.account)
                word_copy(sp, _account(frame.account).balance)
                sp += 32
            elif h == _DIV or h == _MOD:
                sp -= 32
                divide(scratch + 416 + 32 * (h == _MOD), scratch + 448 - 32 * (h == _MOD), sp, sp - 32, scratch, False)
                word_copy(sp - 32, scratch + 416)
            elif h == _SDIV or h == _SMOD:
                sp -= 32
                divide_signed(scratch + 512, scratch + 544, sp, sp - 32, scratch)
                word_copy(sp - 32, scratch + 512 + 32 * (h == _SMOD))
            elif h == _ADDMOD or h == _MULMOD:
                sp -= 64
                if h == _ADDMOD:
                    wide_add(scratch + 512, sp + 32, sp)
                else:
                    wide_multiply(scratch + 512, sp + 32, sp)
                divide(scratch + 576, sp - 32, scratch + 512, sp - 32, scratch, True)
            elif h == _EXP:
                sp -= 32
                gas -= context.exp_byte * bytes_used(sp - 32)
                if gas < 0:
                    break
                power(sp - 32, sp, sp - 32, scratch)
            elif h == _SIGNEXTEND:
                sp -= 32
                sign_extend(sp - 32, sp, sp - 32)
            elif h == _CLZ:
                n = bytes_used(sp - 32)
                top = load_byte(sp - 33 + n) if n > 0 else np.int64(0)
                zeros = 8 * (32 - n) + (8 if n > 0 else 0)
                while top > 0:
                    zeros -= 1
                    top >>= 1
                word_set(sp - 32, zeros)
            elif h == _KECCAK:
                sp -= 32
                end = end_of_range(sp, sp - 32)
                if end < 0:
                    break
                n = load(sp - 32)
                gas = grow(c, f, gas - context.keccak_word * ((n + 31) >> 5), end)
                if gas < 0:
                    break
                size = frame.memory_size
                keccak(sp - 32, memory + load(sp) if n else memory, n, context.sponge)
            elif h == _SLOAD:
                gas = load_slot(c, frame.account, sp - 32, gas)
                if gas < 0:
                    break
            elif h == _SSTORE:
                if frame.static:
                    break
                gas = store_slot(c, frame.account, sp - 32, sp - 64, gas)
                if gas < 0:
                    break
                sp -= 64
            elif h == _TLOAD:
                load_transient(c, frame.account, sp - 32)
            elif h == _TSTORE:
                if frame.static:
                    break
                store_transient(c, frame.account, sp - 32, sp - 64)
                sp -= 64
            elif h == _BALANCE or h == _EXTCODESIZE or h == _EXTCODEHASH:
                gas = _of_account(c, h, sp - 32, gas)
                if gas < 0:
                    break
            elif h == _BLOCKHASH:
                _block_hash(c, sp - 32)
            elif h == _BLOBHASH:
                _blob_hash(c, sp - 32)
            elif h == _CALLDATACOPY or h == _CODECOPY or h == _RETURNDATACOPY:
                if h == _CALLDATACOPY:
                    gas = copy_to_memory(c, f, gas, sp, frame.data, frame.data_size, False)
                elif h == _CODECOPY:
                    gas = copy_to_memory(c, f, gas, sp, frame.code, frame.code_size, False)
                else:
                    gas = copy_to_memory(c, f, gas, sp, context.returned, context.returned_size, True)
                if gas < 0:
                    break
                size = frame.memory_size
                sp -= 96
            elif h == _EXTCODECOPY:
                gas = _code_copy(c, f, sp, gas)
                if gas < 0:
                    break
                size = frame.memory_size
                sp -= 128
            elif h == _MCOPY:
                gas = _memory_copy(c, f, sp, gas)
                if gas < 0:
                    break
                size = frame.memory_size
                sp -= 96
            elif h == _LOG:
                gas = _log_at(c, f, sp, gas, entry >> 56)
                if gas < 0:
                    break
                size = frame.memory_size
                sp -= 64 + 32 * (entry >> 56)
            elif h == _CALL or h == _CREATE:
                frame.pc, frame.sp, frame.gas = pc, sp, gas
                done = call(c, f, entry >> 56) if h == _CALL else create(c, f, entry >> 56)
                if done == FAILED:
                    break
                if done != CONTINUE:
                    how = np.int64(-1)
                    break
                sp, gas, size = frame.sp, frame.gas, frame.memory_size
            elif h == _STOP:
                how = SUCCESS
                break
            elif h == _RETURN or h == _REVERT:
                end = end_of_range(sp - 32, sp - 64)
                if end < 0:
                    break
                gas = grow(c, f, gas, end)
                if gas < 0:
                    break
                out_size = load(sp - 64)
                out = memory + load(sp - 32) if out_size else memory
                how = SUCCESS if h == _RETURN else REVERT
                break
            elif h == _SELFDESTRUCT:
                frame.sp = sp
                gas = self_destruct(c, f, gas)
                if gas < 0:
                    break
                how = SUCCESS
                break
            else:
                break
        if context.status:
            return
        if how >= 0:
            frame.pc = pc
            frame.gas = gas
            if leave(c, f, how, out, out_size) or context.status:
                return
