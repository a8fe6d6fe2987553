"""Access lists in RLP are read and written by the library `rlp` (extra `access`), imported when it is first needed.

What executing needs (transactions, receipts, tries) is read and written by `evm.rlp`, without any library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from ..errors import UsageError

__all__ = ["Item", "encode", "header_reader", "library"]

#: What is encoded: bytes, and lists or tuples of them, of such lists, and so on.
Item: TypeAlias = bytes | Sequence["Item"]

#: Headers, and what must be read of them.
_HEADERS: Final = {
    "c105": (b"\xc1", list, 1, 1), "8205ff": (b"\x82", bytes, 2, 1), "05": (b"", bytes, 1, 0),
    "b838" + "01" * 56: (b"\xb8\x38", bytes, 56, 2),
}  # fmt: skip


def library() -> Any:
    """The module `rlp`.

    Raises
    ------
    UsageError
        If it is not installed, naming the extra.

    Examples
    --------
    >>> library().decode(b"\\xc1\\x05")
    [b'\\x05']
    """
    try:
        import rlp
    except ImportError as cause:
        raise UsageError('access lists in RLP need the package rlp: pip install "pevm-numba[access]"') from cause
    return rlp


def header_reader() -> Callable[[bytes, int], tuple[bytes, type, int, int]]:
    """The library's own reader of one header: its bytes, kind (list or bytes), size of the payload, and where that begins.

    Whoever calls it item by item needs time in proportion to the items; `rlp.decode` copies what is left of a list for each,
    and is recursive.

    Raises
    ------
    UsageError
        If the library is not installed, or of a version that has no such function.

    Examples
    --------
    >>> header_reader()(b"\\xc1\\x05", 0)
    (b'\\xc1', <class 'list'>, 1, 1)
    """
    rlp = library()
    read: Any = getattr(rlp.codec, "consume_length_prefix", None)
    try:
        right = all(read(bytes.fromhex(data), 0) == header for data, header in _HEADERS.items())
    except (TypeError, ValueError):
        right = False
    if not right:
        version = getattr(rlp, "__version__", "of unknown version")
        raise UsageError(f'package rlp {version}: reads no headers as versions 4 and 5 do: pip install "rlp>=4,<6"')
    header: Callable[[bytes, int], tuple[bytes, type, int, int]] = read
    return header


def encode(item: Item) -> bytes:
    """Encoding of bytes and lists of bytes.

    Notes
    -----
    Serializers are not inferred, as numbers are bytes here already: that takes four times as long.

    Examples
    --------
    >>> encode([b"cat", b"", [b"\\x01\\x00"]]).hex()
    'c98363617480c3820100'
    """
    data: bytes = library().encode(item, infer_serializer=False)
    return data
