"""What a transaction has touched: its own copies of accounts and slots, and the journal that undoes a failed call.

A value is fetched from the block's state when it is first needed, and never written there before the transaction has ended. A
balance that is only added to is not fetched at all: until it is, the account's balance is the sum of what was added.
"""

from __future__ import annotations

from ...evm.forks import Fork
from ..jit import kernel
from .interning import find_key
from .layout import (
    ACCESSED,
    ACCOUNT,
    ASKS_NOTHING,
    BALANCE_LOADED,
    CODE,
    CODE_LOADED,
    CONTEXT,
    FULL,
    J_ACCOUNT_FLAGS,
    J_BALANCE,
    J_CODE,
    J_NONCE,
    J_SLOT,
    J_SLOT_WARM,
    JOURNAL,
    NONCE_LOADED,
    OK,
    SLOT,
    UNKNOWN,
)  # fmt: skip
from .memory import (
    fill,
    hash_word,
    load,
    load_acquire,
    store,
    word_add,
    word_copy,
    word_equal,
    word_fits,
    word_set,
    word_subtract,
    word_zero,
)  # fmt: skip
from .versions import fetch

__all__ = [
    "access", "account_of", "add_balance", "code_of", "load_balance", "load_code", "load_nonce", "load_slot_value",
    "new_transaction", "note", "note_flags", "set_balance_zero", "set_code", "set_nonce", "slot_of", "slot_record",
    "transient_of", "unwind",
    "warm_account", "warm_listed_slot", "warm_slot", "write_slot",
]  # fmt: skip

_context, _account, _slot, _code, _journal = CONTEXT.at, ACCOUNT.at, SLOT.at, CODE.at, JOURNAL.at
_PARIS = int(Fork.PARIS)
_ACCOUNT_SIZE, _SLOT_SIZE, _CODE_SIZE, _JOURNAL_SIZE = (layout.size for layout in (ACCOUNT, SLOT, CODE, JOURNAL))


@kernel(bare=True)
def account_of(c, word):
    """The transaction's account of the address in a word (its upper bits clear); made at the first touch."""
    context = _context(c)
    tag = context.epoch << 32
    place = hash_word(word, 1) & context.account_mask
    while True:
        entry = load(context.account_table + 8 * place)
        if entry >> 32 != context.epoch:
            break
        found = context.accounts + _ACCOUNT_SIZE * (entry & 0xFFFFFFFF)
        if word_equal(_account(found).address, word):
            return found
        place = (place + 1) & context.account_mask
    number = context.n_accounts
    if number >= context.account_room:
        context.status = FULL
        return context.accounts
    context.n_accounts = number + 1
    store(context.account_table + 8 * place, tag | number)
    found = context.accounts + _ACCOUNT_SIZE * number
    fill(found, 0, _ACCOUNT_SIZE)
    account = _account(found)
    word_copy(account.address, word)
    account.key = find_key(c, -1, word, 3)
    account.code = -1
    return found


@kernel(bare=True)
def note(c, kind, item, extra, old):
    """Add a journal entry: what `unwind` restores. old is a word, or 0 for none."""
    context = _context(c)
    n = context.n_journal
    if n >= context.journal_room:
        context.status = FULL
        return
    entry = _journal(context.journal + _JOURNAL_SIZE * n)
    entry.kind = kind
    entry.item = item
    entry.extra = extra
    if old != 0:
        word_copy(entry.old, old)
    context.n_journal = n + 1


@kernel(bare=True)
def _stays_touched(c, a):
    """Whether a failed call of this account still counts: RIPEMD-160's, as all clients did in block 2,675,119 (EIP-716)."""
    word = _account(a).address
    return _context(c).fork < _PARIS and word_fits(word) and load(word) == 3


