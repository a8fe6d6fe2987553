"""A transaction from its first check to its last payment. Its writes are in its own copies until `commit`."""

from __future__ import annotations

from ...evm.forks import Fork
from ..jit import kernel
from .calls import ENTERED, _is_precompile, _run_precompile, new_address, start_creation
from .frames import enter, jumps_of
from .interpreter import interpret
from .layout import ACCOUNT, CODE, CONTEXT, FRAME, KEY, REJECTED, SLOT, TX
from .memory import (
    load,
    word_add,
    word_copy,
    word_multiply,
    word_set,
    word_under,
    word_zero,
)  # fmt: skip
from .state import (
    account_of,
    add_balance,
    code_of,
    commit,
    has_code,
    load_balance,
    load_code,
    load_nonce,
    new_transaction,
    set_balance_zero,
    set_code,
    set_nonce,
    slot_of,
    warm_account,
    warm_slot,
)  # fmt: skip

__all__ = ["run_transaction", "run_transactions"]

_context, _frame, _account, _code, _tx, _key, _slot = (
    layout.at for layout in (CONTEXT, FRAME, ACCOUNT, CODE, TX, KEY, SLOT)
)
_ACCOUNT_SIZE, _SLOT_SIZE, _TX_SIZE, _KEY_SIZE = ACCOUNT.size, SLOT.size, TX.size, KEY.size
_SPURIOUS, _BERLIN, _SHANGHAI, _LONDON, _CANCUN = (
    int(fork) for fork in (Fork.SPURIOUS, Fork.BERLIN, Fork.SHANGHAI, Fork.LONDON, Fork.CANCUN)
)
#: One entry of an encoded access list: address, slot, and whether there is a slot.
_ENTRY = 96

#: Why a transaction is refused.
NONCE, FUNDS, SENDER_CODE = 1, 2, 3


@kernel(bare=True)
def _warm_up(c, t, sender):
    """Addresses and slots that begin warm (EIP-2929, 2930, 3651)."""
    context, tx = _context(c), _tx(t)
    if context.fork < _BERLIN:
        return
    warm_account(c, sender)
    word = context.scratch + 256
    for i in range(context.n_precompiles):
        word_set(word, i + 1)
        warm_account(c, account_of(c, word))
    if context.fork >= _SHANGHAI:
        warm_account(c, account_of(c, context.coinbase))
    for at in range(tx.list, tx.list_end, _ENTRY):
        account = account_of(c, at)
        if load(at + 64):
            warm_slot(c, slot_of(c, account, at + 32))
        else:
            warm_account(c, account)


@kernel(bare=True)
def _begin(c, t):
    """Check, charge and enter the outermost call; whether code has to run."""
    context, tx = _context(c), _tx(t)
    new_transaction(c)
    context.transaction = t
    context.refund = 0
    context.n_logs = 0
    context.returned_size = 0
    context.depth = 0
    context.success = 1
    sender = account_of(c, tx.sender)
    load_balance(c, sender)
    nonce = load_nonce(c, sender)
    context.refusal = tx.refusal
    if nonce != tx.nonce:
        context.refusal = NONCE
    elif word_under(_account(sender).balance, tx.most_upfront):
        context.refusal = FUNDS
    elif context.fork >= _LONDON and has_code(c, sender):
        context.refusal = SENDER_CODE
    if context.refusal:
        context.status = REJECTED
        return False
    amount = context.scratch + 256
    word_set(amount, tx.gas_limit)
    word_multiply(amount, amount, tx.fee)
    word_add(amount, amount, tx.blob_fee)
    add_balance(c, sender, amount, True)
    set_nonce(c, sender, nonce + 1)
    word_copy(context.environment, tx.sender)
    word_copy(context.environment + 32, tx.fee)
    gas = tx.gas_limit - tx.intrinsic
    context.gas_left = gas
    _warm_up(c, t, sender)
    if tx.creates:
        word = context.scratch + 352
        new_address(c, word, sender, nonce)
        created = account_of(c, word)
        warm_account(c, created)
        if load_nonce(c, created) != 0 or has_code(c, created):
            context.success = 0
            context.gas_left = 0
            return False
        done = start_creation(c, 0, created, sender, tx.data, tx.data_size, gas, context.stack, context.memory, tx.value)
        return done == ENTERED
    return _begin_call(c, t, sender, gas)


@kernel(bare=True)
def _begin_call(c, t, sender, gas):
    context, tx = _context(c), _tx(t)
    to = account_of(c, tx.to)
    if context.fork >= _BERLIN:
        warm_account(c, to)
    at = enter(c, 0, to, sender, gas, context.stack, context.memory)
    _account(to).touched = 1
    if not word_zero(tx.value):
        add_balance(c, sender, tx.value, True)
        add_balance(c, to, tx.value, False)
    frame = _frame(at)
    frame.data = tx.data
    frame.data_size = tx.data_size
    word_copy(frame.value, tx.value)
    if _is_precompile(c, to):
        context.host_input = tx.data
        context.host_size = tx.data_size
        ok, used = _run_precompile(c, at, to, gas)
        frame.gas = gas - used
        frame.code_size = -1 if ok else -2
        return True
    code = _code(code_of(c, to))
    if code.size == 0:
        return False
    frame.code = code.start
    frame.code_size = code.size
    frame.jumps = jumps_of(code.start, code.size)
    frame.pc = code.start
    return True


@kernel(bare=True)
def _clear(c, a):
    """The account is no more: neither is anything in its storage."""
    context = _context(c)
    load_balance(c, a)
    load_nonce(c, a)
    load_code(c, a)
    set_balance_zero(c, a)
    set_nonce(c, a, 0)
    set_code(c, a, 0)
    owner = _account(a).key
    n_keys = load(context.n_keys)
    for k in range(n_keys):
        key = _key(context.keys + _KEY_SIZE * k)
        if key.owner == owner:
            word_set(_slot(slot_of(c, a, key.word)).value, 0)


@kernel(bare=True)
def _finish(c, t):
    """Refund, fee, deletions (EIP-161, 3529, 6780, 7623)."""
    context, tx = _context(c), _tx(t)
    used = tx.gas_limit - context.gas_left
    if context.success and context.refund > 0:
        used -= min(context.refund, used // context.refund_quotient)
    used = max(used, tx.floor)
    context.gas_used = used
    amount = context.scratch + 256
    word_set(amount, tx.gas_limit - used)
    word_multiply(amount, amount, tx.fee)
    add_balance(c, account_of(c, tx.sender), amount, False)
    word_set(amount, used)
    word_multiply(amount, amount, tx.tip)
    miner = account_of(c, context.coinbase)
    _account(miner).touched = 1
    if not word_zero(amount):
        add_balance(c, miner, amount, False)
    for i in range(context.n_accounts):
        a = context.accounts + _ACCOUNT_SIZE * i
        if _account(a).destroyed:
            _clear(c, a)


@kernel(bare=True)
def run_transaction(c, t):
    """Run the transaction whose record is at t; its outcome is in the context, its writes in its own copies."""
    if _begin(c, t):
        interpret(c)
    if _context(c).status == 0:
        _finish(c, t)


@kernel(bare=True)
def run_transactions(c, first, n, gas_used, success):
    """Run and commit n transactions in order; returns how many were: fewer if the context has a status."""
    context = _context(c)
    for i in range(n):
        run_transaction(c, first + _TX_SIZE * i)
        if context.status:
            return i
        gas_used[i] = context.gas_used
        success[i] = context.success
        commit(c)
    return n
