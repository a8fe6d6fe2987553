"""CALL and its kin, CREATE and CREATE2, SELFDESTRUCT: gas, checks, transfer of value, and the frame that comes next."""

from __future__ import annotations

from ...evm.forks import Fork
from ..jit import kernel
from .asking import is_unfetched, storage_is_unfetched
from .delegation import delegate_of
from .existence import exists, has_code, is_taken, touch
from .expansion import end_of_range, grow
from .frames import DEPTH_LIMIT, enter, jumps_of, prepare_code
from .hashing import keccak
from .layout import ACCOUNT, CODE, CONTEXT, FRAME, FULL
from .linking import call_kernel_1
from .memory import (
    copy,
    load,
    load_byte,
    shift_right,
    store_byte,
    word_copy,
    word_fits,
    word_fits_int64,
    word_set,
    word_to_address,
    word_to_bytes,
    word_under,
    word_zero,
)  # fmt: skip
from .state import (
    access,
    account_of,
    add_balance,
    code_of,
    load_balance,
    load_nonce,
    note_flags,
    set_balance_zero,
    set_nonce,
    warm_account,
)  # fmt: skip

__all__ = [
    "CONTINUE", "ENTERED", "FAILED", "PRECOMPILE", "access_gas", "address_at", "call", "create", "new_address",
    "self_destruct", "set_code_to_run", "start_creation",
]  # fmt: skip

_context, _frame, _account, _code = CONTEXT.at, FRAME.at, ACCOUNT.at, CODE.at
_TANGERINE, _SPURIOUS, _HOMESTEAD, _BERLIN, _CANCUN, _SHANGHAI = (
    int(fork) for fork in (Fork.TANGERINE, Fork.SPURIOUS, Fork.HOMESTEAD, Fork.BERLIN, Fork.CANCUN, Fork.SHANGHAI)
)

#: What a call does: the frame goes on; it has entered a new one; it fails; the host is asked for something first.
CONTINUE, ENTERED, FAILED, ASKED = 0, 1, 2, 3

#: Code size of a frame whose precompile has run, or is left to the host.
PRECOMPILE = -1

#: Members of the family of CALL.
_CALL, _CALLCODE, _DELEGATECALL, _STATICCALL = 0, 1, 2, 3


@kernel(bare=True)
def address_at(c, word):
    """The transaction's account whose address is in the low 160 bits of a word."""
    clean = _context(c).scratch + 288
    word_to_address(clean, word)
    return account_of(c, clean)


@kernel(bare=True)
def access_gas(c, a, price):
    """Gas for touching an account: warm or cold from Berlin on (EIP-2929), `price` before."""
    context = _context(c)
    if context.fork < _BERLIN:
        return price
    if not warm_account(c, a):
        return context.warm
    _account(a).saved += context.cold_account - context.warm
    return context.cold_account


@kernel(bare=True)
def _run_precompile(c, account, data, size, gas):
    """Run a precompile, or ask the host to; what it returns is in `returned`."""
    context = _context(c)
    context.returned_size = 0
    context.host_address = load(_account(account).address)
    context.host_input = data
    context.host_size = size
    context.host_gas = gas
    call_kernel_1(context.server, c)


@kernel(bare=True)
def _is_precompile(c, account):
    context, word = _context(c), _account(account).address
    if not word_fits(word):
        return False
    number = load(word)
    return 0 < number <= context.n_precompiles or (number > 0 and number == context.high_precompile)


@kernel(bare=True)
def set_code_to_run(c, f, account, data, size):
    """The frame runs an account's code on that data; a precompile has run already, if the host does not have to."""
    frame = _frame(f)
    frame.data = data
    frame.data_size = size
    if _is_precompile(c, account):
        _run_precompile(c, account, data, size, frame.gas)
        frame.code_size = PRECOMPILE
        return
    other = delegate_of(c, account)
    code = _code(code_of(c, other if other else account))
    frame.code = code.start
    frame.code_size = code.size
    frame.jumps = jumps_of(code.start, code.size)
    frame.pc = code.start


