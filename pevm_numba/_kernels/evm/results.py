"""What a finished transaction leaves behind: changes of the state, at once or as cells for others, what it read, its logs."""

from __future__ import annotations

from ..jit import kernel
from .layout import (
    ACCESSED,
    ACCOUNT,
    ADDS,
    APART,
    BALANCE_LOADED,
    BLOCK,
    CELL,
    CODE_LOADED,
    CONTEXT,
    CREDIT,
    DECLARED_BITS,
    FULL,
    KEY,
    LOG,
    MET,
    NONCE_LOADED,
    NOTE,
    OPEN,
    QUIET,
    READS,
    RESULT,
    SLOT,
    SURE,
    WRITE,
)  # fmt: skip
from .memory import load, store, word_add, word_copy, word_equal, word_set, word_zero
from .versions import add_cell, fetch

__all__ = ["as_declared", "commit", "count_slots", "is_listed", "keep_logs", "keep_notes", "note_count", "stale"]

_context, _block, _account, _slot, _note, _cell, _result, _log, _key = (
    layout.at for layout in (CONTEXT, BLOCK, ACCOUNT, SLOT, NOTE, CELL, RESULT, LOG, KEY)
)
_ACCOUNT_SIZE, _SLOT_SIZE, _NOTE_SIZE, _CELL_SIZE, _LOG_SIZE, _KEY_SIZE = (
    layout.size for layout in (ACCOUNT, SLOT, NOTE, CELL, LOG, KEY)
)


@kernel(bare=True)
def commit(c):
    """Write what the transaction leaves behind into the block's state."""
    context = _context(c)
    for i in range(context.n_accounts):
        account = _account(context.accounts + _ACCOUNT_SIZE * i)
        place = context.values + 32 * account.key
        if account.loaded & BALANCE_LOADED:
            word_copy(place, account.balance)
        elif not word_zero(account.balance):
            word_add(place, place, account.balance)
        if account.loaded & NONCE_LOADED:
            store(place + 32, account.nonce)
        if account.loaded & CODE_LOADED:
            word_copy(place + 64, account.code_hash)
    for i in range(context.n_slots):
        slot = _slot(context.slots + _SLOT_SIZE * i)
        if slot.account != 0:
            word_copy(context.values + 32 * slot.key, slot.value)


@kernel(bare=True)
def _read(c, key, before, saved):
    """Note that a key was read, what was found, and what it would have saved to list it."""
    context = _context(c)
    at = context.notes
    if at + _NOTE_SIZE > context.note_end:
        context.status = FULL
        return
    _note(at).key = key
    _note(at).saved = saved
    word_copy(_note(at).value, before)
    context.notes = at + _NOTE_SIZE


@kernel(bare=True)
def count_slots(c, owner):
    """How many slots of an account are not 0, as the transaction in hand finds them; how many are known of at all."""
    context, count, known = _context(c), 0, 0
    word = context.scratch + 672
    for k in range(load(context.n_keys)):
        if _key(context.keys + _KEY_SIZE * k).owner == owner:
            fetch(c, k, word)
            count += not word_zero(word)
            known += 1
    return count, known


@kernel(bare=True)
def note_count(c, owner, count, known):
    """Note that all slots of an account were gone through: a transaction before may still give it more of them."""
    context = _context(c)
    if context.chains != 0:
        word = context.scratch + 672
        word_set(word, count)
        _read(c, -1 - owner, word, known)


@kernel(bare=True)
def _keep_word(c, key, before, after, saved):
    """A value that was read, and maybe changed."""
    _read(c, key, before, saved)
    if not word_equal(before, after):
        add_cell(c, WRITE, key, after)


@kernel(bare=True)
def _keep_account(c, a):
    context, account = _context(c), _account(a)
    before, after = context.scratch + 256, context.scratch + 288
    unseen = account.loaded == ACCESSED
    if account.loaded & BALANCE_LOADED:
        _keep_word(c, account.key, account.balance_before, account.balance, 0)
    elif not word_zero(account.balance):
        add_cell(c, CREDIT, account.key, account.balance)
        unseen = False
    if unseen or (account.saved and account.loaded & ACCESSED):
        _read(c, MET - account.key, before, account.saved)
    if account.loaded & NONCE_LOADED:
        word_set(before, 0)
        word_set(after, 0)
        store(before, account.nonce_before)  # nonces of 2**63 and more are negative here
        store(after, account.nonce)
        _keep_word(c, account.key + 1, before, after, 0)
    if account.loaded & CODE_LOADED:
        _keep_word(c, account.key + 2, account.code_before, account.code_hash, 0)


