"""Between kernels and signals: Python's handlers run on the main thread, wherever it is, and may raise there.

A long call runs on a thread of its own, so that the main thread only waits. What kernels call back into Python is a generator
that waits within its `try`: an exception that a handler raises as Python is entered is caught there, and not lost, as at the
first instruction of a function.
"""

from __future__ import annotations

import _thread
import ctypes
import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

__all__ = ["answering", "callback", "interruptible"]

T = TypeVar("T")

#: Seconds between looks.
_LOOK = 0.05


def interruptible(function: Callable[[], T], stop: Callable[[], None]) -> T:
    """Call a function on a helper thread and wait for it; whatever wakes this one before the end has it stopped.

    Nothing leaves this call before the function has returned, however often it is interrupted: it works with what belongs to
    the caller.

    Parameters
    ----------
    function : callable
        What it raises is raised here.
    stop : callable
        Called when something was raised here meanwhile, Ctrl-C's KeyboardInterrupt for one, and then again and again: to make
        the function return.

    Examples
    --------
    >>> interruptible(lambda: threading.current_thread() is threading.main_thread(), lambda: None)
    False
    """
    results, given_up, ended = list[T | BaseException](), list[bool](), _thread.allocate_lock()
    ended.acquire()

    def call() -> None:
        try:
            if not given_up:  # as it is where starting this thread was interrupted
                results.append(function())
        except BaseException as problem:  # raised by whoever waits
            results.append(problem)
        finally:
            ended.release()

    helper = threading.Thread(target=call, name="pevm_numba run", daemon=True)
    interrupted: BaseException | None = None

    def keep(problem: BaseException) -> None:
        nonlocal interrupted
        interrupted = problem

    def wait() -> None:
        while not results:
            if interrupted is not None:
                given_up.append(True)
                stop()
            if helper.ident is None:
                if given_up:
                    return
                helper.start()
            ended.acquire(timeout=_LOOK)

    _persist(wait, keep)
    found = results[0] if interrupted is None else interrupted
    if not isinstance(found, BaseException):
        return found
    try:
        raise found
    finally:
        # else this call, which the error remembers, would keep the error, and so all that both have passed through
        results.clear()
        interrupted = None
        del found


def _persist(wait: Callable[[], None], keep: Callable[[BaseException], None]) -> None:
    """Call `wait` until it returns, and `keep` with whatever is raised meanwhile.

    The next signal may come as the last one's exception is being handled, and then it is the first jump back that raises: so
    that jump, too, is in a `try`, and the one after it.
    """
    while True:
        try:
            while True:
                try:
                    while True:
                        try:
                            return wait()
                        except BaseException as problem:
                            keep(problem)
                except BaseException as problem:
                    keep(problem)
        except BaseException as problem:
            keep(problem)


def answering(answer: Callable[[], object], failed: Callable[[BaseException], object]) -> Generator[int, object, None]:
    """A generator whose `send` is for kernels to call: it calls `answer`, or `failed` with what was raised meanwhile.

    Examples
    --------
    >>> seen = []
    >>> kept = answering(lambda: seen.append(1 // (1 - len(seen))), lambda problem: seen.append(type(problem).__name__))
    >>> next(kept), kept.send(None), kept.send(None), seen
    (0, 0, 0, [1, 'ZeroDivisionError'])
    """
    while True:
        try:
            while True:  # its jump back is in a `try`, as in `_persist`
                try:
                    while True:
                        yield 0
                        answer()
                except GeneratorExit:
                    return
                except BaseException as problem:
                    failed(problem)
        except BaseException as problem:
            failed(problem)


def callback(answer: Callable[[], object], failed: Callable[[BaseException], object]) -> Any:
    """A C function of one number that returns one, for kernels to call by its address: `answering`, ready.

    Examples
    --------
    >>> seen = []
    >>> callback(lambda: seen.append("asked"), seen.append)(7), seen
    (0, ['asked'])
    """
    answers = answering(answer, failed)
    next(answers)
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(answers.send)
