"""Between kernels and signals: Python's handlers run on the main thread, wherever it is, and may raise there.

A long call, or one on several threads of Python's own, is made from a helper thread, so that the main thread only waits.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["apart", "interruptible"]

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


def apart(functions: Sequence[Callable[[], object]], stop: Callable[[], None]) -> None:
    """Call functions, each on a thread of its own, and wait for all of them; if one raises, the others are stopped.

    Parameters
    ----------
    functions : sequence of callables
        What one of them raises is raised here, if several do what came first.
    stop : callable
        Called to make the others return, when one has raised, or something was raised here meanwhile.

    Examples
    --------
    >>> seen = set()
    >>> apart([lambda: seen.add("one"), lambda: seen.add("other")], lambda: None)
    >>> sorted(seen)
    ['one', 'other']
    """
    if threading.current_thread() is threading.main_thread():
        interruptible(lambda: _apart(functions, stop), stop)
    else:
        _apart(functions, stop)


def _apart(functions: Sequence[Callable[[], object]], stop: Callable[[], None]) -> None:
    problems = list[BaseException]()

    def call(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as problem:  # raised by whoever waits
            problems.append(problem)
            stop()

    started = list[threading.Thread]()
    try:
        for function in functions[1:]:
            thread = threading.Thread(target=call, args=(function,), name="pevm_numba worker", daemon=True)
            call(thread.start)
            if problems:
                break
            started.append(thread)
        else:
            call(functions[0])
        for thread in started:
            thread.join()
        if problems:
            raise problems[0]
    finally:
        problems.clear()  # else this call, which the error remembers, would keep the error
