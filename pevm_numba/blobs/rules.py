"""When a block may have a blob transaction: by its fee cap for blob gas, which is a price apart from that of gas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from .. import door
from ..errors import BlockError
from ..evm.forks import BlobParameters, Fork
from .market import parameters_of

__all__ = ["RULES", "BlobViolation", "blob_violation", "check_blob_transaction"]

#: What each rule says, in the order in which they are looked at.
RULES: Final = {
    "creation": "a blob transaction calls an account: `to` is not empty",
    "count": "a blob transaction has at least one blob, and no more than a transaction may have",
    "version": "each versioned hash begins with the byte 01",
    "fee-cap": "the fee cap for blob gas is at least its price in the block",
    "block": "all blobs of a block are no more than it may have",
}
_VERSION: Final = 1


class BlobViolation(NamedTuple):
    """The rule that a transaction breaks, by its name in `RULES`, and how."""

    rule: str
    text: str


def blob_violation(
    hashes: Sequence[bytes],
    fee_cap: int,
    price: int,
    parameters: BlobParameters,
    *,
    to: bytes | None,
    blobs_before: int = 0,
) -> BlobViolation | None:
    """The first rule that a blob transaction breaks; arguments as in `check_blob_transaction`, here not checked.

    Examples
    --------
    >>> blob_violation([], 7, 7, parameters_of("cancun"), to=bytes(20))
    BlobViolation(rule='count', text='0 blobs: must be 1 to 6')
    """
    if to is None:
        return BlobViolation("creation", "to = None: must be an address")
    if not 0 < len(hashes) <= parameters.most_each:
        return BlobViolation("count", f"{len(hashes)} blobs: must be 1 to {parameters.most_each}")
    for i, digest in enumerate(hashes):
        if digest[0] != _VERSION:
            text = f"blob_versioned_hashes[{i}] = 0x{digest.hex()}: must begin with {_VERSION:02x}"
            return BlobViolation("version", text)
    if fee_cap < price:
        text = f"max_fee_per_blob_gas = {door.shown(fee_cap)}: the price is {door.shown(price)}"
        return BlobViolation("fee-cap", text)
    if blobs_before + len(hashes) > parameters.most:
        return BlobViolation("block", f"{blobs_before + len(hashes)} blobs: a block has {parameters.most} at most")
    return None


def check_blob_transaction(
    hashes: Sequence[bytes],
    fee_cap: int,
    price: int,
    parameters: BlobParameters | Fork | str = "bpo2",
    *,
    to: bytes | None,
    blobs_before: int = 0,
) -> None:
    """Check that a block may have a blob transaction, as far as its blobs go.

    Parameters
    ----------
    hashes : sequence of bytes
        Versioned hashes of the blobs, 32 bytes each.
    fee_cap : int
        ``max_fee_per_blob_gas``, in wei.
    price : int
        Of a unit of blob gas in the block, in wei: see `blob_base_fee`.
    parameters : BlobParameters, Fork or str
        Of the block.
    to : bytes or None
        20 bytes.
    blobs_before : int
        Blobs of the transactions before it in the block.

    Raises
    ------
    BlockError
        Naming the rule of `RULES` that is broken, or the argument that is not as described.

    References
    ----------
    EIP-4844, EIP-7594 (six blobs a transaction), EIP-7691.

    Examples
    --------
    >>> blob = bytes([1]) + bytes(31)
    >>> check_blob_transaction([blob] * 6, 9, price=7, to=bytes(20))
    >>> check_blob_transaction([blob] * 7, 9, price=7, to=bytes(20))
    Traceback (most recent call last):
    ...
    pevm_numba.errors.BlockError: rule "count": 7 blobs: must be 1 to 6
    """
    parameters = parameters_of(parameters)
    given = door.items("hashes", hashes, "versioned hashes")
    for i, digest in enumerate(given):
        if not isinstance(digest, bytes) or len(digest) != 32:
            raise BlockError(f"hashes[{i}] = {door.shown(digest)}: must be 32 bytes")
    if to is not None and (not isinstance(to, bytes) or len(to) != 20):
        raise BlockError(f"to = {door.shown(to)}: must be 20 bytes")
    numbers = (door.integer("fee_cap", fee_cap, 0), door.integer("price", price, 0))
    before = door.integer("blobs_before", blobs_before, 0, 2**31 - 1)
    found = blob_violation(given, *numbers, parameters, to=to, blobs_before=before)
    if found is not None:
        raise BlockError(f'rule "{found.rule}": {found.text}')
