"""The rules of block access lists, each with a name of its own, so that a client says why it refuses a list (EIP-7928)."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Final

from .._kernels import eip7928 as _k
from ..errors import AccessListError

__all__ = ["ITEM_COST", "Rule", "RuleError"]

#: Gas that stands for one item of a list: addresses, and slots of each (EIP-7928).
ITEM_COST: Final = 2_000


class Rule(IntEnum):
    """What a list may break: rules of its encoding, of its order, of its block, and the last two of what its block does."""

    TRUNCATED = 1
    TRAILING_BYTES = 2
    LENGTH_NOT_MINIMAL = 3
    BYTE_NOT_MINIMAL = 4
    LIST_EXPECTED = 5
    STRING_EXPECTED = 6
    ACCOUNT_FIELDS = 7
    SLOT_FIELDS = 8
    CHANGE_FIELDS = 9
    ADDRESS_SIZE = 10
    LEADING_ZERO = 11
    SLOT_RANGE = 12
    VALUE_RANGE = 13
    NONCE_RANGE = 14
    INDEX_RANGE = 15
    ACCOUNT_ORDER = _k.ACCOUNT_ORDER
    ACCOUNT_TWICE = _k.ACCOUNT_TWICE
    SLOT_ORDER = _k.SLOT_ORDER
    SLOT_TWICE = _k.SLOT_TWICE
    SLOT_UNCHANGED = _k.SLOT_UNCHANGED
    READ_ORDER = _k.READ_ORDER
    READ_TWICE = _k.READ_TWICE
    READ_AND_CHANGED = _k.READ_AND_CHANGED
    INDEX_ORDER = _k.INDEX_ORDER
    INDEX_TWICE = _k.INDEX_TWICE
    INDEX_BEYOND = 26
    TOO_MANY_ITEMS = 27
    SYSTEM_ADDRESS = 28
    READS_OUT_OF_REACH = 29

    @property
    def text(self) -> str:
        """What the rule demands."""
        return _TEXTS[self]


_TEXTS: Final = {
    Rule.TRUNCATED: "more bytes must follow",
    Rule.TRAILING_BYTES: "no bytes may follow the list",
    Rule.LENGTH_NOT_MINIMAL: "a length must be given in the fewest bytes",
    Rule.BYTE_NOT_MINIMAL: "a byte below 0x80 must stand for itself",
    Rule.LIST_EXPECTED: "must be a list",
    Rule.STRING_EXPECTED: "must be a string of bytes",
    Rule.ACCOUNT_FIELDS: "an account must have six fields",
    Rule.SLOT_FIELDS: "changes of storage must be a slot and a list",
    Rule.CHANGE_FIELDS: "a change must be an index and a value",
    Rule.ADDRESS_SIZE: "an address must be 20 bytes",
    Rule.LEADING_ZERO: "an integer must have no leading zeros",
    Rule.SLOT_RANGE: "a slot must be below 2**256",
    Rule.VALUE_RANGE: "a value must be below 2**256",
    Rule.NONCE_RANGE: "a nonce must be below 2**64",
    Rule.INDEX_RANGE: "a block access index must be below 2**32",
    Rule.ACCOUNT_ORDER: "accounts must be ordered by address",
    Rule.ACCOUNT_TWICE: "an account must be listed once",
    Rule.SLOT_ORDER: "changed slots must be in order",
    Rule.SLOT_TWICE: "a changed slot must be listed once",
    Rule.SLOT_UNCHANGED: "a slot listed as changed must have changes",
    Rule.READ_ORDER: "read slots must be in order",
    Rule.READ_TWICE: "a read slot must be listed once",
    Rule.READ_AND_CHANGED: "a slot that is changed must not be listed as read, too",
    Rule.INDEX_ORDER: "changes must be ordered by block access index",
    Rule.INDEX_TWICE: "a block access index must change a value once",
    Rule.INDEX_BEYOND: "a block access index must be at most the number of transactions and one",
    Rule.TOO_MANY_ITEMS: f"addresses and slots must be at most the block's gas limit // {ITEM_COST:,}",
    Rule.SYSTEM_ADDRESS: "the caller of the protocol's contracts must not be listed if nothing else accesses it",
    Rule.READS_OUT_OF_REACH: f"what is listed as read and was not must be affordable at {ITEM_COST:,} gas each",
}


class RuleError(AccessListError):
    """A list that breaks a rule.

    Attributes
    ----------
    rule : Rule

    Examples
    --------
    >>> RuleError(Rule.SLOT_ORDER, "0x01…").rule.name
    'SLOT_ORDER'
    """

    def __init__(self, rule: Rule, place: str) -> None:
        super().__init__(f"block access list, {place}: {rule.text}")
        self.rule = rule

    def of_file(self, path: Path) -> RuleError:
        """The same complaint, with the file that the list is from."""
        return _remade(self.rule, f"{path}: {self}")

    def __reduce__(self) -> tuple[object, ...]:
        return _remade, (self.rule, str(self))


def _remade(rule: Rule, message: str) -> RuleError:
    error = RuleError(rule, "")
    error.args = (message,)
    return error
