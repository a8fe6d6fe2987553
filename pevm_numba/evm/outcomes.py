"""What kernels leave behind for each transaction, read out again: counts, logs, reads and changes."""

from __future__ import annotations

import ctypes
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels.evm import layout
from .._kernels.evm.records import Layout
from .arena import Arena
from .receipts import Log

__all__ = ["NOTES", "Gathered", "Results", "array_of", "dtype_of", "read_logs"]


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


class Gathered(NamedTuple):
    """Records that transactions have left, copied: each transaction's after those of the one before.

    Attributes
    ----------
    starts : (n_tx + 1,) int64
    records : (n,) structured
    """

    starts: NDArray[np.int64]
    records: NDArray[Any]

    def of(self, t: int) -> NDArray[Any]:
        """Those of one transaction."""
        return self.records[self.starts[t] : self.starts[t + 1]]

    def each(self) -> list[NDArray[Any]]:
        """Those of each transaction."""
        return [self.records[start:stop] for start, stop in pairwise(self.starts.tolist())]

    @property
    def tx(self) -> NDArray[np.int64]:
        """(n,) int64: whose each record is."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


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
        self._gathered: dict[str, Gathered] = {}

    def gathered(self, name: str, dtype: np.dtype[Any]) -> Gathered:
        """What the transactions have left at the addresses in field `name`, ``n_<name>`` records each; kept until cleared."""
        if name in self._gathered:
            return self._gathered[name]
        counts = self.records[f"n_{name}"]
        places = zip(self.records[name].tolist(), (counts * dtype.itemsize).tolist(), strict=True)
        raw = b"".join(ctypes.string_at(address, size) for address, size in places if size)
        self._gathered[name] = Gathered(np.concatenate([[0], np.cumsum(counts)]), np.frombuffer(raw, dtype))
        return self._gathered[name]

    def logs(self) -> tuple[tuple[Log, ...], ...]:
        """Logs of each transaction."""
        given = self.gathered("logs", _LOG)
        found = tuple(map(_log, given.records.tolist()))
        return tuple(found[start:stop] for start, stop in pairwise(given.starts.tolist()))

    def clear(self) -> None:
        """As if nothing had run."""
        self.records.view(np.uint8)[:] = 0
        self._gathered.clear()


def _log(record: Any) -> Log:
    """One log of its record, a tuple in the order of `_LOG`."""
    fields = dict(zip(_LOG.names or (), record, strict=True))
    topics = tuple(_number(fields[f"topic{i}"]) for i in range(fields["n_topics"]))
    return Log(_number(fields["address"]).to_bytes(20, "big"), topics, ctypes.string_at(fields["data"], fields["size"]))


def _number(word: NDArray[np.uint8]) -> int:
    return int.from_bytes(word.tobytes(), "little")


def read_logs(result: Any) -> tuple[Log, ...]:
    """Logs of one result."""
    return tuple(map(_log, array_of(int(result["logs"]), int(result["n_logs"]), _LOG).tolist()))
