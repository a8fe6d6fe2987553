"""What kernels leave behind for each transaction, read out again: counts, logs, reads and changes."""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm import layout
from .._kernels.evm.records import Layout
from .arena import Arena
from .receipts import Log

__all__ = ["NOTES", "Results", "array_of", "dtype_of", "read_logs"]


def dtype_of(kind: Layout) -> np.dtype[Any]:
    """A record as NumPy sees it: its numbers as int64, its words as 32 bytes.

    Examples
    --------
    >>> dtype_of(layout.NOTE).names
    ('value', 'key', 'saved')
    """
    fields = [(name, "u1", (32,)) for name in kind.words], [(name, "i8") for name in kind.numbers]
    places = [*kind.words.values(), *kind.numbers.values()]
    names, formats = [*kind.words, *kind.numbers], [*((f[1], f[2]) for f in fields[0]), *(f[1] for f in fields[1])]
    return np.dtype({"names": names, "formats": formats, "offsets": places, "itemsize": kind.size})


#: Records of reads as NumPy sees them.
NOTES: Final = dtype_of(layout.NOTE)

_RESULT: Final = dtype_of(layout.RESULT)
_LOG: Final = dtype_of(layout.LOG)


def array_of(address: int, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A copy of that many records that kernels have left at an address."""
    return np.frombuffer(ctypes.string_at(address, count * dtype.itemsize), dtype) if count else np.empty(0, dtype)


class Results:
    """The results of a block's transactions, as kernels write them.

    Parameters
    ----------
    arena : Arena
        Which keeps them.
    n_tx : int
    name : str
        Under which it keeps them.

    Examples
    --------
    >>> from .forks import Fork
    >>> Results(Arena(Fork.BERLIN), 2).records["gas_used"].tolist()
    [0, 0]
    """

    def __init__(self, arena: Arena, n_tx: int, name: str = "results") -> None:
        buffer = arena.allocate(name, max(1, n_tx) * layout.RESULT.size)
        self.address = int(buffer.ctypes.data)
        self.records: NDArray[Any] = buffer.view(_RESULT)[:n_tx]

    def clear(self) -> None:
        """As if nothing had run."""
        self.records.view(np.uint8)[:] = 0


def _number(word: NDArray[np.uint8]) -> int:
    return int.from_bytes(word.tobytes(), "little")


def read_logs(result: Any) -> tuple[Log, ...]:
    """Logs of one result."""
    found = []
    for record in array_of(int(result["logs"]), int(result["n_logs"]), _LOG):
        topics = tuple(_number(record[f"topic{i}"]) for i in range(int(record["n_topics"])))
        payload = ctypes.string_at(int(record["data"]), int(record["size"]))
        found.append(Log(_number(record["address"]).to_bytes(20, "big"), topics, payload))
    return tuple(found)
