"""Which shapes are worth compiling: what it costs, what it saves, and how many transactions of each have come so far.

Counted are transactions that have run, whichever job ran them, and those of the block at hand, which will.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..machine.shapes import PAYLOAD, Token
from .shapes import Shapes

__all__ = ["MOST_BREAK_EVEN", "MOST_MET", "Costs", "Met"]

#: Transactions of a shape after which compiling it must have paid, or it isn't compiled at all.
MOST_BREAK_EVEN: Final = 500_000

#: Shapes that are remembered; when there are more, the rarer half is forgotten.
MOST_MET: Final = 1 << 16


@dataclass(frozen=True)
class Costs:
    """What compiling costs and saves, in nanoseconds: measured, see ``bench engines``.

    Parameters
    ----------
    compile_ns, compile_token_ns, compile_square_ns : float
        Once for a shape; for each of its tokens; and for their number squared, since LLVM takes longer for long blocks of
        code. Credits, and later stores to a slot, count twice.
    load_ns : float
        Making what has been compiled before callable.
    saved_ns, saved_token_ns : float
        Of each transaction, and for each token of its shape, but for later stores to a slot, which save half of what others
        do, and with all that they take to compile pay late.

    Examples
    --------
    >>> Costs(1000.0, 0.0, 0.0, load_ns=100.0, saved_ns=10.0, saved_token_ns=0.0).break_even(bytes(4))
    100.0
    """

    compile_ns: float
    compile_token_ns: float
    compile_square_ns: float
    load_ns: float
    saved_ns: float
    saved_token_ns: float

    def break_even(self, shape: bytes, *, kept: bool = False) -> float:
        """Transactions of a shape that have paid for compiling (or loading) it; infinite if none ever do.

        Parameters
        ----------
        shape : bytes
            Tokens, as little-endian int32.
        kept : bool
            Whether it is compiled already, and on disk.
        """
        kinds = shape[::4]
        later = sum(kinds.count(number) for number in range(Token.AGAIN, 256, PAYLOAD))
        saved = self.saved_ns + self.saved_token_ns * (len(kinds) - later)
        n_tokens = len(kinds) + later + kinds.count(Token.CREDIT) + kinds.count(Token.SHARED)
        compiling = self.compile_ns + self.compile_token_ns * n_tokens + self.compile_square_ns * n_tokens**2
        cost = self.load_ns if kept else compiling
        return cost / saved if saved > 0 else np.inf


class Met:
    """How many transactions of each shape have run in this process.

    Parameters
    ----------
    most : int
        Shapes remembered.
    """

    def __init__(self, most: int = MOST_MET) -> None:
        self.most = most
        self._count: Counter[bytes] = Counter()
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)  # another thread may have held the lock

    def renew(self) -> None:
        """With a lock that nobody holds."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._count)

    def add(self, shapes: Shapes) -> None:
        """Count the transactions of a block that has run."""
        with self._lock:
            for name, count in zip(shapes.names, shapes.count.tolist()):
                self._count[_digest(name)] += count
            if len(self._count) > self.most:
                self._count = Counter(dict(self._count.most_common(self.most // 2)))

    def paying(self, shapes: Shapes, costs: Costs, kept: Callable[[bytes], bool]) -> list[bytes]:
        """Shapes of a block to compile, or to load: as many of their transactions have come as pay for it.

        But never one that takes more than `MOST_BREAK_EVEN`.

        Parameters
        ----------
        shapes : Shapes
        costs : Costs
        kept : function of a shape
            Whether it is compiled; asked only where that decides.
        """
        found = []
        for name, count in zip(shapes.names, shapes.count.tolist()):
            needed, loading = costs.break_even(name), costs.break_even(name, kept=True)
            come = self._count[_digest(name)] + count
            compiles = needed <= MOST_BREAK_EVEN and come >= needed
            if compiles or (loading <= MOST_BREAK_EVEN and come >= loading and kept(name)):
                found.append(name)
        return found


def _digest(name: bytes) -> bytes:
    return hashlib.blake2b(name, digest_size=16).digest()
