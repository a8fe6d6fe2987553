"""Which storage a call will touch, told from the call alone: by contract and selector, how keys derive from its words.

Solidity puts the entry of a mapping at keccak(key, slot of the mapping), so who has seen a few calls of a function knows
where the next one goes. Patterns are learned from what earlier blocks accessed, or known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._kernels import patterns as _k
from .._kernels.jit import inputs
from ..door import choice, integer, shown
from ..errors import BlockError
from .calls import Calls
from .trust import Trust

__all__ = ["FACTORIES", "ROLES", "Derived", "Group", "KeyPattern", "Kinds", "Patterns", "Stats", "Step", "Word"]

#: What a contract's layout may say the place of.
ROLES: Final = ("balances", "allowances", "owners", "approvals", "operators")

_KINDS: Final = {
    "const": _k.CONST, "sender": _k.SENDER, "callee": _k.CALLEE, "word": _k.WORD, "last": _k.LAST, "pool": _k.POOL,
    "last_pool": _k.LAST_POOL, "each": _k.EACH, "each_next": _k.EACH_NEXT, "each_pool": _k.EACH_POOL,
}  # fmt: skip
_STEPS: Final = {"mapping": _k.MAPPING, "vyper": _k.VYPER, "array": _k.ARRAY}

#: Who makes exchanges, and the hash of their code: Uniswap V2, SushiSwap, Uniswap V3 (whose pools differ by fee, too).
FACTORIES: Final = tuple(
    (bytes.fromhex(maker), bytes.fromhex(code)) for maker, code in (
        ("5c69bee701ef814a2b6a3edd4b1652cb9cc5aa6f", "96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f"),
        ("c0aee478e3658e2610c5f7a4a2e1777ce9e4f2ac", "e18a34eb0e04b04f7a0ac29a6e80748dca96319b42c54d679cb821dca90c6303"),
        ("1f98431c8ad98523631ae4a59f267346ea31f984", "e34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54"),
    )
)  # fmt: skip

#: Slots below this are variables of their own, others are hashes or agreed upon (EIP-1967).
_SMALL: Final = 2**64


class Word(NamedTuple):
    """A word that a pattern takes: "const" and its value, "sender", "callee", "word" or "last" and which one, from the begin
    or the end of the call data, "pool" or "last_pool": that of the tokens in such a word and the next, by a factory.

    The argument of pools is the word's number times the number of `FACTORIES`, and the number of the factory. "each",
    "each_next" and "each_pool" (by a factory) stand for every place of the data where there are addresses: a word, the next
    one, the pool of both; places differ from call to call where calls are made of parts.
    """

    kind: str
    argument: int = 0


#: What patterns have in common: `KeyPattern.kinds`.
Kinds: TypeAlias = tuple[str, str, int, bool, bool]


class Step(NamedTuple):
    """One more level: an entry of a "mapping" (Solidity), of a "vyper" mapping, or of an "array"."""

    how: str
    word: Word


class KeyPattern(NamedTuple):
    """How a storage key derives from a call.

    `start` is a word or the name of a role, whose place the layout of the contract tells; each step leads from a slot to that
    of an entry, and `offset` to a member of a structure there.
    """

    address: Word
    start: Word | str
    steps: tuple[Step, ...] = ()
    offset: int = 0

    @property
    def is_constant(self) -> bool:
        """Whether it is the same key in every call of its group."""
        return self.address.kind in ("const", "callee") and all(word.kind in ("const", "callee") for word in self.words)

    @property
    def kinds(self) -> Kinds:
        """What it has in common with others: how the slot derives (`trust.SLOT_KINDS`), and the address (`ADDRESS_KINDS`),
        how many steps it takes, whether to an exchange's entry, and whether by words from anywhere in the data.

        Examples
        --------
        >>> KeyPattern(Word("callee"), Word("const", 5)).kinds, KeyPattern(Word("last", 1), Word("const", 2**200)).kinds
        (('constant', 'callee', 0, False, False), ('hash', 'word', 0, False, False))
        """
        pooled = any(step.word.kind.endswith("pool") for step in self.steps)
        anywhere = any(word.kind.startswith("each") for word in self.words)
        if not self.steps and isinstance(self.start, Word) and self.start.kind == "const":
            slot = "constant" if self.start.argument < _SMALL else "hash"  # a hash of what nobody knows
        else:
            slot = "role" if isinstance(self.start, str) else "mapping"
        address = {"last": "word", "last_pool": "pool", "sender": "word"}.get(self.address.kind, self.address.kind)
        return slot, "each" if address.startswith("each") else address, len(self.steps), pooled, anywhere

    @property
    def words(self) -> tuple[Word, ...]:
        """All words that it takes."""
        start = (self.start,) if isinstance(self.start, Word) else ()
        return (self.address, *start, *(step.word for step in self.steps))


@dataclass
class Stats:
    """Calls since a pattern was found, how many touched what it says, and how many of these wrote it; the call that it was
    made of counts as written or not, and not as a hit. `recent` is the share that did, each block counting half as much as
    the next one, and 1/2 before the first."""

    hits: int = 0
    writes: int = 0
    calls: int = 0
    recent: float = 0.5

    def add(self, hits: int, calls: int) -> None:
        """Count calls of a block.

        Examples
        --------
        >>> stats = Stats()
        >>> stats.add(3, 4)
        >>> stats
        Stats(hits=3, writes=0, calls=4, recent=0.625)
        """
        if calls:
            self.hits, self.calls, self.recent = self.hits + hits, self.calls + calls, (self.recent + hits / calls) / 2


class Derived(NamedTuple):
    """Keys that patterns give for calls: transaction, pattern number, address (n, 20), slot (n, 32)."""

    tx: NDArray[np.int64]
    pattern: NDArray[np.int64]
    address: NDArray[np.uint8]
    slot: NDArray[np.uint8]


#: Whose patterns: contract, None for any, and selector.
Group: TypeAlias = tuple[bytes | None, int]
Listed: TypeAlias = list[tuple[Group, KeyPattern]]


@dataclass
class Patterns:
    """Patterns by contract and selector, layouts of contracts, and how far to trust patterns.

    Parameters
    ----------
    templates : dict of (contract or None, selector) to dict of KeyPattern to Stats
        Those of no contract are for calls of contracts that have none of their own.
    layouts : dict of address to dict of role to dict of slot to int
        How often something was found to have its place there.
    usual : dict of role to slot
        What is taken where a contract's layout is not known.
    trust : Trust
    groups : dict of (contract or None, selector) to (hits, keys, calls)
        Of keys that were likely, how many were touched; and calls.
    touched : dict of (address, slot) to (int, int)
        How often a key was touched that the patterns of the call's group did not tell; the last block that touched it.
    contracts : dict of address to int
        The last block in which storage of a contract was touched.
    kinds : dict of kinds to (hits, misses)
        Of patterns by what they have in common (`KeyPattern.kinds`), each block's use of one counting once.
    asked : set of address
        Contracts that were asked for their layout (`ask_layouts`).

    Examples
    --------
    >>> patterns = Patterns()
    >>> bytes(20) in patterns.layouts, len(patterns)
    (False, 0)
    """

    templates: dict[Group, dict[KeyPattern, Stats]] = field(default_factory=dict)
    layouts: dict[bytes, dict[str, dict[int, int]]] = field(default_factory=dict)
    usual: dict[str, int] = field(default_factory=dict)
    trust: Trust = field(default_factory=Trust)
    groups: dict[Group, tuple[int, int, int]] = field(default_factory=dict)
    touched: dict[tuple[bytes, int], tuple[int, int]] = field(default_factory=dict)
    contracts: dict[bytes, int] = field(default_factory=dict)
    kinds: dict[Kinds, tuple[float, float]] = field(default_factory=dict)
    asked: set[bytes] = field(default_factory=set)

    def __len__(self) -> int:
        return sum(len(part) for part in self.templates.values())

    def __iter__(self) -> Iterator[tuple[Group, KeyPattern, Stats]]:
        return ((group, pattern, stats) for group, part in self.templates.items() for pattern, stats in part.items())

    def base(self, address: bytes, role: str) -> int | None:
        """Where a contract has something, as far as known: what was found most often.

        Examples
        --------
        >>> Patterns(layouts={bytes(20): {"balances": {2: 1, 9: 3}}}).base(bytes(20), "balances")
        9
        """
        found = self.layouts.get(address, {}).get(role)
        return max(found, key=lambda slot: (found[slot], -slot)) if found else None

    # ---------------------------------------------------------------- deriving

    def derive(self, calls: Calls) -> tuple[Derived, Listed]:
        """All keys that patterns give for these calls, however little they are trusted, and the patterns by number.

        Raises
        ------
        BlockError
            If a pattern has a word, step or role that is none, or a layout an address or slot.

        Examples
        --------
        >>> one = [np.frombuffer(part, np.uint8).reshape(1, -1) for part in (b"s" * 20, b"t" * 20)]
        >>> calls = Calls(*one, np.zeros(1, bool), np.frombuffer(bytes.fromhex("d0e30db0"), np.uint8), np.array([0, 4]))
        >>> patterns = Patterns({(b"t" * 20, 0xD0E30DB0): {KeyPattern(Word("callee"), Word("const", 5)): Stats()}})
        >>> patterns.derive(calls)[0].slot[0, -1]
        np.uint8(5)
        """
        numbers, listed, indptr = self._used(calls)
        expressions = _expressions(listed)
        given = Calls(*inputs(*calls))
        places, place_indptr = _places(given, numbers, indptr, expressions)
        room = _room(numbers, indptr, expressions, np.diff(place_indptr))
        out = (
            np.empty(room, np.int64), np.empty(room, np.int64), np.empty((room, 20), np.uint8), np.empty((room, 32), np.uint8)
        )  # fmt: skip
        if not room:
            return Derived(*out), listed
        scratch = np.empty((8, 32), np.uint8), np.empty(25, np.uint64)
        n = _k.derive(
            given, *inputs(numbers, indptr), expressions, inputs(*self._layouts()), inputs(places, place_indptr), scratch, out
        )  # fmt: skip
        return Derived(out[0][:n], out[1][:n], out[2][:n], out[3][:n]), listed

    def _used(self, calls: Calls) -> tuple[NDArray[np.int64], Listed, NDArray[np.int64]]:
        """Group of each call: its contract's own, or what goes for any, -1 for none; their patterns, and offsets."""
        names = np.zeros((calls.n_tx, 28), np.uint8)
        names[:, :20], names[:, 20:] = calls.to, calls.selectors()[:, None].view(np.uint8)
        _, first, of = np.unique(names.view("V28").reshape(-1), return_index=True, return_inverse=True)
        found = np.full(len(first), -1, np.int64)
        listed, ends, known = Listed(), [0], dict[Group, int]()
        for i, t in enumerate(first.tolist()):
            group: Group = (names[t, :20].tobytes(), int.from_bytes(names[t, 20:].tobytes(), "little", signed=True))
            if group[1] < 0:
                continue
            if not self.templates.get(group):
                group = (None, group[1])
                if not self.templates.get(group):
                    continue
            if group not in known:
                known[group] = len(known)
                listed += [(group, pattern) for pattern in self.templates[group]]
                ends.append(len(listed))
            found[i] = known[group]
        return found[of], listed, np.array(ends, np.int64)

    def _layouts(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
        for address in self.layouts:
            if not isinstance(address, bytes) or len(address) != 20:
                raise BlockError(f"layouts, {shown(address, 80)}: must be 20 bytes")
        addresses = sorted(self.layouts)
        slots = np.zeros((len(addresses) + 1, len(ROLES), 32), np.uint8)
        known = np.zeros((len(addresses) + 1, len(ROLES)), bool)
        for r, role in enumerate(ROLES):
            for a, base in enumerate([*(self.base(address, role) for address in addresses), self.usual.get(role)]):
                if base is not None:
                    place = f"layouts, 0x{addresses[a].hex()}" if a < len(addresses) else "usual"
                    base = integer(f"{place}, {role}", base, 0, 2**256 - 1)
                    slots[a, r], known[a, r] = np.frombuffer(base.to_bytes(32, "big"), np.uint8), True
        return np.frombuffer(b"".join(addresses), np.uint8).reshape(-1, 20), slots, known


def _places(
    calls: Calls, numbers: NDArray[np.int64], indptr: NDArray[np.int64], expressions: _k.Expressions
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where in the data there are addresses, of calls with patterns that ask for it, and offsets by call."""
    anywhere = np.concatenate([[0], np.cumsum(expressions.anywhere)])
    asks = np.append(np.diff(anywhere[indptr]) > 0, False)[numbers]  # -1 is the last
    place_indptr = np.empty(calls.n_tx + 1, np.int64)
    _k.find_places(calls, asks, place_indptr, np.empty(0, np.int64))
    places = np.empty(int(place_indptr[-1]), np.int64)
    if len(places):
        _k.find_places(calls, asks, place_indptr, places)
    return places, place_indptr


def _room(
    numbers: NDArray[np.int64], indptr: NDArray[np.int64], expressions: _k.Expressions, n_places: NDArray[np.int64]
) -> int:
    """Most keys that there can be."""
    anywhere = np.concatenate([[0], np.cumsum(expressions.anywhere)])
    each = np.diff(anywhere[indptr])
    once = np.diff(indptr) - each
    has = numbers >= 0
    return int((once[numbers[has]] + each[numbers[has]] * n_places[has]).sum())


def _expressions(listed: Iterable[tuple[Group, KeyPattern]]) -> _k.Expressions:
    """Patterns as the kernel takes them."""
    constants: dict[int, int] = {0: 0}

    def begin(start: Word | str) -> tuple[int, int]:
        if not isinstance(start, str):
            return place(start)
        choice("start of a pattern", start, ROLES)
        return _k.ROLE, ROLES.index(start)

    def place(word: Word) -> tuple[int, int]:
        most = 2**256 if word.kind == "const" else len(FACTORIES) if word.kind == "each_pool" else 2**16
        if word.kind not in _KINDS or not 0 <= word.argument < most:
            rule = f"must be one of {', '.join(_KINDS)}, and a number in [0, {most:#x})"
            raise BlockError(f"pattern with {shown(word)}: {rule}")
        argument = constants.setdefault(word.argument, len(constants)) if word.kind == "const" else word.argument
        return _KINDS[word.kind], argument

    address, start, steps, offset, anywhere = [], [], [], [], []
    for _, pattern in listed:
        known = all(step.how in _STEPS for step in pattern.steps)
        if not known or len(pattern.steps) > _k.STEPS or not 0 <= pattern.offset < 2**63:
            rule = f"must have at most {_k.STEPS} steps, each of {', '.join(_STEPS)}, and an offset"
            raise BlockError(f"{shown(pattern)}: {rule}")
        anywhere.append(any(word.kind.startswith("each") for word in pattern.words))
        address.append(place(pattern.address))
        start.append(begin(pattern.start))
        rows = [(_STEPS[step.how], *place(step.word)) for step in pattern.steps]
        steps.append(rows + [(0, 0, 0)] * (_k.STEPS - len(rows)))
        offset.append(pattern.offset)
    table = np.frombuffer(b"".join(one.to_bytes(32, "big") for one in constants), np.uint8).reshape(-1, 32)
    makers = np.frombuffer(b"".join(b"\xff" + maker + code for maker, code in FACTORIES), np.uint8).reshape(-1, 53)
    n = len(address)
    shapes = ((address, (n, 2)), (start, (n, 2)), (steps, (n, _k.STEPS, 3)), (offset, (n,)), (anywhere, (n,)))
    columns = (np.array(one, np.int64).reshape(shape) for one, shape in shapes)
    return _k.Expressions(*inputs(*columns, table, makers))
