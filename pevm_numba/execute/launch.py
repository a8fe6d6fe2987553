"""Starting kernels so that they can be stopped: Python handles Ctrl-C only while its main thread runs Python code.

A run that may take long is handed to a helper thread, and the main thread waits where it can be interrupted; the kernels
ask for the stop cell in between, so they end within milliseconds. Short runs stay on the calling thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns, thread_time_ns
from typing import Any, Final

import numba

from .._kernels.control import ERROR, INTERRUPTED, STALLED, STOP
from .._kernels.jit import DISABLED, alone, entry_point, most_threads, started
from ..errors import ExecutionError
from ..patience import interruptible
from .workspace import Workspace

__all__ = ["LONG_NS", "all_threads_ns", "default_workers", "launch", "threads_awake"]

#: What a kernel returned, and the nanoseconds and CPU nanoseconds that it took.
_Timed = tuple[Any, int, int]

#: Guessed run time in nanoseconds from which on a helper thread runs the kernel; starting one takes some 0.1 ms.
LONG_NS: Final = 100_000_000

_MESSAGES: Final = {
    INTERRUPTED: "the run was stopped before it was complete",
    STALLED: "transactions wait for each other: their dependencies form a circle",
}


#: Numba's threads look for more work for some milliseconds after a run, and then sleep.
_AWAKE_NS: Final = 3_000_000

#: When the last parallel run of this process ended, by `perf_counter_ns`.
_last_run = -(10**18)


def default_workers() -> int:
    """Numba's present number of threads; does not start them."""
    return most_threads() if DISABLED or not started() else int(numba.get_num_threads())


def threads_awake() -> bool:
    """Whether Numba's threads can be expected to wait for work: waking them takes up to 0.4 ms (measured)."""
    return perf_counter_ns() - _last_run < _AWAKE_NS


def all_threads_ns() -> int:
    """CPU nanoseconds of all threads of this process that live now, each by its own clock.

    That of the whole process, which stands in where the system does not list threads, lags: it counts threads that run on
    other cores only by the tick, up to 10 ms.
    """
    total = 0
    try:
        threads = os.listdir("/proc/self/task")
    except OSError:
        return time.process_time_ns()
    for thread in threads:
        try:
            total += time.clock_gettime_ns((~int(thread) << 3) | 6)  # the kernel's name for a thread's CPU clock
        except OSError:  # it has ended since
            continue
    return total


def launch(
    kernel: Callable[..., Any],
    arguments: tuple[Any, ...],
    space: Workspace,
    *,
    threads: int,
    clock: Callable[[], int] = thread_time_ns,
) -> tuple[Any, dict[str, int]]:
    """Call a kernel that works on `space`, and wait for it.

    Parameters
    ----------
    kernel, arguments
    space : Workspace
        Reset; its control array is among the arguments.
    threads : int
        0 for a kernel without parallel code; else how many threads of Numba's it may use, if there are so many.
    clock : callable
        CPU nanoseconds.

    Returns
    -------
    result
        Of the kernel.
    timings : dict
        `execute_ns` of the kernel alone, without waiting for other threads' runs; `cpu_ns` by the clock.

    Raises
    ------
    ExecutionError
        If a worker reported an error. (An executor that gave up its own way is none.)
    KeyboardInterrupt
        If the main thread was interrupted; the kernel has stopped then.
    """
    kernel = _quick(kernel, arguments, space)
    if space.program.total_work < LONG_NS or DISABLED or threading.current_thread() is not threading.main_thread():
        result, taken, cpu = _call(kernel, arguments, space, threads, clock)
    else:
        result, taken, cpu = interruptible(lambda: _call(kernel, arguments, space, threads, clock), space.stop)
    if space.attached is not None:
        space.attached.ran()
    error = int(space.control[ERROR]) or INTERRUPTED
    if space.control[STOP] and error in _MESSAGES:
        raise ExecutionError(f"block {space.block.number}: {_MESSAGES[error]}; nothing of the run is kept")
    return result, {"execute_ns": taken, "cpu_ns": cpu}


def _quick(kernel: Callable[..., Any], arguments: tuple[Any, ...], space: Workspace) -> Callable[..., Any]:
    """From a kernel's second run on a workspace on, its machine code, so that types are looked at once and not each time."""
    if kernel not in space.entries:
        space.entries[kernel] = None
        return kernel
    entry = space.entries[kernel]
    if entry is None:
        entry = space.entries[kernel] = entry_point(kernel, arguments)
    return entry


def _call(
    kernel: Callable[..., Any], arguments: tuple[Any, ...], space: Workspace, threads: int, clock: Callable[[], int]
) -> _Timed:
    if not threads or DISABLED:
        return _timed(kernel, arguments, clock)
    try:
        with alone(lambda: bool(space.control[STOP])), _threads(threads):
            timed = _timed(kernel, arguments, clock)
            global _last_run
            _last_run = perf_counter_ns()
            return timed
    except TimeoutError:  # stopped while another thread's run was under way
        return None, 0, 0


def _timed(kernel: Callable[..., Any], arguments: tuple[Any, ...], clock: Callable[[], int]) -> _Timed:
    cpu, start = clock(), perf_counter_ns()
    result = kernel(*arguments)
    return result, perf_counter_ns() - start, clock() - cpu


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Run parallel kernels on this many threads (at most those that Numba has); put the user's number back."""
    before, wanted = numba.get_num_threads(), min(count, most_threads())
    if before == wanted:
        yield
        return
    numba.set_num_threads(wanted)
    try:
        yield
    finally:
        numba.set_num_threads(before)
