"""All that two executions of one block differ in; `difference` of an execution names the first and stops there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import html, programs
from ..access.eip7928_compare import differences
from ..access.sets import AccessSets
from ..errors import BlockError
from ..keys import KeyTable, name_of
from ..machine.ops import Field, Mode
from ..tabular import Tabular

if TYPE_CHECKING:
    from ..evm.block import AnyBlock
    from ..evm.world import AccountState
    from .evm_result import EvmExecution
    from .result import Execution

__all__ = ["ExecutionDiff", "Unequal", "evm_diff", "micro_op_diff"]

#: Lines that `str` shows.
_MOST_LINES: Final = 20


class Unequal(NamedTuple):
    """One thing that differs, with both values; None is what one of the two has not.

    `kind` is ``"receipt"``, ``"access"`` (a `Mode`), ``"state"`` (after the block) or ``"list"`` (the block access list of an
    EVM block). `tx` is None of the state, and of entries of the protocol; `field` is that of a receipt, else ``""``; `key`
    is the name of a key, ``""`` of a receipt.
    """

    kind: str
    tx: int | None
    field: str
    key: str
    mine: Any
    theirs: Any

    def __str__(self) -> str:
        place = " ".join(part for part in ("" if self.tx is None else f"transaction {self.tx}", self.field, self.key) if part)
        return f"{self.kind}: {place}: {_words(self.mine)}, {_words(self.theirs)}"


@dataclass(frozen=True, repr=False)
class ExecutionDiff(Tabular):
    """What differs between two executions of one block: false if nothing does. Made by ``execution.diff(other)``.

    Parameters
    ----------
    block : int
        Its number.
    executors : (str, str)
        Who executed: mine, theirs.
    entries : tuple of Unequal
        Receipts by transaction, accesses by transaction and key, block access list, state by key.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from pevm_numba.block import Block
    >>> from pevm_numba.execute.run import execute
    >>> one = execute(Block.from_programs([[("SSTORE", (1, 0, 0), 5)], []]), "serial")
    >>> print(one.diff(replace(one, gas_used=one.gas_used + [0, 7])))
    block 0, serial and serial: 1 difference, in 1 transaction and 0 keys of the state
      receipt: transaction 1 gas_used: 21,000, 21,007
    """

    block: int
    executors: tuple[str, str]
    entries: tuple[Unequal, ...]

    @property
    def transactions(self) -> list[int]:
        """Transactions that differ in anything, ascending."""
        return sorted({one.tx for one in self.entries if one.tx is not None})

    @property
    def keys(self) -> list[str]:
        """Names of the keys whose value after the block differs."""
        return [one.key for one in self.entries if one.kind == "state"]

    def of(self, tx: int) -> list[Unequal]:
        """What differs in one transaction."""
        return [one for one in self.entries if one.tx == tx]

    def columns(self) -> dict[str, NDArray[Any]]:
        """One row for each difference, values in words.

        Returns
        -------
        dict
            ``kind``, ``field``, ``key``, ``mine`` and ``theirs`` as texts, and ``tx_index`` int64, -1 where there is none.
        """
        given = self.entries
        return {
            "kind": _texts(one.kind for one in given),
            "tx_index": np.array([-1 if one.tx is None else one.tx for one in given], np.int64),
            "field": _texts(one.field for one in given),
            "key": _texts(one.key for one in given),
            "mine": _texts(_words(one.mine) for one in given),
            "theirs": _texts(_words(one.theirs) for one in given),
        }

    def _headline(self) -> str:
        told = f"block {self.block}, {self.executors[0]} and {self.executors[1]}"
        if not self.entries:
            return f"{told}: no difference"
        where = f"{_count(len(self.transactions), 'transaction')} and {_count(len(self.keys), 'key')} of the state"
        return f"{told}: {_count(len(self.entries), 'difference')}, in {where}"

    def __bool__(self) -> bool:
        return bool(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Unequal]:
        return iter(self.entries)

    def __str__(self) -> str:
        lines = [self._headline(), *(f"  {one}" for one in islice(self.entries, _MOST_LINES))]
        if len(self.entries) > _MOST_LINES:
            lines.append(f"  … and {len(self.entries) - _MOST_LINES:,} more")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<ExecutionDiff of {self._headline()}>"

    def _repr_html_(self) -> str:
        facts = [("differences", len(self)), ("transactions", len(self.transactions)), ("keys of the state", len(self.keys))]
        rows = (
            (one.kind, "" if one.tx is None else one.tx, one.field or one.key, _words(one.mine), _words(one.theirs))
            for one in self.entries
        )
        heads = ("kind", "transaction", "what", *self.executors)
        return html.table(f"Differences, block {self.block}", facts, heads, rows, len(self), "differences")


def _texts(values: Iterable[str]) -> NDArray[Any]:
    return np.array(list(values), object)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _words(value: Any) -> str:
    """A value for people: modes by name, bytes in hexadecimal, numbers with commas."""
    if value is None:
        return "none"
    if isinstance(value, Mode):
        return "|".join(mode.name for mode in Mode if value & mode and mode.name)
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


# -------------------------------------------------------------------- micro-ops


def micro_op_diff(mine: Execution, theirs: Execution) -> ExecutionDiff:
    """All that differs between two executions of a block of micro-ops.

    Raises
    ------
    BlockError
        If they are of different blocks.
    """
    block = mine.block
    _same_block(block, theirs.block, block is theirs.block or block == theirs.block)
    found: list[Unequal] = []
    for name in ("status", "gas_used", "refund", "digest", "output"):
        one, two = getattr(mine, name), getattr(theirs, name)
        unlike = one != two
        where = np.flatnonzero(unlike.any(axis=1) if unlike.ndim > 1 else unlike)
        values = (programs.integers(one[where]), programs.integers(two[where])) if one.ndim > 1 else (one[where], two[where])
        found += [Unequal("receipt", t, name, "", int(a), int(b)) for t, a, b in zip(where.tolist(), *values)]
    found.sort(key=lambda one: one.tx or 0)
    numbers = np.arange(block.n_keys)
    found += _access_entries(mine.observed, theirs.observed, numbers, numbers, block.key_name)
    where = np.flatnonzero((mine.values != theirs.values).any(axis=1))
    both = zip(where.tolist(), programs.integers(mine.values[where]), programs.integers(theirs.values[where]))
    found += [Unequal("state", None, "", block.key_name(k), a, b) for k, a, b in both]
    return ExecutionDiff(block.number, (mine.executor, theirs.executor), tuple(found))


def _same_block(mine: AnyBlock, theirs: AnyBlock, same: bool) -> None:
    if not same:
        raise BlockError(f"other: an execution of {theirs!r}: must be of the same block, {mine!r}")


def _access_entries(
    mine: AccessSets, theirs: AccessSets, my_numbers: NDArray[Any], their_numbers: NDArray[Any], name: Callable[[int], str]
) -> Iterator[Unequal]:
    """Accesses that differ, by transaction and key; `*_numbers` bring the key ids of both to those that `name` takes."""
    n_keys = 1 + max(int(my_numbers.max(initial=0)), int(their_numbers.max(initial=0)))
    codes = []
    for sets, numbers in (mine, my_numbers), (theirs, their_numbers):
        owner = np.repeat(np.arange(sets.n_tx, dtype=np.int64), np.diff(sets.indptr))
        codes.append(owner * n_keys + numbers[sets.keys])
    every = np.union1d(*codes)
    modes = np.zeros((2, len(every)), np.uint8)
    for row, code, sets in zip(modes, codes, (mine, theirs)):
        row[np.searchsorted(every, code)] = sets.modes
    for i in np.flatnonzero(modes[0] != modes[1]).tolist():
        tx, key = divmod(int(every[i]), n_keys)
        one, two = (Mode(int(row[i])) if row[i] else None for row in modes)
        yield Unequal("access", tx, "", name(key), one, two)


# -------------------------------------------------------------------- EVM


def evm_diff(mine: EvmExecution, theirs: EvmExecution) -> ExecutionDiff:
    """All that differs between two executions of an EVM block.

    Raises
    ------
    BlockError
        If they are of different blocks.
    """
    block = mine.block
    same = (block.env, block.transactions) == (theirs.block.env, theirs.block.transactions)
    _same_block(block, theirs.block, block is theirs.block or same)
    found = [
        Unequal("receipt", t, name, "", *both)
        for name in ("success", "gas_used", "logs")
        for t, both in enumerate(zip(_listed(getattr(mine, name)), _listed(getattr(theirs, name))))
        if both[0] != both[1]
    ]
    found.sort(key=lambda one: one.tx or 0)
    found += _evm_accesses(mine, theirs)
    for unlike in differences(mine.eip7928_list(), theirs.eip7928_list()):
        index = unlike.change_index
        tx = index - 1 if index is not None and 1 <= index <= block.n_tx else None
        place = f"0x{unlike.address.hex()} {unlike.what}" + ("" if unlike.slot is None else f" 0x{unlike.slot:x}")
        found.append(Unequal("list", tx, "", place, unlike.listed, unlike.found))
    found += _state_entries(mine.state, theirs.state)
    return ExecutionDiff(block.number, (mine.executor, theirs.executor), tuple(found))


def _listed(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _evm_accesses(mine: EvmExecution, theirs: EvmExecution) -> Iterator[Unequal]:
    """Accesses that differ; the key tables of both are joined, in order."""
    keys = sorted({*mine.keys, *theirs.keys})
    places = {key: i for i, key in enumerate(keys)}
    joined = KeyTable.from_keys(keys)
    numbers = [np.array([places[key] for key in one.keys], np.int64) for one in (mine, theirs)]
    return _access_entries(mine.observed, theirs.observed, numbers[0], numbers[1], joined.key_name)


def _state_entries(mine: Mapping[bytes, AccountState], theirs: Mapping[bytes, AccountState]) -> Iterator[Unequal]:
    """Values of keys after the block that differ; of an account that is not there all are None."""
    for address in sorted(mine.keys() | theirs.keys()):
        one, two = mine.get(address), theirs.get(address)
        if one == two:
            continue
        left, right = _values(one), _values(two)
        for field, slot in sorted(left.keys() | right.keys()):
            values = left.get((field, slot)), right.get((field, slot))
            if values[0] != values[1]:
                table = KeyTable.from_keys([(address, field, slot)])
                yield Unequal("state", None, "", name_of(table, 0), *values)


def _values(account: AccountState | None) -> dict[tuple[Field, int], Any]:
    """All that an account holds, by field and slot."""
    if account is None:
        return {}
    balance, nonce, code, storage = account
    fixed: dict[tuple[Field, int], Any] = {
        (Field.BALANCE, 0): balance, (Field.NONCE, 0): nonce, (Field.CODE, 0): code,
    }  # fmt: skip
    return fixed | {(Field.STORAGE, slot): value for slot, value in storage.items()}
