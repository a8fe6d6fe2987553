"""Keys that patterns give for calls, each once, with the chance that the call touches it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .calls import Calls
from .patterns import Derived, Listed, Patterns
from .trust import FEATURES, chances, log_odds

__all__ = ["Scored", "score"]

#: Blocks since what never happened.
_NEVER: Final = 2**24

#: Logarithms of blocks and of counts are divided by these. The prior of `Trust` holds features back alike only if all are of
#: one size: a small coefficient of a large one makes as much as a large one of the others.
_LONG, _MANY = float(np.log1p(_NEVER)), 4.0

#: Bytes of an address in whole words.
_PARTS: Final = (slice(8), slice(8, 16), slice(12, 20))

_COLUMN: Final = {name: i for i, name in enumerate(FEATURES)}


#: Features that differ from key to key; the others are of the pattern.
_OF_KEYS: Final = (
    *(f"familiar {level}" for level in range(4)), "layout unknown", "never touched",
    "never touched, though its contract was", "blocks since it was touched, log", "blocks since its contract was, log",
    "patterns that give it, log", "keys of the call, log",
)  # fmt: skip
_COLUMNS: Final = np.array([_COLUMN[name] for name in _OF_KEYS])


class Scored(NamedTuple):
    """Keys of calls: each with its call, the number of the pattern that is surest of it, address (n, 20) and slot (n, 32),
    and the chance that it is touched; `listed` has patterns by number, `derived` all that they gave, and `key` for each of
    these the row here. What chances were told from: `of_pattern` and `of_key`."""

    tx: NDArray[np.int64]
    pattern: NDArray[np.int64]
    address: NDArray[np.uint8]
    slot: NDArray[np.uint8]
    chance: NDArray[np.float64]
    listed: Listed
    derived: Derived
    key: NDArray[np.int64]
    of_pattern: NDArray[np.float64]
    of_key: NDArray[np.float64]

    def rows(self) -> NDArray[np.float64]:
        """Features (`trust.FEATURES`) of each key, (n, features)."""
        found = self.of_pattern[self.pattern]
        found[:, _COLUMNS] = self.of_key
        return found


def _digests(address: NDArray[np.uint8], slot: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A word for each key; two keys with the same one are very rare, and are thought to be as familiar."""
    words: NDArray[np.uint64] = np.ascontiguousarray(slot).view("<u8").reshape(-1, 4)
    parts = [*words.T, *(np.ascontiguousarray(address[:, part]).view("<u8").reshape(-1) for part in _PARTS)]
    mixed = np.zeros(len(words), np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:  # each is stirred before the next one comes
            mixed = (mixed ^ part) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
    return mixed


class _Table(NamedTuple):
    """What is known of keys or contracts, by their digests."""

    digests: NDArray[np.uint64]
    values: NDArray[np.int64]

    def of(self, wanted: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which are known, and rows of `values`."""
        if not len(self.digests):
            return np.zeros(len(wanted), bool), np.zeros((len(wanted), self.values.shape[1]), np.int64)
        at = np.minimum(np.searchsorted(self.digests, wanted), len(self.digests) - 1)
        return self.digests[at] == wanted, self.values[at]


def _table(known: Mapping[Any, Sequence[int]], width: int, digest: Callable[[list[Any]], NDArray[np.uint64]]) -> _Table:
    digests = digest(list(known)) if known else np.empty(0, np.uint64)
    order = np.argsort(digests)
    values = np.array(list(known.values()), np.int64).reshape(-1, width)
    return _Table(digests[order], values[order])


def _key_digests(keys: list[tuple[bytes, int]]) -> NDArray[np.uint64]:
    addresses = np.frombuffer(b"".join(address for address, _ in keys), np.uint8).reshape(-1, 20)
    slots = np.frombuffer(b"".join(slot.to_bytes(32, "big") for _, slot in keys), np.uint8).reshape(-1, 32)
    return _digests(addresses, slots)


def _contract_digests(address: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return _digests(address, np.zeros((len(address), 32), np.uint8))


def _address_digests(addresses: list[bytes]) -> NDArray[np.uint64]:
    return _contract_digests(np.frombuffer(b"".join(addresses), np.uint8).reshape(-1, 20))


def _of_patterns(patterns: Patterns, listed: Listed) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features of patterns, which of them always give the same key, begin at a role's place, and take no step."""
    rows = np.zeros((len(listed), len(FEATURES)))
    stats = [patterns.templates[group][pattern] for group, pattern in listed]
    hits, calls, recent = (np.array([getattr(one, name) for one in stats]) for name in ("hits", "calls", "recent"))
    records = np.array([patterns.groups.get(group, (0, 0, 0)) for group, _ in listed], np.float64).reshape(-1, 3)
    kinds = [pattern.kinds for _, pattern in listed]
    alike = [(group, kind) for (group, _), kind in zip(listed, kinds)]
    often = Counter(alike)
    of_selector = _of_selectors(patterns, listed)
    of_kind = np.array([patterns.kinds.get(kind, (0.0, 0.0)) for kind in kinds]).reshape(-1, 2)

    def put(name: str, values: Any) -> None:
        rows[:, _COLUMN[name]] = values

    put("always", 1)
    put("hits against misses, log", log_odds(hits, calls - hits, 0.3))
    put("no call yet", calls == 0)
    put("its kind's hits against misses, by call", log_odds(of_kind[:, 0], of_kind[:, 1], 1.0) / (1 + calls))
    put("patterns of its kind, log", np.log1p([often[one] for one in alike]) / _MANY)
    put("the group's hits against misses, log", log_odds(records[:, 0], records[:, 1] - records[:, 0], 1.0))
    put("the group's calls, log", np.log1p(records[:, 2]) / _MANY)
    put("the selector's hits against misses, log", log_odds(of_selector[:, 0], of_selector[:, 1] - of_selector[:, 0], 1.0))
    for e, (slot, address, steps, pooled, anywhere) in enumerate(kinds):
        names = [slot, f"address {address}", f"{slot} of {address}"]
        names += ["two steps"] * (steps == 2) + ["an exchange's"] * pooled + ["anywhere in the data"] * anywhere
        for name in names:
            if name in _COLUMN:
                rows[e, _COLUMN[name]] = 1
    late = 2 * recent - 1
    for name in (name for name in FEATURES if name.startswith("of late")):
        of = name.removeprefix("of late, ")
        put(name, late * rows[:, _COLUMN[of]] if of != name else late)
    every = [
        (pattern.is_constant, isinstance(pattern.start, str), kind[0] in ("constant", "hash"))
        for (_, pattern), kind in zip(listed, kinds)
    ]  # fmt: skip
    return rows, np.array(every, bool).reshape(-1, 3).T


def _of_selectors(patterns: Patterns, listed: Listed) -> NDArray[np.float64]:
    """Of functions of a pattern's selector in all contracts: of keys that were likely, how many were touched; keys."""
    found = {group[1]: np.zeros(2) for group, _ in listed}
    for (_, selector), (hits, keys, _) in patterns.groups.items():
        if selector in found:
            found[selector] += (hits, keys)
    return np.array([found[group[1]] for group, _ in listed]).reshape(-1, 2)


def _of_keys(
    patterns: Patterns, derived: Derived, digests: NDArray[np.uint64], number: int, traits: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Features of keys, (n, _OF_KEYS), all but the last two."""
    constant, by_role, plain = traits[:, derived.pattern]
    contracts = _contract_digests(derived.address)
    known, touched = _table(patterns.touched, 2, _key_digests).of(digests)
    met, last = _table({one: (at,) for one, at in patterns.contracts.items()}, 1, _address_digests).of(contracts)
    laid, _ = _table(dict.fromkeys(patterns.layouts, (0,)), 1, _address_digests).of(contracts)
    seen = np.where(known, touched[:, 0], 0)
    level = np.where(constant, np.minimum(3, seen), np.where(seen > 0, 2, met))
    found = np.zeros((len(digests), len(_OF_KEYS)))
    found[np.arange(len(found)), level] = 1
    found[:, 4], found[:, 5] = by_role & ~laid, ~known
    found[:, 6] = plain & ~known & met
    found[:, 7] = np.where(known, np.log1p(np.maximum(0, number - touched[:, 1])), 0) / _LONG
    found[:, 8] = np.log1p(np.where(met, np.maximum(0, number - last[:, 0]), _NEVER)) / _LONG
    return found


def score(patterns: Patterns, calls: Calls, number: int) -> Scored:
    """Keys that patterns give for calls, and how sure they are.

    Parameters
    ----------
    patterns : Patterns
    calls : Calls
    number : int
        Height of their block: what has not happened for long counts less.

    Examples
    --------
    >>> from .patterns import KeyPattern, Stats, Word
    >>> data = np.frombuffer(bytes.fromhex("d0e30db0"), np.uint8)
    >>> one = [np.frombuffer(part, np.uint8).reshape(1, -1) for part in (b"s" * 20, b"t" * 20)]
    >>> calls = Calls(*one, np.zeros(1, bool), data, np.array([0, 4]))
    >>> group = {KeyPattern(Word("callee"), Word("const", 5)): Stats(9, 9, 9)}
    >>> scored = score(Patterns({(b"t" * 20, 0xD0E30DB0): group}), calls, 4)
    >>> scored.slot[0, -1], (scored.chance > 0.6).tolist()
    (np.uint8(5), [True])
    """
    derived, listed = patterns.derive(calls)
    digests = _digests(derived.address, derived.slot)
    key, ways = _numbered(derived, digests)
    by_pattern, traits = _of_patterns(patterns, listed)
    of_key = _of_keys(patterns, derived, digests, number, traits)
    of_key[:, 9] = np.log1p(ways[key]) / _MANY
    first = np.zeros(len(ways), np.int64)
    first[key] = derived.tx  # all ways to a key are of one call
    of_key[:, 10] = np.log1p(np.bincount(first, minlength=calls.n_tx)[derived.tx]) / _MANY
    mean = patterns.trust.mean
    chance = chances((by_pattern @ mean)[derived.pattern] + of_key @ mean[_COLUMNS])  # of_key columns of patterns are 0
    best = _best(key, chance, len(ways))
    place = np.full(len(ways), -1)
    place[key[best]] = np.arange(len(best))
    return Scored(
        derived.tx[best], derived.pattern[best], derived.address[best], derived.slot[best], chance[best], listed, derived,
        place[key], by_pattern, of_key[best],
    )  # fmt: skip


def _numbered(derived: Derived, digests: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A number for each key of a call, and how many ways there are to each."""
    with np.errstate(over="ignore"):
        of_call = digests + derived.tx.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    _, first, key, ways = np.unique(of_call, return_index=True, return_inverse=True, return_counts=True)
    same = first[key]
    columns = (derived.tx, derived.address, derived.slot)
    if not all(np.array_equal(column, column[same]) for column in columns):  # two with one digest
        whole = np.concatenate([derived.tx[:, None].view(np.uint8), derived.address, derived.slot], axis=1)
        _, key, ways = np.unique(whole.view("V60").reshape(-1), return_inverse=True, return_counts=True)
    return key, ways


def _best(key: NDArray[np.int64], chance: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """The surest way to each of n keys, in the order in which they were derived."""
    if n == len(key):
        return np.arange(n)
    most = np.full(n, -1.0)
    np.maximum.at(most, key, chance)
    surest = np.flatnonzero(chance == most[key])
    _, first = np.unique(key[surest], return_index=True)
    return np.sort(surest[first])
