"""Accounts that run the code of another (EIP-7702): their own code is three bytes and an address, and nothing else."""

from __future__ import annotations

from ...evm.forks import Fork
from ..jit import kernel
from .existence import exists, has_code
from .frames import add_code
from .layout import ACCOUNT, AUTHORIZATION, CODE, CONTEXT, TX
from .memory import load_byte, store_byte, word_from_short, word_to_bytes, word_zero
from .state import account_of, code_of, load_nonce, set_code, set_nonce, warm_account

__all__ = ["authorize", "delegate_of"]

_context, _account, _code, _tx, _given = (layout.at for layout in (CONTEXT, ACCOUNT, CODE, TX, AUTHORIZATION))
_PRAGUE = int(Fork.PRAGUE)
_SIZE = AUTHORIZATION.size

#: Bytes of such a code: 0xef0100 and the address.
_DESIGNATOR = 23


@kernel(bare=True)
def delegate_of(c, a):
    """The account whose code this one runs, 0 if it is its own."""
    if _context(c).fork < _PRAGUE:
        return 0
    code = _code(code_of(c, a))
    at = code.start
    if code.size != _DESIGNATOR or load_byte(at) != 0xEF or load_byte(at + 1) != 1 or load_byte(at + 2) != 0:
        return 0
    word = _context(c).scratch + 288
    word_from_short(word, at + 3, 20)
    return account_of(c, word)


@kernel(bare=True)
def _authorize(c, given):
    """Let one account run another's code, if it has said so in time."""
    context, one = _context(c), _given(given)
    a = account_of(c, one.authority)
    warm_account(c, a)
    if has_code(c, a) and delegate_of(c, a) == 0:
        return
    nonce = load_nonce(c, a)
    if nonce != one.nonce:
        return
    if exists(c, a):
        context.refund += context.authorization_refund
    if word_zero(one.target):
        set_code(c, a, 0)
    else:
        data = context.scratch + 384
        word_to_bytes(data + 32, one.target)
        store_byte(data + 41, 0xEF)
        store_byte(data + 42, 1)
        store_byte(data + 43, 0)
        set_code(c, a, add_code(c, data + 41, _DESIGNATOR))
    set_nonce(c, a, nonce + 1)


@kernel(bare=True)
def authorize(c, t):
    """Do what a transaction's authorizations say; it stays done if the transaction fails."""
    tx = _tx(t)
    for at in range(tx.authorizations, tx.authorizations_end, _SIZE):
        _authorize(c, at)
