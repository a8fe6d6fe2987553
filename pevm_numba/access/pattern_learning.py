"""Learning patterns from what calls were seen to touch: which words, hashed how, lead to these keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .. import door
from .._kernels import keccak_bytes as _k
from .._kernels.jit import inputs
from .._kernels.patterns import HOP, PLACES
from ..errors import BlockError
from ..evm.block import AnyBlock
from ..evm.hashing import keccak
from .calls import Calls, calls_of, places_of
from .patterns import FACTORIES, Group, KeyPattern, Patterns, Stats, Step, Word
from .scoring import Scored, score

__all__ = ["Touched", "explained_slots", "learn"]

#: Storage that a call touched, (address, slot), and whether it was written.
Touched = Mapping[tuple[bytes, int], bool]

#: Slots of mappings that are tried, and of nested ones; members of a structure; words of the call data; ways to say a key.
_BASES, _NESTED, _MEMBERS, _WORDS, _MOST = 64, 24, 12, 24, 6
#: Words that are tried in mappings within mappings: their number counts twice.
_WITHIN: Final = 64
#: Patterns of a group: of more, those that never were hit are dropped, the oldest first.
_LARGEST: Final = 1024
#: Keys that a group's new patterns may give for the calls of their block: of more patterns, the oldest are dropped at once.
_GIVEN: Final = 200_000
#: Chance from which on a key tells how well its group is known.
_LIKELY: Final = 0.4
#: Words that name owners.
_NAMED: Final = frozenset(("sender", "word", "last"))
#: Patterns that fail so often are dropped.
_HOPELESS: Final = 0.05


def _hashes(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keccak of each word of the one before each of the other, (n, m, 32)."""
    n, m = len(first), len(second)
    pairs = np.empty((n, m, 64), np.uint8)
    pairs[:, :, :32], pairs[:, :, 32:] = first[:, None], second[None]
    digests = np.empty((n * m, 4), np.uint64)
    bounds = np.arange(0, 64 * n * m + 1, 64)
    _k.hash_many(*inputs(pairs.reshape(-1), bounds), np.empty(25, np.uint64), digests)
    return digests.view(np.uint8).reshape(n, m, 32)


def _words(numbers: Sequence[int]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(one.to_bytes(32, "big") for one in numbers), np.uint8).reshape(-1, 32)


def _pools(words: bytes) -> list[bytes | None]:
    """Addresses that the factories' exchanges of two tokens have (EIP-1014); None where the fee is missing."""
    one, two = sorted((words[12:32], words[44:64]))
    fee = words[64:96]
    whole = bytes(12) + one + bytes(12) + two + fee
    salts = [keccak(one + two)] * (len(FACTORIES) - 1) + [keccak(whole) if len(fee) == 32 else None]
    return [
        None if salt is None else keccak(b"\xff" + maker + salt + code)[12:] for (maker, code), salt in zip(FACTORIES, salts)
    ]


