"""The door: every value from outside is checked here and brought to one exact dtype, because no kernel checks anything."""

from __future__ import annotations

import operator
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._kernels import block as _k
from ._kernels.jit import inputs
from .errors import BlockError
from .machine.ops import Field

__all__ = [
    "DEFAULT_GAS_LIMIT", "HASH_SEED", "KeyRows", "array", "become", "choice", "csr", "freeze", "instance", "integer",
    "intern_rows", "items", "permutation", "real", "shown", "span", "take_ranges", "text",
]  # fmt: skip

DEFAULT_GAS_LIMIT: Final = 2**24

# -------------------------------------------------------------------- single values and arrays


def shown(value: Any, most: int = 200) -> str:
    """Text of a value for a complaint about it, of at most so many characters.

    Notes
    -----
    Python writes no integer of more than 4,300 digits: what is or has one is told by its type, so that the complaint about
    it does not fail itself.

    Examples
    --------
    >>> shown("ab"), shown("abcdef", 4), shown(10**5000), shown([10**5000])
    ("'ab'", "'abc", 'an integer of many digits', 'a list with an integer of many digits')
    """
    try:
        return repr(value)[:most]
    except ValueError:
        number = "an integer of many digits"
        return number if isinstance(value, int) else f"a {type(value).__name__} with {number}"


def integer(name: str, value: Any, low: int, high: float = np.inf) -> int:
    """`value` as a plain int in [low, high], of any size without `high`, or a BlockError that names it."""
    try:
        number = int(operator.index(value))  # of a subclass, index gives the object itself
    except TypeError:
        raise BlockError(f"{name} = {shown(value)}: must be an integer") from None
    if isinstance(value, bool | np.bool_) or not low <= number <= high:
        rule = f"at least {low}" if high == np.inf else f"in [{low}, {high}]"
        raise BlockError(f"{name} = {shown(value)}: must be {rule}")
    return number


def real(name: str, value: Any, low: float, high: float = np.inf) -> float:
    """`value` as a finite float in [low, high], or a BlockError that names it."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = np.nan
    if isinstance(value, bool | np.bool_ | str | bytes | np.ndarray) or not (np.isfinite(number) and low <= number <= high):
        limit = "" if high == np.inf else f" and at most {high:g}"
        raise BlockError(f"{name} = {shown(value)}: must be a finite number, at least {low:g}{limit}")
    return number


def span(name: str, value: Any, low: int, high: int) -> tuple[int, int]:
    """`value` as a pair (low, high) of integers in [low, high], or a BlockError that names it."""
    if not isinstance(value, Sequence) or len(value) != 2:
        raise BlockError(f"{name} = {shown(value)}: must be a pair (low, high)")
    least = integer(f"{name}[0]", value[0], low, high)
    return least, integer(f"{name}[1]", value[1], least, high)


def freeze(target: Any, **values: Any) -> None:
    """Set attributes of a frozen dataclass that is being made; arrays become read-only."""
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
        object.__setattr__(target, name, value)


def instance(name: str, value: Any, wanted: type, hint: str = "") -> None:
    """A BlockError that names `value`, and ends with `hint`, unless it is of the type wanted."""
    if not isinstance(value, wanted):
        article = "an" if wanted.__name__[0] in "AEIOUaeiou" else "a"
        raise BlockError(f"{name} = {shown(value)}: must be {article} {wanted.__name__}{hint}")


def items(name: str, value: Any, what: str) -> list[Any]:
    """`value` as a list, or a BlockError; text, bytes and mappings are refused, since they iterate over something else."""
    if not isinstance(value, str | bytes | bytearray | Mapping):
        try:
            return list(value if isinstance(value, list | tuple) else iter(value))
        except TypeError:
            if hasattr(value, "__next__"):  # the caller's own generator failed: not ours to rename
                raise
    raise BlockError(f"{name} = {shown(value)}: must be a list of {what}")


def become(target: Any, **values: Any) -> None:
    """As `freeze`, of values that are equal to those there: only what is of another type, as NumPy's integers, is set."""
    freeze(target, **{name: value for name, value in values.items() if value is not getattr(target, name)})


def choice(name: str, value: Any, known: Iterable[str]) -> None:
    """A BlockError that names `value` unless it is one of the names known."""
    if not isinstance(value, str) or value not in known:
        raise BlockError(f"{name} = {shown(value)}: must be one of {', '.join(known)}")


def text(name: str, value: Any) -> str:
    """`value` if it is a string, or a BlockError that names it."""
    if not isinstance(value, str):
        raise BlockError(f"{name} {shown(value)} is unknown: must be a name")
    return value


