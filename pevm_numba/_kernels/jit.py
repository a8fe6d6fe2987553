"""The only place with Numba options, and a disk cache that, unlike Numba's own, notices edits in *other* kernel files.

Numba keys its cache by the file that holds a function, so a changed callee or constant elsewhere leaves stale machine
code (measured: old gas prices). Here the directory name is a hash of every kernel source, the Numba version, the CPU
and the code-generation flags, so any change starts an empty directory.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import platform
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import config, njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.np.ufunc import parallel as _threads

__all__ = [
    "DISABLED", "U64", "alone", "cache_directory", "can_keep", "dispatchers_with_code", "entry_point", "inputs", "is_kept",
    "kernel", "kernel_sources", "most_threads", "parallel_kernel", "read_only", "started", "was_compiled",
]  # fmt: skip

log = logging.getLogger("pevm_numba")

#: True under NUMBA_DISABLE_JIT=1: kernels are plain Python functions and intrinsics have plain twins.
DISABLED = bool(config.DISABLE_JIT)

#: Literals in uint64 arithmetic must be wrapped: a bare int is int64, and uint64 with int64 is float64.
U64 = np.uint64

#: `fastmath` stays off: the kernels hold no floating point that could profit.
_OPTIONS = {"nogil": True, "error_model": "numpy"}

#: Called once before the first kernel that has to be compiled; a command line sets it to tell its user.
before_first_compile: Callable[[], None] | None = None

_compiled_here = 0
_dispatchers: list[Callable] = []

#: Held while parallel code runs; whether this process was forked after threads had been started, which are gone here.
_launching = threading.RLock()
_forked = False


def kernel_sources() -> list[Path]:
    """Files that machine code depends on: the kernels, and the tables of both machines that are frozen into them."""
    here = Path(__file__).parent
    tables = [here.parent / "evm" / f"{name}.py" for name in ("forks", "opcodes", "prices")]
    return [*sorted(here.rglob("*.py")), *sorted((here.parent / "machine").glob("*.py")), *tables]


@functools.cache
def _stamp() -> str:
    """Hash of all that the machine code depends on."""
    digest = hashlib.sha256()
    for path in kernel_sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    flags = (config.BOUNDSCHECK, config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.DEBUG_ARRAY_OPT)
    facts = (numba.__version__, np.__version__, platform.machine(), llvm.get_host_cpu_name(), flags)
    digest.update(repr(facts).encode())
    return digest.hexdigest()[:24]


@functools.cache
def cache_directory() -> Path:
    """Directory of this version's compiled kernels (it need not exist).

    ``PEVM_NUMBA_CACHE_DIR``, else ``$XDG_CACHE_HOME/pevm_numba``, else ``~/.cache/pevm_numba``; below it one folder for
    each hash of sources, Numba version, CPU and flags.
    """
    base = os.environ.get("PEVM_NUMBA_CACHE_DIR")
    if not base:
        base = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "pevm_numba")
    return Path(base) / _stamp()


@functools.cache
def _warn_unwritable(reason: str) -> None:
    warnings.warn(
        f"compiled kernels cannot be kept in {cache_directory()} ({reason}): each process compiles anew; "
        "set PEVM_NUMBA_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=2,
    )


class _Locator(_CacheLocator):
    """Puts every kernel's files in `cache_directory`, whatever NUMBA_CACHE_DIR says."""

    def __init__(self, py_func: Callable) -> None:
        self._disambiguator = f"{py_func.__module__.rsplit('.', 1)[-1]}.{py_func.__code__.co_firstlineno}"

    def get_cache_path(self) -> str:
        return str(cache_directory())

    def get_source_stamp(self) -> str:
        return _stamp()

    def get_disambiguator(self) -> str:
        return self._disambiguator

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> _Locator:
        return cls(py_func)


class _Impl(CompileResultCacheImpl):
    def __init__(self, py_func: Callable) -> None:
        self._lineno = py_func.__code__.co_firstlineno
        self._locator = _Locator(py_func)
        self._filename_base = self.get_filename_base(py_func.__qualname__, "")


#: What reading a cut or overwritten pickle raises.
_DAMAGED = (EOFError, pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError, ImportError)


class _KernelCache(FunctionCache):
    _impl_class = _Impl

    def load_overload(self, sig, target_context):
        try:
            found = super().load_overload(sig, target_context)
        except (OSError, *_DAMAGED) as error:
            log.debug("kernel cache: %s not read (%s): compiling", self._name, error)
            found = None
        if found is None:
            _announce()
        return found

    def save_overload(self, sig, data):
        global _compiled_here
        _compiled_here += 1
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _warn_unwritable(error.strerror or type(error).__name__)
        except _DAMAGED as error:  # Numba reads the old index before it adds to it
            log.debug("kernel cache: index of %s not read (%s): starting a new one", self._name, error)
            with contextlib.suppress(OSError):
                self._cache_file.flush()
                super().save_overload(sig, data)


def _announce() -> None:
    """Tell whoever asked, once, that compiling begins."""
    global before_first_compile
    if before_first_compile is not None:
        say, before_first_compile = before_first_compile, None
        say()


def can_keep() -> bool:
    """Whether compiled kernels can be written to `cache_directory`, which is made."""
    try:
        cache_directory().mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(cache_directory(), os.W_OK)


def is_kept(function: Callable) -> bool:
    """Whether the disk holds a kernel, by all appearances: it may yet turn out to be damaged."""
    return os.path.exists(function._cache._cache_file._index_path)