@kernel(bare=True)
def keep_notes(c, r):
    """Write down what the transaction in hand read and changed; FULL if there is no room."""
    context, result = _context(c), _result(r)
    result.cells = context.cells
    for i in range(context.n_accounts):
        _keep_account(c, context.accounts + _ACCOUNT_SIZE * i)
    for i in range(context.n_slots):
        slot = _slot(context.slots + _SLOT_SIZE * i)
        if slot.account != 0:
            _keep_word(c, slot.key, slot.before, slot.value, slot.saved)
    result.n_notes = (context.notes - result.notes) // _NOTE_SIZE
    result.n_cells = (context.cells - result.cells) // _CELL_SIZE


@kernel(bare=True)
def keep_logs(c, r):
    """Let the logs stay where they are: the next transaction's come after them."""
    context, result = _context(c), _result(r)
    count = context.n_logs if context.success else 0
    result.logs = context.logs
    result.n_logs = count
    if count > 0:
        last = _log(context.logs + _LOG_SIZE * (count - 1))
        context.log_data = last.data + last.size
        context.logs += _LOG_SIZE * count
        context.log_room -= count
    context.n_logs = 0


@kernel(bare=True)
def stale(c, r):
    """Whether something that the transaction in hand has read is no longer what it would find."""
    context, result = _context(c), _result(r)
    word = context.scratch + 256
    for i in range(result.n_notes):
        note = _note(result.notes + _NOTE_SIZE * i)
        if note.key <= MET:
            continue
        if note.key < 0:
            word_set(word, count_slots(c, -1 - note.key)[0])
        else:
            fetch(c, note.key, word)
        if not word_equal(word, note.value):
            return True
    return False


@kernel(bare=True)
def _declares(context, key, mode):
    found = load(context.marks + 8 * key) - context.mark
    return found > 0 and (found & mode) != 0


@kernel(bare=True)
def as_declared(c, b, r, t):
    """Whether a transaction has read and changed nothing but what the plan has taken for known. What is QUIET stays APART.

    If it went through all slots of an account, that has to be looked at again when all have run, but nothing else need be: it
    is OPEN. Any of its slots might be QUIET, if it has one, but not where the account's code was known to change.
    A mark is a number that no transaction before has used, and how a key is accessed: so marks need not be wiped.
    """
    context, block, result = _context(c), _block(b), _result(r)
    context.mark += 1 << DECLARED_BITS
    for at in range(load(block.declared_at + 8 * t), load(block.declared_at + 8 * t + 8)):
        entry = load(block.declared + 8 * at)
        store(context.marks + 8 * (entry >> DECLARED_BITS), context.mark + (entry & ((1 << DECLARED_BITS) - 1)))
    for at in range(result.notes, result.notes + _NOTE_SIZE * result.n_notes, _NOTE_SIZE):
        key = _note(at).key
        if key >= 0 and not _declares(context, key, READS):
            return False
        if MET < key < 0:
            if _note(at).saved and not _declares(context, 1 - key, ADDS):
                return False
            if result.stands != SURE:
                result.stands = OPEN
    for at in range(result.cells, result.cells + _CELL_SIZE * result.n_cells, _CELL_SIZE):
        if not _declares(context, _cell(at).key, ADDS):  # who makes a value anew has read it, too
            return False
    for at in range(result.cells, result.cells + _CELL_SIZE * result.n_cells, _CELL_SIZE):
        cell = _cell(at)
        if _declares(context, cell.key, QUIET):
            cell.next = APART
    return True


@kernel(bare=True)
def is_listed(c, b, r, t):
    """Whether what a transaction has changed is what the chains say of its position, no more and no less."""
    context, block, result = _context(c), _block(b), _result(r)
    word = context.scratch + 256
    start = load(block.listed_at + 8 * t)
    count = load(block.listed_at + 8 * t + 8) - start
    if count != result.n_cells:
        return False
    mark = context.mark + (1 << DECLARED_BITS)  # see `as_declared`
    context.mark = mark + count
    for i in range(count):
        store(context.marks + 8 * _cell(load(block.listed + 8 * (start + i))).key, mark + i)
    for at in range(result.cells, result.cells + _CELL_SIZE * count, _CELL_SIZE):
        cell = _cell(at)
        found = load(context.marks + 8 * cell.key) - mark
        if found < 0:
            return False
        listed = load(block.listed + 8 * (start + found))
        if cell.kind != WRITE:  # a sum of credits, and the value after them; that before them comes next in the list
            word_add(word, at, listed + _CELL_SIZE if _cell(listed).next else context.values + 32 * cell.key)
        else:
            word_copy(word, at)
        if not word_equal(word, listed):
            return False
    return True
