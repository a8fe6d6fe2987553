"""What a header says of a block's receipts; before Byzantium those hold state roots, which take the whole state to know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..door import integer, shown
from ..errors import BlockError
from .hashing import keccak, keccak_many
from .rlp import Item, encode, sized
from .trie import ordered_root

__all__ = ["Log", "Receipt", "encode_receipt", "logs_bloom", "logs_hash", "receipts_root"]

_U64: Final = 2**64 - 1
_U256: Final = 2**256 - 1


class Log(NamedTuple):
    """One log; a topic is a word, as an integer or as 32 bytes."""

    address: bytes
    topics: tuple[int | bytes, ...]
    data: bytes


class Receipt(NamedTuple):
    """Result of one transaction: status 1 or 0 (EIP-658), or the state root after it in blocks before Byzantium."""

    type: int
    status_or_root: int | bytes
    cumulative_gas: int
    logs: Sequence[Log]


def _words(place: str, topics: Sequence[int | bytes]) -> list[bytes]:
    if len(topics) > 4:
        raise BlockError(f"{place} has {len(topics)} topics: must be 4 at most")
    return [
        sized(f"{place}, topic {i}", topic, 32)
        if isinstance(topic, bytes)
        else integer(f"{place}, topic {i}", topic, 0, _U256).to_bytes(32, "big")
        for i, topic in enumerate(topics)
    ]


def _checked(logs: Iterable[Log]) -> list[tuple[bytes, list[bytes], bytes]]:
    """Logs in the form that is encoded."""
    out = []
    for i, (address, topics, data) in enumerate(logs):
        if not isinstance(data, bytes):
            raise BlockError(f"log {i}, data = {shown(data, 80)}: must be bytes")
        out.append((sized(f"log {i}, address", address, 20), _words(f"log {i}", topics), data))
    return out


def _bloom(logs: list[tuple[bytes, list[bytes], bytes]]) -> bytes:
    entries = {entry for address, topics, _ in logs for entry in (address, *topics)}
    bits = 0
    for digest in keccak_many(list(entries)):
        for i in (0, 2, 4):
            bits |= 1 << (int.from_bytes(digest[i : i + 2], "big") & 2047)
    return bits.to_bytes(256, "big")


def logs_bloom(logs: Iterable[Log]) -> bytes:
    """Bloom filter, 256 bytes, of the addresses and topics of logs; that of a block is of the logs of all its transactions.

    Raises
    ------
    BlockError
        Naming the log, the value and the rule.

    References
    ----------
    Yellow Paper, section 4.4.1 (M3:2048).

    Examples
    --------
    >>> logs_bloom([]) == bytes(256), int.from_bytes(logs_bloom([Log(bytes(20), (5,), b"")])).bit_count()
    (True, 6)
    """
    return _bloom(_checked(logs))


def logs_hash(logs: Iterable[Log]) -> bytes:
    """Hash of the RLP of a list of logs, which official state tests give beside the state root.

    Raises
    ------
    BlockError
        Naming the log, the value and the rule.

    References
    ----------
    ethereum/tests, GeneralStateTests, member ``logs``.

    Examples
    --------
    >>> logs_hash([]).hex()[:16]
    '1dcc4de8dec75d7a'
    """
    return keccak(encode(_checked(logs)))


def encode_receipt(type: int, status_or_root: int | bytes, cumulative_gas: int, logs: Iterable[Log]) -> bytes:
    """Encoding of a receipt, with the bloom filter of its logs: RLP for type 0, else the type's byte and RLP.

    Parameters
    ----------
    type : int
        Of the transaction.
    status_or_root : int or bytes
        1 if it succeeded, 0 if it failed; 32 bytes before Byzantium.
    cumulative_gas : int
        Used by this transaction and those before it in the block.
    logs : iterable of Log
        None, if it failed.

    Raises
    ------
    BlockError
        Naming the value and the rule.

    References
    ----------
    EIP-658 (status), EIP-2718 (types); Yellow Paper, section 4.4.1.

    Examples
    --------
    >>> raw = encode_receipt(2, 1, 21_000, [])
    >>> len(raw), raw[:9].hex()
    (268, '02f9010801825208b9')
    """
    integer("type", type, 0, 127)
    if not isinstance(status_or_root, bytes):
        first: Item = integer("status", int(status_or_root) if isinstance(status_or_root, bool) else status_or_root, 0, 1)
    else:
        first = sized("state root", status_or_root, 32)
        if type:
            raise BlockError(f"state root 0x{status_or_root.hex()}: a receipt of type {type} has a status, 0 or 1")
    listed = _checked(logs)
    fields = encode([first, integer("cumulative_gas", cumulative_gas, 0, _U64), _bloom(listed), listed])
    return bytes((type,)) + fields if type else fields


def receipts_root(receipts: Iterable[Receipt]) -> bytes:
    """Root of the trie of a block's receipts, in the order of its transactions.

    Parameters
    ----------
    receipts : iterable of Receipt
        Or of tuples in its order.

    Raises
    ------
    BlockError
        Naming the receipt, the value and the rule.

    References
    ----------
    Yellow Paper, section 4.4 (H_e).

    Examples
    --------
    >>> receipts_root([Receipt(0, 1, 21_000, [])]).hex()[:16]
    '056b23fbba480696'
    """
    encoded = []
    for i, receipt in enumerate(receipts):
        try:
            encoded.append(encode_receipt(*receipt))
        except BlockError as error:
            raise BlockError(f"receipt {i}: {error}") from None
    return ordered_root(encoded)
