"""Block access lists (EIP-7928) from and to RLP by the library `rlp`, which reads each header; the EIP's rules are told here.

Items are asked for one by one: `rlp.decode` copies a list again for each of its items (60,000 slots, 2 MB: 3 seconds), goes
as deep as the bytes say, and does not tell where something is wrong. A list has a fixed depth, and takes linear time here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._kernels.eip7928 import Columns
from . import wire
from .eip7928_rules import Rule, RuleError

__all__ = ["Rows", "decode", "encode"]

_Any = TypeVar("_Any")

#: Columns of numbers, with their bytes.
_WIDTHS: Final = {"address": 20, "slot": 32, "change_value": 32, "read": 32, "balance": 32, "nonce": 8}

#: What an account has several of, in its rows; changes of storage belong to slots.
_OF_ACCOUNTS: Final = ("slot", "read", "balance", "nonce", "code")


class Rows:
    """Rows of a list, gathered account by account; numbers one after the other, each in full width.

    Examples
    --------
    >>> rows = Rows()
    >>> rows.numbers["address"] += bytes(20)
    >>> rows.end_account()
    >>> rows.columns().slot_indptr.tolist()
    [0, 0]
    """

    def __init__(self) -> None:
        self.numbers = {name: bytearray() for name in _WIDTHS}
        self.indices: dict[str, list[int]] = {name: [] for name in ("change", "balance", "nonce", "code")}
        self.codes: list[bytes] = []
        self._ends: dict[str, list[int]] = {name: [0] for name in ("change", *_OF_ACCOUNTS)}

    def _count(self, name: str) -> int:
        return len(self.indices[name]) if name in self.indices else len(self.numbers[name]) // _WIDTHS[name]

    def end_slot(self) -> None:
        """The last slot has all its changes."""
        self._ends["change"].append(len(self.indices["change"]))

    def end_account(self) -> None:
        """The last account has all that it has."""
        for name in _OF_ACCOUNTS:
            self._ends[name].append(self._count(name))

    @property
    def place(self) -> str:
        """The account that is not complete."""
        a = len(self._ends["slot"]) - 1
        address = self.numbers["address"][20 * a :]
        return f"account {a}, 0x{address.hex()}" if address else f"account {a}"

    def columns(self) -> Columns:
        """All of them."""
        numbers = {name: np.frombuffer(self.numbers[name], np.uint8).reshape(-1, width) for name, width in _WIDTHS.items()}
        indices = {f"{name}_index": np.array(its, np.uint32) for name, its in self.indices.items()}
        ends = {f"{name}_indptr": np.array(its, np.int64) for name, its in self._ends.items()}
        bounds = np.cumsum([0, *map(len, self.codes)])
        return Columns(
            **numbers, **indices, **ends, code_bounds=bounds, code_data=np.frombuffer(b"".join(self.codes), np.uint8)
        )


class _Reader:
    """Goes through the bytes of a list once. `lacks` is the rule that is broken where an item must be and nothing is left."""

    def __init__(self, data: bytes) -> None:
        self.data, self.rows, self.inside = data, Rows(), False
        self._header, self._wrong = wire.header_reader(), (wire.library().exceptions.DecodingError, IndexError)

    def fail(self, rule: Rule, at: int, cause: Exception | None = None) -> NoReturn:
        """The rule, and where it is broken."""
        place = f", {self.rows.place}" if self.inside else ""
        raise RuleError(rule, f"byte {at} of {len(self.data)}{place}") from cause

    def item(self, at: int, end: int, lacks: Rule) -> tuple[type, int, int]:
        """Whether the item at `at` is a list or bytes, and where its payload starts and stops."""
        if at >= end:
            self.fail(lacks, at)
        try:
            _, kind, size, start = self._header(self.data, at)
        except self._wrong as cause:
            self.fail(self._refused(at, end), at, cause)
        stop: int = start + size
        if stop > end:
            self.fail(Rule.TRUNCATED, at)
        return kind, start, stop

    def _refused(self, at: int, end: int) -> Rule:
        """Why the library refuses a header: it has two reasons, and looks beyond `end` for one that is cut."""
        first = self.data[at]
        if at + 1 + (1 if first < 0xB8 else first % 8 + 1) > end:
            return Rule.TRUNCATED
        return Rule.BYTE_NOT_MINIMAL if first < 0xB8 else Rule.LENGTH_NOT_MINIMAL

    def list(self, at: int, end: int, lacks: Rule) -> tuple[int, int]:
        """Where the list at `at` starts and stops."""
        kind, start, stop = self.item(at, end, lacks)
        if kind is not list:
            self.fail(Rule.LIST_EXPECTED, at)
        return start, stop

    def text(self, at: int, end: int, lacks: Rule) -> tuple[bytes, int]:
        """The bytes at `at`, and where they stop."""
        kind, start, stop = self.item(at, end, lacks)
        if kind is not bytes:
            self.fail(Rule.STRING_EXPECTED, at)
        return self.data[start:stop], stop

    def number(self, at: int, end: int, lacks: Rule, width: int, beyond: Rule) -> tuple[bytes, int]:
        """The number at `at`, in so few bytes as it needs, and where it stops."""
        text, stop = self.text(at, end, lacks)
        if text[:1] == b"\0":
            self.fail(Rule.LEADING_ZERO, at)
        if len(text) > width:
            self.fail(beyond, at)
        return text, stop

    def changes(self, name: str, at: int, end: int, beyond: Rule) -> None:
        """Changes [index, value] of one kind; code has no bounds."""
        column = "change_value" if name == "change" else name
        indices, width, lacks = self.rows.indices[name], _WIDTHS.get(column, 0), Rule.CHANGE_FIELDS
        while at < end:
            inner, stop = self.list(at, end, lacks)
            index, inner = self.number(inner, stop, lacks, 4, Rule.INDEX_RANGE)
            if width:
                value, inner = self.number(inner, stop, lacks, width, beyond)
                self.rows.numbers[column] += value.rjust(width, b"\0")
            else:
                value, inner = self.text(inner, stop, lacks)
                self.rows.codes.append(value)
            if inner != stop:
                self.fail(lacks, inner)
            indices.append(int.from_bytes(index, "big"))
            at = stop

    def slots(self, at: int, end: int) -> None:
        """Changes of storage, [slot, changes] each."""
        while at < end:
            inner, stop = self.list(at, end, Rule.SLOT_FIELDS)
            slot, inner = self.number(inner, stop, Rule.SLOT_FIELDS, 32, Rule.SLOT_RANGE)
            first, last = self.list(inner, stop, Rule.SLOT_FIELDS)
            if last != stop:
                self.fail(Rule.SLOT_FIELDS, last)
            self.rows.numbers["slot"] += slot.rjust(32, b"\0")
            self.changes("change", first, last, Rule.VALUE_RANGE)
            self.rows.end_slot()
            at = stop

    def reads(self, at: int, end: int) -> None:
        """Slots that are only read."""
        rows = self.rows.numbers["read"]
        while at < end:
            slot, at = self.number(at, end, Rule.TRUNCATED, 32, Rule.SLOT_RANGE)
            rows += slot.rjust(32, b"\0")

    def account(self, at: int, end: int) -> None:
        """The six fields of an account."""
        lacks, self.inside = Rule.ACCOUNT_FIELDS, True
        address, inner = self.text(at, end, lacks)
        if len(address) != 20:
            self.fail(Rule.ADDRESS_SIZE, at)
        self.rows.numbers["address"] += address
        start, stop = self.list(inner, end, lacks)
        self.slots(start, stop)
        start, stop = self.list(stop, end, lacks)
        self.reads(start, stop)
        for name, beyond in (("balance", Rule.VALUE_RANGE), ("nonce", Rule.NONCE_RANGE), ("code", Rule.TRUNCATED)):
            start, stop = self.list(stop, end, lacks)
            self.changes(name, start, stop, beyond)
        if stop != end:
            self.fail(lacks, stop)
        self.rows.end_account()
        self.inside = False


def decode(data: bytes) -> Columns:
    """Rows of a list's encoding, of which the order is not checked.

    Raises
    ------
    RuleError
        With the first rule that is broken of those that need no other row to be seen, the byte and the account.

    Examples
    --------
    >>> decode(b"\\xc1\\x05")
    Traceback (most recent call last):
    ...
    pevm_numba.access.eip7928_rules.RuleError: block access list, byte 1 of 2: must be a list
    """
    reader = _Reader(data)
    at, end = reader.list(0, len(data), Rule.TRUNCATED)
    if end != len(data):
        reader.fail(Rule.TRAILING_BYTES, end)
    while at < end:
        start, at = reader.list(at, end, Rule.TRUNCATED)
        reader.account(start, at)
    return reader.rows.columns()


# -------------------------------------------------------------------- to RLP


def _numbers(rows: NDArray[np.uint8]) -> list[bytes]:
    """Each row in as few bytes as it needs."""
    width, data = rows.shape[1], rows.tobytes()
    return [data[at : at + width].lstrip(b"\0") for at in range(0, len(data), width)]


def _changes(indices: NDArray[np.uint32], values: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(_numbers(indices.astype(">u4").view(np.uint8).reshape(-1, 4)), values))


def _parted(rows: list[_Any], offsets: NDArray[np.int64]) -> list[list[_Any]]:
    return [rows[start:stop] for start, stop in pairwise(offsets.tolist())]


def encode(columns: Columns) -> bytes:
    """A list's encoding.

    Examples
    --------
    >>> rows = Rows()
    >>> rows.numbers["address"] += b"\\x01" * 20
    >>> rows.end_account()
    >>> encode(rows.columns()).hex()
    'dbda940101010101010101010101010101010101010101c0c0c0c0c0'
    """
    values = {name: _numbers(getattr(columns, name)) for name in ("slot", "change_value", "read", "balance", "nonce")}
    bounds, code = columns.code_bounds.tolist(), columns.code_data.tobytes()
    changes = _changes(columns.change_index, values["change_value"])
    fields: tuple[tuple[list[Any], NDArray[np.int64]], ...] = (
        (list(zip(values["slot"], _parted(changes, columns.change_indptr))), columns.slot_indptr),
        (values["read"], columns.read_indptr),
        (_changes(columns.balance_index, values["balance"]), columns.balance_indptr),
        (_changes(columns.nonce_index, values["nonce"]), columns.nonce_indptr),
        (_changes(columns.code_index, [code[i:j] for i, j in pairwise(bounds)]), columns.code_indptr),
    )
    addresses = [row.tobytes() for row in columns.address]
    return wire.encode(list(zip(addresses, *(_parted(rows, offsets) for rows, offsets in fields))))
