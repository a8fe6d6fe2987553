"""Between kernels and signals: Python's handlers run on the main thread, wherever it is, and may raise there.

A long call, or one on several threads of Python's own, is made from a helper thread, so that the main thread only waits.
"""

from __future__ import annotations

import _thread
import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["apart", "interruptible"]

T = TypeVar("T")

#: Seconds between looks.
_LOOK = 0.05

#: What the helper thread is to call, once there is one. It stays: libraries such as OpenMP keep threads for each thread that
#: calls them, and new ones begin on whatever core, often one that is taken, for milliseconds.
_calls: SimpleQueue[Callable[[], object]] | None = None


def _help(calls: SimpleQueue[Callable[[], object]]) -> None:
    while True:
        calls.get()()


def _hand_over(call: Callable[[], object]) -> None:
    """Have the helper thread call something, after what it was given before."""
    global _calls
    if _calls is None:
        calls = SimpleQueue[Callable[[], object]]()
        _thread.start_new_thread(_help, (calls,))
        _calls = calls
    _calls.put(call)


def _after_fork() -> None:
    """In the child: there is no helper."""
    global _calls
    _calls = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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
    results, begun, handed, given_up = list[T | BaseException](), list[bool](), list[bool](), list[bool]()
    ended = _thread.allocate_lock()
    ended.acquire()

    def call() -> None:
        if begun:  # handed over twice, as that was interrupted
            return
        begun.append(True)
        try:
            results.append(InterruptedError() if given_up else function())  # nobody waits for the first
        except BaseException as problem:  # raised by whoever waits
            results.append(problem)
        finally:
            ended.release()

    interrupted: BaseException | None = None

    def keep(problem: BaseException) -> None:
        nonlocal interrupted
        interrupted = problem

    def wait() -> None:
        while not results:
            if interrupted is not None:
                given_up.append(True)
                if not begun:  # and if it will, it finds that it need not
                    return
                stop()
            elif not handed:
                _hand_over(call)
                handed.append(True)
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
