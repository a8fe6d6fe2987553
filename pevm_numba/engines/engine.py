"""Which way programs run, and which shapes are worth compiling: those that have come often enough to have paid for it.

A shape is compiled once the interpreter has run so many transactions of it that compiling would have been paid back by then:
whoever does so never spends more than twice what was best (the ski-rental rule), without knowing what will come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from .. import door
from ..errors import BlockError
from .shapes import Shapes

__all__ = ["COMPILE", "ENGINES", "INTERPRETER", "MOST_BREAK_EVEN", "Costs", "Engine", "engine_of", "worth_it"]

ENGINES: Final = ("interpreter", "jit", "wasm")

COMPILE: Final = ("paying", "all", "kept")

#: Transactions of a shape after which compiling it must have paid, or it isn't compiled at all.
MOST_BREAK_EVEN: Final = 500_000


@dataclass(frozen=True)
class Engine:
    """How programs are run; what comes out is the same.

    Parameters
    ----------
    name : {"interpreter", "jit", "wasm"}
        ``"jit"``: machine code for each shape of program, by LLVM. ``"wasm"``: WebAssembly for each, by wasmtime (extra
        ``wasm``). Transactions whose shape has no code of its own, or that may fail, are interpreted.
    compile : {"paying", "all", "kept"}
        Which shapes: those that have come often enough by now (see `worth_it`), all, or none but those that were compiled
        before, in this process or, for ``"jit"``, on this disk.
    group : bool
        Whether transactions of one shape are put beside each other where their order is free: within a wave, and, by the
        executor ``serial``, within a level of the dependencies.

    Examples
    --------
    >>> Engine("jit", group=True)
    Engine(name='jit', compile='paying', group=True)
    """

    name: Literal["interpreter", "jit", "wasm"] = "interpreter"
    compile: Literal["paying", "all", "kept"] = "paying"
    group: bool = False

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise BlockError(f"engine {door.shown(self.name)} is unknown: one of {', '.join(ENGINES)}")
        if self.compile not in COMPILE:
            raise BlockError(f"compile = {door.shown(self.compile)}: must be one of {', '.join(COMPILE)}")
        if not isinstance(self.group, bool):
            raise BlockError(f"group = {door.shown(self.group)}: must be True or False")


#: What runs programs if nothing is said.
INTERPRETER: Final = Engine()


def engine_of(engine: str | Engine) -> Engine:
    """An `Engine`, or the one of a name.

    Raises
    ------
    BlockError
        If there is none of that name.
    """
    return engine if isinstance(engine, Engine) else Engine(engine)  # type: ignore[arg-type]  # which checks it


@dataclass(frozen=True)
class Costs:
    """What compiling costs and saves, in nanoseconds: measured, see ``bench engines``.

    Parameters
    ----------
    compile_ns, compile_token_ns : float
        Once for a shape, and for each of its tokens.
    load_ns : float
        Loading what is on disk.
    saved_ns, saved_token_ns : float
        Of each transaction, and for each token of its shape.
    """

    compile_ns: float
    compile_token_ns: float
    load_ns: float
    saved_ns: float
    saved_token_ns: float

    def break_even(self, n_tokens: int, *, kept: bool = False) -> float:
        """Transactions of a shape that have paid for compiling (or loading) it; infinite if none ever do."""
        saved = self.saved_ns + self.saved_token_ns * n_tokens
        cost = self.load_ns if kept else self.compile_ns + self.compile_token_ns * n_tokens
        return cost / saved if saved > 0 else np.inf


#: Transactions met so far in this process, of each shape.
_met: Counter[bytes] = Counter()


def worth_it(shapes: Shapes, costs: Costs, kept: Sequence[bool]) -> NDArray[np.bool_]:
    """(n_shapes,) whether each shape is to be compiled, or loaded where it is kept; counts what a block brings.

    A shape is, once as many of its transactions have come as pay for it, those of this block included; but never if that
    takes more than `MOST_BREAK_EVEN`.

    Parameters
    ----------
    shapes : Shapes
    costs : Costs
    kept : (n_shapes,) sequence of bool
    """
    found = np.zeros(len(shapes.tokens), bool)
    for i, tokens in enumerate(shapes.tokens):
        name = tokens.tobytes()
        _met[name] += int(shapes.count[i])
        needed = costs.break_even(len(tokens), kept=kept[i])
        found[i] = needed <= MOST_BREAK_EVEN and _met[name] >= needed
    return found
