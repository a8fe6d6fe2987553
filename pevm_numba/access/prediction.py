"""Access sets predicted by patterns, and how good such predictions are when each block is predicted by those before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from .. import door
from ..errors import BlockError
from ..evm.block import AnyBlock, EvmBlock, need_block
from ..evm.declared import declared_sets
from ..keys import Keys
from ..machine.ops import Field, Mode
from .asking import ask_layouts
from .calls import calls_of
from .pattern_learning import Touched, learn
from .patterns import Patterns
from .scoring import Scored, score
from .sets import AccessSets

__all__ = ["THRESHOLD", "Prediction", "learn_block", "predict", "predicted_storage", "time_series", "touched_storage"]

#: Chance from which on a key counts as accessed.
THRESHOLD: Final = 0.5

#: Keys by their address and slot, and how sure it is that a call touches and writes them.
Storage = dict[tuple[bytes, int], tuple[float, bool]]


def predicted_storage(block: AnyBlock, patterns: Patterns) -> list[Storage]:
    """Storage that each transaction may touch, with the chance that it does, and whether it is more likely to write it.

    Parameters
    ----------
    block : Block or EvmBlock
        With whom transactions call, and the call data.
    patterns : Patterns

    Raises
    ------
    BlockError
        If one is neither, or the block does not tell whom its transactions call.

    Examples
    --------
    >>> from ..block import Block
    >>> from .pattern_library import built_in_patterns
    >>> meta = {"to": [b"\\x02" * 20], "input": [bytes.fromhex("a9059cbb") + bytes(12) + b"\\x05" * 20 + bytes(32)]}
    >>> (found,) = predicted_storage(Block.from_programs([[("NOOP", 1)]], meta=meta), built_in_patterns())  # a transfer
    >>> [(address[0], round(chance, 1), writes) for (address, _), (chance, writes) in found.items()]
    [(2, 0.8, True), (2, 0.8, True)]
    """
    door.instance("patterns", patterns, Patterns)
    return _storage(score(patterns, calls_of(block), _number(block)), patterns, block.n_tx)


def _storage(scored: Scored, patterns: Patterns, n_tx: int) -> list[Storage]:
    found: list[Storage] = [{} for _ in range(n_tx)]
    addresses, slots, listed = scored.address.tobytes(), scored.slot.tobytes(), scored.listed
    for i, (t, e, chance) in enumerate(zip(scored.tx.tolist(), scored.pattern.tolist(), scored.chance.tolist())):
        stats = patterns.templates[listed[e][0]][listed[e][1]]
        writes = 2 * stats.writes > stats.hits if stats.hits else stats.writes > 0
        found[t][addresses[20 * i : 20 * i + 20], int.from_bytes(slots[32 * i : 32 * i + 32], "big")] = chance, writes
    return found


def predict(block: AnyBlock, patterns: Patterns, threshold: float = THRESHOLD) -> AccessSets:
    """Predict what transactions will access.

    Parameters
    ----------
    block : Block or EvmBlock
    patterns : Patterns
    threshold : float in [0, 1]
        Chance from which on storage counts as accessed: a lower one misses less and is wrong more often.

    Returns
    -------
    AccessSets
        Of an `EvmBlock` over a table of their own, with what transactions say of accounts; of a `Block` over its keys, of
        storage only.

    Raises
    ------
    BlockError
        If an argument is not as described, or the block does not tell whom its transactions call.

    Examples
    --------
    >>> from ..block import Block
    >>> from .patterns import KeyPattern, Stats, Word
    >>> patterns = Patterns({(b"\\x02" * 20, 0xD0E30DB0): {KeyPattern(Word("callee"), Word("const", 5)): Stats(9, 9, 9)}})
    >>> meta = {"to": [b"\\x02" * 20], "input": [bytes.fromhex("d0e30db0")]}
    >>> block = Block.from_programs([[("SSTORE", (int.from_bytes(b"\\x02" * 20, "big"), 0, 5), 7)]], meta=meta)
    >>> predict(block, patterns)[0]
    {0: <Mode.READ|WRITE: 3>}
    """
    need_block("block", block)
    threshold = door.real("threshold", threshold, 0.0, 1.0)
    storage = [
        {key: Mode.READ | Mode.WRITE if writes else Mode.READ for key, (chance, writes) in one.items() if chance >= threshold}
        for one in predicted_storage(block, patterns)
    ]  # fmt: skip
    if isinstance(block, EvmBlock):
        sets = declared_sets(block.env, block.transactions, listed=False)
        for known, more in zip(sets, storage):
            known.update({(address, Field.STORAGE, slot): mode for (address, slot), mode in more.items()})
        return AccessSets.from_names(sets)
    known_keys = _numbers(block)
    known_of = [{known_keys[key]: int(mode) for key, mode in one.items() if key in known_keys} for one in storage]
    return AccessSets.from_dicts(known_of, block.n_keys)


def _numbers(keys: Keys) -> dict[tuple[bytes, int], int]:
    """Numbers of storage keys."""
    addresses, slots = keys.key_address.tobytes(), keys.key_slot.tobytes()
    return {
        (addresses[20 * k : 20 * k + 20], int.from_bytes(slots[32 * k : 32 * k + 32], "big")): k
        for k in np.flatnonzero(keys.key_field == Field.STORAGE).tolist()
    }  # fmt: skip


# -------------------------------------------------------------------- learning


def touched_storage(block: AnyBlock, access: AccessSets) -> list[Touched]:
    """Storage of each transaction, and whether it is written.

    Parameters
    ----------
    block : Block or EvmBlock
    access : AccessSets
        What it accesses.

    Raises
    ------
    BlockError
        If `access` is of another number of transactions, or it is not known what its key ids stand for.

    Examples
    --------
    >>> from ..block import Block
    >>> block = Block.from_programs([[("SSTORE", (2, 0, 5), 7), ("TOUCH", (3, 2, 0))]])
    >>> [{(address[-1], slot): written for (address, slot), written in one.items()}
    ...  for one in touched_storage(block, AccessSets.footprint(block))]
    [{(2, 5): True}]
    """
    need_block("block", block)
    door.instance("access", access, AccessSets)
    if access.n_tx != block.n_tx:
        raise BlockError(f"access of {access.n_tx} transactions: the block has {block.n_tx}")
    names = access.names(block)
    if names is None:
        raise BlockError("access without a table: what its key ids stand for must be known")
    number = {k: key for key, k in _numbers(names).items()}
    bounds, keys, modes = access.indptr.tolist(), access.keys.tolist(), access.modes.tolist()
    return [
        {number[keys[i]]: bool(modes[i] & Mode.WRITE) for i in range(bounds[t], bounds[t + 1]) if keys[i] in number}
        for t in range(access.n_tx)
    ]  # fmt: skip


def learn_block(patterns: Patterns, block: AnyBlock, access: AccessSets) -> None:
    """Learn from a block whose accesses are known.

    Parameters
    ----------
    patterns : Patterns
        Which learn.
    block : Block or EvmBlock
    access : AccessSets
        What it accessed: ``execute(block).observed``.

    Raises
    ------
    BlockError
        As `touched_storage` and `calls_of`; nothing is learned then.

    Examples
    --------
    >>> from ..block import Block
    >>> meta = {"to": [b"\\x02" * 20], "input": [bytes.fromhex("d0e30db0")]}
    >>> block = Block.from_programs([[("SSTORE", (int.from_bytes(b"\\x02" * 20, "big"), 0, 5), 7)]], meta=meta)
    >>> patterns = Patterns()
    >>> learn_block(patterns, block, AccessSets.footprint(block))
    >>> [(pattern.address.kind, pattern.start.argument) for _, pattern, _ in patterns]
    [('callee', 5)]
    """
    door.instance("patterns", patterns, Patterns)
    touched = touched_storage(block, access)
    learn(patterns, calls_of(block), touched, _number(block))


# -------------------------------------------------------------------- how good


class Prediction(NamedTuple):
    """One call as predicted, and what it did."""

    block: int
    tx: int
    contract: bytes
    selector: int
    #: Whether patterns of its contract and selector were known.
    seen: bool
    predicted: Storage
    touched: Touched


def time_series(
    blocks: Iterable[tuple[AnyBlock, AccessSets]], patterns: Patterns, ask: bool = True, learns: bool = True
) -> Iterator[tuple[AnyBlock, list[Prediction]]]:
    """Predict each block by what was learned of those before it, and then learn from it.

    Parameters
    ----------
    blocks : iterable of (block, accesses)
        In the order of time.
    patterns : Patterns
        Known beforehand; they learn.
    ask : bool
        Whether contracts of which state is known are asked where they keep balances (`ask_layouts`).
    learns : bool
        Whether they learn from each block after they have predicted it.

    Yields
    ------
    block : Block or EvmBlock
    found : list of Prediction
        Of each transaction that calls with a selector.

    Raises
    ------
    BlockError
        As `learn_block`, before anything is learned from the block that is wrong.

    Examples
    --------
    >>> from ..block import Block
    >>> meta = {"to": [b"\\x02" * 20], "input": [bytes.fromhex("d0e30db0")]}
    >>> block = Block.from_programs([[("SSTORE", (int.from_bytes(b"\\x02" * 20, "big"), 0, 5), 7)]], meta=meta)
    >>> pairs = [(block, AccessSets.footprint(block))] * 2
    >>> [(found[0].seen, len(found[0].predicted)) for _, found in time_series(pairs, Patterns())]
    [(False, 0), (True, 1)]
    """
    door.instance("patterns", patterns, Patterns)
    for block, access in blocks:
        touched, calls = touched_storage(block, access), calls_of(block)
        if ask and isinstance(block, EvmBlock):
            ask_layouts(patterns, block)
        scored, raw = score(patterns, calls, _number(block)), calls.to.tobytes()
        predicted = _storage(scored, patterns, block.n_tx)
        found = []
        for t, selector in enumerate(calls.selectors().tolist()):
            contract = raw[20 * t : 20 * t + 20]
            if selector >= 0:
                seen = (contract, selector) in patterns.templates
                found.append(Prediction(_number(block), t, contract, selector, seen, predicted[t], touched[t]))
        yield block, found
        if learns:
            learn(patterns, calls, touched, _number(block), scored)


def _number(block: Any) -> int:
    return min(int(block.number), 2**62)  # far beyond any chain's