def array(
    name: str,
    value: ArrayLike,
    dtype: DTypeLike,
    shape: tuple[int | None, ...],
    *,
    low: int | None = None,
    high: int | None = None,
) -> NDArray[Any]:
    """A C-contiguous copy-on-need of `value` in exactly this dtype and shape (None = any), every value in [low, high].

    Integers of other types are accepted if every value fits; floats never are.

    Raises
    ------
    BlockError
        Naming the array, the place, the value and the rule.
    """
    want = np.dtype(dtype)
    try:
        given = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise BlockError(f"{name}: not an array of {want}: {error}") from None
    if given.dtype.kind == "f" and isinstance(value, list | tuple):  # 0 beside 2**63: NumPy finds no common integer
        given = np.asarray(value, dtype=object)
    if given.size == 0:  # an empty list comes as float64, and without its second dimension
        given = given.astype(want)
        empty = [0 if n is None else n for n in shape]
        if given.ndim < len(shape) and 0 in empty:
            given = given.reshape(empty)
    if given.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, given.shape)):
        text = ", ".join("any" if n is None else str(n) for n in shape)
        raise BlockError(f"{name} has shape {given.shape}: must be ({text})")
    if given.dtype != want:
        given = _cast(name, given, want)
    if want.kind != "b" and given.size and (low is not None or high is not None):
        bad = np.zeros(given.shape, bool)
        if low is not None:
            bad |= given < low
        if high is not None:
            bad |= given > high
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            place = ", ".join(map(str, at))
            bounds = f"[{'' if low is None else low}, {'' if high is None else high}]"
            raise BlockError(f"{name}[{place}] = {given[at]}: must be in {bounds}")
    return np.require(given, requirements=["C", "A"])


def _cast(name: str, given: NDArray[Any], want: np.dtype) -> NDArray[Any]:
    if want.kind == "b" or given.dtype.kind not in "iuO":
        raise BlockError(f"{name} has dtype {given.dtype}: must be {want}, or integers that fit")
    if given.dtype.kind == "O":
        for at, item in enumerate(given.ravel()):
            if not isinstance(item, int | np.integer) or isinstance(item, bool):
                raise BlockError(f"{name}, element {at} = {shown(item)}: must be an integer")
    info = np.iinfo(want)
    if given.size:
        low, high = given.min(), given.max()
        for value in (low, high):
            if not info.min <= int(value) <= info.max:
                at = int(np.argmax((given == value).ravel()))
                raise BlockError(f"{name}, element {at} = {shown(int(value))}: must be in [{info.min}, {info.max}]")
    return given.astype(want)


def csr(name: str, value: ArrayLike, n: int | None, end: int) -> NDArray[np.int64]:
    """Offsets of a CSR structure: n + 1 of them, from 0, not falling, to `end`."""
    offsets = array(name, value, np.int64, (None if n is None else n + 1,))
    if len(offsets) == 0 or offsets[0] != 0:
        raise BlockError(f"{name}[0] = {offsets[0] if len(offsets) else 'missing'}: must be 0")
    falls = np.flatnonzero(offsets[1:] < offsets[:-1])
    if len(falls):
        i = int(falls[0]) + 1
        raise BlockError(f"{name}[{i}] = {offsets[i]}: must not be below {name}[{i - 1}] = {offsets[i - 1]}")
    if offsets[-1] != end:
        raise BlockError(f"{name}[{len(offsets) - 1}] = {offsets[-1]}: must be {end}, the number of entries")
    return offsets


def permutation(name: str, value: ArrayLike, n: int) -> NDArray[np.int32]:
    """`value` as an (n,) int32 permutation of 0..n-1, or a BlockError that names the first number not there once."""
    order = array(name, value, np.int32, (n,), low=0, high=n - 1)
    counts = np.bincount(order, minlength=n)
    wrong = np.flatnonzero(counts != 1)
    if len(wrong):
        raise BlockError(f"{name} holds transaction {wrong[0]} {counts[wrong[0]]} times: must be once")
    return order


