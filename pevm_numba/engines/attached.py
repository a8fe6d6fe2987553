"""An engine at work on the arrays of one workspace: where they are made, and what compiled code is told of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from .._kernels.jit import DISABLED
from .._kernels.shapes import LINKS
from ..errors import ExecutionError
from .engine import Engine
from .native import NativeCode
from .paying import Costs, Met
from .shapes import Shapes

__all__ = ["JIT_COSTS", "Attached", "Jit", "attach"]

#: Measured by ``bench engines`` on two cores of a shared machine, where least is saved: streams of one shape, each, whose
#: branches the processor foresees.
JIT_COSTS: Final = Costs(
    compile_ns=2.6e6, compile_token_ns=0.22e6, compile_square_ns=1.3e3, load_ns=0.2e6, saved_ns=0.0, saved_token_ns=1.25
)

#: What every workspace of this process has compiled.
NATIVE: Final = NativeCode()


class Attached(ABC):
    """One engine and one workspace.

    Parameters
    ----------
    engine : Engine
    """

    costs: ClassVar[Costs]
    #: Whether functions take batches, see `LINKS`.
    batched: ClassVar[bool]
    #: What has run by this engine in this process.
    met: ClassVar[Met]

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.links = np.zeros((0, len(LINKS)), np.int64)
        self.summary = ""
        self.n_compiled_tx = 0
        self._shapes: Shapes | None = None
        #: Arrays that are copies are held here, since compiled code has only their addresses.
        self._arrays: dict[str, NDArray[Any]] = {}

    def zeros(self, shape: int | tuple[int, ...], kind: Any) -> NDArray[Any]:
        """An array that compiled code may work on."""
        return np.zeros(shape, kind)

    def held(self, array: NDArray[Any]) -> NDArray[Any]:
        """The same array, or a copy, where compiled code can read it."""
        return array

    def place(self, array: NDArray[Any]) -> int:
        """What compiled code takes for the address of an array."""
        return int(array.ctypes.data)

    @abstractmethod
    def has(self, shape: bytes) -> bool:
        """Whether a shape is compiled, in this process."""

    def keeps(self, shape: bytes) -> bool:
        """Whether a shape is compiled, here or on disk."""
        return self.has(shape)

    @abstractmethod
    def compiled(self, shapes: Shapes) -> NDArray[np.int64]:
        """(n_shapes,) addresses of the functions of shapes, 0 for those that are left to the interpreter."""

    def wanted(self, shapes: Shapes) -> list[bytes]:
        """Shapes to have code for, by the engine's rule."""
        if self.engine.compile == "all":
            return shapes.names
        if self.engine.compile == "kept":
            return [name for name in shapes.names if self.keeps(name)]
        return self.met.paying(shapes, self.costs, self.keeps)

    def link(
        self, shapes: Shapes, arrays: Mapping[str, NDArray[Any]], sums: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Compile what is to be compiled; returns `Code.entry`, and the workers' rows of links.

        Parameters
        ----------
        shapes : Shapes
        arrays : mapping of str to array
            Those of `LINKS` but for sums.
        sums : (n_workers, n, 4) uint64
        """
        n_workers = len(sums)
        self.links, self._shapes = self.zeros((n_workers, len(LINKS)), np.int64), shapes
        self._arrays = {name: self.held(array) for name, array in arrays.items()}
        for name, array in self._arrays.items():
            self.links[:, LINKS.index(name)] = self.place(array)
        self.links[:, LINKS.index("sums")] = [self.place(sums[w]) for w in range(n_workers)]
        self.links[:, LINKS.index("batched")] = self.batched
        address = np.append(self.compiled(shapes), 0)
        entry = np.zeros((len(shapes.shape), 4), np.int64)
        entry[:, 0] = address[shapes.shape]
        entry[:, 1] = self.place(self._arrays["operands"]) + shapes.operands.itemsize * shapes.operand_indptr[:-1]
        entry[shapes.shape >= 0, 2] = shapes.steps
        entry[:, 3] = arrays["static_gas"]
        self.n_compiled_tx = int(np.count_nonzero(entry[:, 0]))
        n, of = int(np.count_nonzero(address)), len(shapes.tokens)
        self.summary = f"{self.engine.name}: {n:,} of {of:,} shapes, {self.n_compiled_tx:,} of {len(entry):,} transactions"
        return entry, self.links

    def use_values(self, rows: NDArray[np.uint64]) -> None:
        """Let programs work on these rows from now on."""
        self.links[:, LINKS.index("values")] = self.place(rows)

    def reset(self) -> None:
        """Forget what went wrong in a run."""
        self.links[:, LINKS.index("failed")] = 0

    def ran(self) -> None:
        """Count a run, unless compiled code has reported an error in it.

        Raises
        ------
        ExecutionError
            If it has.
        """
        if self.links[:, LINKS.index("failed")].any():
            raise ExecutionError(f"engine {self.engine.name!r} reported an error; nothing of the run is kept")
        if self.engine.compile == "paying" and self._shapes is not None:
            self.met.add(self._shapes)


class Jit(Attached):
    """Machine code by LLVM."""

    costs = JIT_COSTS
    batched = False
    met = Met()

    def has(self, shape: bytes) -> bool:
        """Whether it is loaded."""
        return NATIVE.address(shape) != 0

    def keeps(self, shape: bytes) -> bool:
        """Whether it is loaded, or on disk."""
        return self.has(shape) or NATIVE.is_kept(shape)

    def wanted(self, shapes: Shapes) -> list[bytes]:
        """What is loaded costs nothing."""
        wanted = set(super().wanted(shapes))
        return [name for name in shapes.names if name in wanted or self.has(name)]

    def compiled(self, shapes: Shapes) -> NDArray[np.int64]:
        """Addresses in this process."""
        NATIVE.add(self.wanted(shapes))
        return np.array([NATIVE.address(name) for name in shapes.names], np.int64)


def attach(engine: Engine) -> Attached | None:
    """The engine for a new workspace; None for the interpreter.

    Raises
    ------
    ExecutionError
        In plain Python, where nothing is compiled.
    PevmError
        Naming the extra, if what the engine needs is not installed.
    """
    if engine.name == "interpreter":
        return None
    if DISABLED:
        raise ExecutionError(f"engine {engine.name!r} under NUMBA_DISABLE_JIT=1: there is no compiled code in plain Python")
    if engine.name == "jit":
        return Jit(engine)
    from .wasm import Wasm

    return Wasm(engine)