def was_compiled() -> int:
    """How many kernels this process has compiled (and not loaded from disk) so far."""
    return _compiled_here


def started() -> bool:
    """Whether Numba has started its threads."""
    return bool(getattr(_threads, "_is_initialized", True))


def most_threads() -> int:
    """How many threads Numba has at most, whatever is set at present."""
    return 1 if DISABLED else int(config.NUMBA_NUM_THREADS)


def _plain(function: Callable) -> Callable:
    """A kernel as plain Python: NumPy warns of the wrap-around of scalars, which kernels mean."""

    @functools.wraps(function)
    def quiet(*arguments: object) -> object:
        with np.errstate(over="ignore"):
            return function(*arguments)

    return quiet


def _jit(function: Callable, **options: object) -> Callable:
    if DISABLED:
        return function if "forceinline" in options else _plain(function)
    dispatcher = njit(**_OPTIONS, **options)(function)
    dispatcher._cache = _KernelCache(function)
    _dispatchers.append(dispatcher)
    return dispatcher


def dispatchers_with_code() -> list[tuple[str, int]]:
    """Kernels that have machine code in this process, and for how many argument types (one, if all is well)."""
    return [(f"{d.py_func.__module__}.{d.py_func.__qualname__}", len(d.signatures)) for d in _dispatchers if d.signatures]


def kernel(function: Callable | None = None, *, inline: bool = False, bare: bool = False) -> Callable:
    """Compile `function` lazily, in nopython mode, without the GIL, kept on disk.

    With ``inline=True`` LLVM is told to inline every call of it (Numba's own inlining, at the level of Python bytecode,
    costs compile time and is not used). With ``bare=True`` no references are counted, so it may make no array: a call
    otherwise counts every array argument up and down atomically, 26 of them in 120 ns (measured).
    """
    if function is None:
        return functools.partial(kernel, inline=inline, bare=bare)
    options: dict[str, object] = {"forceinline": True} if inline else {}
    return _jit(function, **(options | ({"_nrt": False} if bare else {})))


def _twin(function: Callable, name: str) -> Callable:
    """The same function under another name, for the disk cache goes by names."""
    twin = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    twin.__module__, twin.__doc__ = function.__module__, function.__doc__
    twin.__qualname__ = f"{function.__qualname__}.{name}"
    return twin


def parallel_kernel(function: Callable | None = None, *, bare: bool = False) -> Callable:
    """Like `kernel`, with `prange` running on all threads; to be called from Python, by one thread at a time.

    Numba's workqueue layer aborts the process if two threads are in parallel code at once, so callers wait for each other.
    In a process that was forked after threads had been started, the same function runs on one thread, since OpenMP would
    hang or end the process. Keep such functions thin: each costs about a second to compile.
    """
    if function is None:
        return functools.partial(parallel_kernel, bare=bare)
    options: dict[str, object] = {"_nrt": False} if bare else {}
    compiled = _jit(function, parallel=True, **options)
    single: list[Callable] = []

    @functools.wraps(function)
    def launch(*arguments: object) -> object:
        with alone():
            if not _forked:
                return compiled(*arguments)
            if not single:
                log.warning("forked after parallel code had run: parallel kernels run on one thread here; spawn has them all")
                single.append(_jit(_twin(function, "single"), **options))
            return single[0](*arguments)

    launch.compiled = compiled
    return launch


def entry_point(compiled: Callable, arguments: tuple[object, ...], *, held: bool = False) -> Callable:
    """A kernel to be called again and again with arguments of these very types, which are not looked at any more.

    Looking at some thirty arrays in named tuples takes 4 microseconds, half of a short run (measured), and what Python does
    around a call 40 and more where its code has left the caches. The caller answers for the types, and that those of one
    workspace never change; if it is `held`, also for being `alone`.
    """
    dispatcher = getattr(compiled, "compiled", compiled)
    if DISABLED or _forked:
        return compiled
    entry = dispatcher.compile(tuple(dispatcher.typeof_pyval(value) for value in arguments))
    if dispatcher is compiled or held:
        return entry

    def launch(*arguments: object) -> object:
        with alone():
            return compiled(*arguments) if _forked else entry(*arguments)

    return launch


@contextlib.contextmanager
def alone(give_up: Callable[[], bool] | None = None) -> Iterator[None]:
    """Keep other threads from parallel kernels; `give_up` is asked ten times a second while waiting for them to end.

    Raises
    ------
    TimeoutError
        If `give_up` says so.
    """
    lock = _launching
    while not lock.acquire(timeout=0.1 if give_up else -1):
        if give_up is not None and give_up():
            raise TimeoutError
    try:
        yield
    finally:
        lock.release()


def _after_fork() -> None:
    """In the child: threads are gone, and another thread may have held the lock."""
    global _forked, _launching
    _forked = _forked or started()
    _launching = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def read_only(array: np.ndarray) -> np.ndarray:
    """One of `inputs`."""
    return inputs(array)[0]


def inputs(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Read-only C-contiguous views: what every kernel takes as input.

    Numba compiles a kernel anew for writable and for read-only arrays; passing every input through here keeps it at one
    specialisation. Outputs and scratch are fresh writable arrays.
    """
    views = []
    for array in arrays:
        view = np.ascontiguousarray(array).view()
        view.flags.writeable = False
        views.append(view)
    return tuple(views)
