"""RLP knows bytes and lists only: an integer is its big-endian bytes without leading zeros, so 0 is the empty string.

Decoding is strict: each item has one encoding, and any other is refused, since hashes are taken of encodings. Executing needs
this, and must not need another package; the wire format of access lists, which nothing else needs, is for the library `rlp`
(`access.wire`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from ..door import shown
from ..errors import BlockError

__all__ = ["Decoded", "Item", "decode", "encode", "encode_bytes", "join_list", "read_integer", "read_list", "sized"]

Item: TypeAlias = bytes | int | Sequence["Item"]
Decoded: TypeAlias = bytes | list["Decoded"]

#: Lists within lists: no structure of the chain has more than six; a bound, since a few bytes can nest without end.
_MAX_DEPTH: Final = 64


def _header(size: int, short: int) -> bytes:
    """What stands before `size` bytes of payload; `short` is 0x80 for a string, 0xc0 for a list."""
    if size < 56:
        return bytes((short + size,))
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((short + 55 + len(length),)) + length


def encode_bytes(data: bytes) -> bytes:
    """Encoding of a string of bytes, which is not checked.

    References
    ----------
    Yellow Paper, appendix B.

    Examples
    --------
    >>> encode_bytes(b"dog"), encode_bytes(b"\\x05"), encode_bytes(b"")
    (b'\\x83dog', b'\\x05', b'\\x80')
    """
    size = len(data)
    if size == 1 and data[0] < 0x80:
        return data
    if size < 56:
        return bytes((0x80 + size,)) + data
    return _header(size, 0x80) + data


def join_list(encoded: Iterable[bytes]) -> bytes:
    """Encoding of a list whose items are encoded already.

    References
    ----------
    Yellow Paper, appendix B.

    Examples
    --------
    >>> join_list([b"\\x83cat", b"\\x83dog"])
    b'\\xc8\\x83cat\\x83dog'
    """
    payload = b"".join(encoded)
    return _header(len(payload), 0xC0) + payload


def encode(item: Item) -> bytes:
    """Encoding of bytes, of an integer that is not negative, or of a list or tuple of such items.

    Raises
    ------
    BlockError
        If something else is in it, naming its place; if lists are nested more than 64 deep.

    References
    ----------
    Yellow Paper, appendix B.

    Examples
    --------
    >>> encode([b"cat", 1024, []]).hex()
    'c883636174820400c0'
    """
    return _encode(item, "item", 0)


def _encode(item: Item, place: str, depth: int) -> bytes:
    if isinstance(item, bytes):
        return encode_bytes(item)
    if isinstance(item, int) and not isinstance(item, bool):
        if item < 0:
            raise BlockError(f"RLP, {place} = {shown(item)}: must not be negative")
        return encode_bytes(item.to_bytes((item.bit_length() + 7) // 8, "big"))
    if not isinstance(item, list | tuple):
        raise BlockError(f"RLP, {place} = {shown(item, 80)}: must be bytes, an integer, or a list of such items")
    if depth >= _MAX_DEPTH:
        raise BlockError(f"RLP, {place[:40]}...: lists are nested more than {_MAX_DEPTH} deep")
    return join_list([_encode(part, f"{place}[{i}]", depth + 1) for i, part in enumerate(item)])


def decode(data: bytes) -> Decoded:
    """The one item that `data` encodes: bytes, or a list of items.

    Raises
    ------
    BlockError
        Naming the position, if the encoding is cut, has bytes left over or is not the canonical one, or if lists are
        nested more than 64 deep.

    References
    ----------
    Yellow Paper, appendix B.

    Examples
    --------
    >>> decode(bytes.fromhex("c883636174820400c0"))
    [b'cat', b'\\x04\\x00', []]
    """
    if not isinstance(data, bytes):
        raise BlockError(f"RLP = {shown(data, 80)}: must be bytes")
    item, end = _decode(data, 0, len(data), 0)
    if end != len(data):
        raise BlockError(f"RLP, byte {end}: {len(data) - end} bytes left over after the item")
    return item


def _decode(data: bytes, at: int, limit: int, depth: int) -> tuple[Decoded, int]:
    """Item that starts at byte `at` and must end at `limit` or before; with its end."""
    if at >= limit:
        raise BlockError(f"RLP, byte {at}: an item must start here, but nothing is left")
    first = data[at]
    if first < 0x80:
        return data[at : at + 1], at + 1
    start, end = _payload(data, at, limit)
    if first < 0xC0:
        if end - start == 1 and data[start] < 0x80:
            raise BlockError(f"RLP, byte {at}: 0x81{data[start]:02x}: a byte below 0x80 must stand for itself")
        return data[start:end], end
    if depth >= _MAX_DEPTH:
        raise BlockError(f"RLP, byte {at}: lists are nested more than {_MAX_DEPTH} deep")
    items = []
    while start < end:
        item, start = _decode(data, start, end, depth + 1)
        items.append(item)
    return items, end


def _payload(data: bytes, at: int, limit: int) -> tuple[int, int]:
    """Start and end of what the header at byte `at`, 0x80 or more, announces."""
    size = data[at] - (0x80 if data[at] < 0xC0 else 0xC0)
    start = at + 1
    if size > 55:
        width = size - 55
        start += width
        if start > limit:
            raise BlockError(f"RLP, byte {at}: a length of {width} bytes must follow, but only {limit - at - 1} are left")
        size = int.from_bytes(data[at + 1 : start], "big")
        if data[at + 1] == 0:
            raise BlockError(f"RLP, byte {at + 1}: a length must have no leading zero")
        if size < 56:
            raise BlockError(f"RLP, byte {at + 1}: length {size}: below 56 it must be part of the first byte")
    if start + size > limit:
        raise BlockError(f"RLP, byte {at}: {size} bytes must follow, but only {limit - start} are left")
    return start, start + size


# -------------------------------------------------------------------- what decoded items mean


def read_integer(place: str, item: Decoded) -> int:
    """The integer that an item is, or a BlockError that names it: leading zeros would be a second encoding of a number.

    References
    ----------
    Yellow Paper, appendix B.

    Examples
    --------
    >>> read_integer("nonce", b"\\x04\\x00"), read_integer("nonce", b"")
    (1024, 0)
    """
    if not isinstance(item, bytes) or item[:1] == b"\0":
        text = f"0x{item.hex()[:64]}" if isinstance(item, bytes) else "a list"
        raise BlockError(f"{place} = {text}: must be an integer without leading zeros")
    return int.from_bytes(item, "big")


def read_list(place: str, item: Decoded) -> list[Decoded]:
    """An item that is a list, or a BlockError that names it.

    Examples
    --------
    >>> read_list("transactions", [])
    []
    """
    if not isinstance(item, list):
        raise BlockError(f"{place} = 0x{item.hex()[:64]}: must be a list")
    return item


def sized(place: str, item: object, size: int) -> bytes:
    """An address, hash or other string of fixed size, or a BlockError that names it.

    Examples
    --------
    >>> sized("to", b"12345678901234567890", 20)
    b'12345678901234567890'
    """
    if not isinstance(item, bytes) or len(item) != size:
        text = f"0x{item.hex()}" if isinstance(item, bytes) else repr(item)
        raise BlockError(f"{place} = {text:.80}: must be {size} bytes")
    return bytes(item)
