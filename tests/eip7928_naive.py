"""Block access lists read slowly: plain Python that tells the first rule of EIP-7928 or RLP that a list breaks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any


class Broken(Exception):
    """The name of a rule."""


def header(data: bytes, at: int, end: int) -> tuple[bool, int, int]:
    """Whether the item at `at` is a list, and where its payload starts and stops."""
    if at >= end:
        raise Broken("TRUNCATED")
    first = data[at]
    if first < 0x80:
        return False, at, at + 1
    is_list = first >= 0xC0
    size, start = first - (0xC0 if is_list else 0x80), at + 1
    if size > 55:
        raw = data[start : start + size - 55]
        start += size - 55
        if start > end:
            raise Broken("TRUNCATED")
        size = int.from_bytes(raw, "big")
        if raw[0] == 0:
            raise Broken("LENGTH_NOT_MINIMAL")
        if size < 56:
            raise Broken("LENGTH_NOT_MINIMAL")
    if start + size > end:
        raise Broken("TRUNCATED")
    if not is_list and size == 1 and data[start] < 0x80:
        raise Broken("BYTE_NOT_MINIMAL")
    return is_list, start, start + size


class Reader:
    """Goes through the items of one list."""

    def __init__(self, data: bytes, start: int, stop: int) -> None:
        self.data, self.at, self.stop = data, start, stop

    @property
    def done(self) -> bool:
        return self.at == self.stop

    def items(self) -> Reader:
        is_list, start, stop = header(self.data, self.at, self.stop)
        if not is_list:
            raise Broken("LIST_EXPECTED")
        self.at = stop
        return Reader(self.data, start, stop)

    def string(self) -> bytes:
        is_list, start, stop = header(self.data, self.at, self.stop)
        if is_list:
            raise Broken("STRING_EXPECTED")
        self.at = stop
        return self.data[start:stop]

    def number(self, width: int, rule: str) -> int:
        text = self.string()
        if text[:1] == b"\0":
            raise Broken("LEADING_ZERO")
        if len(text) > width:
            raise Broken(rule)
        return int.from_bytes(text, "big")


def changes(reader: Reader, width: int, rule: str) -> list[tuple[int, Any]]:
    found = []
    while not reader.done:
        pair = reader.items()
        if pair.done:
            raise Broken("CHANGE_FIELDS")
        index = pair.number(4, "INDEX_RANGE")
        if pair.done:
            raise Broken("CHANGE_FIELDS")
        found.append((index, pair.number(width, rule) if width else pair.string()))
        if not pair.done:
            raise Broken("CHANGE_FIELDS")
    return found


def account(reader: Reader) -> list[Any]:
    address = reader.string()
    if len(address) != 20:
        raise Broken("ADDRESS_SIZE")
    fields: list[Any] = [address]
    for field in range(1, 6):
        if reader.done:
            raise Broken("ACCOUNT_FIELDS")
        inner = reader.items()
        if field == 1:
            slots = []
            while not inner.done:
                one = inner.items()
                if one.done:
                    raise Broken("SLOT_FIELDS")
                slot = one.number(32, "SLOT_RANGE")
                if one.done:
                    raise Broken("SLOT_FIELDS")
                its = one.items()
                if not one.done:
                    raise Broken("SLOT_FIELDS")
                slots.append((slot, changes(its, 32, "VALUE_RANGE")))
            fields.append(slots)
        elif field == 2:
            reads = []
            while not inner.done:
                reads.append(inner.number(32, "SLOT_RANGE"))
            fields.append(reads)
        else:
            width, rule = {3: (32, "VALUE_RANGE"), 4: (8, "NONCE_RANGE"), 5: (0, "")}[field]
            fields.append(changes(inner, width, rule))
    if not reader.done:
        raise Broken("ACCOUNT_FIELDS")
    return fields


def rises(values: list[Any], order: str, twice: str) -> None:
    for one, two in pairwise(values):
        if one == two:
            raise Broken(twice)
        if one > two:
            raise Broken(order)


def decode(data: bytes) -> list[list[Any]]:
    """Accounts of a list, or `Broken`."""
    is_list, start, stop = header(data, 0, len(data))
    if not is_list:
        raise Broken("LIST_EXPECTED")
    if stop != len(data):
        raise Broken("TRAILING_BYTES")
    reader, accounts = Reader(data, start, stop), []
    while not reader.done:
        inner = reader.items()
        if inner.done:
            raise Broken("ACCOUNT_FIELDS")
        accounts.append(account(inner))
    for a, (address, slots, reads, *kinds) in enumerate(accounts):
        if a:
            rises([accounts[a - 1][0], address], "ACCOUNT_ORDER", "ACCOUNT_TWICE")
        rises([slot for slot, _ in slots], "SLOT_ORDER", "SLOT_TWICE")
        for _, its in slots:
            if not its:
                raise Broken("SLOT_UNCHANGED")
            rises([index for index, _ in its], "INDEX_ORDER", "INDEX_TWICE")
        rises(reads, "READ_ORDER", "READ_TWICE")
        if {slot for slot, _ in slots} & set(reads):
            raise Broken("READ_AND_CHANGED")
        for its in kinds:
            rises([index for index, _ in its], "INDEX_ORDER", "INDEX_TWICE")
    return accounts