@kernel(bare=True)
def unwind(c, to):
    """Undo all that was done since the journal had `to` entries; what was fetched stays fetched."""
    context = _context(c)
    n = context.n_journal
    while n > to:
        n -= 1
        entry = _journal(context.journal + _JOURNAL_SIZE * n)
        kind, item = entry.kind, entry.item
        if kind == J_SLOT:
            word_copy(_slot(item).value, entry.old)
        elif kind == J_SLOT_WARM:
            _slot(item).warm = 0
        elif kind == J_BALANCE:
            account = _account(item)
            word_copy(account.balance, entry.old)
            if entry.extra == 0 and account.loaded & BALANCE_LOADED:  # noted as a sum of credits, fetched since
                word_add(account.balance, account.balance, account.balance_before)
        elif kind == J_NONCE:
            _account(item).nonce = entry.extra
        elif kind == J_CODE:
            account = _account(item)
            word_copy(account.code_hash, entry.old)
            account.code = entry.extra
        else:
            account = _account(item)
            account.warm = entry.extra & 1
            account.created = (entry.extra >> 1) & 1
            account.destroyed = (entry.extra >> 2) & 1
            if not _stays_touched(c, item):
                account.touched = (entry.extra >> 3) & 1
    context.n_journal = to


@kernel(bare=True)
def note_flags(c, a):
    """To be called before an account's flags change."""
    account = _account(a)
    flags = account.warm | account.created << 1 | account.destroyed << 2 | account.touched << 3
    note(c, J_ACCOUNT_FLAGS, a, flags, 0)


@kernel(bare=True)
def access(a):
    """To be called when the transaction has paid for looking at an account."""
    _account(a).loaded |= ACCESSED


@kernel(bare=True)
def load_balance(c, a):
    """Fetch the balance: from here on it is a value, and no sum of credits."""
    account = _account(a)
    if account.loaded & BALANCE_LOADED == 0:
        account.loaded |= BALANCE_LOADED
        fetch(c, account.key, account.balance_before)
        word_add(account.balance, account.balance, account.balance_before)


@kernel(bare=True)
def load_nonce(c, a):
    """The nonce, fetched if need be."""
    account = _account(a)
    if account.loaded & NONCE_LOADED == 0:
        account.loaded |= NONCE_LOADED
        word = _context(c).scratch + 640
        fetch(c, account.key + 1, word)
        account.nonce_before = load(word)
        account.nonce = account.nonce_before
    return account.nonce


@kernel(bare=True)
def load_code(c, a):
    """Fetch the hash of the code; 0 stands for no code."""
    account = _account(a)
    if account.loaded & CODE_LOADED == 0:
        account.loaded |= CODE_LOADED
        fetch(c, account.key + 2, account.code_before)
        word_copy(account.code_hash, account.code_before)


@kernel(bare=True)
def code_of(c, a):
    """The account's code, as the address of its record: that of the empty code if it has none."""
    context = _context(c)
    account = _account(a)
    if account.code >= 0:
        return context.codes + _CODE_SIZE * account.code
    load_code(c, a)
    account.code = 0
    if not word_zero(account.code_hash) and not word_equal(account.code_hash, _code(context.codes).hash):
        place = hash_word(account.code_hash, 0) & context.code_mask
        while True:
            known = load_acquire(context.code_table + 8 * place)
            if known == 0:
                if context.status == OK:
                    context.status = UNKNOWN
                break
            if word_equal(_code(context.codes + _CODE_SIZE * known).hash, account.code_hash):
                account.code = known
                break
            place = (place + 1) & context.code_mask
    return context.codes + _CODE_SIZE * account.code


@kernel(bare=True)
def add_balance(c, a, amount, down):
    """Add a word to the balance, without fetching it, or subtract it from the balance, which was fetched."""
    account = _account(a)
    note(c, J_BALANCE, a, account.loaded & BALANCE_LOADED, account.balance)
    if down:
        word_subtract(account.balance, account.balance, amount)
    else:
        word_add(account.balance, account.balance, amount)


