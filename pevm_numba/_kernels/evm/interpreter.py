"""The loop that runs bytecode. What costs time is in its locals; whatever may change them from outside renews them.

One load from the table of opcodes tells gas, heights of the stack and family. Families come in the order of their
frequency on mainnet, and LLVM makes a table of jumps of them.

Where the host is asked for something, the loop is left and all that it was about is in the frames: called again, it goes on.
"""

from __future__ import annotations

import numpy as np

from ...evm.opcodes import HANDLERS
from ..jit import kernel
from .arithmetic import bytes_used, divide, divide_signed, power, sign_extend
from .asking import end_precompile
from .calls import CONTINUE, FAILED, call, create, self_destruct
from .expansion import copy_padded, copy_to_memory, end_of_range, grow
from .frames import FAILURE, REVERT, SUCCESS, leave
from .hashing import keccak
from .hints import unlikely
from .layout import ACCOUNT, CONTEXT, FRAME
from .linking import call_kernel_1
from .memory import (
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
from .operations import blob_hash, block_hash, code_copy, log_at, memory_copy, of_account
from .state import load_balance
from .storage import load_slot, load_transient, store_slot, store_transient

__all__ = ["interpret"]

_context, _frame, _account = CONTEXT.at, FRAME.at, ACCOUNT.at
_FRAME_SIZE = FRAME.size
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
def interpret(c):
    """Run, or go on, until the outermost call has ended, or the context has another status."""
    context = _context(c)
    table, scratch = context.opcodes, context.scratch
    while True:
        f = context.frames + _FRAME_SIZE * context.depth
        frame = _frame(f)
        if frame.code_size < 0:
            if end_precompile(c, f):
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
            if unlikely((gas < 0) | (height < (entry >> 16) & 0xFFFF) | (height > (entry >> 32) & 0xFFFF)):
                if context.stepping == 0:
                    break
                frame.pc, frame.sp, frame.gas = pc - 1, sp, gas  # the table is one in which no entry passes
                call_kernel_1(context.stepper, c)
                entry = context.entry
                if context.status:
                    break
                gas -= entry & 0xFFFF
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
                gas = of_account(c, h, sp - 32, gas)
                if gas < 0:
                    break
            elif h == _BLOCKHASH:
                block_hash(c, sp - 32)
            elif h == _BLOBHASH:
                blob_hash(c, sp - 32)
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
                gas = code_copy(c, f, sp, gas)
                if gas < 0:
                    break
                size = frame.memory_size
                sp -= 128
            elif h == _MCOPY:
                gas = memory_copy(c, f, sp, gas)
                if gas < 0:
                    break
                size = frame.memory_size
                sp -= 96
            elif h == _LOG:
                gas = log_at(c, f, sp, gas, entry >> 56)
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
