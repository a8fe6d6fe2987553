"""Machine code of kernels that know each other by address only, made by two processes where the disk holds none of it yet.

Numba compiles one function at a time in a process; the interpreter takes as long as all other kernels of the EVM.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import subprocess
import sys
import threading
from multiprocessing.spawn import get_executable
from time import perf_counter

from ..jit import DISABLED, can_keep, is_kept, most_threads
from .linking import address_of_kernel

__all__ = ["compile_kernels"]

log = logging.getLogger("pevm_numba")

#: Seconds that the other process may take beyond twice the time of this one's part.
_GRACE = 30.0

_lock = threading.Lock()


def compile_kernels(kernels):
    """Have machine code of kernels in memory: compiled, or loaded.

    Parameters
    ----------
    kernels : tuple of (kernel, arity)
        With how many int64 each is called; first the one that takes longest, which is compiled here as another process
        compiles the rest. Whatever becomes of that process, the rest is compiled here if it is not there afterwards.
    """
    with _lock:
        _compile(kernels)


@functools.cache
def _compile(kernels):
    first, *rest = kernels
    if DISABLED or most_threads() < 2 or is_kept(first[0]) or all(is_kept(kernel) for kernel, _ in rest) or not can_keep():
        address_of_kernel(*first)
    else:
        _compile_two(first, rest)
    for kernel, arity in rest:
        address_of_kernel(kernel, arity)


def _compile_two(first, rest):
    """Compile `first` here, the rest in another process, which leaves it on disk."""
    path = os.pathsep.join(os.path.abspath(place) for place in sys.path)
    names = [f"{kernel.py_func.__module__}.{kernel.py_func.__qualname__}/{arity}" for kernel, arity in rest]
    command = [os.fsdecode(get_executable() or ""), "-P", "-m", __name__, *names]
    start = perf_counter()
    try:
        other = subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": path}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        log.debug("no second process to compile with: %s", error)
        address_of_kernel(*first)
        return
    with other:
        try:
            address_of_kernel(*first)
            other.wait(2 * (perf_counter() - start) + _GRACE)
        except subprocess.TimeoutExpired:
            log.debug("the second process to compile with does not end")
        finally:
            other.kill()
    log.debug("kernels compiled by two processes in %.1f s; the second returned %d", perf_counter() - start, other.returncode)


def _main(names):
    """What the other process does."""
    for name in names:
        place, arity = name.rsplit("/", 1)
        module, function = place.rsplit(".", 1)
        address_of_kernel(getattr(importlib.import_module(module), function), int(arity))


if __name__ == "__main__":
    _main(sys.argv[1:])