def take_ranges(indptr: NDArray[np.int64], rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offsets and element positions of the CSR rows `rows`, in that order."""
    lengths = (indptr[1:] - indptr[:-1])[rows]
    out = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=out[1:])
    return out, np.arange(out[-1]) + np.repeat(indptr[:-1][rows] - out[:-1], lengths)


# -------------------------------------------------------------------- keys


def intern_rows(
    address: NDArray[np.uint8], kind: NDArray[np.uint8], slot: NDArray[np.uint8]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Dense ids of key rows, in order of first appearance, and the first row of each id: one hashing pass.

    Parameters
    ----------
    address, kind, slot : (n, 20), (n,), (n, 32) uint8
        C-contiguous.

    Returns
    -------
    ids : (n,) int32
    first : (n_keys,) int64

    Raises
    ------
    BlockError
        If there are 2**30 rows or more.
    """
    n = len(kind)
    if n >= 2**30:
        raise BlockError(f"{n} key rows: must be fewer than 2**30")
    table = np.full((1 << max(4, (2 * n - 1).bit_length()), 2), -1, np.int32)
    ids, first = np.empty(n, np.int32), np.empty(n, np.int64)
    words = inputs(address.view(np.uint32), kind, slot.view(np.uint64))
    n_keys = _k.intern(*words, HASH_SEED, table, ids, first)
    return ids, first[:n_keys]


#: Of hashes of keys: another in each process, so that no file can be made to collide.
HASH_SEED: Final = np.uint64(secrets.randbits(64))


class KeyRows:
    """The caller's key table: rows in any order, repeats allowed; hands out ids in order of first `use`."""

    def __init__(self, address: ArrayLike, kind: ArrayLike, slot: ArrayLike) -> None:
        self.address = array("key_address", address, np.uint8, (None, 20))
        n = len(self.address)
        self.kind = array("key_field", kind, np.uint8, (n,), high=max(Field))
        self.slot = array("key_slot", slot, np.uint8, (n, 32))
        aligned = [np.require(part, requirements=["C", "A"]) for part in (self.address, self.slot)]
        self.address, self.slot = (a if a.ctypes.data % 8 == 0 else a.copy() for a in aligned)
        other = np.flatnonzero(self.kind != Field.STORAGE)
        bad = other[self.slot[other].any(axis=1)]
        if len(bad):
            row = int(bad[0])
            rule = "only storage keys (field 0) have a slot, others have zero"
            raise BlockError(f"key_slot[{row}] = 0x{self.slot[row].tobytes().hex()} with field {self.kind[row]}: {rule}")
        self.ids, self.first = intern_rows(self.address, self.kind, self.slot)
        self._new_id = np.full(len(self.first), -1, np.int32)
        self._n_seen = 0

    def __len__(self) -> int:
        return len(self.kind)

    def use(self, rows: NDArray[np.int32]) -> NDArray[np.int32]:
        """Key ids of rows; negative entries are kept."""
        out = np.empty(len(rows), np.int32)
        self._n_seen = _k.renumber(*inputs(rows, self.ids), self._new_id, self._n_seen, out)
        return out

    def finish(self, state_key: ArrayLike | None, state_value: ArrayLike | None) -> dict[str, NDArray[Any]]:
        """Take in the pre-state, number the keys that only it names, and return the final tables."""
        rows = array("state_key", [] if state_key is None else state_key, np.int32, (None,), low=0, high=len(self) - 1)
        given = np.zeros((0, 4), np.uint64) if state_value is None else state_value
        values = array("state_value", given, np.uint64, (len(rows), 4))
        ids = self.ids[rows]
        order = np.argsort(ids, kind="stable")
        twice = np.flatnonzero(ids[order][1:] == ids[order][:-1])
        if len(twice):
            i, j = int(order[twice[0]]), int(order[twice[0] + 1])
            row = rows[j]
            key = f"0x{self.address[row].tobytes().hex()} field {self.kind[row]} slot 0x{self.slot[row].tobytes().hex()}"
            raise BlockError(f"state_key[{j}] names the key of state_key[{i}] again ({key}): a key has one value")
        extra = np.flatnonzero((self._new_id[ids] < 0) & values.any(axis=1))
        self.use(rows[extra][np.argsort(self._sortable(rows[extra]), kind="stable")])

        known = np.flatnonzero(self._new_id >= 0)
        first = np.empty(self._n_seen, np.int64)
        first[self._new_id[known]] = self.first[known]
        pre = np.zeros((self._n_seen, 4), np.uint64)
        kept = self._new_id[ids] >= 0
        pre[self._new_id[ids[kept]]] = values[kept]
        return {
            "key_address": self.address[first],
            "key_field": self.kind[first],
            "key_slot": self.slot[first],
            "pre_values": pre,
        }

    def _sortable(self, rows: NDArray[np.int32]) -> NDArray[Any]:
        joined = np.concatenate([self.address[rows], self.kind[rows, None], self.slot[rows]], axis=1)
        return np.ascontiguousarray(joined).view("S53").ravel()  # equal lengths, so stripped zeros do not matter
