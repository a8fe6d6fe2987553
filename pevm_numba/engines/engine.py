"""Which way programs run, and which shapes are worth compiling: those that have come often enough to have paid for it.

A shape is compiled once so many transactions of it have come that compiling would have been paid back by then (the ski-rental
rule): who does so, without knowing what will come, spends at most twice what was best, as far as costs are what is expected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from .. import door
from ..errors import BlockError

__all__ = ["COMPILE", "ENGINES", "INTERPRETER", "Engine", "engine_of"]

ENGINES: Final = ("interpreter", "jit", "wasm")

COMPILE: Final = ("paying", "all", "kept")

@dataclass(frozen=True)
class Engine:
    """How programs are run; what comes out is the same.

    Parameters
    ----------
    name : {"interpreter", "jit", "wasm"}
        ``"jit"``: machine code for each shape of program, by LLVM. ``"wasm"``: WebAssembly for each, by wasmtime (extra
        ``wasm``). Transactions whose shape has no code of its own, or that may fail, are interpreted.
    compile : {"paying", "all", "kept"}
        Which shapes: those that have come often enough by now (see `paying`), all, or none but those that were compiled
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