class _Call:
    """One call, and the words that it gives."""

    def __init__(self, calls: Calls, t: int) -> None:
        self.callee = calls.to[t].tobytes()
        found: dict[int, list[Word]] = {int.from_bytes(calls.sender[t].tobytes(), "big"): [Word("sender")]}
        found.setdefault(int.from_bytes(self.callee, "big"), []).append(Word("callee"))
        data = calls.data[calls.data_indptr[t] + 4 : calls.data_indptr[t + 1]].tobytes()
        n = len(data) // 32
        for w in range(min(n, _WORDS)):
            value = int.from_bytes(data[32 * w : 32 * w + 32], "big")
            if value:
                found.setdefault(value, []).append(Word("word", w))
        for w in range(min(n, 4)):  # such as the last token of a path
            value = int.from_bytes(data[32 * (n - 1 - w) : 32 * (n - w)], "big")
            if value and n - 1 - w >= 4:
                found.setdefault(value, []).append(Word("last", w))
        self._add_pools(bytes(4) + data, n, found)
        self.values, self.names = list(found), list(found.values())

    def _add_pools(self, data: bytes, n: int, found: dict[int, list[Word]]) -> None:
        """Exchanges of tokens that are next to each other in the data, as in the path of a swap."""
        places = list(islice(places_of(data), PLACES))
        follows = set(places)

        def add(value: bytes, *words: Word) -> None:
            names = found.setdefault(int.from_bytes(value, "big"), [])
            names += [word for word in words if word not in names]

        for at in places:
            if at < 0:
                first, fee, second = data[~at : ~at + 20], data[~at + 20 : ~at + HOP], data[~at + HOP : ~at + HOP + 20]
                add(first, Word("each"))
                add(second, Word("each_next"))
                address = _pools(b"".join(part.rjust(32, b"\0") for part in (first, second, fee)))[-1]
                add(address or b"", Word("each_pool", len(FACTORIES) - 1))
                continue
            if at + 32 not in follows:
                continue
            add(data[at : at + 32], Word("each"))
            add(data[at + 32 : at + 64], Word("each_next"))
            w, aligned = at // 32, at % 32 == 4
            for f, address in enumerate(_pools(data[at : at + 96])):
                if address is not None:
                    if aligned and w < _WORDS:
                        add(address, Word("pool", len(FACTORIES) * w + f))
                    if aligned and n - 1 - w < 4 and w >= 3:
                        add(address, Word("last_pool", len(FACTORIES) * (n - 1 - w) + f))
                    add(address, Word("each_pool", f))

    def address_words(self, address: bytes) -> list[Word]:
        """How a contract's address is told: it is called, or in the data, or always the same."""
        if address == self.callee:
            return [Word("callee")]
        number = int.from_bytes(address, "big")
        named = [word for value, names in zip(self.values, self.names) if value == number for word in names]
        return [word for word in named if word.kind not in ("sender", "callee")] or [Word("const", number)]


def _matches(wanted: Sequence[int], hashes: NDArray[np.uint8]) -> Iterator[tuple[int, int, list[int]]]:
    """Which wanted slot is which hash, or a few slots behind it: the slot, how far behind, and the place of the hash."""
    text = np.ascontiguousarray(hashes).reshape(-1, 32).view("V32").reshape(-1)
    places = [(slot, member) for slot in wanted for member in range(_MEMBERS) if slot >= member]
    behind = {(slot - member).to_bytes(32, "big"): (slot, member) for slot, member in places}
    if not behind or not len(text):
        return
    keys = np.frombuffer(b"".join(behind), "V32")
    order = np.argsort(text)
    at = np.minimum(np.searchsorted(text[order], keys), len(text) - 1)
    for i in np.flatnonzero(text[order][at] == keys).tolist():
        slot, member = behind[keys[i].tobytes()]
        yield slot, member, [int(n) for n in np.unravel_index(int(order[at[i]]), hashes.shape[:-1])]