@kernel(bare=True)
def call(c, f, kind):
    """CALL, CALLCODE, DELEGATECALL and STATICCALL (EIP-7, 150, 161, 214, 2929, 7702)."""
    context, frame = _context(c), _frame(f)
    sp, gas = frame.sp, frame.gas
    amount = sp - 96
    ranges = sp - 128 if kind < _DELEGATECALL else sp - 96
    bottom = ranges - 96
    pays = kind < _DELEGATECALL and not word_zero(amount)
    if pays and kind == _CALL and frame.static:
        return FAILED
    ends, into = end_of_range(ranges, ranges - 32), end_of_range(ranges - 64, ranges - 96)
    if ends < 0 or into < 0:
        return FAILED
    gas = grow(c, f, gas, max(ends, into))
    if gas < 0:
        return FAILED
    to = address_at(c, sp - 64)
    gas -= access_gas(c, to, context.call)
    if pays:
        gas -= context.call_value
    if gas < 0:
        return FAILED
    access(to)
    other = delegate_of(c, to)
    if other:
        gas -= access_gas(c, other, 0)
        if gas < 0:
            return FAILED
        access(other)
    if kind == _CALL and (pays or context.fork < _SPURIOUS) and not exists(c, to):
        gas -= context.new_account
    if gas < 0:
        return FAILED
    if context.fork < _TANGERINE:
        if not word_fits_int64(sp - 32) or load(sp - 32) > gas:
            return FAILED
        given = load(sp - 32)
    else:
        given = gas - gas // 64
        if word_fits_int64(sp - 32):
            given = min(given, load(sp - 32))
    gas -= given
    if pays:
        given += context.call_stipend
    size, into_size = load(ranges - 32), load(ranges - 96)
    data = frame.memory + (load(ranges) if size else 0)
    into_at = load(ranges - 64) if into_size else 0
    me = frame.account
    frame.gas = gas
    frame.sp = bottom + 32
    context.returned_size = 0
    if pays:
        load_balance(c, me)
    if context.depth >= DEPTH_LIMIT or (pays and word_under(_account(me).balance, amount)):
        word_set(bottom, 0)
        frame.gas += given
        return CONTINUE
    frame.sp = bottom
    value = context.scratch + 320
    if kind < _DELEGATECALL:
        word_copy(value, amount)
    elif kind == _DELEGATECALL:
        word_copy(value, frame.value)
    else:
        word_set(value, 0)
    target = to if kind == _CALL or kind == _STATICCALL else me
    caller = frame.caller if kind == _DELEGATECALL else me
    child = enter(c, context.depth + 1, target, caller, given, bottom, frame.memory + frame.memory_size)
    inner = _frame(child)
    if kind == _CALL or kind == _STATICCALL:
        touch(c, to)
    if pays and kind == _CALL and to != me:
        add_balance(c, me, value, True)
        add_balance(c, to, value, False)
    inner.return_at = into_at
    inner.return_size = into_size
    inner.static = 1 if kind == _STATICCALL else frame.static
    word_copy(inner.value, value)
    set_code_to_run(c, child, to, data, size)
    return ENTERED


@kernel(bare=True)
def new_address(c, word, a, nonce):
    """The word := the address of what account a creates at that nonce: keccak of its RLP."""
    data = _context(c).scratch + 384
    word_to_bytes(data + 32, _account(a).address)
    at = data + 64
    if 0 < nonce < 128:
        store_byte(at, nonce)
        size = 1
    else:  # nonces of 2**63 and more are negative here
        n_bytes = 0
        while n_bytes < 8 and shift_right(nonce, 8 * n_bytes) != 0:
            n_bytes += 1
        store_byte(at, 0x80 + n_bytes)
        for j in range(n_bytes):
            store_byte(at + 1 + j, shift_right(nonce, 8 * (n_bytes - 1 - j)))
        size = n_bytes + 1
    store_byte(data + 43, 0x94)
    store_byte(data + 42, 0xC0 + 21 + size)
    keccak(word, data + 42, 22 + size, _context(c).sponge)
    word_to_address(word, word)


@kernel(bare=True)
def _storage_matters(c, word):
    """Whether storage that is not all known decides if something can be created at an address (EIP-7610)."""
    created = account_of(c, word)
    return load_nonce(c, created) == 0 and not has_code(c, created) and storage_is_unfetched(c, created)


