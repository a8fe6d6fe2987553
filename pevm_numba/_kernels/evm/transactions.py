"""A transaction from its first check to its last payment. Its writes are in its own copies until `commit`."""

from __future__ import annotations

from ...evm.forks import Fork
from ..jit import kernel
from .calls import ENTERED, new_address, set_code_to_run, start_creation
from .delegation import authorize, delegate_of
from .existence import clear_empty, has_code, is_taken, touch
from .frames import enter
from .layout import (
    ACCOUNT,
    CONTEXT,
    FRAME,
    FUNDS,
    KEY,
    LIST_ENTRY,
    NONCE,
    OK,
    REJECTED,
    SENDER_CODE,
    SLOT,
    SUSPENDED,
    TX,
)  # fmt: skip
from .linking import call_kernel_1
from .memory import (
    load,
    word_add,
    word_copy,
    word_multiply,
    word_set,
    word_under,
    word_zero,
)  # fmt: skip
from .results import note_count
from .state import (
    access,
    account_of,
    add_balance,
    load_balance,
    load_code,
    load_nonce,
    new_transaction,
    set_balance_zero,
    set_code,
    set_nonce,
    slot_of,
    warm_account,
    warm_listed_slot,
)  # fmt: skip
from .versions import fetch

__all__ = ["run_transaction"]

_context, _frame, _account, _entry, _tx, _key, _slot = (
    layout.at for layout in (CONTEXT, FRAME, ACCOUNT, LIST_ENTRY, TX, KEY, SLOT)
)
_ACCOUNT_SIZE, _SLOT_SIZE, _TX_SIZE, _KEY_SIZE = ACCOUNT.size, SLOT.size, TX.size, KEY.size
_BERLIN, _SHANGHAI = (
    int(fork) for fork in (Fork.BERLIN, Fork.SHANGHAI)
)
_ENTRY = LIST_ENTRY.size


@kernel(bare=True)
def _warm_up(c, t, sender):
    """Addresses and slots that begin warm (EIP-2929, 2930, 3651)."""
    context, tx = _context(c), _tx(t)
    if context.fork < _BERLIN:
        return
    warm_account(c, sender)
    word = context.scratch + 256
    for i in range(context.n_precompiles + 1):
        number = i + 1 if i < context.n_precompiles else context.high_precompile
        if number > 0:
            word_set(word, number)
            warm_account(c, account_of(c, word))
    if context.fork >= _SHANGHAI:
        warm_account(c, account_of(c, context.coinbase))
    for at in range(tx.list, tx.list_end, _ENTRY):
        entry = _entry(at)
        account = account_of(c, entry.address)
        if entry.has_slot:
            warm_listed_slot(c, account, entry.slot)
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
    if tx.system:
        context.refusal = 0
        context.gas_left = tx.gas_limit
        word_copy(context.environment, tx.sender)
        word_set(context.environment + 32, 0)
        return _begin_call(c, t, sender, tx.gas_limit)
    load_balance(c, sender)
    nonce = load_nonce(c, sender)
    context.refusal = 0
    if context.status != OK:  # no room for the sender: what was read is not his
        return False
    if nonce != tx.nonce:
        context.refusal = NONCE
    elif word_under(_account(sender).balance, tx.most_upfront):
        context.refusal = FUNDS
    elif has_code(c, sender) and delegate_of(c, sender) == 0:
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
    authorize(c, t)
    if tx.creates:
        word = context.scratch + 352
        new_address(c, word, sender, nonce)
        created = account_of(c, word)
        warm_account(c, created)
        access(created)
        if is_taken(c, created):
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
    access(to)
    if context.fork >= _BERLIN:
        warm_account(c, to)
    other = delegate_of(c, to)
    if other:
        warm_account(c, other)
        access(other)
    at = enter(c, 0, to, sender, gas, context.stack, context.memory)
    touch(c, to)
    if not word_zero(tx.value):
        add_balance(c, sender, tx.value, True)
        add_balance(c, to, tx.value, False)
    word_copy(_frame(at).value, tx.value)
    set_code_to_run(c, at, to, tx.data, tx.data_size)
    return _frame(at).code_size != 0


@kernel(bare=True)
def _clear(c, a):
    """The account is no more: neither is anything in its storage, whether the transaction has seen it or not."""
    context = _context(c)
    load_balance(c, a)
    load_nonce(c, a)
    load_code(c, a)
    set_balance_zero(c, a)
    set_nonce(c, a, 0)
    set_code(c, a, 0)
    for i in range(context.n_slots):
        slot = _slot(context.slots + _SLOT_SIZE * i)
        if slot.account == a:
            word_set(slot.value, 0)
    if _account(a).created and not context.bare_storage:
        return  # nothing was there before
    owner, word, count, known = _account(a).key, context.scratch + 256, 0, 0
    for k in range(load(context.n_keys)):
        key = _key(context.keys + _KEY_SIZE * k)
        if key.owner == owner:
            fetch(c, k, word)
            known += 1
            if not word_zero(word):
                count += 1
                word_set(_slot(slot_of(c, a, key.word)).value, 0)
    note_count(c, owner, count, known)


@kernel(bare=True)
def _finish(c, t):
    """Refund, fee, deletions (EIP-161, 3529, 6780, 7623)."""
    context, tx = _context(c), _tx(t)
    used = tx.gas_limit - context.gas_left
    if context.refund > 0:  # of a transaction that has failed, what its authorizations gave
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
    access(miner)
    touch(c, miner)
    if not word_zero(amount):
        add_balance(c, miner, amount, False)
    for i in range(context.n_accounts):
        a = context.accounts + _ACCOUNT_SIZE * i
        if _account(a).destroyed:
            _clear(c, a)
        else:
            clear_empty(c, a)


@kernel(bare=True)
def run_transaction(c, t):
    """Run the transaction whose record is at t, or go on with it where it is suspended.

    How it went and what it changes is in the context, not yet in the state.
    """
    context = _context(c)
    goes_on = context.status == SUSPENDED
    if goes_on:
        context.status = OK
    if goes_on or _begin(c, t):
        call_kernel_1(context.interpreter, c)
    if context.status == OK:
        if _tx(t).system:
            context.gas_used = _tx(t).gas_limit - context.gas_left
        else:
            _finish(c, t)
