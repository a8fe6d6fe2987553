"""Which accounts there are: before Spurious Dragon one may exist and be empty, afterwards whatever is empty is not there."""

from __future__ import annotations

from ...evm.forks import Fork
from ..jit import kernel
from .layout import ACCOUNT, CODE, CONTEXT, J_CODE
from .memory import word_copy, word_equal, word_set, word_zero
from .results import count_slots, note_count
from .state import code_of, load_balance, load_code, load_nonce, note, note_flags

__all__ = ["clear_empty", "exists", "has_code", "is_empty", "is_taken", "touch"]

_context, _account, _code = CONTEXT.at, ACCOUNT.at, CODE.at
_SPURIOUS = int(Fork.SPURIOUS)


@kernel(bare=True)
def has_code(c, a):
    """Whether the account has code."""
    return _code(code_of(c, a)).size > 0


@kernel(bare=True)
def is_empty(c, a):
    """Whether nonce, code and balance are all 0 (EIP-161); the balance is fetched only if the others are."""
    if load_nonce(c, a) != 0 or has_code(c, a):
        return False
    load_balance(c, a)
    return word_zero(_account(a).balance)


@kernel(bare=True)
def is_taken(c, a):
    """Whether nothing can be created at this address: a nonce, code, or storage is there (EIP-684, EIP-7610)."""
    if load_nonce(c, a) != 0 or has_code(c, a):
        return True
    context = _context(c)
    if context.bare_storage or context.lazy:  # else every account with storage has a nonce or code
        count, known = count_slots(c, _account(a).key)
        note_count(c, _account(a).key, count, known)
        return count > 0
    return False


@kernel(bare=True)
def exists(c, a):
    """Whether the account is in the state: from Spurious Dragon on, whether it is not empty (EIP-161)."""
    if _context(c).fork >= _SPURIOUS:
        return not is_empty(c, a)
    load_code(c, a)
    return not word_zero(_account(a).code_hash) or not is_empty(c, a)


@kernel(bare=True)
def touch(c, a):
    """The account exists from here on, even if empty; from Spurious Dragon on it is deleted in the end if so (EIP-161)."""
    account = _account(a)
    if _context(c).fork >= _SPURIOUS:
        if account.touched == 0:
            note_flags(c, a)
            account.touched = 1
        return
    load_code(c, a)
    if word_zero(account.code_hash):
        note(c, J_CODE, a, account.code, account.code_hash)
        word_copy(account.code_hash, _code(_context(c).codes).hash)


@kernel(bare=True)
def clear_empty(c, a):
    """Delete an account that was touched and is empty: only one that had been left over exists at all (EIP-161)."""
    account = _account(a)
    if _context(c).fork >= _SPURIOUS and account.touched:
        load_code(c, a)
        if word_equal(account.code_hash, _code(_context(c).codes).hash) and is_empty(c, a):
            word_set(account.code_hash, 0)
