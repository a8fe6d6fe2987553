"""WebAssembly for shapes, run by wasmtime: the arrays of a run lie in one shared memory, a box, and numpy sees them there.

Kernels call a module as they call machine code, through a few instructions that hand a batch over to wasmtime's C interface;
Python's own way in takes 60 to 100 microseconds a call (measured). A worker has a store and instances of its own, since those
may not be used by two threads at once; the compiled modules and the memory are shared. No module can trap: it divides by
nothing that may be 0, and all addresses are from here; if one did, the run would be refused.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._kernels.shapes import LINKS
from ..errors import ExecutionError, PevmError, TooLargeError
from .attached import Attached
from .bridge import BATCH, BRIDGES
from .engine import Engine
from .paying import Costs, Met
from .shapes import Shapes
from .wat import MOST_PAGES, module_text

__all__ = ["MOST_MODULES", "WASM_COSTS", "Modules", "Wasm"]

#: Modules that one process compiles, at most: each takes some 18 KiB.
MOST_MODULES: Final = 4_096

#: Measured by ``bench engines`` on two cores of a shared machine: a call takes longer than what most programs save. Long ones
#: save, or lose, and their number of tokens doesn't tell which.
WASM_COSTS: Final = Costs(
    compile_ns=1e6, compile_token_ns=0.15e6, compile_square_ns=2e3, load_ns=0.1e6, saved_ns=-18.0, saved_token_ns=0.0
)

_PAGE: Final = 65_536


@functools.cache
def _wasmtime() -> Any:
    try:
        import wasmtime
    except ImportError:
        raise PevmError("engine 'wasm' needs wasmtime: pip install 'pevm-numba[wasm]'") from None
    return wasmtime


class Modules:
    """The compiled modules of this process, by the bytes of their tokens."""

    def __init__(self) -> None:
        w = _wasmtime()
        config = w.Config()
        config.wasm_threads = True
        config.shared_memory = True
        config.parallel_compilation = False  # its threads are gone after a fork, and waited for
        self.engine = w.Engine(config)
        self.kind = w.MemoryType(w.Limits(1, MOST_PAGES), shared=True)
        self._modules: dict[bytes, Any] = {}
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)  # another thread may have held the lock
        atexit.register(self.close)  # later wasmtime's own functions are gone, and it complains for each module

    def renew(self) -> None:
        """With a lock that nobody holds."""
        self._lock = threading.RLock()

    def close(self) -> None:
        """Give all back."""
        self._modules.clear()
        self.kind.close()
        self.engine.close()

    def __len__(self) -> int:
        return len(self._modules)

    def has(self, shape: bytes) -> bool:
        """Whether a shape is compiled."""
        return shape in self._modules

    def module(self, shape: bytes) -> Any:
        """The module of a shape, compiled if need be; None beyond the stated number."""
        with self._lock:
            if shape not in self._modules and len(self) < MOST_MODULES:
                self._modules[shape] = self.make(shape)
            return self._modules.get(shape)

    def make(self, shape: bytes) -> Any:
        """Compile a shape."""
        return _wasmtime().Module(self.engine, module_text(np.frombuffer(shape, np.int32).tolist()))


class _Once:
    """The modules of this process, which are made once, whichever threads ask first."""

    def __init__(self) -> None:
        self._made: Modules | None = None
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self._lock = threading.Lock()

    def __call__(self) -> Modules:
        with self._lock:
            if self._made is None:
                self._made = Modules()
            return self._made


modules: Final = _Once()


# -------------------------------------------------------------------- the box


@functools.cache
def _shared_memory() -> Any:
    """The class of shared memories, as instances take them: wasmtime 50's own passes a pointer to the pointer."""
    from wasmtime import _ffi

    class Shared(_wasmtime().SharedMemory):  # type: ignore[misc]  # wasmtime may not be installed
        def _as_extern(self) -> Any:
            union = _ffi.wasmtime_extern_union(sharedmemory=self.ptr())
            return _ffi.wasmtime_extern_t(_ffi.WASMTIME_EXTERN_SHAREDMEMORY, union)

    return Shared


