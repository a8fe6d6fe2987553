"""All that a block accessed and changed, the protocol's part included, by the indices of EIP-7928."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm.layout import CREDIT, MET
from .._kernels.jit import inputs
from .._kernels.sums import add_up
from ..keys import KeyTable
from ..machine.ops import Field
from .engine import Engine
from .hashing import EMPTY_HASH
from .observation import table_of
from .tx_accesses import RawAccesses
from .world import key_number, key_table, replaced, values_of

__all__ = ["BlockAccesses", "block_accesses"]


class BlockAccesses(NamedTuple):
    """What a block accessed, and the values that its changes lead to.

    `keys` were read or changed, in the order of address, field and slot; each of n changes has an index (0 before the
    transactions, 1 to n_tx, n_tx + 1 after them), a key and a value, (n, 32) uint8 big-endian, for code its hash: ordered by
    key, then index. `addresses`, (m, 20) uint8, were accessed, too, with nothing of them read. `codes` has code by its hash.
    """

    n_tx: int
    keys: KeyTable
    change_index: NDArray[np.int64]
    change_key: NDArray[np.int64]
    change_value: NDArray[np.uint8]
    addresses: NDArray[np.uint8]
    codes: Mapping[bytes, bytes]
    raw: RawAccesses


_CHANGE: Final = np.dtype([("key", "i8"), ("index", "i8"), ("kind", "i8"), ("value", "u8", (4,))])


def _notes(engine: Engine) -> NDArray[Any]:
    return np.concatenate([engine.around["before"], engine.notes.records, engine.around["after"]])


def _changes(engine: Engine) -> NDArray[Any]:
    """Changes by the engine's own key numbers, ordered by key and index."""
    n_tx, final = len(engine.txs), values_of(engine.arena)
    within = engine.changes.records
    early, (late, _) = engine.given[0], replaced(engine.between, final)
    made = np.zeros(len(early) + len(within) + len(late), _CHANGE)
    sizes = [len(early), *np.diff(engine.changes.starts).tolist(), len(late)]
    made["index"] = np.repeat(np.arange(n_tx + 2), sizes)
    made["key"] = np.concatenate([early, within["key"], late])
    made["kind"][len(early) : len(early) + len(within)] = within["kind"]
    made["value"] = np.concatenate([engine.before[early], within["value"].copy().view(np.uint64).reshape(-1, 4), final[late]])
    return made[np.lexsort((made["index"], made["key"]))]


def _add_credits(changes: NDArray[Any], before: NDArray[np.uint64]) -> None:
    """Replace amounts that were added by the values that they lead to."""
    key, value = changes["key"].copy(), changes["value"].copy()
    add_up(*inputs(key, changes["kind"] == CREDIT), value, *inputs(before))
    changes["value"] = value


def _code_changes(changes: NDArray[Any], is_code: NDArray[np.bool_], before: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which changes of code are any: the word of an account that exists and has no code is none of a code (EIP-161)."""
    none = np.frombuffer(EMPTY_HASH[::-1], np.uint64)
    real = np.ones(len(changes), bool)
    last, now = -1, bytes(32)
    for i in np.flatnonzero(is_code).tolist():
        key, value = int(changes["key"][i]), changes["value"][i]
        if key != last:
            last = key
            now = before[key].tobytes() if key < len(before) and (before[key] != none).any() else bytes(32)
        then = value.tobytes() if (value != none).any() else bytes(32)
        real[i], now = then != now, then
        if not any(then):
            changes["value"][i] = 0
    return real


def block_accesses(engine: Engine) -> BlockAccesses:
    """What the last run and the protocol's part of the block accessed, if `Engine.finish` has been called.

    Examples
    --------
    >>> from .forks import Fork
    >>> from .header import BlockEnv
    >>> from .plans import serial_plan
    >>> from .transaction import Transaction
    >>> tx = Transaction(gas_price=9, gas_limit=21_000, to=b"\\x02" * 20, sender=b"\\x01" * 20)
    >>> env = BlockEnv(number=1, timestamp=1, fork=Fork.SHANGHAI, base_fee=7)
    >>> engine = Engine(env, [tx], {b"\\x01" * 20: (10**18, 0, b"", {})}, records=True)
    >>> _ = engine.run(serial_plan(1)), engine.state()
    >>> found = block_accesses(engine)
    >>> [found.keys.key_name(key)[-7:] for key in found.change_key], found.change_index.tolist()
    (['balance', 'balance', '1 nonce'], [1, 1, 1])
    """
    notes, changes, arena = _notes(engine), _changes(engine), engine.arena
    paid = [key_number(arena, one.address, Field.BALANCE, 0) for one in engine.env.withdrawals]
    met = np.concatenate([MET - notes["key"][notes["key"] <= MET], np.array(paid, np.int64)])
    used = np.unique(np.concatenate([notes["key"][notes["key"] >= 0], changes["key"]]))
    keys, place = table_of(engine, used)
    _add_credits(changes, engine.before)
    numbers = place[np.searchsorted(used, changes["key"])]
    is_code = keys.field[numbers] == Field.CODE
    real = _code_changes(changes, is_code, engine.before)
    changes, numbers, is_code = changes[real], numbers[real], is_code[real]
    order = np.lexsort((changes["index"], numbers))
    values = np.ascontiguousarray(changes["value"][order]).view(np.uint8).reshape(-1, 32)[:, ::-1].copy()
    words, owners = key_table(arena)
    raw = RawAccesses(words.copy(), owners, engine.notes.each(), engine.changes.each())
    hashes = {values[i].tobytes() for i in np.flatnonzero(is_code[order])} - {bytes(32)}
    known = engine.codes() if hashes else {}
    codes = {one: known[int.from_bytes(one, "big")] for one in sorted(hashes)} | {bytes(32): b""}
    return BlockAccesses(
        len(engine.txs), keys, changes["index"][order], numbers[order], values, words[met][:, 19::-1].copy(), codes, raw
    )