@kernel(bare=True)
def create(c, f, with_salt):
    """CREATE and CREATE2 (EIP-1014, 3860)."""
    context, frame = _context(c), _frame(f)
    sp, gas, memory_size = frame.sp, frame.gas, frame.memory_size
    if frame.static:
        return FAILED
    end = end_of_range(sp - 64, sp - 96)
    if end < 0:
        return FAILED
    size = load(sp - 96)
    if size > context.initcode_size:
        return FAILED
    words = (size + 31) >> 5
    gas -= context.initcode_word * words
    if with_salt:
        gas -= context.keccak_word * words
    gas = grow(c, f, gas, end)
    if gas < 0:
        return FAILED
    init = frame.memory + (load(sp - 64) if size else 0)
    me, bottom = frame.account, sp - 128 if with_salt else sp - 96
    load_balance(c, me)
    nonce = load_nonce(c, me)
    if context.depth >= DEPTH_LIMIT or word_under(_account(me).balance, sp - 32) or nonce == -1:
        context.returned_size = 0
        frame.gas = gas
        frame.sp = bottom + 32
        word_set(bottom, 0)
        return CONTINUE
    word = context.scratch + 352
    if with_salt:
        data = context.scratch + 384
        word_to_bytes(data + 32, _account(me).address)
        store_byte(data + 43, 0xFF)
        word_to_bytes(data + 64, sp - 128)
        keccak(word, init, size, context.sponge)
        word_to_bytes(data + 96, word)
        keccak(word, data + 43, 85, context.sponge)
        word_to_address(word, word)
    else:
        new_address(c, word, me, nonce)
    if context.lazy and (is_unfetched(c, word) or _storage_matters(c, word)):  # as if nothing had been done yet
        frame.pc -= 1
        frame.gas += load(context.stepping + 8 * load_byte(frame.pc)) & 0xFFFF
        frame.memory_size = memory_size
        return ASKED
    context.returned_size = 0
    frame.sp = bottom + 32
    created = account_of(c, word)
    set_nonce(c, me, nonce + 1)
    warm_account(c, created)
    access(created)
    given = gas if context.fork < _TANGERINE else gas - gas // 64
    frame.gas = gas - given
    if is_taken(c, created):
        word_set(bottom, 0)
        return CONTINUE
    frame.sp = bottom
    value = context.scratch + 320
    word_copy(value, sp - 32)
    at = frame.memory + frame.memory_size
    return start_creation(c, context.depth + 1, created, me, init, size, given, bottom, at, value)


@kernel(bare=True)
def start_creation(c, depth, created, creator, init, size, gas, stack, memory, value):
    """Enter the frame that runs initialisation code; it is kept like any code while it runs."""
    context = _context(c)
    at = enter(c, depth, created, creator, gas, stack, memory)
    frame = _frame(at)
    note_flags(c, created)
    _account(created).created = 1
    touch(c, created)
    if context.fork >= _SPURIOUS:
        set_nonce(c, created, 1)
    if not word_zero(value):
        add_balance(c, creator, value, True)
        add_balance(c, created, value, False)
    word_copy(frame.value, value)
    frame.creates = 1
    # the code is copied behind the memory of whoever creates: there it may stay while the frame runs, whose memory follows it
    room = (2 * size + 40 + 63) // 64 * 64
    if memory + room + 64 > context.memory_end:
        context.status = FULL
        return FAILED
    copy(memory, init, size)
    prepare_code(memory, size)
    frame.code = memory
    frame.code_size = size
    frame.jumps = jumps_of(memory, size)
    frame.pc = memory
    frame.memory = memory + room
    frame.data = memory
    return ENTERED


@kernel(bare=True)
def self_destruct(c, f, gas):
    """SELFDESTRUCT (EIP-150, 161, 2929, 3529, 6780); the gas left, below 0 if it fails."""
    context, frame = _context(c), _frame(f)
    if frame.static:
        return -1
    me, heir = frame.account, address_at(c, frame.sp - 32)
    gas -= context.selfdestruct
    if context.fork >= _BERLIN and warm_account(c, heir):
        gas -= context.cold_account
        _account(heir).saved += context.cold_account
    if gas < 0:
        return gas
    access(heir)
    load_balance(c, me)
    if context.fork >= _TANGERINE:
        rich = not word_zero(_account(me).balance)
        if (rich or context.fork < _SPURIOUS) and not exists(c, heir):
            gas -= context.new_account
    if gas < 0:
        return gas
    mine, destroys = _account(me), _account(me).created or context.fork < _CANCUN
    amount = context.scratch + 320
    word_copy(amount, mine.balance)
    touch(c, heir)
    if heir != me:
        set_balance_zero(c, me)
        add_balance(c, heir, amount, False)
    elif destroys:
        set_balance_zero(c, me)
    if destroys and not mine.destroyed:
        note_flags(c, me)
        mine.destroyed = 1
        context.refund += context.selfdestruct_refund
    return gas