class _Box:
    """A memory of WebAssembly that hands out arrays; none is given back before the whole is."""

    def __init__(self, owner: Modules) -> None:
        self.memory = _shared_memory()(owner.engine, owner.kind)
        self.base = ctypes.cast(self.memory.data_ptr(), ctypes.c_void_p).value or 0
        self.used = 64  # an address of 0 would look like none

    def zeros(self, shape: int | tuple[int, ...], kind: Any) -> NDArray[Any]:
        """An array of zeros, on a cache line of its own."""
        dtype = np.dtype(kind)
        sizes = (shape,) if isinstance(shape, int) else shape
        size = int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize
        start, self.used = self.used, -(-(self.used + size) // 64) * 64
        have = self.memory.data_len() // _PAGE
        pages = -(-self.used // _PAGE) - have
        if pages > 0:
            if have + pages > MOST_PAGES:
                raise TooLargeError(f"engine 'wasm': the block's arrays take {self.used:,} bytes: at most 4 GiB fit")
            self.memory.grow(pages)
        buffer = (ctypes.c_ubyte * size).from_address(self.base + start)
        buffer.box = self  # the memory lives as long as an array in it
        return np.frombuffer(buffer, dtype).reshape(sizes)


class Wasm(Attached):
    """WebAssembly by wasmtime. Each workspace reserves 4 GiB of addresses, and uses what its arrays take."""

    costs = WASM_COSTS
    batched = True
    met = Met()

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._owner = modules()
        try:
            self._box = _Box(self._owner)
        except _wasmtime().WasmtimeError as error:
            raise ExecutionError(f"engine 'wasm': no memory, which takes 4 GiB of addresses: {error}") from None
        self._stores: list[Any] = []

    def zeros(self, shape: int | tuple[int, ...], kind: Any) -> NDArray[Any]:
        """An array in the box."""
        return self._box.zeros(shape, kind)

    def held(self, array: NDArray[Any]) -> NDArray[Any]:
        """A copy in the box, unless it is there already."""
        if 0 <= array.ctypes.data - self._box.base < self._box.used:
            return array
        copy = self._box.zeros(array.shape, array.dtype)
        copy[...] = array
        return copy

    def place(self, array: NDArray[Any]) -> int:
        """Where an array begins in the box."""
        return int(array.ctypes.data) - self._box.base

    def has(self, shape: bytes) -> bool:
        """Whether it is compiled."""
        return self._owner.has(shape)

    def compiled(self, shapes: Shapes) -> NDArray[np.int64]:
        """Addresses of the ways in; each worker has an instance of every module."""
        wanted = set(self.wanted(shapes))
        found = [(i, self._owner.module(name)) for i, name in enumerate(shapes.names) if name in wanted]
        chosen = [(i, module) for i, module in found if module is not None]
        address = np.zeros(len(shapes.names), np.int64)
        address[[i for i, _ in chosen]] = BRIDGES.first(len(chosen))
        for row in self.links:
            self._equip(row, [module for _, module in chosen])
        return address

    def _equip(self, links: NDArray[np.int64], chosen: Sequence[Any]) -> None:
        """Make a worker's store and instances."""
        w = _wasmtime()
        store = w.Store(self._owner.engine)
        functions = np.zeros((max(1, len(chosen)), 2), np.uint64)
        for number, module in enumerate(chosen):
            run = w.Instance(store, module, [self._box.memory]).exports(store)["run"]
            functions[number] = np.frombuffer(bytes(run._func), np.uint64)
        batch = self._box.zeros(BATCH, np.int32)
        address = ctypes.cast(store._context(), ctypes.c_void_p).value or 0
        values = {"store": address, "functions": functions.ctypes.data, "box": self._box.base, "batch": self.place(batch)}
        for name, value in values.items():
            links[LINKS.index(name)] = value
        self._stores.append((store, functions))
