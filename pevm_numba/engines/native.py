"""Machine code of shapes: compiled by LLVM, kept on disk as object files, loaded once a process and never given back.

What is loaded is bounded, so that a node that runs for months and meets ever new shapes doesn't fill its memory with them.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import llvmlite.binding as llvm

from .._kernels.jit import cache_directory, can_keep
from .._kernels.shapes import LINKS
from . import llvm_ir, lowering

__all__ = ["MOST_BYTES", "NativeCode", "compiler", "host_machine"]

log = logging.getLogger("pevm_numba")

#: Bytes of object files that one process loads, at most; a shape has some 1,000.
MOST_BYTES: Final = 64 << 20

#: First bytes of a kept object file, which are followed by the SHA-256 of the rest.
_MAGIC: Final = b"pevmshp1"

_lock = threading.RLock()


@functools.cache
def _version() -> bytes:
    """Of what is written for a shape."""
    sources = [Path(str(module.__file__)).read_bytes() for module in (llvm_ir, lowering)]
    return hashlib.sha256(b"\0".join([*sources, repr(LINKS).encode()])).digest()


def host_machine() -> Any:
    """LLVM for this very CPU: vectors of four limbs are single instructions where it has such.

    An execution engine takes the one that it is given for its own, and ends it with itself.
    """
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2, codemodel="jitdefault")


@functools.cache
def _emitter() -> Any:
    """The one that writes object files, which no engine has."""
    return host_machine()


class NativeCode:
    """The functions of this process, by the bytes of their tokens."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self._addresses: dict[bytes, int] = {}
        self._loaded: list[Any] = []
        #: Nanoseconds spent compiling, and loading; shapes compiled, and loaded.
        self.compile_ns = self.load_ns = self.n_compiled = self.n_loaded = 0

    def address(self, shape: bytes) -> int:
        """Of a shape's function; 0 if it has none."""
        return self._addresses.get(shape, 0)

    def is_kept(self, shape: bytes) -> bool:
        """Whether the disk holds a shape's function, by all appearances."""
        return _path(shape).exists()

    def add(self, shapes: Sequence[bytes]) -> None:
        """Compile shapes, or load them from disk; those beyond the stated memory are left out.

        Parameters
        ----------
        shapes : sequence of bytes
            Tokens, as little-endian int32.
        """
        with _lock:
            objects = []
            for shape in shapes:
                if shape in self._addresses:
                    continue
                data = _read(shape)
                if data is None:
                    start = perf_counter_ns()
                    data = compiler(shape)
                    self.compile_ns += perf_counter_ns() - start
                    self.n_compiled += 1
                    _keep(shape, data)
                if self.bytes + len(data) > self.most_bytes:
                    log.warning("jit: %d bytes of machine code are loaded: no more shapes are compiled", self.bytes)
                    break
                self.bytes += len(data)
                objects.append((shape, data))
            if objects:
                self._load(objects)

    def _load(self, objects: Sequence[tuple[bytes, bytes]]) -> None:
        start = perf_counter_ns()
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host_machine())
        for _, data in objects:
            engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        engine.finalize_object()
        for shape, _ in objects:
            self._addresses[shape] = engine.get_function_address(_name(shape))
        self._loaded.append(engine)  # the code lives as long as its engine
        self.n_loaded += len(objects)
        self.load_ns += perf_counter_ns() - start


def _name(shape: bytes) -> str:
    return "shape_" + hashlib.sha256(_version() + shape).hexdigest()[:32]


def _path(shape: bytes) -> Path:
    return cache_directory() / "shapes" / f"{_name(shape)}.o"


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
    >>> compiler(np.array([Token.OUTPUT], np.int32).tobytes())[:4]
    b'\\x7fELF'
    """
    tokens = [int.from_bytes(shape[i : i + 4], "little") for i in range(0, len(shape), 4)]
    module = llvm.parse_assembly(llvm_ir.DECLARATIONS + llvm_ir.function_text(tokens, _name(shape)))
    data: bytes = _emitter().emit_object(module)
    return data


def _read(shape: bytes) -> bytes | None:
    """What the disk has for a shape, if it is what was written."""
    try:
        data = _path(shape).read_bytes()
    except OSError:
        return None
    head, rest = data[: len(_MAGIC) + 32], data[len(_MAGIC) + 32 :]
    if head != _MAGIC + hashlib.sha256(rest).digest():
        log.debug("jit: %s is damaged: compiling anew", _path(shape))
        return None
    return rest


def _keep(shape: bytes, data: bytes) -> None:
    path = _path(shape)
    if not can_keep():
        return
    part = path.with_suffix(f".{os.getpid()}.writing")
    try:
        path.parent.mkdir(exist_ok=True)
        part.write_bytes(_MAGIC + hashlib.sha256(data).digest() + data)
        os.replace(part, path)
    except OSError as error:
        log.debug("jit: %s not written (%s)", path, error)
