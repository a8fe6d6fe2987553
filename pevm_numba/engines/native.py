"""Machine code of shapes: compiled by LLVM, kept on disk as object files, loaded once a process and never given back.

What is loaded is bounded, so that a node that runs for months and meets ever new shapes doesn't fill its memory with them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import llvmlite
import llvmlite.binding as llvm

from .._kernels.jit import cache_directory, can_keep
from .._kernels.shapes import GIVEN, LINKS
from . import llvm_ir, lowering

__all__ = ["LOADED", "MOST_BYTES", "NativeCode", "compiler", "host_machine"]

log = logging.getLogger("pevm_numba")

#: Bytes that one process takes for machine code, at most, and what each function takes besides its object file (measured:
#: pages of its own, and what LLVM keeps of it: 12 KiB).
MOST_BYTES: Final = 64 << 20
LOADED: Final = 16 << 10

#: First bytes of a kept object file, which are followed by the SHA-256 of the rest.
_MAGIC: Final = b"pevmshp1"


def _host() -> tuple[str, str, str]:
    """Triple, CPU and features of this machine."""
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM cannot tell them everywhere
        features = ""
    return llvm.get_default_triple(), llvm.get_host_cpu_name(), features


@functools.cache
def _version() -> bytes:
    """Of what is written for a shape, who compiles it, and for what."""
    modules = [str(module.__file__) for module in (llvm_ir, lowering)]
    sources = [Path(path).read_bytes() for path in (*modules, __file__)]
    return hashlib.sha256(b"\0".join([*sources, repr((GIVEN, LINKS, llvmlite.__version__, _host())).encode()])).digest()


def host_machine() -> Any:
    """LLVM for this very CPU: vectors of four limbs are single instructions where it has such.

    An execution engine takes the one that it is given for its own, and ends it with itself.
    """
    triple, cpu, features = _host()
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(cpu=cpu, features=features, opt=2, codemodel="jitdefault")


@functools.cache
def _emitter() -> Any:
    """The one that writes object files, which no engine has."""
    return host_machine()


class NativeCode:
    """The functions of this process, by the bytes of their tokens.

    Parameters
    ----------
    most_bytes : int
        Memory for them, at most.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes, self.bytes, self.full = most_bytes, 0, False
        self._addresses: dict[bytes, int] = {}
        self._engine: Any = None
        self._on_disk: set[str] | None = None
        #: Nanoseconds spent compiling, and loading; shapes compiled, and loaded.
        self.compile_ns = self.load_ns = self.n_compiled = self.n_loaded = 0
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)  # another thread may have held the lock

    def renew(self) -> None:
        """With a lock that nobody holds."""
        self._lock = threading.RLock()

    def address(self, shape: bytes) -> int:
        """Of a shape's function; 0 if it has none."""
        return self._addresses.get(shape, 0)

    def is_kept(self, shape: bytes) -> bool:
        """Whether the disk held a shape's function when it was first asked, or does so since; 0.1 ms for the first shape."""
        if self._on_disk is None:
            with contextlib.suppress(OSError):
                self._on_disk = {entry.name for entry in os.scandir(_folder())}
        return _name(shape) + ".o" in (self._on_disk or ())

    def add(self, shapes: Sequence[bytes]) -> None:
        """Compile shapes, or load them from disk; those beyond the stated memory are left out.

        Parameters
        ----------
        shapes : sequence of bytes
            Tokens, as little-endian int32.
        """
        with self._lock:
            objects, total = [], self.bytes
            for shape in shapes:
                if shape in self._addresses or self.full:
                    continue
                data = _read(shape) or self._compile(shape)
                total += len(data) + LOADED
                self.full = total > self.most_bytes
                if self.full:
                    log.warning("jit: %d bytes of machine code are loaded: no more shapes are compiled", self.bytes)
                    continue
                objects.append((shape, data))
            if objects:
                self._load(objects)

    def _compile(self, shape: bytes) -> bytes:
        start = perf_counter_ns()
        data = compiler(shape)
        self.compile_ns += perf_counter_ns() - start
        self.n_compiled += 1
        if _keep(shape, data) and self._on_disk is not None:
            self._on_disk.add(_name(shape) + ".o")
        return data

    def _load(self, objects: Sequence[tuple[bytes, bytes]]) -> None:
        """All by one execution engine: one of its own takes 50 KiB for each function (measured)."""
        start = perf_counter_ns()
        if self._engine is None:
            self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host_machine())
        for _, data in objects:
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        self._engine.finalize_object()
        for shape, data in objects:
            self._addresses[shape] = self._engine.get_function_address(_name(shape))
            self.bytes += len(data) + LOADED
        self.n_loaded += len(objects)
        self.load_ns += perf_counter_ns() - start


@functools.lru_cache(1 << 16)
def _name(shape: bytes) -> str:
    return "shape_" + hashlib.sha256(_version() + shape).hexdigest()[:32]


def _folder() -> Path:
    return cache_directory() / "shapes"


def compiler(shape: bytes) -> bytes:
    """The object file of a shape.

    Parameters
    ----------
    shape : bytes
        Tokens, as little-endian int32.

    Examples
    --------
    >>> import numpy as np
    >>> from pevm_numba.machine.shapes import Token
    >>> len(compiler(np.array([Token.OUTPUT], np.int32).tobytes())) > 500
    True
    """
    tokens = [int.from_bytes(shape[i : i + 4], "little") for i in range(0, len(shape), 4)]
    module = llvm.parse_assembly(llvm_ir.DECLARATIONS + llvm_ir.function_text(tokens, _name(shape)))
    data: bytes = _emitter().emit_object(module)
    return data


def _read(shape: bytes) -> bytes | None:
    """What the disk has for a shape, if it is what was written."""
    path = _folder() / f"{_name(shape)}.o"
    try:
        data = path.read_bytes()
    except OSError:
        return None
    head, rest = data[: len(_MAGIC) + 32], data[len(_MAGIC) + 32 :]
    if head != _MAGIC + hashlib.sha256(rest).digest():
        log.debug("jit: %s is damaged: compiling anew", path)
        return None
    return rest


def _keep(shape: bytes, data: bytes) -> bool:
    """Write an object file to disk, whole; whether that was possible."""
    if not can_keep():
        return False
    path = _folder() / f"{_name(shape)}.o"
    try:
        path.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".writing", delete=False) as part:
            part.write(_MAGIC + hashlib.sha256(data).digest() + data)
        os.replace(part.name, path)
    except OSError as error:
        log.debug("jit: %s not written (%s)", path, error)
        return False
    return True