def _search(call: _Call, slots: Sequence[int], bases: Sequence[int]) -> dict[int, list[KeyPattern]]:
    """Patterns, without an address, that lead to slots that look like hashes."""
    found: dict[int, list[KeyPattern]] = {}
    words, starts = _words(call.values), _words(bases)
    single = _hashes(words, starts)

    def keep(slot: int, start: int, member: int, steps: Sequence[tuple[str, int]]) -> None:
        """All the ways to name these words."""
        options: list[tuple[Step, ...]] = [()]
        for how, w in steps:
            options = [(*before, Step(how, word)) for before in options for word in call.names[w]]
        ways = [KeyPattern(Word("const"), Word("const", start), one, member) for one in options[:_MOST]]
        found.setdefault(slot, []).extend(ways)

    for slot, member, (w, b) in _matches(slots, single):
        keep(slot, bases[b], member, [("mapping", w)])
    rest = [slot for slot in slots if slot not in found]
    if rest:
        for slot, member, (b, w) in _matches(rest, _hashes(starts, words)):
            keep(slot, bases[b], member, [("vyper", w)])
    rest = [slot for slot in rest if slot not in found]
    if rest:
        few = min(_NESTED, len(bases))
        inner = single[:_WITHIN, :few].reshape(-1, 32)
        nested = _hashes(words[:_WITHIN], inner)
        for slot, member, (y, xb) in _matches(rest, nested):
            keep(slot, bases[xb % few], member, [("mapping", xb // few), ("mapping", y)])
    numbers = {value: w for w, value in enumerate(call.values)}
    for slot in (slot for slot in rest if slot not in found):
        for base in bases:
            index = (slot - _array_begin(base)) % 2**256
            if index in numbers:
                keep(slot, base, 0, [("array", numbers[index])])
    return found


@cache
def _array_begin(base: int) -> int:
    """Where the elements of an array are that has its length in a slot."""
    return int.from_bytes(keccak(base.to_bytes(32, "big")), "big")


def explained_slots(block: AnyBlock, tx: int, slots: Sequence[int]) -> set[int]:
    """Which of these slots a call's own words lead to, hashed as Solidity and Vyper do.

    Parameters
    ----------
    block : Block or EvmBlock
    tx : int
        Of the call in the block.
    slots : sequence of int

    Raises
    ------
    BlockError
        If there is no such transaction, or a slot is none.

    Examples
    --------
    >>> from ..block import Block
    >>> entry = keccak(bytes(12) + b"\\x05" * 20 + (3).to_bytes(32, "big"))
    >>> data = bytes.fromhex("a9059cbb") + bytes(12) + b"\\x05" * 20
    >>> block = Block.from_programs([[("NOOP", 1)]], meta={"to": [b"\\x02" * 20], "input": [data]})
    >>> slot = int.from_bytes(entry, "big")
    >>> explained_slots(block, 0, [slot, slot - 99]) == {slot}
    True
    """
    calls = calls_of(block)
    tx = door.integer("tx", tx, 0, calls.n_tx - 1)
    slots = [door.integer(f"slots[{i}]", slot, 0, 2**256 - 1) for i, slot in enumerate(door.items("slots", slots, "slots"))]
    hashed = [slot for slot in slots if slot >= 2**64]
    return set(_search(_Call(calls, tx), hashed, range(_BASES))) if hashed else set()


def _roles(patterns: Patterns, address: bytes, found: KeyPattern, written: bool) -> None:
    """Note where a token seems to have its balances and allowances: mappings by addresses that calls write."""
    if not written or found.offset or not isinstance(found.start, Word):
        return
    named = [step.word.kind for step in found.steps if step.how == "mapping"]
    owner, spenders = named[:1], named[1:]  # a router spends what its callers allow it
    if len(named) == len(found.steps) and {*owner} <= _NAMED and {*spenders} <= _NAMED | {"callee"}:
        role = {1: "balances", 2: "allowances"}.get(len(found.steps))
        if role is not None:
            places = patterns.layouts.setdefault(address, {}).setdefault(role, {})
            places[found.start.argument] = places.get(found.start.argument, 0) + 1


def _is_specific(pattern: KeyPattern) -> bool:
    """Whether a pattern that goes for any place of the data is about an exchange: else it goes for all that is there."""
    kinds = {word.kind for word in pattern.words}
    if not kinds & {"each", "each_next", "each_pool"}:
        return True
    by_role = isinstance(pattern.start, str)
    return "each_pool" in kinds and (pattern.address.kind == "each_pool" or by_role)


def _ways(patterns: Patterns, address: bytes, ways: Sequence[KeyPattern], fixed: bool) -> list[KeyPattern]:
    """Ways to a slot; of a contract that differs from call to call with the place of a role, where this one has it there."""
    found = []
    for way in ways:
        role = {1: "balances", 2: "allowances"}.get(len(way.steps))
        known = role and isinstance(way.start, Word) and patterns.base(address, role) == way.start.argument
        found.append(way._replace(start=role) if known and role and not fixed else way)
    return found


def _count(patterns: Patterns, scored: Scored, touched: Sequence[Touched]) -> set[tuple[int, tuple[bytes, int]]]:
    """Count hits of the patterns that there are, and learn how far to trust them; which (call, key) they have explained."""
    addresses, slots = scored.address.tobytes(), scored.slot.tobytes()
    keys = [
        (addresses[20 * i : 20 * i + 20], int.from_bytes(slots[32 * i : 32 * i + 32], "big")) for i in range(len(scored.tx))
    ]  # fmt: skip
    txs, listed = scored.tx.tolist(), scored.listed
    hit = np.array([key in touched[t] for t, key in zip(txs, keys)], bool)
    wrote = np.array([touched[t].get(key, False) for t, key in zip(txs, keys)], bool)
    patterns.trust.learn(scored.rows(), hit, 1 / np.bincount(scored.pattern)[scored.pattern])  # a pattern counts once
    each, n = scored.derived.pattern, len(listed)
    hits, writes = (np.bincount(each, each_key[scored.key], n).astype(int).tolist() for each_key in (hit, wrote))
    for e, calls in enumerate(np.bincount(each, minlength=n).tolist()):
        group, pattern = listed[e]
        stats = patterns.templates[group][pattern]
        stats.add(hits[e], calls)
        stats.writes += writes[e]
        if calls:
            share, record = hits[e] / calls, patterns.kinds.get(pattern.kinds, (0.0, 0.0))
            patterns.kinds[pattern.kinds] = record[0] + share, record[1] + 1 - share
    for i in np.flatnonzero(scored.chance >= _LIKELY).tolist():
        group = listed[int(scored.pattern[i])][0]
        hits_of, keys_of, calls_of = patterns.groups.get(group, (0, 0, 0))
        patterns.groups[group] = hits_of + int(hit[i]), keys_of + 1, calls_of
    return {(txs[i], keys[i]) for i in np.flatnonzero(hit).tolist() if listed[int(scored.pattern[i])][0][0] is not None}


def learn(
    patterns: Patterns, calls: Calls, touched: Sequence[Touched], number: int = 0, scored: Scored | None = None
) -> None:
    """Learn from calls whose storage is known; patterns that exist are counted, and new ones found for what they miss.

    Parameters
    ----------
    patterns : Patterns
        Which learn.
    calls : Calls
    touched : sequence of mappings of (address, slot) to bool
        Of each call what it touched, and whether it wrote it.
    number : int
        Height of their block.
    scored : Scored, optional
        What these patterns gave for the calls, if that is known: `score`.

    Raises
    ------
    BlockError
        If `touched` has not one entry for each call; nothing is learned then.

    Examples
    --------
    >>> from ..evm.hashing import keccak
    >>> entry = keccak(bytes(12) + b"s" * 20 + (2).to_bytes(32, "big"))
    >>> one = [np.frombuffer(part, np.uint8).reshape(1, -1) for part in (b"s" * 20, b"t" * 20)]
    >>> data = np.frombuffer(bytes.fromhex("d0e30db0"), np.uint8)
    >>> calls = Calls(*one, np.zeros(1, bool), data, np.array([0, 4]))
    >>> patterns = Patterns()
    >>> learn(patterns, calls, [{(b"t" * 20, int.from_bytes(entry, "big")): True}])
    >>> [pattern.steps for _, pattern, _ in patterns], patterns.base(b"t" * 20, "balances")
    ([(Step(how='mapping', word=Word(kind='sender', argument=0)),)], 2)
    """
    if len(touched) != calls.n_tx:
        raise BlockError(f"touched has {len(touched)} entries: must be {calls.n_tx}, one a call")
    explained = _count(patterns, score(patterns, calls, number) if scored is None else scored, touched)
    selectors, callees = calls.selectors().tolist(), _callees(calls)
    fresh: dict[Group, dict[KeyPattern, Stats]] = {}
    for t, selector in enumerate(selectors):
        if selector < 0 or not touched[t]:
            continue
        group = callees[t], selector
        hits, keys, n = patterns.groups.get(group, (0, 0, 0))
        patterns.groups[group] = hits, keys, n + 1
        missed = {key: written for key, written in touched[t].items() if (t, key) not in explained}
        if missed:
            _learn_call(patterns, _Call(calls, t), selector, missed, fresh)
    n_calls: Counter[Group] = Counter(zip(callees, selectors))
    for found, part in fresh.items():
        for pattern in list(part)[: max(0, len(part) - _GIVEN // n_calls[found])]:
            del part[pattern]
    _count_fresh(patterns, calls, touched, fresh)
    for found, part in fresh.items():
        patterns.templates.setdefault(found, {}).update(part)
    for one in touched:
        for address, slot in one:
            patterns.contracts[address] = number
            patterns.touched[address, slot] = patterns.touched.get((address, slot), (0, 0))[0], number
    _forget(patterns)


def _callees(calls: Calls) -> list[bytes]:
    """Addresses of the contracts that are called."""
    return [row.tobytes() for row in calls.to]


def _count_fresh(
    patterns: Patterns, calls: Calls, touched: Sequence[Touched], fresh: dict[Group, dict[KeyPattern, Stats]]
) -> None:
    """Count what new patterns say of the calls of their own block, but for one key each: the one that it was made of."""
    derived, listed = Patterns(fresh, patterns.layouts, patterns.usual).derive(calls)
    addresses, slots = derived.address.tobytes(), derived.slot.tobytes()
    found = [
        touched[t].get((addresses[20 * i : 20 * i + 20], int.from_bytes(slots[32 * i : 32 * i + 32], "big")))
        for i, t in enumerate(derived.tx.tolist())
    ]  # fmt: skip
    counts = np.zeros((len(listed), 3), int)
    for column, of in enumerate(([True] * len(found), [one is not None for one in found], [bool(one) for one in found])):
        counts[:, column] = np.bincount(derived.pattern[np.array(of, bool)], minlength=len(listed))
    for (group, pattern), (n, hits, writes) in zip(listed, counts.tolist()):
        stats, own = fresh[group][pattern], min(1, hits)
        stats.add(hits - own, n - own)
        stats.writes = max(stats.writes, writes)


def _learn_call(
    patterns: Patterns, call: _Call, selector: int, missed: Touched, fresh: dict[Group, dict[KeyPattern, Stats]]
) -> None:
    group = (call.callee, selector)
    part = fresh.setdefault(group, {})
    hashed = [slot for _, slot in missed if slot >= 2**64]
    found = _search(call, hashed, range(_BASES)) if hashed else {}
    for (address, slot), written in missed.items():
        patterns.touched[address, slot] = patterns.touched.get((address, slot), (0, 0))[0] + 1, 0
        ways = found.get(slot) or [KeyPattern(Word("const"), Word("const", slot))]
        for way in ways[:_MOST]:
            if way.steps:
                _roles(patterns, address, way, written)
        for word in call.address_words(address)[:4]:
            for way in _ways(patterns, address, ways[:_MOST], fixed=word.kind in ("const", "callee")):
                pattern = way._replace(address=word)
                if _is_specific(pattern) and pattern not in patterns.templates.get(group, {}):
                    part.setdefault(pattern, Stats()).writes |= written


def _forget(patterns: Patterns) -> None:
    for part in patterns.templates.values():
        hopeless = [one for one, stats in part.items() if stats.calls >= 20 and stats.hits < _HOPELESS * stats.calls]
        for one in hopeless:
            del part[one]
        unproved = [one for one, stats in part.items() if not stats.hits]
        for one in unproved[: max(0, len(part) - _LARGEST)]:
            del part[one]
    for group in [group for group, part in patterns.templates.items() if not part]:
        del patterns.templates[group]
