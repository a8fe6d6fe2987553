"""Patterns as JSON: templates, layouts, and the record that tells how far to trust them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..errors import BlockError
from .patterns import FACTORIES, ROLES, Group, KeyPattern, Kinds, Patterns, Stats, Step, Word
from .trust import ADDRESS_KINDS, FEATURES, SLOT_KINDS, Trust

__all__ = ["patterns_from_json", "patterns_to_json"]

_VERSION: Final = 2
_WORDS: Final = ("const", "sender", "callee", "word", "last", "pool", "last_pool", "each", "each_next", "each_pool")
_STEPS: Final = ("mapping", "vyper", "array")

#: Numbers and addresses as text.
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]+")
_ADDRESS: Final = re.compile(r"0[xX][0-9a-fA-F]{40}")

#: No count is beyond this, no block, no mean of trust, no precision: sums and products of such are finite.
_COUNT, _BLOCK, _MEAN, _PRECISION = 2**53, 2**63 - 1, 1e6, 1e15
#: Smallest eigenvalue of a precision, and against the largest: learning only adds to 3, and below it cannot be solved with.
_LEAST, _SINGULAR = 1e-3, 1e-14

T = TypeVar("T")


def _word_out(word: Word) -> list[Any]:
    return [word.kind, hex(word.argument)] if word.kind == "const" else [word.kind, word.argument]


def _key_out(pattern: KeyPattern, stats: Stats) -> dict[str, Any]:
    return {
        "address": _word_out(pattern.address),
        "start": pattern.start if isinstance(pattern.start, str) else _word_out(pattern.start),
        "steps": [[step.how, _word_out(step.word)] for step in pattern.steps], "offset": pattern.offset,
        "hits": stats.hits, "writes": stats.writes, "calls": stats.calls, "recent": stats.recent,
    }  # fmt: skip


def patterns_to_json(patterns: Patterns) -> dict[str, Any]:
    """Patterns as objects that `json.dumps` takes.

    Examples
    --------
    >>> patterns_to_json(Patterns())["version"]
    2
    """
    return {
        "version": _VERSION,
        "templates": [
            {
                "contract": _contract_out(group), "selector": f"0x{group[1]:08x}",
                "keys": [_key_out(pattern, stats) for pattern, stats in part.items()],
            } for group, part in patterns.templates.items()
        ],
        "layouts": {
            f"0x{address.hex()}": {role: {hex(slot): n for slot, n in its.items()} for role, its in layout.items()}
            for address, layout in patterns.layouts.items()
        },
        "usual": {role: hex(slot) for role, slot in patterns.usual.items()},
        "trust": {"mean": patterns.trust.mean.tolist(), "precision": patterns.trust.precision.tolist()},
        "groups": [[_contract_out(group), f"0x{group[1]:08x}", *counts] for group, counts in patterns.groups.items()],
        "touched": [[f"0x{address.hex()}", hex(slot), *counts] for (address, slot), counts in patterns.touched.items()],
        "contracts": {f"0x{address.hex()}": last for address, last in patterns.contracts.items()},
        "kinds": [[*kind, *counts] for kind, counts in patterns.kinds.items()],
        "asked": sorted(f"0x{address.hex()}" for address in patterns.asked),
    }  # fmt: skip


def _contract_out(group: Group) -> str | None:
    return None if group[0] is None else f"0x{group[0].hex()}"


class _Reader:
    """Reads parts of patterns; complaints name the place."""

    def wrong(self, place: str, value: Any, rule: str) -> BlockError:
        """A complaint."""
        return BlockError(f"patterns, {place} = {door.shown(value, 80)}: {rule}")

    def number(self, place: str, value: Any, high: int = _COUNT, low: int = 0) -> int:
        """An integer, or hexadecimal text; a count if it is not told what may be."""
        given = value
        if isinstance(value, str):
            if not _NUMBER.fullmatch(value):
                raise self.wrong(place, value, "must be hexadecimal ('0x1f')")
            value = int(value, 16)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(place, given, f"must be an integer in [{low}, {high:#x}]")
        return value

    def real(self, place: str, value: Any, most: float) -> float:
        """A number that is not negative."""
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= most:
            raise self.wrong(place, value, f"must be a number in [0, {most:g}]")
        return float(value)

    def kind(self, place: str, row: Any) -> tuple[Kinds, tuple[float, float]]:
        """What patterns have in common, and how often they were right and wrong."""
        slot, address, steps, pooled, anywhere, hits, misses = self.items(place, row, list, 7)
        if slot not in SLOT_KINDS or address not in ADDRESS_KINDS or type(pooled) is not bool or type(anywhere) is not bool:
            known = f"{', '.join(SLOT_KINDS)}; {', '.join(ADDRESS_KINDS)}; steps; and two truth values"
            raise self.wrong(place, row, f"must have one of {known}")
        kind = slot, address, self.number(place, steps, 3), pooled, anywhere
        return kind, (self.real(place, hits, _COUNT), self.real(place, misses, _COUNT))

    def address(self, place: str, value: Any) -> bytes:
        """20 bytes in hexadecimal."""
        if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
            raise self.wrong(place, value, "must be 20 bytes in hexadecimal ('0x00...')")
        return bytes.fromhex(value[2:])

    def once(self, place: str, value: Any, key: T, known: Container[T]) -> T:
        """What is not known yet: of one that is there twice, each way to write it counts as the same."""
        if key in known:
            raise self.wrong(place, value, "must be there once")
        return key

    def slots(self, place: str, its: Mapping[str, Any]) -> dict[int, int]:
        """How often a role had its place at which slots."""
        found: dict[int, int] = {}
        for slot, n in its.items():
            number = self.once(place, slot, self.number(place, slot, 2**256 - 1), found)
            found[number] = self.number(f"{place}.{slot}", n)
        return found

    def group(self, place: str, contract: Any, selector: Any) -> Group:
        """Whose patterns."""
        address = None if contract is None else self.address(f"{place}.contract", contract)
        return address, self.number(f"{place}.selector", selector, 2**32 - 1)

    def role(self, place: str, value: Any) -> str:
        """One of `ROLES`."""
        if value not in ROLES:
            raise self.wrong(place, value, f"must be one of {', '.join(ROLES)}")
        return str(value)

    def floats(self, place: str, value: Any, shape: tuple[int, ...], most: float) -> NDArray[np.float64]:
        """Numbers in that shape, none beyond `most`."""
        try:
            made = np.array(value)
            made = made.astype(np.float64) if made.dtype.kind in "if" else np.empty(0)
        except ValueError:  # rows of several lengths
            made = np.empty(0)
        if made.shape != shape or not (np.abs(made) <= most).all():
            raise self.wrong(place, value, f"must be numbers, {' x '.join(map(str, shape))}, in [-{most:g}, {most:g}]")
        return made

    def items(self, place: str, value: Any, kind: type, size: int | None = None) -> Any:
        """A list or an object, of some size."""
        made: Any = value
        if not isinstance(value, kind) or (size is not None and len(made) != size):
            what = "an object" if kind is dict else "a list" if size is None else f"a list of {size}"
            raise self.wrong(place, value, f"must be {what}")
        return value

    def word(self, place: str, value: Any) -> Word:
        """A word."""
        kind, argument = self.items(place, value, list, 2)
        if kind not in _WORDS:
            raise self.wrong(place, kind, f"must be one of {', '.join(_WORDS)}")
        most = 2**256 - 1 if kind == "const" else len(FACTORIES) - 1 if kind == "each_pool" else 2**16 - 1
        return Word(kind, self.number(place, argument, most))

    def key(self, place: str, given: Any) -> tuple[KeyPattern, Stats]:
        """A pattern and its record."""
        one = self.items(place, given, dict)
        for name in ("address", "start", "steps", "offset", "hits", "writes", "calls", "recent"):
            if name not in one:
                raise self.wrong(place, sorted(one), f"must have {name}")
        start = one["start"]
        if isinstance(start, str):
            if start not in ROLES:
                raise self.wrong(f"{place}.start", start, f"must be one of {', '.join(ROLES)}, or a word")
        else:
            start = self.word(f"{place}.start", start)
        steps = []
        for s, step in enumerate(self.items(f"{place}.steps", one["steps"], list)):
            how, word = self.items(f"{place}.steps[{s}]", step, list, 2)
            if how not in _STEPS:
                raise self.wrong(f"{place}.steps[{s}]", how, f"must be one of {', '.join(_STEPS)}")
            steps.append(Step(how, self.word(f"{place}.steps[{s}]", word)))
        if len(steps) > 3:
            raise self.wrong(f"{place}.steps", len(steps), "must be at most 3")
        hits, writes, calls = (self.number(f"{place}.{name}", one[name]) for name in ("hits", "writes", "calls"))
        if hits > calls:
            raise self.wrong(place, hits, f"must have at most as many hits as calls, {calls}")
        if writes > hits + 1:  # the call that it was made of may have written, and is no hit
            raise self.wrong(place, writes, f"must have at most one write more than hits, {hits}")
        stats = Stats(hits, writes, calls, self.real(f"{place}.recent", one["recent"], 1))
        offset = self.number(f"{place}.offset", one["offset"], 2**63 - 1)
        return KeyPattern(self.word(f"{place}.address", one["address"]), start, tuple(steps), offset), stats

    def keys(self, place: str, given: Iterable[Any]) -> dict[KeyPattern, Stats]:
        """Patterns of a group and their records."""
        found: dict[KeyPattern, Stats] = {}
        for k, one in enumerate(given):
            pattern, stats = self.key(f"{place}[{k}]", one)
            found[self.once(f"{place}[{k}]", one, pattern, found)] = stats
        return found


def patterns_from_json(given: Mapping[str, Any]) -> Patterns:
    """Patterns from what `patterns_to_json` gives.

    Raises
    ------
    BlockError
        Naming the place, the value and the rule.

    Examples
    --------
    >>> from .pattern_library import built_in_patterns
    >>> patterns_from_json(patterns_to_json(built_in_patterns())) == built_in_patterns()
    True
    """
    reader = _Reader()
    version = given.get("version") if isinstance(given, Mapping) else given
    if not isinstance(given, Mapping) or type(version) is not int or version != _VERSION:
        raise reader.wrong("version", version, f"must be {_VERSION}")
    parts = {name: reader.items(name, given.get(name), kind) for name, kind in (
        ("templates", list), ("layouts", dict), ("usual", dict), ("trust", dict), ("groups", list), ("touched", list),
        ("contracts", dict), ("kinds", list), ("asked", list),
    )}  # fmt: skip
    made = Patterns()
    for i, part in enumerate(parts["templates"]):
        place = f"templates[{i}]"
        one = reader.items(place, part, dict)
        group = reader.group(place, one.get("contract"), one.get("selector"))
        reader.once(place, one.get("selector"), group, made.templates)
        made.templates[group] = reader.keys(f"{place}.keys", reader.items(f"{place}.keys", one.get("keys"), list))
    for address, layout in parts["layouts"].items():
        place = f"layouts.{address}"
        made.layouts[reader.once(place, address, reader.address(place, address), made.layouts)] = {
            reader.role(place, role): reader.slots(f"{place}.{role}", reader.items(f"{place}.{role}", its, dict))
            for role, its in reader.items(place, layout, dict).items()
        }
    for role, slot in parts["usual"].items():
        made.usual[reader.role("usual", role)] = reader.number(f"usual.{role}", slot, 2**256 - 1)
    _fill_experience(reader, made, parts)
    return made


def _fill_experience(reader: _Reader, made: Patterns, parts: Mapping[str, Any]) -> None:
    given, n = parts["trust"], len(FEATURES)
    mean = reader.floats("trust.mean", given.get("mean"), (n,), _MEAN)
    precision = reader.floats("trust.precision", given.get("precision"), (n, n), _PRECISION)
    sure = np.linalg.eigvalsh(precision)
    least = max(_LEAST, float(sure[-1]) * _SINGULAR)
    if not np.array_equal(precision, precision.T) or sure[0] < least:
        rule = f"must be symmetric and positive definite, no eigenvalue below {least:g}"
        raise reader.wrong("trust.precision", given["precision"], rule)
    made.trust = Trust(mean, precision)
    for i, row in enumerate(parts["groups"]):
        contract, selector, *counts = reader.items(f"groups[{i}]", row, list, 5)
        hits, keys, calls = (reader.number(f"groups[{i}]", one) for one in counts)
        if hits > keys:
            raise reader.wrong(f"groups[{i}]", hits, f"must have at most as many hits as keys, {keys}")
        group = reader.group(f"groups[{i}]", contract, selector)
        made.groups[reader.once(f"groups[{i}]", selector, group, made.groups)] = hits, keys, calls
    for i, row in enumerate(parts["touched"]):
        address, slot, *counts = reader.items(f"touched[{i}]", row, list, 4)
        key = reader.address(f"touched[{i}]", address), reader.number(f"touched[{i}]", slot, 2**256 - 1)
        often, last = reader.number(f"touched[{i}]", counts[0]), reader.number(f"touched[{i}]", counts[1], _BLOCK)
        made.touched[reader.once(f"touched[{i}]", slot, key, made.touched)] = often, last
    for one, last in parts["contracts"].items():
        place = f"contracts.{one}"
        address = reader.once(place, one, reader.address(place, one), made.contracts)
        made.contracts[address] = reader.number(place, last, _BLOCK)
    for i, row in enumerate(parts["kinds"]):
        kind, record = reader.kind(f"kinds[{i}]", row)
        made.kinds[reader.once(f"kinds[{i}]", row, kind, made.kinds)] = record
    for i, one in enumerate(parts["asked"]):
        made.asked.add(reader.once(f"asked[{i}]", one, reader.address(f"asked[{i}]", one), made.asked))
