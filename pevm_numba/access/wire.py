"""Access lists in RLP are read and written by the library `rlp` (extra `access`), imported when it is first needed.

What executing needs (transactions, receipts, tries) is read and written by `evm.rlp`, without any library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from ..errors import UsageError

__all__ = ["Item", "encode", "library"]

#: What is encoded: bytes, and lists or tuples of them, of such lists, and so on.
Item: TypeAlias = bytes | Sequence["Item"]


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