@kernel(bare=True)
def set_balance_zero(c, a):
    """The balance, which was fetched, becomes 0."""
    account = _account(a)
    note(c, J_BALANCE, a, 1, account.balance)
    word_set(account.balance, 0)


@kernel(bare=True)
def set_nonce(c, a, nonce):
    """Change the nonce, which was fetched."""
    note(c, J_NONCE, a, _account(a).nonce, 0)
    _account(a).nonce = nonce


@kernel(bare=True)
def set_code(c, a, code):
    """Give the account the code of that number, 0 for none."""
    account = _account(a)
    note(c, J_CODE, a, account.code, account.code_hash)
    account.code = code
    if code == 0:
        word_set(account.code_hash, 0)
    else:
        word_copy(account.code_hash, _code(_context(c).codes + _CODE_SIZE * code).hash)


@kernel(bare=True)
def warm_account(c, a):
    """Whether the account was cold (EIP-2929); it is warm from here on."""
    if _account(a).warm:
        return False
    note_flags(c, a)
    _account(a).warm = 1
    return True


@kernel(bare=True)
def warm_slot(c, s):
    """Whether the slot was cold (EIP-2929); it is warm from here on."""
    if _slot(s).warm:
        return False
    note(c, J_SLOT_WARM, s, 0, 0)
    _slot(s).warm = 1
    return True


@kernel(bare=True)
def _slot_record(c, a, transient, word):
    """The transaction's record of a slot, made at the first touch."""
    context = _context(c)
    owner = a + transient
    place = hash_word(word, owner) & context.slot_mask
    while True:
        entry = load(context.slot_table + 8 * place)
        if entry >> 32 != context.epoch:
            break
        found = context.slots + _SLOT_SIZE * (entry & 0xFFFFFFFF)
        if _slot(found).owner == owner and word_equal(_slot(found).word, word):
            return found
        place = (place + 1) & context.slot_mask
    number = context.n_slots
    if number >= context.slot_room:
        context.status = FULL
        return context.slots
    context.n_slots = number + 1
    store(context.slot_table + 8 * place, context.epoch << 32 | number)
    found = context.slots + _SLOT_SIZE * number
    fill(found, 0, _SLOT_SIZE)
    slot = _slot(found)
    slot.owner = owner
    word_copy(slot.word, word)
    return found


@kernel(bare=True)
def slot_record(c, a, word):
    """The transaction's slot of an account, which need not have been fetched."""
    return _slot_record(c, a, 0, word)


@kernel(bare=True)
def load_slot_value(c, a, s):
    """Fetch a slot of an account from the block's state, when it is first needed."""
    slot = _slot(s)
    if slot.account == 0:
        slot.account = a
        slot.key = find_key(c, _account(a).key, slot.word, 1)
        fetch(c, slot.key, slot.before)
        word_copy(slot.value, slot.before)


@kernel(bare=True)
def slot_of(c, a, word):
    """The transaction's slot of an account, fetched."""
    found = _slot_record(c, a, 0, word)
    load_slot_value(c, a, found)
    return found


@kernel(bare=True)
def transient_of(c, a, word):
    """The transaction's transient slot of an account (EIP-1153): 0 at first, and never written to the state."""
    return _slot_record(c, a, 1, word)


@kernel(bare=True)
def warm_listed_slot(c, a, word):
    """A slot of an account is warm from the beginning (EIP-2930); whether it is needed will be seen."""
    warm_slot(c, _slot_record(c, a, 0, word))


@kernel(bare=True)
def write_slot(c, s, word):
    """Change the value of a slot."""
    slot = _slot(s)
    note(c, J_SLOT, s, 0, slot.value)
    word_copy(slot.value, word)


@kernel(bare=True)
def new_transaction(c):
    """Forget what the transaction before has touched."""
    context = _context(c)
    context.epoch += 1
    context.n_accounts = 0
    context.n_slots = 0
    context.n_journal = 0
    context.status = OK
    context.asks = ASKS_NOTHING
